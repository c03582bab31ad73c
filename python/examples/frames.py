"""Pictures from one process to another, without a copy: needs numpy."""

import multiprocessing
import time

import numpy
import tombolo

SHAPE = (1080, 1920, 3)
COUNT = 50


def camera(frames):
    with frames.sender() as sender:
        for number in range(COUNT):
            with sender.reserve() as place:
                numpy.asarray(place)[...] = number


def main():
    with tombolo.anonymous() as segment:
        frames = segment.channel("frames", dtype=("u1", SHAPE), capacity=4, spsc=True)
        receiver = frames.receiver()
        process = multiprocessing.Process(target=camera, args=(frames,))
        process.start()
        began = time.perf_counter()
        for number in range(COUNT):
            with receiver.take(timeout=30) as frame:
                picture = numpy.asarray(frame)
                assert picture[0, 0, 0] == picture[-1, -1, -1] == number
                del picture
        took = time.perf_counter() - began
        process.join()
        print(f"{COUNT} pictures of {SHAPE}, {COUNT / took:.0f} a second")


if __name__ == "__main__":
    main()
