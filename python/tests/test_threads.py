"""One handle serves all threads of a process."""

import sys
import threading
import unittest

import tombolo
from support import LONG, Case


class Threads(Case):
    def many(self, count, *targets):
        failed = []

        def guarded(target, at):
            try:
                target(at)
            except BaseException as error:
                failed.append(error)
                raise

        threads = [
            threading.Thread(target=guarded, args=(target, at), daemon=True)
            for target in targets
            for at in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
            self.assertFalse(thread.is_alive())
        self.assertEqual(failed, [])

    def test_eight_threads_account_for_every_message(self):
        channel = self.segment().channel("numbers", "u64", 16)
        sender, receiver = channel.sender(), channel.receiver()
        got, lock = [], threading.Lock()

        def sends(at):
            for number in range(at * 1000, at * 1000 + 1000):
                sender.send(number)

        def receives(at):
            mine = []
            for _ in range(500):
                mine.append(receiver.recv())
            for _ in range(500):
                with receiver.take() as message:
                    mine.append(message.value)
            with lock:
                got.extend(mine)

        self.many(4, sends, receives)
        self.assertEqual(sorted(got), list(range(4000)))

    def test_eight_threads_race_for_one_message_in_place(self):
        channel = self.segment().bytes("bytes", 4, 64)
        sender, receiver = channel.sender(), channel.receiver()
        for _ in range(20):
            sender.send(b"x" * 64)
            job = receiver.take()
            released = []

            def looks(at):
                for _ in range(20):
                    try:
                        with memoryview(job) as view:
                            assert view == b"x" * 64
                        if at == 0:
                            job.release()
                            released.append(at)
                    except (BufferError, tombolo.HandleClosed):
                        pass

            self.many(8, looks)
            if not released:
                job.release()
            self.assertEqual(receiver.qsize(), 0)

    def test_eight_threads_open_and_close_ends(self):
        segment = self.segment()
        channel = segment.bytes("bytes", 64, 8)
        sender = channel.sender()
        keeps = channel.receiver()

        def opens(at):
            for _ in range(50):
                with channel.receiver() as receiver:
                    sender.send(b"1", LONG)
                    receiver.recv(LONG)

        self.many(8, opens)
        self.assertEqual(keeps.qsize(), 0)

    def test_closing_races_with_use(self):
        for _ in range(20):
            channel = self.segment().bytes("bytes", 4, 8)
            sender, receiver = channel.sender(), channel.receiver()

            def uses(at):
                try:
                    while True:
                        if at == 7:
                            receiver.close()
                        sender.try_send(b"1")
                        receiver.recv()
                except (tombolo.HandleClosed, tombolo.Full, tombolo.Disconnected):
                    pass

            self.many(8, uses)

    def test_the_module_leaves_the_interpreters_lock_off(self):
        if getattr(sys, "_is_gil_enabled", lambda: True)():
            self.skipTest("this interpreter has its lock")
        self.assertFalse(sys._is_gil_enabled())


if __name__ == "__main__":
    unittest.main()
