"""Ends that are awaited, in an event loop of asyncio.

A call first tries. If it finds nothing, it waits for the descriptor of a handle to be readable,
and tries again. Nothing is awaited between a try that succeeds and the return of its result, so a
call that is cancelled has done nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

from tombolo import _native
from tombolo._errors import Disconnected, Empty, Full, HandleClosed


# Of each loop, by its descriptor: those who wait for it to be readable.
_readers: weakref.WeakKeyDictionary[Any, dict[int, set[asyncio.Future[None]]]]
_readers = weakref.WeakKeyDictionary()


async def _readable(fd: int) -> None:
    """Waits until a descriptor is readable, together with others."""
    loop = asyncio.get_running_loop()
    waiting = _readers.setdefault(loop, {})
    here = waiting.setdefault(fd, set())
    mine = loop.create_future()
    if not here:
        loop.add_reader(fd, _wake_all, here)
    here.add(mine)
    try:
        await mine
    finally:
        here.discard(mine)
        if not here:
            del waiting[fd]
            loop.remove_reader(fd)


def _wake_all(waiting: set[asyncio.Future[None]]) -> None:
    for one in list(waiting):
        _wake(one)


async def reply(pending: _native.PendingCall) -> Any:
    """The reply of a call that is under way. If the task is cancelled, the call goes on."""
    while True:
        try:
            return pending.try_wait()
        except Empty:
            await _readable(pending.fileno())


class _Turns:
    """The tasks of each loop wait for the descriptor one after the other."""

    def __init__(self) -> None:
        self._locks: weakref.WeakKeyDictionary[Any, asyncio.Lock] = weakref.WeakKeyDictionary()
        self._waiting: set[asyncio.Future[None]] = set()

    def lock(self) -> asyncio.Lock:
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    async def readable(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        waiting = loop.create_future()
        self._waiting.add(waiting)
        loop.add_reader(fd, _wake, waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)
            loop.remove_reader(fd)

    def close(self, what: str) -> None:
        for waiting in list(self._waiting):
            error = HandleClosed(f"this {what} is closed")
            with contextlib.suppress(RuntimeError):
                waiting.get_loop().call_soon_threadsafe(_fail, waiting, error)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _fail(waiting: asyncio.Future[None], error: Exception) -> None:
    if not waiting.done():
        waiting.set_exception(error)


class _Awaited:
    """What both ends have in common."""

    _turns_made: _Turns | None = None

    def _turns(self) -> _Turns:
        if self._turns_made is None:
            # Two threads may both make one: the first to be set is that of both.
            self.__dict__.setdefault("_turns_made", _Turns())
        return self.__dict__["_turns_made"]  # type: ignore[no-any-return]

    def close(self) -> None:
        """Gives the end up. Calls of it that wait end with ``HandleClosed``."""
        super().close()  # type: ignore[misc]
        if self._turns_made is not None:
            self._turns_made.close("end")

    async def _until(
        self, watch: Callable[[], Any], act: Callable[[Any], Any], nothing: type[Exception]
    ) -> Any:
        """The result of ``act`` with a watch, as soon as it does not raise ``nothing``."""
        turns = self._turns()
        async with turns.lock():
            while True:
                with contextlib.closing(watch()) as watching:
                    try:
                        return act(watching)
                    except nothing:
                        await turns.readable(watching.fileno())

    async def _when(
        self,
        watch: Callable[[], Any],
        finds_nothing: Callable[[Any], bool],
        act: Callable[[], Any],
        nothing: type[Exception],
    ) -> Any:
        """The result of ``act``, which needs the handle that the watch has."""
        turns = self._turns()
        async with turns.lock():
            while True:
                with contextlib.closing(watch()) as watching:
                    if finds_nothing(watching):
                        await turns.readable(watching.fileno())
                with contextlib.suppress(nothing):
                    return act()


class AsyncReceiver(_Awaited, _native.Receiver):
    """What a receiver can do in an event loop."""

    async def arecv(self) -> Any:
        """Receives a message. If the task is cancelled, none is lost."""
        try:
            return self.try_recv()
        except Empty:
            pass
        return await self._until(
            lambda: _native.RecvWatch(self), lambda watch: watch.try_recv(), Empty
        )

    aget = arecv

    async def atake(self) -> _native.Delivery:
        """Takes a message to be read in place: ``with await receiver.atake() as message``."""
        try:
            return self.try_take()
        except Empty:
            pass
        taken: _native.Delivery = await self._when(
            lambda: _native.RecvWatch(self),
            lambda watch: watch.finds_nothing(),
            self.try_take,
            Empty,
        )
        return taken

    async def __aiter__(self) -> AsyncIterator[Any]:
        """The messages, until the last sender has gone."""
        while True:
            try:
                message = await self.arecv()
            except Disconnected:
                return
            yield message


class AsyncSender(_Awaited, _native.Sender):
    """What a sender can do in an event loop."""

    async def asend(self, message: Any) -> None:
        """Sends a message. If the task is cancelled while it waits for room, nothing is sent."""
        try:
            self.try_send(message)
            return
        except Full:
            pass
        await self._until(
            lambda: _native.SendWatch(self), lambda watch: watch.try_send(message), Full
        )

    aput = asend

    async def areserve(self, length: int | None = None) -> _native.Grant:
        """Makes room for a message: ``with await sender.areserve() as place``."""
        try:
            return self.try_reserve(length)
        except Full:
            pass
        place: _native.Grant = await self._when(
            lambda: _native.SendWatch(self),
            lambda watch: watch.finds_no_room(length),
            lambda: self.try_reserve(length),
            Full,
        )
        return place


class AsyncClient(_Awaited, _native.Client):
    """What a client can do in an event loop."""

    async def astart(self, request: Any) -> _native.PendingCall:
        """Makes a call that is under way then: ``await`` gives its reply. If the task is cancelled
        while it waits for a place among the calls, no call is made."""
        try:
            return self.try_start(request)
        except Full:
            pass
        made: _native.PendingCall = await self._until(
            lambda: _native.CallWatch(self), lambda watch: watch.try_start(request), Full
        )
        return made

    async def acall(self, request: Any) -> Any:
        """Makes a call; its reply. If the task is cancelled, the call is given up."""
        pending = await self.astart(request)
        try:
            return await pending
        finally:
            pending.give_up()


class AsyncServer(_Awaited, _native.Server):
    """What a server can do in an event loop."""

    async def arecv(self) -> _native.Call:
        """Takes a call. If the task is cancelled, it has taken none."""
        try:
            return self.try_recv()
        except Empty:
            pass
        taken: _native.Call = await self._until(
            lambda: _native.ServeWatch(self), lambda watch: watch.try_recv(), Empty
        )
        return taken

    async def __aiter__(self) -> AsyncIterator[_native.Call]:
        """The calls, until the last client has gone."""
        while True:
            try:
                call = await self.arecv()
            except Disconnected:
                return
            yield call
