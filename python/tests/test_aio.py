"""Ends are awaited, and a call that is cancelled has done nothing."""

import asyncio
import random
import threading
import unittest

import tombolo
from support import LONG, Case, ended, forked


class Asyncio(Case):
    def ends(self, capacity=4, **options):
        channel = self.segment().bytes("queue", capacity, 16, **options)
        return channel.sender(), channel.receiver()

    def run_async(self, main):
        return asyncio.run(asyncio.wait_for(main, LONG))

    def test_messages_and_room_are_awaited(self):
        for options in ({}, {"spsc": True}):
            with self.subTest(options):
                sender, receiver = self.ends(**options)

                async def sends():
                    for number in range(500):
                        await sender.asend(b"%d" % number)
                    sender.close()

                async def receives():
                    return [message async for message in receiver]

                async def main():
                    _, got = await asyncio.gather(sends(), receives())
                    return got

                got = self.run_async(main())
                self.assertEqual(got, [b"%d" % number for number in range(500)])

    def test_a_subscriber_is_awaited(self):
        channel = self.segment().broadcast("news", "u64", 4)
        publisher = channel.publisher()
        subscribers = [channel.subscriber(), channel.reliable_subscriber()]

        async def main():
            waiting = [asyncio.create_task(one.arecv()) for one in subscribers]
            await asyncio.sleep(0.01)
            publisher.send(7)
            return await asyncio.gather(*waiting)

        self.assertEqual(self.run_async(main()), [7, 7])

    def test_messages_are_awaited_in_place(self):
        for options in ({}, {"spsc": True}):
            with self.subTest(options):
                sender, receiver = self.ends(capacity=1, **options)

                async def main():
                    taking = asyncio.create_task(receiver.atake())
                    await asyncio.sleep(0.01)
                    with await sender.areserve(4) as place:
                        place.write(b"here")
                    with await taking as message:
                        self.assertEqual(bytes(message), b"here")
                    sender.send(b"full")
                    reserving = asyncio.create_task(sender.areserve())
                    await asyncio.sleep(0.01)
                    self.assertEqual(receiver.recv(), b"full")
                    (await reserving).abort()

                self.run_async(main())

    def test_what_is_cancelled_has_taken_nothing(self):
        async def in_hand(receiver):
            with await receiver.atake() as message:
                return bytes(message)

        async def in_time(receiver):
            return await asyncio.wait_for(receiver.arecv(), 0.0005)

        ways = {"by value": lambda receiver: receiver.arecv(), "in hand": in_hand, "in time": in_time}
        for options in ({}, {"spsc": True}):
            for way, receives in ways.items():
                with self.subTest(options, way=way):
                    self.nothing_is_lost(receives, options)

    def nothing_is_lost(self, receives, options):
        sender, receiver = self.ends(capacity=2, **options)
        choice, count = random.Random(1), 300

        def sends():
            for number in range(count):
                sender.send(b"%d" % number, LONG)

        async def main():
            got = []
            sending = threading.Thread(target=sends)
            sending.start()
            while len(got) < count:
                task = asyncio.create_task(receives(receiver))
                for _ in range(choice.randrange(4)):
                    await asyncio.sleep(0)
                if choice.random() < 0.5:
                    task.cancel()
                try:
                    got.append(await task)
                except (asyncio.CancelledError, asyncio.TimeoutError):
                    pass
            sending.join()
            return got

        self.assertEqual(self.run_async(main()), [b"%d" % at for at in range(count)])

    def test_what_is_cancelled_has_sent_nothing(self):
        sender, receiver = self.ends(capacity=1)
        sender.send(b"first")

        async def main():
            for waits in (lambda: sender.asend(b"never"), sender.areserve):
                task = asyncio.create_task(waits())
                await asyncio.sleep(0.01)
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
            self.assertEqual(await receiver.arecv(), b"first")
            # There is no other one, and its place is free.
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(receiver.arecv(), 0.01)
            sender.try_send(b"second")

        self.run_async(main())

    def test_many_tasks_share_an_end_and_no_thread_is_made_for_each(self):
        sender, receiver = self.ends(capacity=64)

        async def main():
            tasks = [asyncio.create_task(receiver.arecv()) for _ in range(200)]
            await asyncio.sleep(0.01)
            self.assertEqual(threading.active_count(), 1)
            with open("/proc/self/status") as status:
                threads = next(line for line in status if line.startswith("Threads:"))
            self.assertLessEqual(int(threads.split()[1]), 3)
            for number in range(200):
                await sender.asend(b"%d" % number)
            return await asyncio.gather(*tasks)

        got = self.run_async(main())
        self.assertEqual(sorted(map(int, got)), list(range(200)))

    def test_a_death_ends_the_wait(self):
        sender, receiver = self.ends()

        def child():
            receiver.channel.sender().send(b"alive")
            sender.channel.segment.bytes("never", 1, 1).receiver().recv()

        with forked(child) as pid:

            async def main():
                self.assertEqual(await receiver.arecv(), b"alive")
                # From now on the child has the last one.
                sender.close()
                waiting = asyncio.create_task(receiver.arecv())
                await asyncio.sleep(0.01)
                import os
                import signal

                os.kill(pid, signal.SIGKILL)
                with self.assertRaises(tombolo.Disconnected):
                    await waiting

            self.run_async(main())

    def test_closing_ends_the_wait(self):
        _, receiver = self.ends()

        async def main():
            waiting = asyncio.create_task(receiver.arecv())
            await asyncio.sleep(0.01)
            receiver.close()
            with self.assertRaises(tombolo.HandleClosed):
                await waiting

        self.run_async(main())

    def test_an_end_is_awaited_in_the_loops_of_several_threads(self):
        sender, receiver = self.ends(capacity=8)
        got, lock = [], threading.Lock()

        def loop():
            async def main():
                for _ in range(50):
                    message = await receiver.arecv()
                    with lock:
                        got.append(message)

            asyncio.run(main())

        threads = [threading.Thread(target=loop) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(150):
            sender.send(b"%d" % number, LONG)
        for thread in threads:
            thread.join(LONG)
            self.assertFalse(thread.is_alive())
        self.assertEqual(sorted(map(int, got)), list(range(150)))

    def test_a_forked_process_awaits_an_end_of_its_own(self):
        sender, receiver = self.ends()

        async def once():
            waiting = asyncio.create_task(receiver.arecv())
            await asyncio.sleep(0.01)
            sender.send(b"1")
            await waiting

        self.run_async(once())
        with forked(lambda: asyncio.run(once())) as pid:
            self.assertEqual(ended(pid), 0)


if __name__ == "__main__":
    unittest.main()
