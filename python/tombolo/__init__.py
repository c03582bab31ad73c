"""Channels between the processes of one machine, through shared memory, that survive ``kill -9``.

    with tombolo.open_or_create("jobs") as segment:
        jobs = segment.bytes("jobs", capacity=100, longest=4096)
        jobs.sender().send(b"work")
        with jobs.receiver().take() as job:
            print(bytes(job))

A process may be killed at any instruction: the others go on, and the message that it had in hand
comes again at another receiver. The exceptions have the library's text, which says what to do."""

from typing import Any

from tombolo._errors import (
    BadOption,
    CallError,
    CallTimeout,
    Cancelled,
    ChannelError,
    Corrupt,
    Disconnected,
    Drained,
    Empty,
    Error,
    Exists,
    Forked,
    Full,
    HandleClosed,
    InUse,
    InvalidMessage,
    Lagged,
    Mismatch,
    NoChannel,
    NoServer,
    NotFound,
    OpenError,
    PeerGone,
    RecvTimeout,
    Refused,
    Removed,
    RoleTaken,
    SendTimeout,
    ServerDied,
    Shutdown,
    Stranger,
    SystemError,
    Timeout,
    Unwoken,
    WrongSize,
)
from tombolo._handles import (
    Broadcast,
    Channel,
    Client,
    Receiver,
    Segment,
    Sender,
    Server,
    Service,
    WaitSet,
    anonymous,
    create,
    open,
    open_id,
    open_or_create,
    remove,
    wait,
)
from tombolo._native import Call, Delivery, Grant, PendingCall
from tombolo._types import Type


def get_context(method: str | None = None, **options: int) -> Any:
    """A ``multiprocessing`` context whose queues survive the ``kill -9`` of any process: see
    ``tombolo.multiprocessing.get_context``."""
    # Only programs that use it load multiprocessing.
    from tombolo.multiprocessing import get_context

    return get_context(method, **options)


__all__ = [
    "BadOption",
    "Broadcast",
    "Call",
    "CallError",
    "CallTimeout",
    "Cancelled",
    "Channel",
    "ChannelError",
    "Client",
    "Corrupt",
    "Delivery",
    "Disconnected",
    "Drained",
    "Empty",
    "Error",
    "Exists",
    "Forked",
    "Full",
    "Grant",
    "HandleClosed",
    "InUse",
    "InvalidMessage",
    "Lagged",
    "Mismatch",
    "NoChannel",
    "NoServer",
    "NotFound",
    "OpenError",
    "PeerGone",
    "PendingCall",
    "Receiver",
    "RecvTimeout",
    "Refused",
    "Removed",
    "RoleTaken",
    "Segment",
    "SendTimeout",
    "Sender",
    "Server",
    "ServerDied",
    "Service",
    "Shutdown",
    "Stranger",
    "SystemError",
    "Timeout",
    "Type",
    "Unwoken",
    "WaitSet",
    "WrongSize",
    "anonymous",
    "create",
    "get_context",
    "open",
    "open_id",
    "open_or_create",
    "remove",
    "wait",
]
