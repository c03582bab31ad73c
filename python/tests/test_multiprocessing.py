"""The context's queues do what those of the standard library do, and outlive their processes."""

import asyncio
import concurrent.futures
import itertools
import os
import queue
import signal
import statistics
import threading
import time
import unittest
from multiprocessing.reduction import ForkingPickler

import ipc
import tombolo.multiprocessing

METHODS = ("fork", "spawn", "forkserver")
# So long nothing takes that does not hang.
HANGS = 30


def context(method="fork", **options):
    return tombolo.multiprocessing.get_context(method, **options)


class Reduced:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return self.value == other.value


def echo(questions, answers):
    for question in iter(questions.get, None):
        answers.put(question)


def put_many(objects, count):
    for n in range(count):
        objects.put(n)


def get_and_hold(jobs, told):
    told.put(jobs.get(timeout=HANGS))
    time.sleep(HANGS)


def square(n):
    return n * n


def get_in(objects, seconds, told):
    time.sleep(seconds)
    told.put(objects.get(timeout=HANGS))


class Case(unittest.TestCase):
    def started(self, ctx, target, *args):
        process = ctx.Process(target=target, args=args, daemon=True)
        process.start()
        self.addCleanup(self.ended, process)
        return process

    def ended(self, process):
        if process.is_alive():
            process.kill()
        process.join(HANGS)


class Exchange(Case):
    def test_objects_of_every_size_come_back_under_each_start_method(self):
        sizes = [0, 1, 111, 112, 4096, 70_000, 3 << 20]
        for method in METHODS:
            with self.subTest(method):
                ctx = context(method)
                questions, answers = ctx.Queue(), ctx.Queue(2)
                child = self.started(ctx, echo, questions, answers)
                objects = [os.urandom(size) for size in sizes]
                objects += [(size, {"data": bytearray(size)}) for size in sizes]
                objects += [0, -(1 << 80), 1.5, "größer", [None, True]]
                for sent in objects:
                    questions.put(sent)
                    self.assertEqual(answers.get(timeout=HANGS), sent)
                questions.put(None)
                child.join(HANGS)
                self.assertEqual(child.exitcode, 0)

    def test_what_finds_no_room_is_sent_later_in_order(self):
        objects = context(capacity=8).Queue()
        put_many(objects, 3000)
        self.assertEqual(objects.qsize(), 3000)
        objects.put(b"x" * 100_000)
        self.assertEqual([objects.get(timeout=HANGS) for _ in range(3000)], list(range(3000)))
        self.assertEqual(len(objects.get(timeout=HANGS)), 100_000)
        with self.assertRaises(queue.Empty):
            objects.get_nowait()
        objects.close()
        objects.join_thread()

    def test_a_child_ends_when_all_that_it_has_put_is_sent(self):
        for method in ("fork", "spawn"):
            ctx = context(method, capacity=8)
            objects = ctx.Queue()
            child = self.started(ctx, put_many, objects, 1000)
            self.assertEqual([objects.get(timeout=HANGS) for _ in range(1000)], list(range(1000)))
            child.join(HANGS)
            self.assertEqual(child.exitcode, 0)

    def test_a_bounded_queue_counts_across_processes(self):
        ctx = context()
        objects, told = ctx.Queue(2), ctx.SimpleQueue()
        objects.put(1)
        self.assertFalse(objects.full())
        objects.put(2, timeout=1)
        self.assertTrue(objects.full())
        for put in (objects.put_nowait, lambda n: objects.put(n, timeout=0.05)):
            with self.assertRaises(queue.Full):
                put(3)
        self.started(ctx, get_in, objects, 0.1, told)
        objects.put(3, timeout=HANGS)
        self.assertEqual((told.get(), objects.qsize()), (1, 2))

    def test_arrays_are_copied_once_each_way_and_can_be_written_to(self):
        try:
            import numpy as np
        except ImportError:
            self.skipTest("numpy is not installed")
        objects = context(capacity=4).Queue()
        frame = np.arange(1 << 16).reshape(256, 256)
        fixed = np.arange(5000)
        fixed.flags.writeable = False
        for _ in range(8):
            objects.put({"frame": frame, "fixed": fixed, "small": np.ones(3), "part": frame[:, ::2]})
        # The queue has room for four: the others are as they were when they were put.
        frame[:] = 0
        for _ in range(8):
            got = objects.get(timeout=HANGS)
            self.assertEqual(got["frame"][255, 255], (1 << 16) - 1)
            got["frame"][0, 0] = 7
            self.assertFalse(got["fixed"].flags.writeable)
            self.assertEqual((got["small"].sum(), got["part"].shape), (3, (256, 128)))

    def test_arrays_by_themselves_come_as_they_were(self):
        try:
            import numpy as np
        except ImportError:
            self.skipTest("numpy is not installed")
        objects = context().Queue()
        fixed = np.arange(5000)
        fixed.flags.writeable = False
        arrays = [
            np.arange(1 << 16).reshape(4, 128, 128),
            np.linspace(0, 1, 5000, dtype=">f4"),
            np.asfortranarray(np.arange(8192.0).reshape(64, 128)),
            np.arange(8192)[::2],
            np.zeros(1000, [("id", "u8"), ("price", "f8")]),
            np.array(["2026-11-29"] * 1000, "M8[D]"),
            np.array([{"any": "object"}] * 1000),
            np.ma.masked_array(np.arange(5000), mask=False),
            np.ones((2, 3)),
            np.ones(8192, complex),
            fixed,
        ]
        for array in arrays:
            objects.put(array)
            got = objects.get(timeout=HANGS)
            self.assertEqual(
                (type(got), got.dtype, got.shape, got.flags.writeable),
                (type(array), array.dtype, array.shape, array.flags.writeable),
            )
            self.assertTrue((got == array).all())
        # And if they have to wait in the process.
        objects = context(capacity=1).Queue()
        for n in range(3):
            objects.put(arrays[0] + n)
        for n in range(3):
            self.assertTrue((objects.get(timeout=HANGS) == arrays[0] + n).all())

    def test_a_reducer_that_is_registered_late_is_used(self):
        objects = context().Queue()
        objects.put(3 + 4j)
        objects.put(Reduced(1))
        self.assertEqual([objects.get(timeout=HANGS) for _ in range(2)], [3 + 4j, Reduced(1)])
        ForkingPickler.register(Reduced, lambda one: (Reduced, (one.value + 1,)))
        self.addCleanup(ForkingPickler._extra_reducers.pop, Reduced)
        objects.put([Reduced(1)])
        self.assertEqual(objects.get(timeout=HANGS), [Reduced(2)])

    def test_memory_of_large_objects_is_given_back(self):
        objects = context().Queue()
        many = [bytes([n]) * (24 << 20) for n in range(4)]
        for sent in many:
            objects.put(sent)
        before = ipc.resident(objects._link.id)
        self.assertGreater(before, 90 << 20)
        for sent in many:
            self.assertEqual(objects.get(timeout=HANGS), sent)
        # 16 MiB of the first block, 8 of the second, …
        self.assertLess(ipc.resident(objects._link.id), 40 << 20)

    def test_an_object_that_is_too_long_is_named(self):
        objects = context(longest=1 << 20).Queue()
        with self.assertRaisesRegex(ValueError, "1048577"):
            objects.put(b"x" * (2 << 20))

    def test_an_object_that_cannot_be_pickled_is_reported_and_not_counted(self):
        told = []

        class Queue(tombolo.multiprocessing.Queue):
            @staticmethod
            def _on_queue_feeder_error(e, obj):
                told.append(obj)

        objects, lock = Queue(1, ctx=context()), threading.Lock()
        objects.put(lock)
        objects.put(5)
        self.assertEqual((told, objects.get(timeout=HANGS)), ([lock], 5))

    def test_a_closed_queue_says_so(self):
        objects = context().JoinableQueue()
        objects.put(1)
        objects.close()
        objects.join_thread()
        for use in (objects.get, objects.put_nowait, lambda _=0: next(objects.take_each())):
            with self.assertRaisesRegex(ValueError, "is closed"):
                use(0)
        with self.assertRaisesRegex(OSError, "is closed"):
            objects.empty()

    def test_a_child_that_starts_after_its_parent_has_let_go_finds_everything(self):
        for method in METHODS:
            with self.subTest(method):
                ctx = context(method)
                told = ctx.Queue()
                objects = ctx.Queue()
                objects.put("kept")
                self.started(ctx, get_in, objects, 0.2, told)
                del objects
                self.assertEqual(told.get(timeout=HANGS), "kept")

    def test_a_process_forked_by_other_means_opens_the_queue_for_itself(self):
        objects = context().Queue()
        objects.put(1)
        child = os.fork()
        if child == 0:
            ended = 1
            try:
                objects.put(objects.get(timeout=HANGS) + 1)
                ended = 0
            finally:
                os._exit(ended)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertEqual(objects.get(timeout=HANGS), 2)

    def test_nothing_is_left(self):
        before = ipc.objects()
        ctx = context("spawn")
        queues = [ctx.Queue(), ctx.JoinableQueue(3), ctx.SimpleQueue()]
        self.assertGreater(ipc.objects()["shm"], before["shm"])
        # As if the last child had been started long ago.
        tombolo.multiprocessing._forked = 0.0
        del queues
        self.assertLessEqual(ipc.objects()["shm"], before["shm"])


class Jobs(Case):
    def test_a_job_comes_again_unless_its_loop_goes_on(self):
        jobs = context().Queue()
        put_many(jobs, 3)
        each = jobs.take_each()
        self.assertEqual([next(each).value, next(each).value], [0, 1])
        each.close()
        with self.assertRaises(ZeroDivisionError):
            for job in jobs.take_each():
                job.value // 0
        seen = {job.value: job.attempts for job in jobs.take_each(timeout=0.05)}
        self.assertEqual((sorted(seen), sum(seen.values())), ([1, 2], 2))
        # Acknowledged in the body, it does not come again.
        jobs.put("last")
        for job in jobs.take_each():
            self.assertTrue(job.done())
            break
        self.assertTrue(jobs.empty())

    def test_join_waits_for_what_is_in_hand(self):
        jobs = context().JoinableQueue()
        put_many(jobs, 20)
        done = []

        def work():
            for job in jobs.take_each(timeout=0.5):
                time.sleep(0.01)
                done.append(job.value)

        def work_by_hand():
            for n in iter(jobs.get, None):
                time.sleep(0.01)
                done.append(n)
                jobs.task_done()

        threads = [threading.Thread(target=work) for _ in range(2)]
        by_hand = threading.Thread(target=work_by_hand, daemon=True)
        for thread in [*threads, by_hand]:
            thread.start()
        jobs.join()
        self.assertEqual(sorted(done), list(range(20)))
        with self.assertRaisesRegex(ValueError, "too many times"):
            jobs.task_done()
        jobs.put(None)
        for thread in [*threads, by_hand]:
            thread.join(HANGS)

    def test_join_does_not_wait_for_a_job_that_died_with_its_worker(self):
        ctx = context()
        jobs, told = ctx.JoinableQueue(), ctx.Queue()
        worker = self.started(ctx, get_and_hold, jobs, told)
        jobs.put(1)
        told.get(timeout=HANGS)
        joined = threading.Thread(target=jobs.join)
        joined.start()
        joined.join(0.2)
        self.assertTrue(joined.is_alive())
        worker.kill()
        joined.join(HANGS)
        self.assertFalse(joined.is_alive())


class Interruption(Case):
    def test_ctrl_c_ends_a_wait_at_once(self):
        objects, full = context().Queue(), context().Queue(1)
        full.put(1)
        took = []
        for wait in itertools.islice(itertools.cycle((objects.get, lambda: full.put(2))), 10):
            sent = []

            def interrupt():
                time.sleep(0.03)
                sent.append(time.monotonic())
                os.kill(os.getpid(), signal.SIGINT)

            thread = threading.Thread(target=interrupt)
            thread.start()
            with self.assertRaises(KeyboardInterrupt):
                wait()
            took.append(time.monotonic() - sent[0])
            thread.join()
        self.assertLess(statistics.median(took), 0.02)

    def test_another_handler_runs_and_the_wait_goes_on(self):
        objects, seen = context().Queue(), []
        before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.03)
        with self.assertRaises(queue.Empty):
            objects.get(timeout=0.2)
        self.assertEqual(seen, [1])


class Tasks(Case):
    def test_tasks_wait_without_threads_and_lose_nothing_when_cancelled(self):
        async def main():
            objects, room = context().Queue(), context().Queue(1)
            threads = len(os.listdir("/proc/self/task"))
            tasks = [asyncio.create_task(objects.aget()) for _ in range(100)]
            await asyncio.sleep(0.05)
            threads = len(os.listdir("/proc/self/task")) - threads
            for task in tasks[::2]:
                task.cancel()
            put_many(objects, 50)
            got = await asyncio.wait_for(asyncio.gather(*tasks[1::2]), HANGS)
            self.assertEqual(sorted(got), list(range(50)))
            self.assertLessEqual(threads, 1)
            # One by one, cancelled at every moment.
            for n in range(200):
                task = asyncio.create_task(objects.aget())
                await asyncio.sleep(0)
                objects.put(n)
                if n % 3:
                    await asyncio.sleep(0)
                task.cancel()
                (got,) = await asyncio.gather(task, return_exceptions=True)
                if isinstance(got, BaseException):
                    got = await asyncio.wait_for(objects.aget(), HANGS)
                self.assertEqual(got, n)
            await room.aput(1)
            waits = asyncio.create_task(room.aput(2))
            await asyncio.sleep(0.02)
            self.assertFalse(waits.done())
            self.assertEqual(await room.aget(), 1)
            await asyncio.wait_for(waits, HANGS)
            put_many(objects, 3)
            seen = []
            async for n in objects:
                seen.append(n)
                if n == 2:
                    break
            self.assertEqual(seen, [0, 1, 2])

        asyncio.run(main())

    def test_a_task_is_woken_by_another_process(self):
        ctx = context("spawn")
        questions, answers = ctx.Queue(), ctx.Queue()
        self.started(ctx, echo, questions, answers)

        async def main():
            for n in range(100):
                await questions.aput(n)
                self.assertEqual(await asyncio.wait_for(answers.aget(), HANGS), n)

        asyncio.run(main())


class Pools(Case):
    def test_a_pool_and_an_executor_run_on_the_context(self):
        for method in METHODS:
            with self.subTest(method):
                ctx = context(method)
                with ctx.Pool(2) as pool:
                    self.assertEqual(pool.map(square, range(50)), [n * n for n in range(50)])
                with concurrent.futures.ProcessPoolExecutor(2, mp_context=ctx) as executor:
                    self.assertEqual(list(executor.map(square, range(50))), [n * n for n in range(50)])

    def test_an_executor_notices_a_killed_worker(self):
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context()) as executor:
            self.assertEqual(executor.submit(square, 3).result(HANGS), 9)
            held = executor.submit(time.sleep, HANGS)
            for pid in list(executor._processes):
                os.kill(pid, signal.SIGKILL)
            with self.assertRaises(concurrent.futures.process.BrokenProcessPool):
                held.result(HANGS)


if __name__ == "__main__":
    unittest.main()
