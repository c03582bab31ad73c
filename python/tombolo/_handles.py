"""Segments, channels and their ends."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Literal, Self

from tombolo import _native, _process
from tombolo._aio import AsyncClient, AsyncReceiver, AsyncSender, AsyncServer
from tombolo._errors import BadOption
from tombolo._types import Type

Start = Literal["newest", "oldest"] | int


class Segment(_native.Segment):
    """A segment that this process participates in: see ``tombolo.open``.

    As the subject of ``with``, it is left when the body ends. It can be pickled: whoever unpickles
    it opens it by its id, while a process has it open."""

    def __new__(cls, how: str, name: str | None = None, **rest: Any) -> Self:
        made = super().__new__(cls, how, name, **rest)
        _process.segments[made.id] = made
        return made

    def channel(
        self,
        name: str,
        type: Type | str | None = None,
        capacity: int | None = None,
        *,
        dtype: Any = None,
        format: str | None = None,
        fields: Iterable[str] | None = None,
        type_name: str | None = None,
        spsc: bool = False,
        lasting: bool = False,
        redeliver: int | None = None,
    ) -> Channel:
        """The channel of this name, in which each message goes to one receiver.

        What its messages are is said by ``type``, the schema of a Rust type, or by ``dtype``, of
        numpy, or by ``format``, of the module ``struct``; ``type_name`` and ``fields`` name what
        these leave open. With none of them, the channel must exist, and is taken as it is.

        It is created if it does not exist and a ``capacity`` is given, in messages. ``spsc``: it
        has one sender and one receiver at a time. ``lasting``: nobody is told ``Disconnected``.
        ``redeliver``: how often a message comes again whose receiver has died."""
        described = _type(type, dtype, format, fields, type_name)
        if described is None:
            if (capacity, spsc, lasting, redeliver) != (None, False, False, None):
                raise BadOption("say what the messages are: by type, dtype or format")
            return Channel(self, name)
        return Channel(
            self,
            name,
            kind="spsc" if spsc else "mpmc",
            type=described,
            capacity=capacity,
            lasting=lasting,
            redeliver=redeliver,
        )

    def bytes(
        self,
        name: str,
        capacity: int | None = None,
        longest: int | None = None,
        *,
        spsc: bool = False,
        lasting: bool = False,
        redeliver: int | None = None,
    ) -> Channel:
        """The channel of bytes of this name, for messages of up to ``longest`` bytes."""
        return Channel(
            self,
            name,
            kind="spsc bytes" if spsc else "mpmc bytes",
            capacity=capacity,
            longest=longest,
            lasting=lasting,
            redeliver=redeliver,
        )

    def broadcast(
        self,
        name: str,
        type: Type | str | None = None,
        capacity: int | None = None,
        *,
        dtype: Any = None,
        format: str | None = None,
        fields: Iterable[str] | None = None,
        type_name: str | None = None,
        lasting: bool = False,
        publishers: int | None = None,
        reliable: int | None = None,
    ) -> Broadcast:
        """The broadcast channel of this name, in which each subscriber gets every message.

        ``publishers`` and ``reliable`` say how many publishers and reliable subscribers there may
        be at a time; the rest is as for ``channel``."""
        described = _type(type, dtype, format, fields, type_name)
        if described is None:
            if (capacity, lasting, publishers, reliable) != (None, False, None, None):
                raise BadOption("say what the messages are: by type, dtype or format")
            return Broadcast(self, name)
        return Broadcast(
            self,
            name,
            kind="broadcast",
            type=described,
            capacity=capacity,
            lasting=lasting,
            publishers=publishers,
            reliable=reliable,
        )

    def broadcast_bytes(
        self,
        name: str,
        capacity: int | None = None,
        longest: int | None = None,
        *,
        lasting: bool = False,
        publishers: int | None = None,
        reliable: int | None = None,
    ) -> Broadcast:
        """The broadcast channel of bytes of this name."""
        return Broadcast(
            self,
            name,
            kind="broadcast bytes",
            capacity=capacity,
            longest=longest,
            lasting=lasting,
            publishers=publishers,
            reliable=reliable,
        )

    def service(
        self,
        name: str,
        request: Any = None,
        reply: Any = None,
        capacity: int | None = None,
        *,
        lasting: bool = False,
    ) -> Service:
        """The service of this name: a client makes a call with a request, one of the servers
        takes it, and replies to that client.

        ``request`` and ``reply`` say what these are: a ``Type``, the schema of a Rust type, or a
        dtype of numpy. With neither, the service must exist, and is taken as it is.

        It is created if it does not exist and a ``capacity`` is given, for so many calls at once.
        ``lasting``: a call waits for the next server to come, instead of ``NoServer``."""
        if request is None and reply is None:
            if (capacity, lasting) != (None, False):
                raise BadOption("say what is asked and what is replied: by types or dtypes")
            return Service(self, name)
        if request is None or reply is None:
            raise BadOption("say both what is asked and what is replied")
        types = _type_of(request), _type_of(reply)
        return Service(self, name, kind="calls", types=types, capacity=capacity, lasting=lasting)

    def service_bytes(
        self,
        name: str,
        capacity: int | None = None,
        longest_request: int | None = None,
        longest_reply: int | None = None,
        *,
        lasting: bool = False,
    ) -> Service:
        """The service of bytes of this name, for requests and replies of up to so many bytes."""
        return Service(
            self,
            name,
            kind="calls bytes",
            capacity=capacity,
            longest=longest_request,
            longest_reply=longest_reply,
            lasting=lasting,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def __reduce__(self) -> tuple[Any, ...]:
        return _segment, (self.id,)

    def __repr__(self) -> str:
        return "<tombolo.Segment, left>" if self.closed else f"<tombolo.Segment {self.name}>"


def _segment(id: int) -> Segment:
    found = _process.segments.get(id)
    return Segment("id", id=id) if found is None or found.closed else found


def _type(
    type: Type | str | None,
    dtype: Any,
    format: str | None,
    fields: Iterable[str] | None,
    type_name: str | None,
) -> Type | None:
    if sum(given is not None for given in (type, dtype, format)) > 1:
        raise BadOption("type, dtype and format exclude each other")
    if dtype is not None:
        return Type.of_dtype(dtype, type_name)
    if format is not None:
        return Type.of_format(format, type_name, fields)
    return Type.of_schema(type) if isinstance(type, str) else type


def _type_of(described: Any) -> Type:
    """A type, a schema, or whatever else numpy takes for a dtype."""
    if isinstance(described, Type):
        return described
    return Type.of_schema(described) if isinstance(described, str) else Type.of_dtype(described)


class Channel(_native.Channel):
    """A channel to open, or to create: see ``Segment.channel``. It can be pickled."""

    def __new__(cls, segment: Segment, name: str, *, type: Type | None = None, **rest: Any) -> Self:
        if type is None:
            made = super().__new__(cls, segment, name, **rest)
        else:
            element = (type.size, type.align, type.schema)
            made = super().__new__(cls, segment, name, element=element, layout=type.layout, **rest)
        made._spec = {"type": type, **rest}
        made._type = type
        return made

    _spec: dict[str, Any]
    _type: Type | None

    @property
    def type(self) -> Type | None:
        """What its messages are; ``None`` if they are bytes, or if it is taken as it is."""
        return self._type

    def sender(self) -> Sender:
        """Opens the sending end."""
        return Sender(self)

    def receiver(self) -> Receiver:
        """Opens the receiving end; of a broadcast channel, a subscriber."""
        return Receiver(self)

    def _codec(self) -> tuple[Any, Any]:
        return (None, None) if self._type is None else self._type.codec()

    def __reduce__(self) -> tuple[Any, ...]:
        return _channel, (self.__class__, self.segment, self.name, self._spec)

    def __repr__(self) -> str:
        return f"<tombolo.{self.__class__.__name__} {self.name}>"


def _channel(cls: Any, segment: Segment, name: str, spec: dict[str, Any]) -> Channel:
    # It exists, or whoever opens it first creates it.
    return cls(segment, name, **spec)  # type: ignore[no-any-return]


class Broadcast(Channel):
    """A broadcast channel: see ``Segment.broadcast``."""

    def publisher(self) -> Sender:
        """Opens a publisher."""
        return Sender(self)

    def subscriber(
        self, start: Start = "newest", *, on_lag: Literal["raise", "skip"] = "raise"
    ) -> Receiver:
        """Opens a subscriber for which nobody waits.

        It begins with the ``"newest"`` message, which is the next one; with the ``"oldest"`` that
        is retained; or with a number of last messages. If it is too slow, it loses some:
        ``Lagged`` says how many, or ``"skip"`` counts them in ``missed`` only."""
        return Receiver(self, role="subscriber", start=start, on_lag=on_lag)

    def reliable_subscriber(self, start: Start = "newest") -> Receiver:
        """Opens a subscriber for which publishers wait when it is a whole capacity behind."""
        return Receiver(self, role="reliable", start=start)


class Service(_native.Channel):
    """A service to open, or to create: see ``Segment.service``. It can be pickled."""

    def __new__(
        cls, segment: Segment, name: str, *, types: tuple[Type, Type] | None = None, **rest: Any
    ) -> Self:
        if types is None:
            made = super().__new__(cls, segment, name, **rest)
        else:
            element, reply = ((type.size, type.align, type.schema) for type in types)
            made = super().__new__(cls, segment, name, element=element, reply=reply, **rest)
        made._spec = {"types": types, **rest}
        made._types = types
        return made

    _spec: dict[str, Any]
    _types: tuple[Type, Type] | None

    def client(self, *, repeats: int = 0) -> Client:
        """Opens the calling end. ``repeats``: how many servers may be killed over a call before it
        fails (15 at most): another one serves it again, instead of ``ServerDied``."""
        return Client(self, repeats=repeats)

    def server(self) -> Server:
        """Opens the serving end."""
        return Server(self)

    def _codecs(self) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        if self._types is None:
            return (None, None), (None, None)
        request, reply = self._types
        return request.codec(), reply.codec()

    def __reduce__(self) -> tuple[Any, ...]:
        return _channel, (self.__class__, self.segment, self.name, self._spec)

    def __repr__(self) -> str:
        return f"<tombolo.Service {self.name}>"


class Client(AsyncClient):
    """The calling end of a service, for all threads of a process. It can be pickled: another process
    opens an end of its own."""

    def __new__(cls, service: Service, *, repeats: int = 0) -> Self:
        (encode, _), (_, decode) = service._codecs()
        made = super().__new__(cls, service, encode, decode, repeats=repeats)
        _process.opened(made)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _client, (self.channel, self.repeats)

    def __repr__(self) -> str:
        return f"<tombolo.Client of {self.channel.name}{', closed' if self.closed else ''}>"


def _client(service: Service, repeats: int) -> Client:
    return Client(service, repeats=repeats)


class Server(AsyncServer):
    """The serving end of a service, for all threads of a process. It can be pickled, as a
    client."""

    def __new__(cls, service: Service) -> Self:
        (_, decode), (encode, _) = service._codecs()
        made = super().__new__(cls, service, decode, encode)
        _process.opened(made)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return Server, (self.channel,)

    def __repr__(self) -> str:
        return f"<tombolo.Server of {self.channel.name}{', closed' if self.closed else ''}>"


class Sender(AsyncSender):
    """The sending end of a channel, for all threads of a process.

    It can be pickled: another process opens an end of its own. That of an SPSC channel is opened
    at its first use, so that the one in this process can be closed before."""

    def __new__(cls, channel: Channel, *, later: bool = False) -> Self:
        made = super().__new__(cls, channel, channel._codec()[0], later=later)
        _process.opened(made)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _sender, (self.channel,)

    def __repr__(self) -> str:
        return f"<tombolo.Sender of {self.channel.name}{', closed' if self.closed else ''}>"


def _is_single(channel: Channel) -> bool:
    kind = channel._spec.get("kind") or channel.describe()["kind"]
    return str(kind).startswith("spsc")


def _sender(channel: Channel) -> Sender:
    return Sender(channel, later=_is_single(channel))


class Receiver(AsyncReceiver):
    """The receiving end of a channel, for all threads of a process.

    It can be pickled, as a sender. A subscriber that is unpickled begins with the next message."""

    def __new__(
        cls,
        channel: Channel,
        *,
        role: str = "receiver",
        start: Start = "newest",
        on_lag: str = "raise",
        later: bool = False,
    ) -> Self:
        if on_lag not in ("raise", "skip"):
            raise BadOption(f'on_lag is "raise" or "skip", and not {on_lag!r}')
        made = super().__new__(
            cls,
            channel,
            channel._codec()[1],
            role=role,
            start=start,
            skips=on_lag == "skip",
            later=later,
        )
        made._role = {"role": role, "on_lag": on_lag}
        _process.opened(made)
        return made

    _role: dict[str, str]

    def __reduce__(self) -> tuple[Any, ...]:
        return _receiver, (self.channel, self._role)

    def __repr__(self) -> str:
        return f"<tombolo.Receiver of {self.channel.name}{', closed' if self.closed else ''}>"


def _receiver(channel: Channel, role: dict[str, str]) -> Receiver:
    return Receiver(channel, later=_is_single(channel), **role)  # type: ignore[arg-type]


End = Sender | Receiver | Client | Server


class WaitSet:
    """Waits for any of many ends of one segment: senders, receivers, clients and servers."""

    def __init__(self) -> None:
        self._members: dict[Any, End] = {}

    def add(self, end: End, key: Any = None) -> None:
        """Adds an end; ``wait`` returns its key, which is the end itself if none is given."""
        key = end if key is None else key
        if key in self._members:
            raise BadOption(f"the key {key!r} is another member's")
        self._members[key] = end

    def remove(self, key: Any) -> None:
        """Removes the member with this key."""
        del self._members[key]

    def __len__(self) -> int:
        return len(self._members)

    def wait(self, timeout: float | None = None) -> list[Any]:
        """The keys of members whose next call would come to something: a message, room, or an
        error. Waits until there is one, for ``timeout`` seconds at most; then there is none.

        Use the calls that do not wait: another process may be faster."""
        if not self._members:
            raise BadOption("a wait set has at least one member")
        keys, ends = list(self._members), list(self._members.values())
        return [keys[at] for at in _native.wait(ends[0].channel.segment, ends, timeout)]


def wait(ends: Iterable[End], timeout: float | None = None) -> list[End]:
    """Waits for any of these ends of one segment: see ``WaitSet.wait``."""
    waiting = WaitSet()
    for end in ends:
        waiting.add(end)
    return waiting.wait(timeout)


def open(name: str, **options: Any) -> Segment:
    """Opens a segment that exists. ``any_owner`` accepts one of another user's, and ``timeout``
    says how many seconds to wait for a process that is creating or leaving it."""
    return Segment("open", name, options=options)


def create(name: str, **options: Any) -> Segment:
    """Creates a segment; none of this name may exist.

    The options are those of the library: ``size`` in bytes for all channels together,
    ``participants``, ``channels``, ``mode``, ``transient``, ``no_reserve``, ``prefault``,
    ``symmetric_fences``, ``core_dumps``, ``any_owner`` and ``timeout``."""
    return Segment("create", name, options=options)


def open_or_create(name: str, **options: Any) -> Segment:
    """Opens a segment, or creates it with these options: see ``create``."""
    return Segment("open_or_create", name, options=options)


def anonymous(**options: Any) -> Segment:
    """Creates a segment without a name, whose memory goes with its last process."""
    return Segment("anonymous", options=options)


def open_id(id: int, **options: Any) -> Segment:
    """Opens a segment by its id."""
    return Segment("id", id=id, options=options)


def remove(name: str) -> None:
    """Removes the segment of this name: every call in it ends, in every process."""
    _native.Segment.remove_named(os.fspath(name))
