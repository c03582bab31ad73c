"""Handles go to other processes, and processes leave properly, however they end."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import unittest

import tombolo
from support import LONG, Case, ended, forked, until

METHODS = ("fork", "spawn", "forkserver")


def double(jobs, results, news, spsc):
    # Until the parent has closed its end.
    until(lambda: sends(spsc), "the role")
    for number in iter(lambda: jobs.recv(LONG), 0):
        results.send(2 * number)
    with news.take(LONG) as message:
        results.send(message.value)


def sends(spsc):
    try:
        spsc.send(b"spsc", LONG)
    except tombolo.RoleTaken:
        return False
    return True


def dies(receiver, started):
    with receiver.take():
        started.send(b"")
        receiver.recv()


def departs(segment, sender):
    sender.send(b"here")


def objects(tables=("shm", "sem", "msg")):
    """The System V objects that there are."""
    found = set()
    for table in tables:
        with open(f"/proc/sysvipc/{table}") as lines:
            next(lines)
            found |= {(table, *line.split()[:2]) for line in lines}
    return found


class Processes(Case):
    def test_handles_are_used_under_every_start_method(self):
        for method in METHODS:
            with self.subTest(method):
                context = multiprocessing.get_context(method)
                segment = self.segment()
                jobs, results = (
                    # The parent lets go of what it hands over before the child has opened it.
                    segment.channel(name, "u64", 8, lasting=True)
                    for name in ("jobs", "results")
                )
                news = segment.broadcast("news", "u64", 8)
                spsc = segment.bytes("spsc", 1, 8, spsc=True)
                publisher, subscriber = news.publisher(), news.subscriber()
                single = spsc.sender()
                sender, receiver = jobs.sender(), results.receiver()
                process = context.Process(
                    target=double, args=(jobs.receiver(), results.sender(), subscriber, single)
                )
                process.start()
                single.close()
                self.assertEqual(spsc.receiver().recv(LONG), b"spsc")
                for number in (1, 2, 3, 0):
                    sender.send(number)
                self.assertEqual([receiver.recv(LONG) for _ in range(3)], [2, 4, 6])
                publisher.send(7)
                self.assertEqual(receiver.recv(LONG), 7)
                process.join(LONG)
                self.assertEqual(process.exitcode, 0)

    def test_a_child_leaves_as_it_ends(self):
        for method in METHODS:
            with self.subTest(method):
                context = multiprocessing.get_context(method)
                segment = self.segment()
                receiver = segment.bytes("queue", 1, 8).receiver()
                sender = segment.bytes("queue").sender()
                process = context.Process(target=departs, args=(segment, sender))
                process.start()
                self.assertEqual(receiver.recv(LONG), b"here")
                process.join(LONG)
                # It has left, and has not died.
                self.assertEqual(segment.deaths(), [])

    def test_a_killed_child_holds_nothing_up(self):
        for method in METHODS:
            with self.subTest(method):
                context = multiprocessing.get_context(method)
                segment = self.segment()
                queue, started = (
                    segment.bytes(name, 1, 8, lasting=True) for name in ("queue", "started")
                )
                sender, receiver, ready = queue.sender(), queue.receiver(), started.receiver()
                sender.send(b"job")
                process = context.Process(target=dies, args=(receiver, started.sender()))
                process.start()
                ready.recv(LONG)
                process.kill()
                with receiver.take(LONG) as job:
                    self.assertEqual((bytes(job), job.attempts), (b"job", 1))
                process.join(LONG)
                self.assertIn(str(process.pid), segment.deaths()[0])

    def test_one_process_is_one_participant(self):
        segment = self.segment(participants=2)
        channel = segment.bytes("queue", 8, 8)
        handles = pickle.dumps([segment, channel, channel.sender(), channel.receiver()])

        def child():
            once, again = pickle.loads(handles), pickle.loads(handles)
            assert once[0] is again[0]
            again[2].send(b"1")
            once[3].recv(LONG)

        with forked(child) as pid:
            self.assertEqual(ended(pid), 0)

    def test_a_forked_process_opens_its_own(self):
        segment = self.segment()
        channel = segment.bytes("queue", 8, 8)
        sender, receiver = channel.sender(), channel.receiver()
        job = receiver.channel.sender()

        def child():
            sender.send(b"child")
            job.close()
            with segment:
                pass

        with forked(child) as pid:
            self.assertEqual(ended(pid), 0)
        self.assertEqual(receiver.recv(LONG), b"child")
        sender.send(b"parent")
        self.assertEqual(receiver.recv(LONG), b"parent")

    def test_an_spsc_end_is_not_taken_from_the_parent(self):
        channel = self.segment().bytes("queue", 1, 8, spsc=True)
        sender = channel.sender()

        def child():
            try:
                sender.send(b"1")
            except tombolo.RoleTaken as error:
                assert str(os.getppid()) in str(error)
            else:
                raise AssertionError("it was taken")

        with forked(child) as pid:
            self.assertEqual(ended(pid), 0)
        sender.send(b"2")

    def run_program(self, text, *, tables=("shm", "sem", "msg")):
        """Runs a program, which ends well and leaves nothing behind in these tables."""
        before = objects(tables)
        command = [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(text)]
        done = subprocess.run(command, timeout=LONG, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        until(lambda: objects(tables) <= before, "an empty table")
        return done.stdout

    def test_nothing_is_left_behind(self):
        self.run_program(
            """
            import tombolo
            segment = tombolo.anonymous()
            queue = segment.bytes("queue", 4, 64)
            sender, receiver = queue.sender(), queue.receiver()
            sender.send(b"1")
            view = memoryview(receiver.take())
            place = sender.reserve()
            """
        )
        self.run_program(
            """
            import tombolo
            with tombolo.open_or_create("python/left") as segment:
                segment.remove()
            """
        )
        self.run_program(
            """
            import multiprocessing, tombolo
            def work(sender, receiver):
                sender.send(b"done")
            if __name__ == "__main__":
                segment = tombolo.anonymous()
                queue = segment.bytes("queue", 4, 64)
                sender, receiver = queue.sender(), queue.receiver()
                context = multiprocessing.get_context("fork")
                processes = [context.Process(target=work, args=(sender, receiver)) for _ in range(4)]
                for process in processes:
                    process.start()
                for process in processes:
                    process.join()
                assert receiver.recv_batch(4)
            """
        )

    def test_the_interpreter_may_go_first(self):
        # The thread is in a call for ever, so the process ends as if it was killed.
        self.run_program(
            """
            import threading, tombolo
            segment = tombolo.anonymous()
            queue = segment.bytes("queue", 4, 64)
            sender, receiver = queue.sender(), queue.receiver()
            sender.send(b"1")
            job = receiver.take()
            cycle = [memoryview(job)]
            cycle.append(cycle)
            threading.Thread(target=receiver.recv, daemon=True).start()
            """,
            tables=("shm",),
        )
        tombolo.anonymous().leave()

    def test_no_tracker_of_resources_runs(self):
        said = self.run_program(
            """
            import sys, tombolo
            segment = tombolo.anonymous()
            segment.bytes("queue", 4, 64).sender()
            print("multiprocessing.resource_tracker" in sys.modules)
            """
        )
        self.assertEqual(said, "False\n")

    def test_a_killed_process_leaves_no_memory(self):
        before = objects(["shm"])
        program = (
            "import os, signal, tombolo\n"
            "segment = tombolo.anonymous()\n"
            "segment.bytes('queue', 4, 64).sender().reserve()\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], timeout=LONG)
        self.assertEqual(done.returncode, -signal.SIGKILL)
        until(lambda: objects(["shm"]) <= before, "an empty table")
        # Its semaphores are collected by whoever creates the next segment.
        tombolo.anonymous().leave()


if __name__ == "__main__":
    unittest.main()
