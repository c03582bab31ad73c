#!/usr/bin/env python3
"""A client of Tombolo's segments, from docs/format.md alone.

A test of the document: it shares no code with the library, and tests/format/python.rs
has the two talk to each other. Standard library only, Python 3.9 or later, on
x86-64 Linux.

Python has no atomics. On x86-64 an aligned 8-byte load or store, which is what
ctypes makes of one, is Acquire or Release by itself; compare-and-swap and the
full fence are a few bytes of machine code.

Section numbers in comments are the document's.
"""

import ctypes
import errno
import mmap
import os
import platform
import struct
import sys
import time

if sys.platform != "linux" or platform.machine() != "x86_64" or sys.maxsize < 2**63 - 1:
    sys.exit("python_client.py: only for x86-64 Linux, because of its machine code")

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
libc.shmdt.argtypes = [ctypes.c_void_p]
libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
libc.shmctl.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
libc.semget.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
libc.semctl.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
libc.semtimedop.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
libc.syscall.restype = ctypes.c_long

IPC_RMID, IPC_STAT, GETALL = 0, 2, 13
IPC_NOWAIT, SEM_UNDO, SHM_DEST = 0o4000, 0x1000, 0o1000
SYS_MEMBARRIER = 324
GLOBAL_EXPEDITED, REGISTER_GLOBAL_EXPEDITED = 2, 4

U64 = 2**64 - 1


class Thunks:
    """Compare-and-swap and the full fence. No Python runs meanwhile."""

    def __init__(self):
        cas = bytes.fromhex("f30f1efa 4889f0 f0480fb117 c3")  # mov; lock cmpxchg; ret
        fence = bytes.fromhex("f30f1efa 0faef0 c3")  # mfence; ret
        try:
            self.code = mmap.mmap(-1, mmap.PAGESIZE,
                                  flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
                                  prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        except PermissionError:
            sys.exit("python_client.py: this system forbids writable code")
        self.code.write(cas.ljust(32, b"\xcc") + fence)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.code))
        word = ctypes.c_uint64
        self.cas = ctypes.PYFUNCTYPE(word, ctypes.c_void_p, word, word)(start)
        self.fence = ctypes.PYFUNCTYPE(None)(start + 32)


thunks = Thunks()


class Failed(Exception):
    """What a client cannot go on after."""


class NotFound(Failed):
    pass


class Closed(Failed):
    """The segment has been removed."""


class Disconnected(Failed):
    pass


class Shutdown(Failed):
    """Every operation is refused."""


class Drained(Failed):
    """Nothing more is to be sent."""


class Corrupt(Failed):
    pass


class Mismatch(Failed):
    pass


class RoleTaken(Failed):
    pass


class TooMany(Failed):
    """No entry of a broadcast channel is left."""


class Lagged(Failed):
    """So many messages were missed."""


def call(result):
    if result is None or result == -1 or result == U64:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def up(n, m):
    return (n + m - 1) // m * m


# 2. Names, keys, fingerprints


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & U64
    return h


def key_of(name, probe):
    h = fnv(b"tombolo:" + name.encode() + bytes([probe]))
    return max(1, ((h >> 32) ^ h) & 0x7FFFFFFF)


def fingerprint(schema, size, alignment):
    return fnv(schema.encode() + b"\0" + struct.pack("<QQ", size, alignment))


# 3. The two objects


def shm_stat(shm):
    """Size, and whether it is marked for removal."""
    stat = ctypes.create_string_buffer(256)
    call(libc.shmctl(shm, IPC_STAT, stat))
    return struct.unpack_from("<Q", stat, 48)[0], bool(struct.unpack_from("<H", stat, 20)[0] & SHM_DEST)


def sem_count(sem):
    stat = ctypes.create_string_buffer(256)
    call(libc.semctl(sem, 0, IPC_STAT, stat))
    return struct.unpack_from("<Q", stat, 80)[0]


def find(get, key):
    """An object's id; None if there is none on the key."""
    try:
        return call(get(key, 0, 0))
    except FileNotFoundError:
        return None


def plausible_size(size):
    return size % 4096 == 1803 and size > 512


class Set:
    """The semaphore set."""

    def __init__(self, sem):
        self.id = sem
        self.count = sem_count(sem)

    def op(self, *ops, until=None):
        """One semop: (number, change, flags) each. Raises OSError."""
        array = b"".join(struct.pack("<Hhh", *op) for op in ops)
        while True:
            timeout = None
            if until is not None:
                left = max(0.0, until - time.monotonic())
                timeout = struct.pack("<qq", int(left), int(left % 1 * 1e9))
            try:
                call(libc.semtimedop(self.id, array, len(ops), timeout))
                return
            except InterruptedError:
                continue

    def tried(self, *ops):
        """The same; False for EAGAIN."""
        try:
            self.op(*ops)
        except BlockingIOError:
            return False
        return True

    def values(self):
        values = (ctypes.c_uint16 * self.count)()
        call(libc.semctl(self.id, 0, GETALL, values))
        return list(values)

    def remove(self):
        libc.semctl(self.id, 0, IPC_RMID, None)


LEASE, BUILT, GENERATION, CHECK, WAKE_ALL = 0, 1, 2, 6, 7
# From here on it is wound back.
HIGH = 8192


def spelled(values):
    """The generation that a set's values spell, or None (5)."""
    digits = values[GENERATION:GENERATION + 4]
    if values[BUILT] != 1 or not all(1 <= d <= 16384 for d in digits):
        return None
    generation = sum((d - 1) << 14 * k for k, d in enumerate(digits))
    check = 1 + ((generation * 0x9E3779B97F4A7C15 & U64) >> 50)
    return generation if values[CHECK] == check else None


def ours(values):
    """Whether a set is one of ours, finished or not (3)."""
    return spelled(values) is not None or values[LEASE] <= 1 and not any(values[1:])


# 4. The bytes


class Memory:
    """Words by their offset in bytes."""

    def __init__(self, shm):
        self.shm, (self.size, _) = shm, shm_stat(shm)
        self.address = call(libc.shmat(shm, None, 0))
        self.words = (ctypes.c_uint64 * (self.size // 8)).from_address(self.address)

    def load(self, at):
        return self.words[at >> 3]

    def store(self, at, value):
        self.words[at >> 3] = value

    def swap(self, at, old, new):
        """Compare-and-swap; whether it did."""
        assert at % 8 == 0 and 0 <= at < self.size - 7
        return thunks.cas(self.address + at, old, new) == old

    def change(self, at, to):
        while True:
            old = self.load(at)
            new = to(old)
            if new is None or self.swap(at, old, new & U64):
                return

    def add(self, at, n):
        self.change(at, lambda old: old + n)

    def read(self, at, length):
        assert 0 <= at <= at + length <= self.size
        return ctypes.string_at(self.address + at, length)

    def write(self, at, data):
        assert 0 <= at <= at + len(data) <= self.size
        ctypes.memmove(self.address + at, bytes(data), len(data))

    def text(self, at, most):
        length = self.load(at)
        if length > most:
            raise Corrupt("a text is longer than its room")
        return self.read(at + 8, length).decode()

    def detach(self):
        if self.address is not None:
            self.words = None
            libc.shmdt(self.address)
            self.address = None


MAGIC = int.from_bytes(b"tombolo\0", "little")
SYMMETRIC, TRANSIENT, ANONYMOUS, OWN_BELLS = 1, 2, 4, 8
KNOWN = SYMMETRIC | TRANSIENT | ANONYMOUS | OWN_BELLS
# Of a waiting word (4.5).
WATCHED, COUNT = 1 << 31, (1 << 31) - 1
H_MAGIC, H_VERSION, H_SIZE, H_GENERATION, H_SET, H_FLAGS = 8, 16, 24, 32, 40, 48
H_PARTICIPANTS, H_CHANNELS, H_KINDS, H_NAME, H_GATE = 56, 64, 72, 128, 256
PAUSED, DRAINING, DRAINED, SHUTDOWN = 2, 4, 8, 16
FREE, LIVE, DEAD = 0, 1, 2


def of_life(incarnation, what):
    """A word that names a life has its number in the upper half."""
    return incarnation << 32 | what


def low(word):
    return word & 0xFFFFFFFF


SPSC, MPMC, SPSC_BYTES, MPMC_BYTES, BROADCAST, BROADCAST_BYTES = 1, 2, 3, 4, 5, 6
KINDS = {"spsc": SPSC, "mpmc": MPMC, "spsc-bytes": SPSC_BYTES, "mpmc-bytes": MPMC_BYTES,
         "broadcast": BROADCAST, "broadcast-bytes": BROADCAST_BYTES}
SINGLE = (SPSC, SPSC_BYTES)
BYTES = (SPSC_BYTES, MPMC_BYTES, BROADCAST_BYTES)
TO_ALL = (BROADCAST, BROADCAST_BYTES)
# Those of the kinds above 4 that this client can sweep (19, rule 2).
SWEPT = 1 << BROADCAST | 1 << BROADCAST_BYTES


class Block:
    """A READY entry of the directory, checked, and where its block's parts are."""

    def __init__(self, segment, index):
        memory, at = segment.memory, segment.directory + 512 * index
        field = lambda offset: memory.load(at + offset)
        self.index, self.kind, self.size, self.alignment = index, field(8), field(16), field(24)
        self.fingerprint, self.capacity, self.at = field(32), field(40), field(48)
        self.attempts, self.lasting = min(field(56), 15), bool(field(64) & 1)
        self.name, self.schema = memory.text(at + 128, 64), memory.text(at + 200, 256)
        if self.kind not in KINDS.values():
            raise Corrupt(f"channel #{index}: kind {self.kind}")
        to_all = self.kind in TO_ALL
        if (not 1 <= self.capacity <= (2**30 if to_all else 2**31)
                or self.alignment not in (1, 2, 4, 8, 16, 32, 64, 128)):
            raise Corrupt(f"channel #{index}: {self.capacity} at {self.alignment}")
        self.publishers, self.reliable = field(72), field(80)
        if to_all and not (1 <= self.publishers <= 1024 and self.reliable <= 1024):
            raise Corrupt(f"channel #{index}: {self.publishers} and {self.reliable}")
        if self.kind in BYTES and self.size > 2**30:
            raise Corrupt(f"channel #{index}: messages of {self.size} bytes")
        self.element, self.slots = 0, self.capacity
        self.taker, self.marks = self.at + 400, [self.at + 408 + 8 * n for n in range(16)]
        if self.kind == SPSC:
            self.stride = up(self.size, self.alignment)
        elif self.kind == MPMC:
            self.element = max(8, self.alignment)
            self.stride = up(self.element + self.size, self.element)
        elif self.kind == SPSC_BYTES:
            self.stride, self.slots = 8, (self.capacity + 1) * (1 + up(self.size, 8) // 8)
        elif to_all:
            self.step = max(min(8, self.capacity), self.capacity // 8)
            self.stride, self.slots = 8, self.capacity + 2 * self.step
        else:
            self.stride = up(16 + min(self.size, 112), 8)
        self.rows = self.at + 1024
        self.first = self.at + up(1024 + 64 * segment.participants, 128)
        end = up(self.first - self.at + self.stride * self.slots, 128)
        if self.kind == MPMC_BYTES:
            self.words = self.at + end
            self.apart = up(max(self.size, 1), 128)
            blocks = up(end + 8 * self.capacity, 128)
            self.blocks = self.at + blocks
            end = up(blocks + self.apart * self.capacity, 128)
        if to_all:
            self.words = self.at + end
            buffers = end + 128 * (self.publishers + self.reliable)
            self.buffers = self.at + buffers
            self.apart = (up(self.size, max(self.alignment, 8)) if self.kind == BROADCAST
                          else up(8 + self.size, 8))
            end = up(buffers + self.apart * (self.slots + self.publishers), 128)
        if self.at < segment.heap or self.at % 128 or self.at + end > memory.size:
            raise Corrupt(f"channel #{index} is not inside the segment")
        self.changes, self.tail, self.head = self.at, self.at + 256, self.at + 384
        self.orphans, self.scanned = self.at + 32, self.at + 40
        struck = lambda offset: self.at + offset if to_all else None
        self.items = Event(self.at + 8, segment.items(index), 8, struck(48))
        self.space = Event(self.at + 16, segment.items(index) + 1, 16, struck(56))
        self.slots_event = Event(self.at + 24, WAKE_ALL, 24)
        for event in (self.items, self.space, self.slots_event):
            event.block = self

    def slot(self, n):
        return self.first + self.stride * n


class Event:
    """One direction of a channel (11); if it is a bell, with a word `struck` (11.4)."""

    def __init__(self, waiting, number, record, struck=None):
        self.waiting, self.number, self.record, self.struck = waiting, number, record, struck
        self.block, self.topic = None, {8: 1, 16: 2, 24: 4}[record]


class Side:
    def __init__(self, name, role, joined, shift):
        self.name, self.role, self.joined, self.shift = name, role, joined, shift


SENDER = Side("sender", 264, 128, 16)
RECEIVER = Side("receiver", 392, 136, 0)
SENDER.other, RECEIVER.other = RECEIVER, SENDER


class Segment:
    """A segment that this process participates in."""

    def __init__(self, name, timeout=10.0):
        self.timeout = timeout
        self.set, self.memory = self.open(name, time.monotonic() + timeout)
        try:
            self.join()
        finally:
            self.release_lease()

    # 7. Segments

    def open(self, name, until):
        """Returns with the lease held (7.2)."""
        for probe in range(8):
            key = key_of(name, probe)
            while True:
                shm = find(libc.shmget, key)
                if shm is not None:
                    size, marked = shm_stat(shm)
                    if not marked and not plausible_size(size):
                        break
                sem = find(lambda key, _, flags: libc.semget(key, 0, flags), key)
                if sem is None or sem_count(sem) % 16 != 13:
                    break
                found = Set(sem)
                try:
                    if not ours(found.values()):
                        break
                    found.op((LEASE, 0, 0), (LEASE, 1, SEM_UNDO), until=until)
                except OSError as error:
                    if error.errno in (errno.EIDRM, errno.EINVAL):
                        continue
                    raise
                verdict, memory = self.judge(found, key, name)
                if verdict == "found":
                    return found, memory
                if verdict == "again":
                    continue
                break
        raise NotFound(name)

    def judge(self, found, key, name):
        """What is on the key (7.1). The lease is kept if it is found."""
        values = found.values()
        shm = find(libc.shmget, key)
        size = None
        if shm is not None:
            size, marked = shm_stat(shm)
            if marked:
                shm = None
        if shm is None and values[BUILT]:
            found.remove()
            return "again", None
        if shm is None or not plausible_size(size):
            self.retire(found, values)
            return "other", None
        memory = Memory(shm)
        if (memory.load(H_MAGIC) != MAGIC or memory.load(H_SET) != found.id
                or spelled(values) != memory.load(H_GENERATION)):
            memory.detach()
            libc.shmctl(shm, IPC_RMID, None)
            found.remove()
            return "again", None
        if memory.text(H_NAME, 120) != name:
            memory.detach()
            self.retire(found, values)
            return "other", None
        return "found", memory

    @staticmethod
    def retire(found, values):
        if values[BUILT]:
            found.op((LEASE, -1, SEM_UNDO | IPC_NOWAIT))
        else:
            found.remove()

    def lease(self):
        self.system((LEASE, 0, 0), (LEASE, 1, SEM_UNDO), until=time.monotonic() + self.timeout)

    def release_lease(self):
        try:
            self.set.op((LEASE, -1, SEM_UNDO | IPC_NOWAIT))
        except OSError:
            pass

    def join(self):
        """7.4."""
        memory = self.memory
        version, size = memory.load(H_VERSION), memory.load(H_SIZE)
        self.participants, self.channels = memory.load(H_PARTICIPANTS), memory.load(H_CHANNELS)
        self.generation, self.flags = memory.load(H_GENERATION), memory.load(H_FLAGS)
        P, C = self.participants, self.channels
        if version != 2:
            raise Failed(f"version {version}")
        if self.flags & ~KNOWN or memory.load(H_KINDS) & ~SWEPT:
            raise Failed("something that only a later client knows")
        if size != memory.size or not 1 <= P <= 8192 or not 1 <= C <= 4096:
            raise Corrupt("the header")
        self.infos = up(512 + 8 * P, 128)
        self.journal = up(self.infos + 128 * P, 128)
        self.directory = self.journal + 128 * RECORDS
        self.heap = up(self.directory + 512 * C, 4096)
        used = 8 + P + 2 * C + (P if self.flags & OWN_BELLS else 0)
        if self.heap > size or self.set.count != used + (29 - used % 16) % 16:
            raise Corrupt("the shape")
        self.symmetric = bool(self.flags & SYMMETRIC)
        if not self.symmetric:
            call(libc.syscall(SYS_MEMBARRIER, REGISTER_GLOBAL_EXPEDITED, 0, 0))
        self.me = None
        self.counts = {}
        self.arm(WAKE_ALL)
        try:
            if self.close_records(LEASEHOLDER, lambda: True):
                self.strike()
            self.look(LEASE)
            self.take_slot()
        except Exception:
            self.set.op((WAKE_ALL, 1, SEM_UNDO))
            raise

    def take_slot(self):
        memory = self.memory
        for i in range(self.participants):
            word = memory.load(512 + 8 * i)
            if low(word) != FREE:
                continue
            if not self.set.tried((8 + i, 0, IPC_NOWAIT), (8 + i, 1, SEM_UNDO)):
                continue
            self.me, self.incarnation = i, (word >> 32) % (2**32 - 1) + 1
            info = self.infos + 128 * i
            with open("/proc/self/stat") as stat:
                start = int(stat.read().rsplit(")", 1)[1].split()[19])
            memory.store(info, os.getpid())
            memory.store(info + 8, start)
            memory.store(info + 16, os.stat("/proc/self/ns/pid").st_ino)
            memory.store(info + 24, os.geteuid())
            deaths = low(memory.load(info + 32)) >> 1
            memory.store(info + 32, of_life(self.incarnation, deaths << 1))
            memory.store(info + 40, SWEPT)
            for word in range(6, 16):
                memory.store(info + 8 * word, 0)
            memory.store(512 + 8 * i, of_life(self.incarnation, LIVE))
            position = self.claim_record(i)
            if position is not None:
                self.fill_record(position, self.fields(JOINED, i, self.incarnation))
                self.close_record(position, i, DONE)
            self.strike()
            return
        raise Failed("no slot is free")

    def leave(self):
        """7.5. All endpoints have been closed."""
        if self.memory.address is None:
            return
        if not self.is_known():
            self.memory.detach()
            return
        word = 512 + 8 * self.me
        live = of_life(self.incarnation, LIVE)
        held = False
        try:
            if self.flags & TRANSIENT:
                self.lease()
                held = True
                self.look(8 + self.me)
                if not any(self.is_live(i) for i in range(self.participants) if i != self.me):
                    self.set.remove()
                    self.close()
                    libc.shmctl(self.memory.shm, IPC_RMID, None)
                    return
            self.record_end(EVENT_LEFT, self.me, self.incarnation, self.me, lambda: [0] * 7)
            self.memory.swap(word, live, of_life(self.incarnation, FREE))
            self.set.op((8 + self.me, -1, SEM_UNDO | IPC_NOWAIT), (WAKE_ALL, 1, SEM_UNDO))
        except (Closed, OSError):
            pass
        finally:
            if held:
                self.release_lease()
            self.memory.detach()

    def is_known(self):
        """Whether there is still something to leave (8.3)."""
        try:
            values = self.set.values()
        except OSError:
            return False
        return spelled(values) == self.generation and values[8 + self.me] == 1

    def close(self):
        """7.6, step 2."""
        self.memory.change(H_GATE, lambda gate: gate | 1)
        for block in self.blocks():
            self.memory.add(block.changes, 1)

    def system(self, *ops, until=None):
        """An operation in whose failure the set's end is the segment's."""
        try:
            self.set.op(*ops, until=until)
        except OSError as error:
            if error.errno in (errno.EIDRM, errno.EINVAL):
                self.close()
                raise Closed() from None
            raise

    def arm(self, number):
        """A death credit (8.2, step 3)."""
        while True:
            try:
                self.system((number, 1, 0), (number, -1, SEM_UNDO))
                return
            except OSError as error:
                if error.errno != errno.ERANGE:
                    raise
            if self.set.tried((number, -1, SEM_UNDO | IPC_NOWAIT), (number, 1, 0)):
                return

    def items(self, channel):
        return 8 + self.participants + 2 * channel

    def word(self, i):
        return self.memory.load(512 + 8 * i)

    def is_live(self, i):
        return low(self.word(i)) == LIVE

    # 6. Fences. A full one in place of a light one is always right.

    def light_fence(self):
        thunks.fence()

    def heavy_fence(self):
        if not self.symmetric:
            call(libc.syscall(SYS_MEMBARRIER, GLOBAL_EXPEDITED, 0, 0))
        thunks.fence()

    def soon(self, until):
        """11.2, step 5: when to look for the second time, or else `until`."""
        soon = time.monotonic() + 0.01
        return until if self.symmetric or until is not None and until <= soon else soon

    # 8. Channels

    def blocks(self):
        return [Block(self, c) for c in range(self.channels)
                if self.memory.load(self.directory + 512 * c) == 1]

    def channel(self, name, kind, size=None, alignment=None, schema=None):
        """8.1, to open only."""
        if self.memory.load(H_GATE) & 1:
            raise Closed()
        self.lease()
        try:
            for block in self.blocks():
                if block.name != name:
                    continue
                if kind in BYTES:
                    wanted = (kind, block.size if size is None else size, 1)
                    schema = "bytes"
                else:
                    wanted = (kind, size, alignment)
                is_ = (block.kind, block.size, block.alignment)
                if is_ != wanted or block.fingerprint != fingerprint(schema, *wanted[1:]):
                    raise Mismatch(f"{name} is {is_} of {block.schema}, not {wanted} of {schema}")
                return block
        finally:
            self.release_lease()
        raise NotFound(name)

    def row(self, block, i):
        return block.rows + 64 * i

    def has_peer(self, block, side):
        for i in range(self.participants):
            word = self.word(i)
            if low(word) == LIVE:
                endpoints = self.memory.load(self.row(block, i))
                if endpoints >> 32 == word >> 32 and endpoints >> side.shift & 0xFFFF:
                    return True
        return False

    # 11. Waking and waiting

    def post(self, number):
        return self.set.tried((number, 0, IPC_NOWAIT), (number, 1, IPC_NOWAIT))

    def call_watchers(self, event):
        """11.6: whether others are counted."""
        self.light_fence()
        memory, block = self.memory, event.block
        now = memory.load(event.waiting)
        if not now & WATCHED or not self.flags & OWN_BELLS:
            return now & COUNT != 0
        thunks.fence()
        seen, watchers = memory.load(event.waiting), memory.load(block.at + 64)
        if seen & WATCHED:
            for i in range(self.participants):
                watches = memory.load(self.row(block, i) + 32)
                if (watchers >> i % 64 & 1 and watches & event.topic
                        and self.word(i) == of_life(watches >> 32, LIVE)):
                    called = self.infos + 128 * i + 48 + 8 * (block.index // 64 % 8)
                    memory.change(called, lambda old: old | 1 << block.index % 64)
                    try:
                        self.strike(8 + self.participants + 2 * self.channels + i)
                    except OSError:
                        return True
            memory.swap(event.waiting, seen, seen & ~WATCHED)
        return now & COUNT != 0

    def notify(self, event):
        """11.1. A published message stays so, also if nobody can be woken."""
        if event.struck:
            self.ring(event)
            return
        if self.call_watchers(event):
            try:
                self.post(event.number)
            except OSError:
                pass

    def ring(self, event):
        """11.4."""
        if not self.call_watchers(event):
            return
        thunks.fence()
        word = self.memory.load(event.waiting)
        if not word & COUNT or self.memory.load(event.struck) == word >> 32:
            return
        try:
            self.strike(event.number)
        except OSError:
            return
        self.memory.store(event.struck, word >> 32)

    def rouse(self, event):
        """11.1, for what concerns all who wait."""
        if event.struck:
            self.ring(event)
            return
        self.call_watchers(event)
        for _ in range(min(self.memory.load(event.waiting) & COUNT, 1000)):
            try:
                if not self.post(event.number):
                    break
            except OSError:
                break

    def lower(self, event, record):
        """11.2, steps 7 and 8."""

        def recount(old):
            if self.word(self.me) != of_life(self.incarnation, LIVE):
                return None
            count = max(0, (old & COUNT) - 1)
            return (old >> 32) + 1 << 32 | old & WATCHED | count

        self.memory.change(event.waiting, recount)
        self.memory.change(
            record, lambda old: old - 1 if low(old) and old >> 32 == self.incarnation else None)

    def wait(self, block, event, attempt, more, until):
        """11.2: what `attempt` gives, or None at the deadline."""
        if event.struck:
            return self.wait_for_bell(block, event, attempt, until)
        memory = self.memory
        record = self.row(block, self.me) + event.record

        def lower():
            self.lower(event, record)

        while True:
            memory.add(record, 1)
            memory.add(event.waiting, 2**32 + 1)
            self.heavy_fence()
            soon = None
            while True:
                try:
                    done = attempt()
                except Failed:
                    lower()
                    raise
                if done is not None:
                    lower()
                    return done
                failure = None
                token = False
                first = soon is None
                soon = self.soon(until) if first else until
                try:
                    self.set.op((event.number, -1, 0), until=soon)
                    token = True
                    self.look(8 + self.me)
                except (OSError, Failed) as error:
                    failure = error
                if not (first and soon != until and isinstance(failure, BlockingIOError)):
                    break
            lower()
            if token and failure is not None:
                try:
                    self.post(event.number)
                except OSError:
                    pass
                raise self.explained(failure)
            try:
                done = attempt()
            except Failed:
                if token:
                    self.rouse(event)
                raise
            if done is not None:
                if token and more():
                    self.notify(event)
                return done
            if failure is not None:
                if isinstance(failure, BlockingIOError):
                    return None
                raise self.explained(failure)

    def wait_for_bell(self, block, event, attempt, until):
        """11.4: what `attempt` gives, or None at the deadline."""
        memory = self.memory
        record = self.row(block, self.me) + event.record
        while True:
            self.look(8 + self.me)
            if self.heard is None:
                continue
            value = self.values[event.number]
            if value >= HIGH:
                self.set.tried((event.number, -(value - 1), IPC_NOWAIT))
            memory.add(record, 1)
            memory.add(event.waiting, 2**32 + 1)
            try:
                self.heavy_fence()
                soon = self.soon(until)
                for end in [until] if soon == until else [soon, until]:
                    done = attempt()
                    if done is not None:
                        return done
                    self.sleep_over(event.number, value, end)
                done = attempt()
                if done is not None:
                    return done
            finally:
                self.lower(event, record)
            if until is not None and time.monotonic() >= until:
                return None

    def notify_slots(self, block):
        """11.3."""
        if self.call_watchers(block.slots_event):
            try:
                if not self.set.tried((WAKE_ALL, -HIGH, IPC_NOWAIT), (WAKE_ALL, 2, 0)):
                    self.strike()
            except OSError:
                pass

    def wait_for_slot(self, block, attempt, until):
        """11.3: what `attempt` gives, or None at the deadline."""
        memory, event = self.memory, block.slots_event
        record = self.row(block, self.me) + event.record
        while until is None or time.monotonic() < until:
            memory.add(record, 1)
            memory.add(event.waiting, 2**32 + 1)
            try:
                self.heavy_fence()
                self.look(8 + self.me)
                done = attempt()
                soon = self.soon(until)
                if done is None and soon != until:
                    self.sleep_over(WAKE_ALL, self.heard, soon)
                    done = attempt()
                if done is not None:
                    return done
                self.sleep_over(WAKE_ALL, self.heard, until)
            finally:
                self.lower(event, record)
        return None

    def explained(self, failure):
        if isinstance(failure, OSError) and failure.errno in (errno.EIDRM, errno.EINVAL):
            self.close()
            return Closed()
        return failure

    # 12. Death

    def look(self, witness):
        """12.1. Whether there was anybody to sweep."""
        before = [self.word(i) for i in range(self.participants)]
        try:
            values = self.set.values()
        except OSError as error:
            raise self.explained(error) from None
        if spelled(values) != self.generation or values[witness] != 1:
            raise Failed("this is not the set that was joined")
        missed = [self.word(i) for i in range(self.participants)] != before
        swept = False
        for i, word in enumerate(before):
            dead = of_life(word >> 32, DEAD)
            if low(word) == LIVE and values[8 + i] == 0:
                if not self.memory.swap(512 + 8 * i, word, dead) and self.word(i) != dead:
                    continue
            elif low(word) != DEAD or self.word(i) != word:
                continue
            self.sweep(i, dead, values, LEASEHOLDER if witness == LEASE else witness - 8)
            self.memory.swap(512 + 8 * i, dead, of_life(dead >> 32, FREE))
            swept = True
        self.heard, self.values = None if missed else values[WAKE_ALL], values
        if values[WAKE_ALL] >= HIGH:
            self.set.tried((WAKE_ALL, -(values[WAKE_ALL] - 1), IPC_NOWAIT))
        if swept:
            self.strike()
        return swept

    def sweep(self, i, dead, values, owner):
        """12.2."""
        memory = self.memory
        still_dead = lambda: self.word(i) == dead
        self.close_records(i, still_dead)
        self.record_end(DIED, i, dead >> 32, owner, lambda: self.holdings(i, dead))
        for block in self.blocks():
            if memory.load(self.row(block, i)) >> 32 != dead >> 32:
                continue
            if block.kind in SINGLE:
                self.recover_in_flight(block, i, dead)
            elif block.kind not in TO_ALL and not self.recover(block, i, still_dead):
                return
            memory.add(block.changes, 1)
            for event in (block.items, block.space, block.slots_event):
                self.settle(block, event)
            for event in (block.items, block.space):
                if event.struck:
                    self.strike(event.number)
                    continue
                value = values[event.number]
                if value and self.set.tried((event.number, -value, IPC_NOWAIT), (event.number, 1, 0)):
                    continue
                self.post(event.number)

    def settle(self, block, event):
        while True:
            seen = self.memory.load(event.waiting)
            living = 0
            for i in range(self.participants):
                word = self.word(i)
                record = self.memory.load(self.row(block, i) + event.record)
                if low(word) == LIVE and record >> 32 == word >> 32:
                    living += low(record)
            settled = (seen >> 32) + 1 << 32 | seen & WATCHED | living
            if self.memory.swap(event.waiting, seen, settled & U64):
                return

    def fate(self, block, w, i):
        """What becomes of a slot of i's: its new word, and which counter counts it."""
        lap, attempts, phase, owner = parts(w)
        free = slot_word(lap + 1, 0, S_FREE, 0)
        if owner == i and phase == WRITING:
            return free, TOMBSTONES
        if owner == i and phase == READING:
            if attempts < block.attempts:
                return slot_word(lap, attempts + 1, ORPHAN, 0), ORPHANED
            return free, DROPPED
        return None

    def unnamed(self, block, i):
        """Where the words are, and what they say, of the message blocks that i holds and no slot names."""
        if block.kind != MPMC_BYTES:
            return
        named = set()
        for n in range(block.slots):
            if parts(self.memory.load(block.slot(n)))[2] in (FULL, READING, ORPHAN):
                named.add(self.memory.load(block.slot(n) + 8) & 0xFFFFFFFF)
        for k in range(block.capacity):
            word = self.memory.load(block.words + 8 * k)
            if word & HELD and word & 0x1FFF == i and k not in named:
                yield block.words + 8 * k, word

    def holdings(self, i, dead):
        """The fields of a death, and the channel (13.2, step 2)."""
        total = {"senders": 0, "receivers": 0, TOMBSTONES: 0, ORPHANED: 0, DROPPED: 0, "blocks": 0}
        channel = 0
        for block in self.blocks():
            row = self.memory.load(self.row(block, i))
            if row >> 32 != dead >> 32:
                continue
            total["senders"] += row >> 16 & 0xFFFF
            total["receivers"] += row & 0xFFFF
            if block.kind in TO_ALL:
                continue
            if block.kind in SINGLE:
                _, what, messages = self.in_dead_flight(block, i, dead)
                total[what] += messages
                if messages:
                    channel = channel or block.index + 1
                continue
            fates = [self.fate(block, self.memory.load(block.slot(n)), i) for n in range(block.slots)]
            fates = [fate[1] for fate in fates if fate]
            blocks = len(list(self.unnamed(block, i)))
            for what in fates:
                total[what] += 1
            total["blocks"] += blocks
            if fates or blocks:
                channel = channel or block.index + 1
        return [*total.values(), channel]

    def recover(self, block, i, still_dead):
        memory = self.memory
        done = {TOMBSTONES: 0, ORPHANED: 0, DROPPED: 0}
        for n in reversed(range(block.slots)):
            at = block.slot(n)
            w = memory.load(at)
            fate = self.fate(block, w, i)
            if not fate:
                continue
            if not still_dead():
                return False
            to, what = fate
            if what == DROPPED and block.kind == MPMC_BYTES:
                self.bequeath(block, at, w, i, still_dead)
            if memory.swap(at, w, to):
                done[what] += 1
        memory.add(block.orphans, 1)
        for at, word in self.unnamed(block, i):
            if not still_dead():
                break
            memory.swap(at, word, word >> 14 << 14)
        for what, n in done.items():
            memory.add(block.at + what, n)
        return True

    def reaches(self, block):
        """How many slots each in-flight mark reaches (9.3)."""
        head = self.memory.load(block.head)
        filled = (self.memory.load(block.tail) - head) & U64
        reaches = [(self.memory.load(at) - head) & U64 for at in block.marks]
        return [n if n <= filled else 0 for n in reaches]

    def in_dead_flight(self, block, i, dead):
        """The taker's word, which counter counts what the dead had in hand, and how much."""
        seen = self.memory.load(block.taker)
        mark = seen >> 16 & 0xFFFF
        if mark > 15 or seen != taker_word(dead >> 32, mark, i):
            return None, ORPHANED, 0
        reaches = self.reaches(block)
        others = sum(n > 0 for k, n in enumerate(reaches) if k != mark)
        messages = min(reaches[mark], 1) if block.kind == SPSC_BYTES else reaches[mark]
        return seen, ORPHANED if others < block.attempts else DROPPED, messages

    def recover_in_flight(self, block, i, dead):
        seen, what, messages = self.in_dead_flight(block, i, dead)
        if seen is not None and self.memory.swap(block.taker, seen, 0):
            self.memory.add(block.at + what, messages)

    def bequeath(self, block, slot, w, i, still_dead):
        k = self.memory.load(slot + 8) & 0xFFFFFFFF
        if k >= block.capacity:
            return
        at = block.words + 8 * k
        word = self.memory.load(at)
        if word & HELD and word & 0x1FFF != i and self.memory.load(slot) == w and still_dead():
            self.memory.swap(at, word, held(word, i))

    # 13. The journal

    def record(self, position):
        return self.journal + 128 * (position % RECORDS)

    def claim_record(self, owner):
        words = [self.memory.load(self.record(n)) for n in range(RECORDS)]
        position = max(w >> 17 if w else -1 for w in words) + 1
        stuck = 0
        for _ in range(1024):
            if stuck == RECORDS:
                break
            at = self.record(position)
            w = self.memory.load(at)
            if w and w >> 17 >= position:
                position = (w >> 17) + 1
                continue
            held = w >> 14 & 7 in (R_WRITING, STUCK)
            to = record_word(position, STUCK, w & 0x3FFF) if held else record_word(position, R_WRITING, owner)
            if self.memory.swap(at, w, to):
                if not held:
                    return position
                stuck += 1
        return None

    def fields(self, kind, i, incarnation, held=(0,) * 7):
        info = self.infos + 128 * i
        who = [self.memory.load(info + 8 * n) for n in range(4)]
        *held, channel = held
        event = channel << 32 | i << 16 | kind
        # It completes nothing of joint sends, and says so when it joins.
        completed = 0
        return [event, incarnation, time.monotonic_ns(), *who, *held, completed]

    def fill_record(self, position, fields):
        for n, field in enumerate(fields):
            self.memory.store(self.record(position) + 8 + 8 * n, field)

    def close_record(self, position, owner, phase):
        w, to = record_word(position, R_WRITING, owner), record_word(position, phase, 0)
        while not self.memory.swap(self.record(position), w, to):
            w = self.memory.load(self.record(position))
            if w >> 14 & 7 != STUCK or w & 0x3FFF != owner:
                return
            to = record_word(w >> 17, VOID, 0)

    def record_end(self, kind, i, incarnation, owner, held):
        """13.2."""
        at = self.infos + 128 * i + 32
        end = self.memory.load(at)
        if end >> 32 == incarnation and not end & 1:
            fields = self.fields(kind, i, incarnation, held())
            position = self.claim_record(owner)
            if position is None:
                return
            self.fill_record(position, fields)
            deaths = (low(end) >> 1) + (kind == DIED)
            if self.memory.swap(at, end, of_life(position % 2**32, low(deaths << 1) | 1)):
                self.close_record(position, owner, DONE)
                return
            self.close_record(position, owner, VOID)
            end = self.memory.load(at)
        if end & 1:
            w = self.memory.load(self.record(end >> 32))
            if w >> 14 & 7 == R_WRITING and (w >> 17) % 2**32 == end >> 32:
                self.memory.swap(self.record(end >> 32), w, record_word(w >> 17, DONE, 0))

    def close_records(self, owner, still_dead):
        """13.3. Whether there were any."""
        any_closed = False
        for n in range(RECORDS):
            at = self.record(n)
            while True:
                w = self.memory.load(at)
                phase, position = w >> 14 & 7, w >> 17
                if phase not in (R_WRITING, STUCK) or w & 0x3FFF != owner:
                    break
                i = self.memory.load(at + 8) >> 16 & 0xFFFF
                end = self.memory.load(self.infos + 128 * i + 32) if i < self.participants else 0
                whole = phase == R_WRITING and end & 1 and end >> 32 == position % 2**32
                if not still_dead():
                    return any_closed
                if self.memory.swap(at, w, record_word(position, DONE if whole else VOID, 0)):
                    any_closed = True
                    break
        return any_closed

    def newest(self):
        words = [self.memory.load(self.record(n)) for n in range(RECORDS)]
        return max((w >> 17 for w in words if w), default=-1)

    def read(self):
        """13.4. The next record's kind and pid; None if there is none yet, 0 if
        it is being written by one that joins."""
        while True:
            at = self.record(self.position)
            w = self.memory.load(at)
            phase, position = w >> 14 & 7, w >> 17
            if not w or position < self.position:
                return None
            if position > self.position:
                before, self.position = self.position, self.newest() + 1 - RECORDS
                return f"missed {self.position - before}"
            if phase == R_WRITING:
                return 0 if w & 0x3FFF == LEASEHOLDER else None
            if phase == DONE:
                event, pid = self.memory.load(at + 8), self.memory.load(at + 32)
                if self.memory.load(at) != w:
                    continue
                self.position += 1
                return f"{['', 'joined', 'left', 'died'][event & 0xFFFF]} {pid}"
            self.position += 1

    # 13.5 The wake-all semaphore

    def strike(self, number=WAKE_ALL):
        try:
            self.set.op((number, 1, 0))
        except OSError as error:
            if error.errno != errno.ERANGE:
                raise
            self.set.tried((number, -HIGH, IPC_NOWAIT))

    def listen(self):
        while True:
            event = self.read()
            if not event:
                self.look(8 + self.me)
                heard = self.heard
                event = self.read()
            if event:
                return event
            if event == 0:
                self.lease()
                if self.close_records(LEASEHOLDER, lambda: True):
                    self.strike()
                self.release_lease()
                continue
            self.sleep_over(WAKE_ALL, heard)

    def sleep_over(self, number, heard, until=None):
        """Sleeps while a count is what was heard."""
        if heard is None:
            return
        sleep = (number, -1, 0), (number, heard + 1, 0)
        try:
            self.system(*([(number, -heard, IPC_NOWAIT)] if heard else []), *sleep, until=until)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise


# 4.3 Journal

RECORDS = 128
LEASEHOLDER = 8192
R_WRITING, DONE, VOID, STUCK = 1, 2, 3, 4
JOINED, EVENT_LEFT, DIED = 1, 2, 3


def record_word(position, phase, owner):
    return position << 17 | phase << 14 | owner


# 4.5 Block

TOMBSTONES, ORPHANED, DROPPED = 144, 152, 160


# 4.6 Slots

S_FREE, WRITING, FULL, READING, ORPHAN = range(5)
HELD = 1 << 13
MESSAGE, PADDING = 1, 2


def slot_word(lap, attempts, phase, owner):
    return lap % 2**44 << 20 | attempts << 16 | phase << 13 | owner


def taker_word(incarnation, mark, i):
    return of_life(incarnation, mark << 16 | i)


def parts(w):
    return w >> 20, w >> 16 & 15, w >> 13 & 7, w & 0x1FFF


def held(word, owner):
    return ((word >> 14) + 1) % 2**50 << 14 | HELD | owner


# The results of a try that finds nothing.
NOTHING, PENDING = "nothing", "pending"


class Elements:
    """SPSC (9.1)."""

    def __init__(self, segment, block, side):
        self.memory, self.block = segment.memory, block
        self.position = self.memory.load(block.tail if side is SENDER else block.head)

    def take_mark(self, segment):
        """Taking up the role (9.3)."""
        block = self.block
        reaches = segment.reaches(block)
        dropped = sorted(reaches, reverse=True)[block.attempts]
        if dropped:
            self.position = self.position + dropped & U64
            self.memory.store(block.head, self.position)
            segment.notify(block.space)
        mark = next(n for n, reach in enumerate(reaches) if reach <= dropped)
        self.memory.store(block.taker, taker_word(segment.incarnation, mark, segment.me))

    def filled(self, head, tail):
        filled = (tail - head) & U64
        if filled > self.block.slots:
            raise Corrupt(f"head {head}, tail {tail}")
        return filled

    def occupied(self):
        return self.memory.load(self.block.tail) != self.memory.load(self.block.head)

    def in_hand(self):
        return False

    def more(self):
        return False

    def send(self, data):
        block = self.block
        if self.filled(self.memory.load(block.head), self.position) == block.slots:
            return NOTHING
        self.memory.write(block.slot(self.position % block.slots), data)
        self.position = self.position + 1 & U64
        self.memory.store(block.tail, self.position)
        return True

    def take(self):
        block = self.block
        if not self.filled(self.position, self.memory.load(block.tail)):
            return NOTHING
        return self.memory.read(block.slot(self.position % block.slots), block.size), 1

    def release(self, taken):
        self.position = self.position + taken[1] & U64
        self.memory.store(self.block.head, self.position)


class Records(Elements):
    """SPSC bytes (9.2)."""

    def send(self, data):
        block, memory = self.block, self.memory
        units = 1 + up(len(data), 8) // 8
        at = self.position % block.slots
        left = block.slots - at
        pad = left if units > left else 0
        free = block.slots - self.filled(memory.load(block.head), self.position)
        if pad + units > free:
            return NOTHING
        if pad:
            memory.store(block.slot(at), PADDING << 32 | pad)
            at = 0
        memory.write(block.slot(at) + 8, data)
        memory.store(block.slot(at), MESSAGE << 32 | len(data))
        self.position = self.position + pad + units & U64
        memory.store(block.tail, self.position)
        return True

    def take(self):
        block, memory = self.block, self.memory
        filled = self.filled(self.position, memory.load(block.tail))
        if not filled:
            return NOTHING
        at, pad = self.position % block.slots, 0
        header = memory.load(block.slot(at))
        if header >> 32 == PADDING:
            pad, at = block.slots - at, 0
            if header & 0xFFFFFFFF != pad or filled <= pad:
                raise Corrupt(f"header {header:#x}")
            header = memory.load(block.slot(0))
        length = header & 0xFFFFFFFF
        units = 1 + up(length, 8) // 8
        if (header >> 32 != MESSAGE or length > block.size or units > block.slots - at
                or pad + units > filled):
            raise Corrupt(f"header {header:#x}")
        return memory.read(block.slot(at) + 8, length), pad + units


class Slots:
    """MPMC (10)."""

    def __init__(self, segment, block, side):
        self.memory, self.block, self.me = segment.memory, block, segment.me
        self.bound = block.tail if side is SENDER else block.head
        self.cursor = self.memory.load(self.bound)

    def at(self, position):
        """The slot of a position, its word, and how many laps that is after."""
        slot = self.block.slot(position % self.block.slots)
        w = self.memory.load(slot)
        d = ((w >> 20) - position // self.block.slots) % 2**44
        return slot, w, d - 2**44 if d >= 2**43 else d

    def jump(self, to):
        """10.3."""
        bound = self.memory.load(self.bound)
        if 0 < (bound - to) & U64 < 2**63 and self.at(bound)[2] >= -1:
            self.cursor = bound
        elif to == self.cursor + 1 or self.at(to)[2] >= -1:
            self.cursor = to
        else:
            self.cursor += 1

    def passed(self):
        position, self.cursor = self.cursor, self.cursor + 1
        if position % 16 == 0:
            seen = self.memory.load(self.bound)
            if 0 < (position - seen) & U64 < 2**63:
                self.memory.swap(self.bound, seen, position)

    def seek(self, judge):
        before = set()
        for _ in range(1000):
            words = []
            for _ in range(2 * self.block.slots + 1):
                slot, w, d = self.at(self.cursor)
                lap, attempts, phase, _ = parts(w)
                if phase > ORPHAN:
                    raise Corrupt(f"a slot's word is {w:#x}")
                words.append(w)
                verdict = judge(slot, w, d, phase, attempts, self.cursor // self.block.slots)
                if verdict is not None:
                    return verdict
            if tuple(words) in before:
                break
            before.add(tuple(words))
        raise Corrupt("no slot continues the order of the others")

    def turn(self, laps, then):
        self.jump(self.cursor + laps * self.block.slots + then)

    def claim(self):
        def judge(slot, w, d, phase, attempts, lap):
            if d == 0 and phase == S_FREE:
                if self.memory.swap(slot, w, slot_word(lap, 0, WRITING, self.me)):
                    self.passed()
                    return slot, lap
            elif d == 0:
                self.turn(0, 1)
            elif d == -1 and phase != S_FREE:
                return NOTHING
            elif d >= 1:
                self.turn(d - 1, 1)
            else:
                self.turn(d, 0)
            return None

        return self.seek(judge)

    def publish(self, claimed):
        slot, lap = claimed
        self.memory.store(slot, slot_word(lap, 0, FULL, 0))

    def free(self, claimed):
        slot, lap = claimed
        self.memory.store(slot, slot_word(lap + 1, 0, S_FREE, 0))

    def send(self, data):
        claimed = self.claim()
        if claimed is NOTHING:
            return NOTHING
        self.memory.write(claimed[0] + self.block.element, data)
        self.publish(claimed)
        return True

    def take_orphan(self):
        orphans = self.memory.load(self.block.orphans)
        if orphans == self.memory.load(self.block.scanned):
            return None
        for n in range(self.block.slots):
            slot = self.block.slot(n)
            w = self.memory.load(slot)
            lap, attempts, phase, _ = parts(w)
            if phase == ORPHAN and self.memory.swap(slot, w, slot_word(lap, attempts, READING, self.me)):
                return slot, lap, attempts
        self.memory.change(self.block.scanned, lambda seen: orphans if orphans > seen else None)
        return None

    def pass_over(self, d, phase):
        """The rows of 10.2's table that move the cursor on."""
        if d == 0:
            self.turn(0, 1)
        elif d >= 2 and phase == S_FREE:
            self.turn(d - 2, 1)
        elif d >= 1:
            self.turn(d - 1, 1)
        else:
            self.turn(d, 0)

    def take_slot(self):
        orphan = self.take_orphan()
        if orphan is not None:
            return orphan

        def judge(slot, w, d, phase, attempts, lap):
            if d == 0 and phase == FULL:
                if self.memory.swap(slot, w, slot_word(lap, attempts, READING, self.me)):
                    self.passed()
                    return slot, lap, attempts
            elif d == 0 and phase == S_FREE or d == -1 and phase in (READING, ORPHAN):
                return NOTHING
            elif d == 0 and phase == WRITING:
                return PENDING
            else:
                self.pass_over(d, phase)
            return None

        return self.seek(judge)

    def take(self):
        taken = self.take_slot()
        if taken in (NOTHING, PENDING):
            return taken
        return self.memory.read(taken[0] + self.block.element, self.block.size), taken

    def release(self, taken):
        self.free(taken[1][:2])

    def give_back(self, taken):
        slot, lap, attempts = taken[1]
        self.memory.store(slot, slot_word(lap, attempts, ORPHAN, 0))
        self.memory.add(self.block.orphans, 1)

    def occupied(self):
        """Whether a position is claimed and not taken: what a receiver's
        cursor comes to, and does not take."""
        cursor = self.cursor

        def judge(slot, w, d, phase, attempts, lap):
            if d == 0 and phase in (FULL, WRITING):
                return "occupied"
            if d == 0 and phase == S_FREE or d == -1 and phase in (READING, ORPHAN):
                return NOTHING
            self.pass_over(d, phase)
            return None

        found = self.seek(judge)
        self.cursor = cursor
        return found is not NOTHING

    def in_hand(self):
        return any(parts(self.memory.load(self.block.slot(n)))[2] in (READING, ORPHAN)
                   for n in range(self.block.slots))

    def more(self):
        return True


# In place of a message block's number: the message is in the slot.
HERE = 0xFFFFFFFF


class MessageBlocks(Slots):
    """MPMC bytes (10.4)."""

    hint = 0

    def allocate(self):
        count = self.block.capacity
        for k in range(count):
            k = (k + self.hint) % count
            at = self.block.words + 8 * k
            word = self.memory.load(at)
            if not word & HELD and self.memory.swap(at, word, held(word, self.me)):
                self.hint = k + 1
                return k
        return None

    def free_block(self, k):
        at = self.block.words + 8 * k
        self.memory.store(at, self.memory.load(at) >> 14 << 14)

    def room(self):
        return self.block.stride - 16

    def send(self, data):
        claimed = self.claim()
        if claimed is not NOTHING:
            self.memory.write(claimed[0] + 16, data)
            self.name(claimed, HERE, len(data))
            self.publish(claimed)
        return claimed

    def queue(self, k, data):
        self.memory.write(self.block.blocks + self.block.apart * k, data)
        claimed = self.claim()
        if claimed is NOTHING:
            return None
        self.name(claimed, k, len(data))
        self.publish(claimed)
        return True

    def name(self, claimed, k, length):
        self.memory.store(claimed[0] + 8, length << 32 | k)

    def take(self):
        taken = self.take_slot()
        if taken in (NOTHING, PENDING):
            return taken
        label = self.memory.load(taken[0] + 8)
        k, length = label & 0xFFFFFFFF, label >> 32
        if k == HERE and length <= self.room():
            return self.memory.read(taken[0] + 16, length), taken, k
        if k < self.block.capacity and length <= self.block.size:
            at = self.block.words + 8 * k
            word = self.memory.load(at)
            if word & HELD and self.memory.swap(at, word, held(word, self.me)):
                data = self.memory.read(self.block.blocks + self.block.apart * k, length)
                return data, taken, k
        self.free(taken[:2])
        raise Corrupt(f"label {label:#x}")

    def release(self, taken):
        super().release(taken)
        if taken[2] != HERE:
            self.free_block(taken[2])


JOINING = 1 << 31


class Board:
    """Broadcast, both ends (10.5)."""

    def __init__(self, segment, block, side, start):
        self.memory, self.block, self.segment = segment.memory, block, segment
        self.slots, self.entries = block.slots, block.publishers
        self.count = self.slots + self.entries
        # The buffer's, and gap.
        self.gap = 1 << (self.count - 1).bit_length()
        self.bits = self.gap.bit_length()
        self.turns = 1 << 64 - self.bits
        self.mine = of_life(segment.incarnation, segment.me)
        self.entry = None
        if side is SENDER:
            self.become_publisher()
        else:
            self.subscribe(start)

    # 4.6

    def place_word(self, place, turn, buffer):
        return turn % self.turns << self.bits | (buffer - place) % self.count

    def turn(self, word):
        return word >> self.bits

    def buffer_of(self, place, word):
        return ((word & self.gap - 1) + place) % self.count

    def after(self, word, turn):
        """How many turns a word is after one."""
        d = (self.turn(word) - turn) % self.turns
        return d - self.turns if d >= self.turns // 2 else d

    def lap(self, position):
        return position // self.slots

    def slot(self, position):
        return self.block.slot(position % self.slots)

    def place(self, n):
        """A publisher's entry, which is the place S + n."""
        return self.block.words + 128 * n

    def seat(self, k):
        return self.block.words + 128 * (self.entries + k)

    def limit(self):
        return self.memory.load(self.block.tail)

    # Entries

    def is_vacant(self, word):
        if not word:
            return True
        i = word & 0xFFFF
        if i >= self.segment.participants:
            return True
        theirs = self.segment.word(i)
        return low(theirs) not in (LIVE, DEAD) or theirs >> 32 != word >> 32

    def claim(self, entries, used, holder, what):
        for last in (False, True):
            for n, at in entries:
                word = self.memory.load(at)
                if not self.is_vacant(word):
                    continue
                self.memory.change(used, lambda seen: n + 1 if seen < n + 1 else None)
                if self.memory.swap(at, word, holder):
                    return n
            if last:
                raise TooMany(what)
            self.segment.look(8 + self.segment.me)

    def become_publisher(self):
        entries = [(n, self.place(n)) for n in range(self.entries)]
        self.number = self.claim(entries, self.block.at + 640, self.mine, "publishers")
        self.entry = at = self.place(self.number)
        self.complete(self.number)
        word, helped = self.memory.load(at + 8), self.memory.load(at + 16)
        if self.after(helped, self.turn(word)) > 0:
            word = helped
        self.memory.store(at + 8, word)
        self.own, self.spare = self.turn(word), self.buffer_of(self.slots + self.number, word)
        self.seen = self.limit()
        self.cursor = max(0, self.seen - self.block.step)

    def first_unpublished(self):
        limit = self.limit()
        least, most = max(0, limit - self.block.step), limit
        while least < most:
            middle = (least + most) // 2
            if self.after(self.memory.load(self.slot(middle)), self.lap(middle)) < 1:
                most = middle
            else:
                least = middle + 1
        return least

    def subscribe(self, start):
        reliable, back = start
        if not reliable:
            next_one = self.first_unpublished()
            oldest = max(0, self.limit() - self.slots)
            self.cursor = min(next_one, max(next_one - min(back, self.block.capacity), oldest))
            return
        entries = [(k, self.seat(k)) for k in range(self.block.reliable)]
        k = self.claim(entries, self.block.at + 648, self.mine | JOINING, "reliable subscribers")
        self.entry = at = self.seat(k)
        self.cursor = max(0, self.first_unpublished() - min(back, self.block.capacity))
        self.memory.store(at + 8, self.cursor)
        self.memory.store(at, self.mine)
        thunks.fence()
        safe = max(0, self.limit() + self.block.step - self.slots)
        if self.cursor < safe:
            self.cursor = safe
            self.memory.store(at + 8, safe)

    def leave(self):
        if self.entry is not None:
            self.memory.swap(self.entry, self.mine, 0)

    # Publishing

    def send(self, data, note=True):
        memory, block = self.memory, self.block
        at = block.buffers + block.apart * self.spare
        if block.kind == BROADCAST_BYTES:
            memory.write(at + 8, data)
            memory.store(at, len(data))
        else:
            memory.write(at, data)
        while True:
            p = self.cursor
            if p >= self.seen and not self.raise_limit(p):
                return NOTHING
            w = memory.load(self.slot(p))
            turns = self.after(w, self.lap(p))
            if turns < 0:
                raise Corrupt(f"a slot's word is {w:#x}")
            if turns > 0:
                self.cursor = p + (turns - 1) * self.slots + 1
                continue
            over = self.buffer_of(p % self.slots, w)
            memory.store(self.entry + 32, over)
            memory.store(self.entry + 24, p)
            word = self.place_word(p % self.slots, self.lap(p) + 1, self.spare)
            if memory.swap(self.slot(p), w, word):
                break
        if note:
            self.own, self.spare, self.cursor = self.own + 1, over, p + 1
            own = self.place_word(self.slots + self.number, self.own, over)
            memory.store(self.entry + 8, own)
        return True

    def least(self, p):
        """The least position of the reliable subscribers that count; p if there is none."""
        least = p
        for k in range(min(self.memory.load(self.block.at + 648), self.block.reliable)):
            holder = self.memory.load(self.seat(k))
            i = holder & 0xFFFF
            if not holder or holder & JOINING or i >= self.segment.participants:
                continue
            if self.segment.word(i) == of_life(holder >> 32, LIVE):
                least = min(least, self.memory.load(self.seat(k) + 8))
        return least

    def raise_limit(self, p):
        while True:
            limit = self.limit()
            if limit < p:
                raise Corrupt(f"the limit is {limit}, below {p}")
            if limit > p:
                self.seen = limit
                return True
            thunks.fence()
            to = min(p + self.block.step, self.least(p) + self.block.capacity)
            if to <= p:
                return False
            for n in range(min(self.memory.load(self.block.at + 640), self.entries)):
                if n != self.number:
                    self.complete(n)
            self.renew(self.number)
            if self.memory.swap(self.block.tail, limit, to):
                self.seen = to
                return True

    def complete(self, n):
        memory, at, place = self.memory, self.place(n), self.slots + n
        w, a = memory.load(at + 8), memory.load(at + 24)
        published = self.place_word(a % self.slots, self.lap(a) + 1, self.buffer_of(place, w))
        if memory.load(self.slot(a)) & ~self.gap != published:
            self.renew(n)
            return
        to = self.place_word(place, self.turn(w) + 1, memory.load(at + 32) % self.count)
        while True:
            helped = memory.load(at + 16)
            if memory.load(at + 8) != w or self.after(helped, self.turn(w) + 1) >= 0:
                return
            if memory.swap(at + 16, helped, to):
                return

    def renew(self, n):
        helped, word = self.memory.load(self.place(n) + 16), self.memory.load(self.place(n) + 8)
        if self.after(helped, self.turn(word)) <= -(self.turns // 4):
            self.memory.swap(self.place(n) + 16, helped, word)

    # Reading

    def occupied(self):
        return self.after(self.memory.load(self.slot(self.cursor)), self.lap(self.cursor)) > 0

    def in_hand(self):
        return False

    def more(self):
        return True

    def take(self):
        block, p = self.block, self.cursor
        while True:
            w = self.memory.load(self.slot(p))
            turns = self.after(w, self.lap(p))
            if turns == 0:
                return NOTHING
            if turns > 1 and self.entry is None:
                self.cursor = self.limit() - self.slots
                if self.cursor <= p:
                    raise Corrupt(f"the limit is {self.limit()}")
                raise Lagged(self.cursor - p)
            if turns != 1:
                raise Corrupt(f"a slot's word is {w:#x}")
            at = block.buffers + block.apart * self.buffer_of(p % self.slots, w)
            first = self.memory.load(at)
            if w & self.gap:
                data = None
            elif block.kind == BROADCAST_BYTES:
                data = self.memory.read(at + 8, min(first, block.size))
            else:
                data = self.memory.read(at, block.size)
            thunks.fence()
            if self.memory.load(self.slot(p)) != w:
                continue
            if data is None:
                self.release((None, p))
                raise Lagged(first)
            return data, p

    def release(self, taken):
        self.cursor = taken[1] + 1
        if self.entry is not None:
            self.memory.store(self.entry + 8, self.cursor)


RINGS = {SPSC: Elements, MPMC: Slots, SPSC_BYTES: Records, MPMC_BYTES: MessageBlocks}


class Endpoint:
    """One end of a channel; of a broadcast channel's subscriber, whether it is a reliable one,
    and how many messages back it begins."""

    def __init__(self, segment, block, side, start=(True, 0)):
        self.segment, self.block, self.side, self.memory = segment, block, side, segment.memory
        # 8.2
        segment.look(8 + segment.me)
        self.joined = self.memory.load(block.at + side.other.joined)
        self.met = segment.has_peer(block, side.other)
        counts = segment.counts.setdefault(block.index, {"sender": 0, "receiver": 0})
        first = not any(counts.values())
        row = segment.row(block, segment.me)
        if first:
            for event in (block.items, block.space, block.slots_event):
                self.memory.store(row + event.record, of_life(segment.incarnation, 0))
            for word in range(4, 8):
                self.memory.store(row + 8 * word, 0)
            self.show()
            for event in (block.items, block.space):
                self.segment.arm(event.number)
        if block.kind in SINGLE:
            try:
                self.take_role()
            except RoleTaken:
                if first:
                    self.disarm()
                raise
        if block.kind in TO_ALL:
            try:
                self.ring = Board(segment, block, side, start)
            except TooMany:
                if first:
                    self.disarm()
                raise
        counts[side.name] += 1
        self.show()
        self.memory.add(block.at + side.joined, 1)
        self.memory.add(block.changes, 1)
        thunks.fence()
        if block.kind not in TO_ALL:
            self.ring = RINGS[block.kind](segment, block, side)
        elif side is RECEIVER:
            segment.notify(block.space)
        if side is RECEIVER and self.ring.occupied():
            self.met = True
        if side is RECEIVER and block.kind in SINGLE:
            self.ring.take_mark(segment)
        self.seen, self.alone, self.paused, self.open = None, False, False, True
        self.was_paused = False

    def disarm(self):
        for event in (self.block.items, self.block.space):
            n = event.number
            try:
                if event.struck:
                    try:
                        self.segment.set.op((n, 1, SEM_UNDO))
                    except OSError as error:
                        if error.errno != errno.ERANGE:
                            raise
                        self.segment.set.tried((n, -HIGH, IPC_NOWAIT))
                        self.segment.set.op((n, 1, SEM_UNDO))
                    continue
                while not (self.segment.set.tried((n, -1, IPC_NOWAIT), (n, 1, SEM_UNDO))
                           or self.segment.set.tried((n, 0, IPC_NOWAIT), (n, 1, SEM_UNDO))):
                    pass
            except OSError:
                return

    def role_word(self):
        return of_life(self.segment.incarnation, self.segment.me)

    def take_role(self):
        at = self.block.at + self.side.role
        for last in (False, True):
            while True:
                word = self.memory.load(at)
                if word:
                    i = word & 0xFFFF
                    if i < self.segment.participants:
                        theirs = self.segment.word(i)
                        if low(theirs) in (LIVE, DEAD) and theirs >> 32 == word >> 32:
                            break
                if self.memory.swap(at, word, self.role_word()):
                    return
            if last:
                raise RoleTaken(f"{self.block.name} has a {self.side.name}")
            self.segment.look(8 + self.segment.me)

    def show(self):
        segment = self.segment
        counts = segment.counts[self.block.index]
        self.memory.store(segment.row(self.block, segment.me),
                          of_life(segment.incarnation, counts["sender"] << 16 | counts["receiver"]))

    def close(self):
        """8.3."""
        if not self.open:
            return
        self.open = False
        if not self.segment.is_known():
            return
        counts = self.segment.counts[self.block.index]
        if self.block.kind in TO_ALL:
            self.ring.leave()
        counts[self.side.name] -= 1
        self.show()
        if self.block.kind in SINGLE:
            self.memory.swap(self.block.at + self.side.role, self.role_word(), 0)
        self.memory.add(self.block.changes, 1)
        if not counts[self.side.name]:
            event = self.block.items if self.side is SENDER else self.block.space
            thunks.fence()
            last = not self.segment.has_peer(self.block, self.side)
            (self.segment.rouse if last else self.segment.notify)(event)
            if self.side is RECEIVER:
                self.segment.notify_slots(self.block)
        if self.block.kind in TO_ALL and self.side is RECEIVER:
            self.segment.notify(self.block.space)
        if not any(counts.values()):
            self.disarm()

    def check(self):
        """8.4."""
        changes = self.memory.load(self.block.changes)
        if changes == self.seen:
            return
        gate = self.memory.load(H_GATE)
        if gate & 1:
            raise Closed()
        # 14.1
        if gate & SHUTDOWN:
            raise Shutdown()
        if self.side is SENDER and gate & (DRAINING | DRAINED):
            raise Drained()
        self.paused = bool(gate & PAUSED) and self.side is SENDER
        self.was_paused |= self.paused
        other = self.side.other
        met = self.met or self.memory.load(self.block.at + other.joined) != self.joined
        self.alone = (met and not self.block.lasting
                      and not self.segment.has_peer(self.block, other)
                      or self.side is RECEIVER and bool(gate & DRAINED))
        self.seen = changes

    def send(self, data, timeout=None):
        """Whether it was sent in time; 0 not to wait."""
        block = self.block
        if len(data) > block.size or block.kind not in BYTES and len(data) != block.size:
            raise ValueError(f"{len(data)} bytes for a channel of {block.size}")

        def checked(act):
            self.check()
            if self.alone and block.kind not in TO_ALL:
                raise Disconnected(self.side.other.name)
            return None if self.paused else act()

        def sent(done):
            if done:
                self.segment.notify(block.items)
            return bool(done)

        if block.kind != MPMC_BYTES or len(data) <= self.ring.room():
            push = lambda: None if self.ring.send(data) is NOTHING else True
            return sent(self.until(lambda: checked(push), block.space, timeout))
        # 10.4: keeps the message block while it waits for a slot.
        allocate = lambda: checked(self.ring.allocate)
        k, done = allocate(), None
        if k is None and timeout != 0:
            until = None if timeout is None else time.monotonic() + timeout
            k = self.segment.wait_for_slot(block, allocate, until)
        try:
            if k is not None:
                queue = lambda: checked(lambda: self.ring.queue(k, data))
                done = self.until(queue, block.space, timeout)
        finally:
            if k is not None and not done:
                self.ring.free_block(k)
                self.segment.notify_slots(block)
        return sent(done)

    def try_take(self):
        """A message, to be released; None if there is none."""
        self.check()
        taken = self.ring.take()
        if taken not in (NOTHING, PENDING):
            return taken
        if taken is NOTHING and self.alone and not self.ring.in_hand():
            raise Disconnected(self.side.other.name)
        return None

    def release(self, taken):
        self.ring.release(taken)
        if self.block.kind in TO_ALL:
            if self.ring.entry is not None:
                self.segment.notify(self.block.space)
            return
        # Acknowledge (10.2).
        self.segment.notify(self.block.space)
        if self.block.kind == MPMC_BYTES:
            self.segment.notify_slots(self.block)
        if self.memory.load(self.block.changes) != self.seen or self.alone:
            self.segment.rouse(self.block.items)

    def take(self, timeout=None):
        return self.until(self.try_take, self.block.items, timeout)

    def receive(self, timeout=None):
        """A message's bytes; None if there was none in time."""
        taken = self.take(timeout)
        if taken is None:
            return None
        self.release(taken)
        return taken[0]

    def until(self, attempt, event, timeout):
        self.was_paused = False
        done = attempt()
        if done is not None or timeout == 0:
            return done
        until = None if timeout is None else time.monotonic() + timeout
        # 11.2: another one that was paused may have been passed over.
        more = lambda: self.was_paused or self.ring.more()
        return self.segment.wait(self.block, event, attempt, more, until)


# A puppet: a command a line, an answer a line.


def filler(n):
    """A message of bytes with the number n, of a length that n decides."""
    return bytes((n + k) & 0xFF for k in range(n * 37 % 201))


class Puppet:
    def __init__(self, name):
        self.segment = Segment(name)
        self.ends = {}

    def data(self, end, n):
        return filler(n) if end.block.kind in BYTES else struct.pack("<Q", n)

    def told(self, end, data):
        if data is None:
            return "nothing"
        if end.block.kind in BYTES:
            return "got " + data.hex()
        return f"got {struct.unpack('<Q', data)[0]}"

    def do(self, command, *args):
        segment = self.segment
        if command == "open":
            channel, kind, side = args
            kind = KINDS[kind]
            shape = {} if kind in BYTES else {"size": 8, "alignment": 8, "schema": "u64"}
            block = segment.channel(channel, kind, **shape)
            # Of broadcast also `lossy` and `reliable`, each with `:` and how many back.
            side, _, back = side.partition(":")
            start = side != "lossy", int(back or 0)
            side = SENDER if side == "sender" else RECEIVER
            self.ends[channel] = Endpoint(segment, block, side, start)
            return "open"
        if command == "close":
            self.ends.pop(args[0]).close()
            return "closed"
        if command == "leave":
            for end in self.ends.values():
                end.close()
            segment.leave()
            return "left"
        if command == "subscribe":
            segment.position = segment.newest() + 1
            return "subscribed"
        if command == "listen":
            return segment.listen()
        if command == "look":
            return f"swept {segment.look(8 + segment.me)}"
        end = self.ends[args[0]]
        numbers = [int(arg) for arg in args[1:]]
        if command == "send":
            end.send(self.data(end, numbers[0]))
            return "sent"
        if command == "try-send":
            return "sent" if end.send(self.data(end, numbers[0]), 0) else "full"
        if command == "recv":
            return self.told(end, end.receive())
        if command == "try-recv":
            return self.told(end, end.receive(0))
        if command == "recv-timeout":
            return self.told(end, end.receive(numbers[0] / 1000))
        if command == "send-all":
            for n in range(*numbers):
                end.send(self.data(end, n))
            return "sent"
        if command == "recv-all":
            for n in range(*numbers):
                data = end.receive()
                if data != self.data(end, n):
                    return f"{data!r} instead of {self.data(end, n)!r}"
            return "received"
        if command == "drain":
            got = []
            try:
                while True:
                    got.append(self.told(end, end.receive()))
            except Disconnected as gone:
                return ",".join([""] + got) + f" Disconnected {gone}"
        if command == "hold-published":
            # Published, and not noted in its entry.
            end.ring.send(self.data(end, numbers[0]), note=False)
            return "holding"
        if command == "hold-joining":
            # An entry without a position.
            ring = end.ring
            ring.memory.store(ring.entry, ring.mine | JOINING)
            return "holding"
        if command == "hold-claim":
            # WRITING, and of bytes also a message block that is named already.
            if end.block.kind == MPMC_BYTES:
                k = end.ring.allocate()
                end.ring.name(end.ring.claim(), k, 1)
            else:
                end.ring.claim()
            return "holding"
        if command == "hold-block":
            return f"holding {end.ring.allocate()}"
        if command == "take":
            self.taken = end.take()
            return self.told(end, self.taken[0])
        if command == "hold-taken":
            # READING, and of bytes the message block is still its sender's.
            end.ring.take_slot()
            return "holding"
        if command == "release":
            end.release(self.taken)
            return "released"
        if command == "give-back":
            end.ring.give_back(self.taken)
            segment.notify(end.block.items)
            return "given back"
        raise ValueError(command)


def main():
    puppet = Puppet(sys.argv[1])
    print("joined", flush=True)
    for line in sys.stdin:
        try:
            answer = puppet.do(*line.split())
        except (Failed, OSError) as error:
            answer = f"{type(error).__name__} {error}".rstrip()
        print(answer, flush=True)


if __name__ == "__main__":
    main()
