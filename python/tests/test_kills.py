"""Processes that use a queue are killed: the others go on, and nothing is left.

A sample each time; all 200 of each, and 1,000 groups, with TOMBOLO_TEST_LONG=1."""

import ctypes
import os
import random
import signal
import time
import unittest

import ipc
import tombolo

LONG = os.environ.get("TOMBOLO_TEST_LONG") == "1"
TIMES = 200 if LONG else 5
GROUPS = 1000 if LONG else 20
# So long nothing takes that does not hang.
HANGS = 20


def until(condition):
    deadline = time.monotonic() + HANGS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it does not come true")
        time.sleep(0.001)


def echo(jobs, results):
    results.put(("ready", os.getpid()))
    while True:
        results.put((jobs.get(), os.getpid()))


def put_large(objects, told):
    large = bytes(8 << 20)
    told.put("ready")
    while True:
        objects.put(large)


def work(jobs, results):
    results.put(("ready", os.getpid(), 0))
    for job in jobs.take_each():
        results.put((job.value, os.getpid(), job.attempts))
        # Until the other one has been killed.
        if job.attempts == 0:
            time.sleep(HANGS)


def adopt_orphans(on):
    set_child_subreaper = 36
    assert ctypes.CDLL(None).prctl(set_child_subreaper, int(on), 0, 0, 0) == 0


def wait_for_any():
    try:
        return os.waitpid(-1, 0)
    except ChildProcessError:
        return None


def asleep(pid):
    """Whether the process waits in the kernel for a semaphore."""
    try:
        with open(f"/proc/{pid}/wchan") as place, open(f"/proc/{pid}/stat") as state:
            where = place.read()
            return "sem" in where or where in ("0", "") and state.read().split()[2] == "S"
    except OSError:
        return False


class Kills(unittest.TestCase):
    def setUp(self):
        self.ctx = tombolo.get_context("fork")
        self.children = []
        self.addCleanup(self.end)

    def end(self):
        for child in self.children:
            child.kill()
        for child in self.children:
            child.join(HANGS)
        self.children.clear()

    def start(self, target, *args):
        child = self.ctx.Process(target=target, args=args, daemon=True)
        child.start()
        self.children.append(child)
        return child

    def test_of_two_idle_workers_the_other_goes_on(self):
        for n in range(TIMES):
            with self.subTest(n):
                jobs, results = self.ctx.Queue(), self.ctx.Queue()
                idle = [self.start(echo, jobs, results) for _ in range(2)]
                for _ in idle:
                    results.get(timeout=HANGS)
                until(lambda: all(asleep(child.pid) for child in idle))
                killed, other = random.sample(idle, 2)
                killed.kill()
                for job in range(3):
                    jobs.put(job)
                    self.assertEqual(results.get(timeout=HANGS), (job, other.pid))
                self.end()

    def test_nobody_waits_for_a_large_object_of_a_killed_process(self):
        for n in range(TIMES):
            with self.subTest(n):
                objects, told = self.ctx.Queue(3), self.ctx.Queue()
                child = self.start(put_large, objects, told)
                told.get(timeout=HANGS)
                time.sleep(random.uniform(0, 0.02))
                child.kill()
                child.join(HANGS)
                start = time.monotonic()
                while True:
                    try:
                        self.assertEqual(len(objects.get(timeout=0.1)), 8 << 20)
                    except tombolo.Empty:
                        break
                self.assertLess(time.monotonic() - start, HANGS / 2)
                # All of the room is there again.
                for _ in range(3):
                    objects.put(b"large" * (1 << 20), timeout=HANGS)
                self.end()

    def test_the_job_of_a_killed_worker_comes_again(self):
        for n in range(TIMES):
            with self.subTest(n):
                jobs, results = self.ctx.Queue(), self.ctx.Queue()
                workers = {child.pid: child for child in (
                    self.start(work, jobs, results), self.start(work, jobs, results))}
                for _ in workers:
                    results.get(timeout=HANGS)
                jobs.put("job")
                job, pid, attempts = results.get(timeout=HANGS)
                self.assertEqual((job, attempts), ("job", 0))
                workers.pop(pid).kill()
                (other,) = workers
                self.assertEqual(results.get(timeout=HANGS), ("job", other, 1))
                self.end()

    def test_a_killed_group_leaves_no_segment_and_at_most_one_set(self):
        # A process that nobody has waited for counts as living, so this one waits for all.
        adopt_orphans(True)
        self.addCleanup(adopt_orphans, False)
        before = ipc.objects()
        for n in range(GROUPS):
            with self.subTest(n):
                ready, tell = os.pipe()
                leader = os.fork()
                if leader == 0:
                    lead(tell)
                os.close(tell)
                self.assertEqual(os.read(ready, 1), b"!")
                os.close(ready)
                time.sleep(random.uniform(0, 0.002))
                os.killpg(leader, signal.SIGKILL)
                while wait_for_any():
                    pass
        left = ipc.objects()
        self.assertLessEqual(left["shm"], before["shm"])
        self.assertLessEqual(left["sem"], before["sem"] + 1)


def lead(tell):
    """A group of a process with a queue and two workers."""
    try:
        os.setpgid(0, 0)
        ctx = tombolo.get_context("fork")
        queue = ctx.JoinableQueue()
        for _ in range(2):
            if os.fork() == 0:
                queue.put(1)
                for _ in queue.take_each():
                    queue.put(b"x" * 5000)
        queue.put(2)
        os.write(tell, b"!")
        while True:
            queue.get()
            queue.task_done()
            queue.put(3)
    finally:
        os._exit(1)


if __name__ == "__main__":
    unittest.main()
