"""How many objects a second go from one process to another: through `multiprocessing.Queue`,
faster-fifo, and a queue of `tombolo.get_context()`; and frames in place, through a channel.

    python benches/queues.py [ROUNDS [WORK]]

Each round runs all of them one after the other, so that what else the machine does concerns all
alike. ``pickle, copy`` is no queue: it is the rate of the slower of two sides that never wait, of
which one pickles and copies into memory, and the other copies out of it and unpickles. WORK is a
part of the name of what is to be run. Needs numpy and faster-fifo.
"""

import mmap
import multiprocessing
import pickle
import platform
import statistics
import sys
import time

import numpy as np

import tombolo

try:
    from faster_fifo import Queue as FasterFifo
except ImportError:
    FasterFifo = None

FRAME = (1080, 2589, 3)  # 8 MiB


def put(objects, obj, count):
    for _ in range(count):
        objects.put(obj)
    objects.close()


def put_arrays(objects, shape, count):
    array = np.ones(shape, "u1")
    for n in range(count):
        array.flat[0] = n % 251
        objects.put(array)
    objects.close()


def write_in_place(channel, count, whole):
    picture = np.ones(FRAME, "u1")
    sender = channel.sender()
    for n in range(count):
        with sender.reserve() as slot:
            frame = np.asarray(slot)
            if whole:
                np.copyto(frame, picture)
            frame[0, 0, 0] = n % 251
            # The place is sent when no view of it is left.
            del frame


def rate(get, count):
    """Objects a second, from the first one on."""
    get()
    start = time.perf_counter()
    for _ in range(count - 1):
        get()
    return (count - 1) / (time.perf_counter() - start)


def through(make, target, args, count):
    ctx, objects = make()
    child = ctx.Process(target=target, args=(objects, *args, count))
    child.start()
    found = rate(lambda: objects.get(timeout=60), count)
    child.join()
    return found


def in_place(count, whole):
    with tombolo.anonymous(size=1 << 27) as segment:
        channel = segment.channel("frames", dtype=("u1", FRAME), capacity=8, lasting=True)
        receiver = channel.receiver()
        child = multiprocessing.get_context("fork").Process(
            target=write_in_place, args=(channel, count, whole)
        )

        def get():
            with receiver.take(timeout=60) as frame:
                view = np.asarray(frame)
                found = view[::64].max() if whole else view[0, 0, 0]
                del view
            return found

        child.start()
        found = rate(get, count)
        child.join()
        return found


def pickle_and_copy(target, args, count):
    """Objects a second of the slower side, if neither ever waits."""

    class Objects:
        def __init__(self):
            # As large as what a queue has between its ends.
            self.places = []
            self.memory = mmap.mmap(-1, 16 << 20)
            self.end = 0

        def put(self, obj):
            buffers = []
            parts = [pickle.dumps(obj, 5, buffer_callback=buffers.append)]
            parts += [buffer.raw() for buffer in buffers]
            place = []
            for part in parts:
                size = memoryview(part).nbytes
                start = self.end if self.end + size <= len(self.memory) else 0
                self.end = start + size
                self.memory[start : self.end] = part
                place.append((start, self.end))
            self.places.append(place)

        def get(self, place):
            data, *buffers = (self.memory[start:end] for start, end in place)
            return pickle.loads(data, buffers=buffers)

        def close(self):
            pass

    objects = Objects()
    target(objects, *args, count)
    objects.places.clear()
    start = time.perf_counter()
    target(objects, *args, count)
    middle = time.perf_counter()
    for place in objects.places:
        objects.get(place)
    end = time.perf_counter()
    return count / max(middle - start, end - middle)


def standard():
    ctx = multiprocessing.get_context("fork")
    return ctx, ctx.Queue()


def faster_fifo():
    return multiprocessing.get_context("fork"), FasterFifo(max_size_bytes=64 << 20)


def ours():
    ctx = tombolo.get_context("fork")
    return ctx, ctx.Queue()


MAKERS = {"multiprocessing": standard, "faster-fifo": faster_fifo, "tombolo": ours}
WORK = {
    "small ints": (put, (7,), 40_000),
    "64 KiB of bytes": (put, (bytes(65_536),), 8_000),
    "64 KiB arrays": (put_arrays, ((256, 256),), 8_000),
    "8 MiB frames": (put_arrays, (FRAME,), 60),
}


def processor():
    with open("/proc/cpuinfo") as about:
        names = [line.split(":")[1].strip() for line in about if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(names)} processors"


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    found = {}
    for _ in range(rounds):
        for work, (target, args, count) in WORK.items():
            if wanted not in work:
                continue
            found.setdefault((work, "pickle, copy"), []).append(pickle_and_copy(target, args, count))
            for name, make in MAKERS.items():
                if make is not faster_fifo or FasterFifo is not None:
                    key = work, name
                    found.setdefault(key, []).append(through(make, target, args, count))
        for work, whole in (("8 MiB frames in place", False), ("in place, written and read", True)):
            if wanted not in work:
                continue
            count = 400 if whole else 4_000
            found.setdefault((work, "tombolo"), []).append(in_place(count, whole))
    print(f"{processor()}; Python {platform.python_version()}; {rounds} rounds")
    print("median objects a second (lowest to highest)\n")
    for (work, name), rates in found.items():
        middle = statistics.median(rates)
        print(f"{work:24} {name:16} {middle:12,.0f}  ({min(rates):,.0f} to {max(rates):,.0f})")


if __name__ == "__main__":
    main()
