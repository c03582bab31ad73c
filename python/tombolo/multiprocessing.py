"""A ``multiprocessing`` context whose queues survive the ``kill -9`` of any process.

``get_context(method)`` returns what ``multiprocessing.get_context(method)`` does, with ``Queue``,
``JoinableQueue`` and ``SimpleQueue`` of shared memory. The rest of a context (``Process``,
``Pool``, locks, managers) is the standard library's.

What differs from the standard library, and what the limits are: see
``docs/multiprocessing.md`` beside this package's README.
"""

import collections
import contextlib
import copyreg
import functools
import io
import multiprocessing
import os
import pickle
import threading
import time
import traceback
import types
import weakref
from multiprocessing import context, util
from multiprocessing.reduction import ForkingPickler
from queue import Empty, Full
from typing import NamedTuple

from tombolo import _native
from tombolo._errors import Cancelled

__all__ = ["JoinableQueue", "Queue", "SimpleQueue", "get_context"]

# What a message is: see the native half.
_PICKLED, _BYTES, _BUFFERS, _ARRAY = 0, 1, 2, 3
# Buffers from this size on go beside the pickle.
_BESIDE = 4096
# Types without anything inside that a reducer could be registered for.
_PLAIN = frozenset({int, float, complex, str, bool, type(None)})
# So many bytes of addresses a queue takes, at most.
_ADDRESSES = 256 << 30
_LEAST = 64 << 10
# A queue that is to hold more than this is not bounded.
_MOST = 1 << 20
# So long a queue without a ``maxsize`` waits for room: while somebody receives, that costs less
# than to keep what is put, and have a thread send it.
_MOMENT = 0.005
# A child that was forked needs less time than this to open what it was given.
_STARTING = 2.0


class Options(NamedTuple):
    """What the queues of a context are like."""

    longest: int = 256 << 20
    capacity: int = 192
    participants: int = 256
    redeliver: int = 8


def get_context(method=None, **options):
    """The context of a start method (``fork``, ``spawn``, ``forkserver``; by default, that of
    ``multiprocessing``).

    ``longest``: how many bytes an object may have, pickled (256 MiB; at most 1 GiB).
    ``capacity``: how many objects of an unbounded queue are in shared memory; more wait in the
    process that puts them (192). ``participants``: how many processes may use a queue at a
    time (256). ``redeliver``: how often a job comes again after a worker was killed over it (8;
    up to 15).
    """
    method = method or multiprocessing.get_start_method()
    try:
        made = _CONTEXTS[method]
    except KeyError:
        raise ValueError(f"cannot find context for {method!r}") from None
    return made(Options(**options))


class _Queues:
    """What makes a context one of ours."""

    def __init__(self, options=Options()):
        super().__init__()
        self._options = options

    def Queue(self, maxsize=0):
        """A queue of objects; with a ``maxsize``, of so many at most."""
        return Queue(maxsize, ctx=self.get_context())

    def JoinableQueue(self, maxsize=0):
        """A queue that knows which of its objects are done."""
        return JoinableQueue(maxsize, ctx=self.get_context())

    def SimpleQueue(self):
        """A queue without time-outs."""
        return SimpleQueue(ctx=self.get_context())


class _ForkContext(_Queues, context.ForkContext):
    pass


class _SpawnContext(_Queues, context.SpawnContext):
    pass


class _ForkServerContext(_Queues, context.ForkServerContext):
    pass


_CONTEXTS = {"fork": _ForkContext, "spawn": _SpawnContext, "forkserver": _ForkServerContext}


class _Pickler(pickle.Pickler):
    """Pickles what ``multiprocessing`` does, without making a table of reducers each time."""

    dispatch_table = {}
    made_of = None


def _reducers():
    """The reducers that are registered, as one dict: a chain of them is slow to look into."""
    registered = ForkingPickler._extra_reducers, copyreg.dispatch_table
    if _Pickler.made_of != registered:
        extra, usual = map(dict, registered)
        _Pickler.dispatch_table, _Pickler.made_of = usual | extra, (extra, usual)
    return _Pickler.dispatch_table


def _is_plain_array(obj, kind):
    """Whether it is an array of numpy's which its memory, its dtype and its shape describe."""
    if kind.__name__ != "ndarray" or kind.__module__ != "numpy" or kind in _reducers():
        return False
    dtype = obj.dtype
    return (
        dtype.isbuiltin == 1
        and dtype.kind in "biufc"
        and dtype.metadata is None
        and obj.nbytes >= _BESIDE
        and obj.flags.c_contiguous
    )


@functools.lru_cache(256)
def _head_of(dtype, shape):
    return f"{dtype.str} {' '.join(map(str, shape))}".encode()


@functools.lru_cache(256)
def _described(head):
    import numpy

    dtype, *shape = head.decode().split()
    return numpy.frombuffer, numpy.dtype(dtype), tuple(map(int, shape))


def _array(head, buffers):
    """The array of a message."""
    frombuffer, dtype, shape = _described(head)
    return frombuffer(buffers[0], dtype).reshape(shape)


def _dump(obj):
    """An object as a message: what it is, its bytes, and its buffers or None."""
    kind = type(obj)
    if kind is bytes:
        return _BYTES, obj, None
    if kind in _PLAIN:
        return _PICKLED, pickle.dumps(obj, 5), None
    if _is_plain_array(obj, kind):
        return _ARRAY, _head_of(obj.dtype, obj.shape), [(obj, not obj.flags.writeable)]
    buffers = []

    def beside(buffer):
        raw = buffer.raw()
        if raw.nbytes < _BESIDE:
            return True
        buffers.append((raw, raw.readonly))
        return False

    _reducers()
    out = io.BytesIO()
    _Pickler(out, 5, buffer_callback=beside).dump(obj)
    if buffers:
        return _BUFFERS, out.getvalue(), buffers
    return _PICKLED, out.getvalue(), None


def _wait(block, timeout):
    """How long to wait, as the native half takes it."""
    if not block:
        return 0.0
    return None if timeout is None else max(timeout, 0.0)


def _asyncio():
    # Only programs that use it load it.
    import asyncio

    return asyncio


class _Link:
    """A queue as this process has it: opened again where a process was forked."""

    def __init__(self, native, joinable):
        self.id = native.id
        self.joinable = joinable
        self._start(native)
        _links.add(self)
        util.register_after_fork(self, _Link.reopen)

    def _start(self, native):
        self._native = native
        # After children have been joined and everything has been sent.
        self.leave = util.Finalize(self, _leave, (native,), exitpriority=-100)

    @classmethod
    def create(cls, maxsize, options, joinable=False):
        _end_lingering()
        capacity = maxsize if 0 < maxsize <= _MOST else options.capacity
        longest = max(min(options.longest, _ADDRESSES // capacity), _LEAST)
        native = _native.Queue.create(
            capacity, longest + 1, options.participants, options.redeliver, joinable
        )
        return cls(native, joinable)

    @classmethod
    def attach(cls, id, joinable):
        return cls(_native.Queue.attach(id, joinable), joinable)

    @property
    def native(self):
        return self._native or self.reopen()

    def reopen(self):
        """Opens the queue in a forked child. What the parent has open stays the parent's."""
        if self._native is None:
            self._start(_native.Queue.attach(self.id, self.joinable))
        return self._native

    def forget(self):
        """In a forked child, what is open is the parent's."""
        self._native = None


_links = weakref.WeakSet()
_forked = 0.0
# What this process is to leave when its children have opened it.
_lingering = collections.deque()


def _leave(native):
    if time.monotonic() < _forked + _STARTING:
        _lingering.append((_forked + _STARTING, native))
    else:
        native.close()
    _end_lingering()


def _end_lingering():
    while _lingering and _lingering[0][0] <= time.monotonic():
        _lingering.popleft()[1].close()


def _after_fork_in_parent():
    global _forked
    _forked = time.monotonic()


def _after_fork_in_child():
    _lingering.clear()
    for link in list(_links):
        link.forget()


os.register_at_fork(
    after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)


def _given_to_child(queue, link):
    """A child is given the queue: this process keeps it at least as long as the child's
    ``Process``."""
    context.assert_spawning(queue)
    popen = context.get_spawning_popen()
    vars(popen).setdefault("_tombolo", []).append(link)


class _Overflow:
    """What a process has put and there is no room for yet: a thread sends it, in its order."""

    def __init__(self, link, on_error):
        self._link = link
        self._on_error = on_error
        self._changed = threading.Condition()
        self._waiting = collections.deque()
        self._thread = None
        # At the end of the process: before the queue is left.
        self._at_end = None
        self.cancelled = False

    def __len__(self):
        return len(self._waiting)

    def add(self, message):
        tag, payload, buffers = message
        # As they are now.
        if buffers:
            message = tag, payload, [(bytes(raw), read_only) for raw, read_only in buffers]
        with self._changed:
            self._waiting.append(message)
            if self._thread is None:
                if not self.cancelled:
                    self._at_end = util.Finalize(None, self.flush, exitpriority=-5)
                self._thread = threading.Thread(
                    target=self._send, name="QueueFeederThread", daemon=True
                )
                self._thread.start()

    def _send(self):
        native, waiting = self._link.native, self._waiting
        while True:
            try:
                native.send(*waiting[0])
            except Exception as error:
                self._on_error(error, None)
            with self._changed:
                # Only now: nobody puts anything past it.
                waiting.popleft()
                if not waiting:
                    self._thread = None
                    if self._at_end is not None:
                        self._at_end.cancel()
                    self._changed.notify_all()
                    return

    def cancel(self):
        """The process does not wait at its end."""
        self.cancelled = True
        if self._at_end is not None:
            self._at_end.cancel()

    def flush(self):
        """Waits until all is sent, or nobody is left to receive it."""
        if self.cancelled:
            return
        alone = 0
        with self._changed:
            while self._waiting and alone < 20:
                self._changed.wait(0.05)
                alone = alone + 1 if self._link.native.processes() <= 1 else 0


class Queue:
    """A queue of objects between processes: ``multiprocessing.Queue`` in shared memory.

    ``put`` sends at once. If there is no room, and the queue has no ``maxsize``, the object waits
    in this process, and a thread sends it later.
    """

    _joinable = False

    def __init__(self, maxsize=0, *, ctx):
        options = getattr(ctx, "_options", None) or Options()
        self._maxsize = maxsize if 0 < maxsize <= _MOST else 0
        self._link = _Link.create(self._maxsize, options, self._joinable)
        self._reset()
        util.register_after_fork(self, Queue._reset)

    def _reset(self):
        self._closed = False
        self._used = False
        self._overflow = _Overflow(self._link, self._on_queue_feeder_error)
        self._watches = weakref.WeakKeyDictionary()
        self._reader = _Reader(self._link)
        self._writer = _Writer(self._link)

    def __getstate__(self):
        _given_to_child(self, self._link)
        return self._link.id, self._maxsize

    def __setstate__(self, state):
        id, self._maxsize = state
        self._link = _Link.attach(id, self._joinable)
        self._reset()
        util.register_after_fork(self, Queue._reset)

    def _check(self):
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")

    def put(self, obj, block=True, timeout=None):
        """Puts an object. With a ``maxsize``, waits for room: ``Full`` if there is none in time.

        An object that cannot be pickled goes to ``_on_queue_feeder_error``, which prints why.
        """
        self._check()
        self._used = True
        try:
            message = _dump(obj)
        except Exception as error:
            self._on_queue_feeder_error(error, obj)
            return
        if not self._maxsize:
            self._put_somewhere(message, _MOMENT)
        elif not self._link.native.send(*message, _wait(block, timeout)):
            raise Full

    def _put_somewhere(self, message, wait):
        """Sends a message; if there is no room, and none for a moment, keeps it."""
        # Nobody passes what is kept.
        if self._overflow or not self._link.native.send(*message, wait):
            self._overflow.add(message)

    def get(self, block=True, timeout=None):
        """Gets an object. Waits for one: ``Empty`` if there is none in time."""
        self._check()
        return self._reader.get(_wait(block, timeout))

    def put_nowait(self, obj):
        """Puts an object, or raises ``Full``."""
        return self.put(obj, False)

    def get_nowait(self):
        """Gets an object, or raises ``Empty``."""
        return self.get(False)

    def take_each(self, timeout=None):
        """Takes one job after the other in hand. With a ``timeout``, ends when none has come for
        so many seconds.

        A job is acknowledged when the loop comes for the next one, or by ``job.done()``. If the
        loop ends in another way (``break``, ``return``, an exception), or this process is
        killed, the job that is in hand comes again.
        """
        while True:
            self._check()
            try:
                job = self._link.native.take(timeout)
            except Empty:
                return
            try:
                yield job
            except BaseException:
                job.give_back()
                raise
            job.done()
            # It is not kept until the next one is there.
            del job

    def qsize(self):
        """How many objects were put and not got: by all processes, except for what waits in
        others."""
        return len(self._link.native) + len(self._overflow)

    def empty(self):
        """Whether no object is there."""
        if self._closed and self._used:
            raise OSError("handle is closed")
        return not self._reader.poll()

    def full(self):
        """Whether a ``put`` would wait."""
        return bool(self._maxsize) and self._link.native.is_full()

    def close(self):
        """Ends the use of the queue by this process. What was put is still sent."""
        self._closed = True

    def join_thread(self):
        """Waits until everything that this process has put is sent."""
        assert self._closed, f"Queue {self!r} not closed"
        self._overflow.flush()

    def cancel_join_thread(self):
        """This process does not wait, when it ends, until everything is sent."""
        self._overflow.cancel()

    @staticmethod
    def _on_queue_feeder_error(e, obj):
        traceback.print_exception(e)

    async def aget(self):
        """Gets an object, in a task. A cancelled call has taken nothing."""
        self._check()
        native = self._link.native
        fd = native.recv_fd()
        while True:
            with contextlib.suppress(Empty):
                return native.poll_recv()
            await self._ready(fd)

    async def aput(self, obj):
        """Puts an object, in a task. A cancelled call has put nothing."""
        self._check()
        self._used = True
        message = _dump(obj)
        if not self._maxsize:
            return self._put_somewhere(message, 0.0)
        native = self._link.native
        fd = native.send_fd()
        while not native.poll_send(*message):
            if self._joinable:
                # Its jobs are sent with a token each, for which no descriptor watches.
                await _asyncio().sleep(0.005)
            else:
                await self._ready(fd)

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await self.aget()

    async def _ready(self, fd):
        """Waits until a descriptor is readable: one task for each time that it is."""
        loop = _asyncio().get_running_loop()
        waiting = self._watches.setdefault(loop, {}).setdefault(fd, collections.deque())

        def readable():
            while waiting:
                first = waiting.popleft()
                if not first.done():
                    first.set_result(None)
                    break
            if not waiting:
                loop.remove_reader(fd)

        mine = loop.create_future()
        waiting.append(mine)
        if len(waiting) == 1:
            loop.add_reader(fd, readable)
        try:
            await mine
        finally:
            if mine in waiting:
                waiting.remove(mine)
                if not waiting:
                    loop.remove_reader(fd)

    __class_getitem__ = classmethod(types.GenericAlias)


class JoinableQueue(Queue):
    """A queue that counts which of its objects are not done.

    If a worker is killed between ``get`` and ``task_done``, its job counts as ended. A job that was
    taken by ``take_each`` comes again instead, and is not done before.
    """

    _joinable = True

    def task_done(self):
        """Says that an object that this process has got is done."""
        self._link.native.task_done()

    def join(self):
        """Waits until every object that was put is done."""
        native = self._link.native
        while self._overflow or native.unfinished():
            # Rung for every one that is done; a death rings nothing.
            native.wait_done(0.05)
            time.sleep(0.0005)
        native.pass_on()


class SimpleQueue:
    """A queue without time-outs: ``put`` waits for room, ``get`` for an object."""

    def __init__(self, *, ctx):
        options = getattr(ctx, "_options", None) or Options()
        self._link = _Link.create(0, options)
        self._reset()
        util.register_after_fork(self, SimpleQueue._reset)

    def _reset(self):
        self._reader = _Reader(self._link)
        self._writer = _Writer(self._link)
        # The queue needs none; ``Pool`` asks for one to receive alone.
        self._rlock = _Alone(self._reader)
        self._poll = self._reader.poll

    def __getstate__(self):
        _given_to_child(self, self._link)
        return self._link.id

    def __setstate__(self, id):
        self._link = _Link.attach(id, False)
        self._reset()
        util.register_after_fork(self, SimpleQueue._reset)

    def put(self, obj):
        """Puts an object. Waits for room."""
        self._writer.send(obj)

    def get(self):
        """Gets an object. Waits for one."""
        return self._reader.recv()

    def empty(self):
        """Whether no object is there."""
        return not self._reader.poll()

    def close(self):
        """Ends the use of the queue by this process."""
        self._reader.close()
        self._writer.close()

    __class_getitem__ = classmethod(types.GenericAlias)


class _End:
    """One end of a queue, with what ``Pool`` and executors use of a ``Connection``."""

    def __init__(self, link):
        self._link = link
        self.closed = False

    def _open(self):
        if self.closed:
            raise OSError("handle is closed")
        return self._link.native

    def close(self):
        self.closed = True


class _Writer(_End):
    def send(self, obj):
        native = self._open()
        native.send(*_dump(obj))


class _Reader(_End):
    # Whether ``recv`` is not to wait: see _Alone.
    alone = False

    def __init__(self, link):
        super().__init__(link)
        self._pump = None
        # One for each thread that receives without the pump.
        self._direct = []

    def get(self, wait):
        while True:
            self._direct.append(None)
            try:
                pump = self._pump
                if pump is None:
                    return self._link.native.recv(wait)
            except Cancelled:
                if self._pump is None:
                    raise
                continue
            finally:
                self._direct.pop()
            return pump.get(wait)

    def recv(self):
        self._open()
        if not self.alone:
            return self.get(None)
        with contextlib.suppress(Empty):
            return self.get(0.0)
        return None

    def poll(self, timeout=0.0):
        native = self._open()
        deadline = None if timeout is None else time.monotonic() + timeout
        while not (len(native) or self._pump):
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(0.001)
        return True

    def fileno(self):
        """A descriptor that is readable exactly when ``recv`` does not wait."""
        self._open()
        if self._pump is None:
            self._pump = _Pump(self._link)
            # A thread that waits without the pump is to wait for it.
            while self._direct:
                self._link.native.interrupt()
                time.sleep(0.0005)
        return self._pump.fd

    def close(self):
        super().close()
        self._pump = None


class _Alone:
    """A lock that nobody needs: two processes may receive at the same time. A process that has
    acquired it takes away what is there, and does not wait for more."""

    def __init__(self, reader):
        self._reader = reader

    def acquire(self, block=True, timeout=None):
        self._reader.alone = True
        return True

    def release(self):
        self._reader.alone = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class _Pump:
    """A thread that receives into this process, for ``multiprocessing.connection.wait``.

    That waits for descriptors, and whoever waits takes it for granted that ``recv`` does not wait
    afterwards. The queue's own descriptor may be readable for nothing.
    """

    def __init__(self, link):
        self._received = _Received(_native.Queue.attach(link.id, link.joinable))
        # When the reader is closed or collected.
        weakref.finalize(self, self._received.end).atexit = False

    @property
    def fd(self):
        return self._received.fd

    def __len__(self):
        return len(self._received.objects)

    def get(self, wait):
        return self._received.get(wait)


class _Received:
    """What a pump has received, and nobody has got."""

    _AHEAD = 64

    def __init__(self, native):
        self._native = native
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._ended = False
        self.objects = collections.deque()
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="QueuePump", daemon=True)
        self._at_end = util.Finalize(None, self._end_and_wait, exitpriority=-50)
        self._thread.start()

    def _run(self):
        while not self._ended:
            try:
                received = self._native.recv(), None
            except Exception as error:
                received = None, error
            with self._changed:
                self._changed.wait_for(lambda: self._ended or len(self.objects) < self._AHEAD)
                if not self._ended:
                    self.objects.append(received)
                    os.eventfd_write(self.fd, 1)
                    self._changed.notify_all()
            # It is the receiver's.
            del received
        os.close(self.fd)
        self._native.close()

    def get(self, wait):
        with self._changed:
            if not self._changed.wait_for(lambda: self.objects, wait):
                raise Empty
            obj, error = self.objects.popleft()
            if not self.objects:
                os.eventfd_read(self.fd)
            self._changed.notify_all()
        if error is not None:
            raise error
        return obj

    def end(self):
        """Ends the thread. In a forked child there is none."""
        if self._pid != os.getpid():
            os.close(self.fd)
            return
        self._at_end.cancel()
        self._ended = True
        self._native.cancel()
        with self._changed:
            self._changed.notify_all()

    def _end_and_wait(self):
        self.end()
        self._thread.join(1)
