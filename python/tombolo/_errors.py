"""The exceptions. Each has the library's text: what happened, to which object, and what to do."""

import queue

__all__ = [
    "BadOption",
    "CallError",
    "CallTimeout",
    "Cancelled",
    "ChannelError",
    "Corrupt",
    "Disconnected",
    "Drained",
    "Empty",
    "Error",
    "Exists",
    "Forked",
    "Full",
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
    "RecvTimeout",
    "Refused",
    "Removed",
    "RoleTaken",
    "SendTimeout",
    "ServerDied",
    "Shutdown",
    "Stranger",
    "SystemError",
    "Timeout",
    "Unwoken",
    "WrongSize",
]


class Error(Exception):
    """The base of all."""


class OpenError(Error):
    """A segment could not be created, opened or removed."""


class NotFound(OpenError, FileNotFoundError):
    """No segment has this name or id."""


class Exists(OpenError, FileExistsError):
    """A segment of this name exists."""


class Stranger(OpenError, PermissionError):
    """Another user created the segment: see the option ``any_owner``."""


class ChannelError(Error):
    """A channel could not be opened."""


class NoChannel(ChannelError, LookupError):
    """The segment has no channel of this name, and no capacity was given to create it."""


class Mismatch(ChannelError, TypeError):
    """The channel was created with something else than what was asked for."""


class RoleTaken(ChannelError):
    """The SPSC channel has its sender, or its receiver, already."""


class BadOption(ChannelError, OpenError, ValueError):
    """A name, a size or another option that cannot be used."""


class SystemError(Error, OSError):
    """The kernel refused. The text names the object, the limit and the remedy."""


class Empty(Error, queue.Empty):
    """There is no message."""


class Full(Error, queue.Full):
    """There is no room."""


class Timeout(Error, TimeoutError):
    """The time was up."""


class RecvTimeout(Timeout, Empty):
    """No message came until the time-out."""


class SendTimeout(Timeout, Full):
    """There was no room until the time-out."""

    sent: int = 0


class Disconnected(Error, EOFError):
    """The last peer on the other side has gone."""


class Lagged(Error):
    """A subscriber has missed ``missed`` messages. It goes on at the oldest one there is."""

    missed: int = 0


class WrongSize(Error, ValueError):
    """The message is too long, or has not the size of an element."""


class InvalidMessage(Error, ValueError):
    """A message was received whose bytes are not a value of its type. The next may be fine."""


class InUse(Error):
    """There is one such end in the process, and another thread waits with it, or it holds a
    message in place."""


class Removed(Error):
    """The segment has been removed."""


class Drained(Error):
    """The segment is drained: it takes no new messages."""


class Shutdown(Error):
    """The segment has been shut down."""


class Forked(Error):
    """The handle belongs to the parent process, and cannot be opened again here."""


class Corrupt(Error):
    """Another process has written over the channel."""


class PeerGone(Error):
    """The participant to which the handle's waits are bound has gone."""


class Cancelled(Error):
    """The wait was cancelled from another thread."""


class Unwoken(Error):
    """The operation was done, but the kernel refuses to wake a peer that sleeps."""


class HandleClosed(Error, ValueError):
    """This handle, or this message, has been closed."""


class CallError(Error):
    """A call was not replied to."""


class CallTimeout(CallError, Timeout):
    """There was no reply until the time-out. A server may have served the call."""


class ServerDied(CallError):
    """The server that had taken the call has died."""


class NoServer(CallError):
    """The last server has gone, and none had taken the call."""


class Refused(CallError):
    """The server has let the call go without a reply."""
