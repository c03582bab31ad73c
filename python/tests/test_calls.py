"""Calls: typed by schema and by dtype, of bytes, awaited; what a death leaves."""

import asyncio
import os
import pickle
import signal
import threading
import unittest

import tombolo
from support import LONG, Case, ended, forked, thread, until

try:
    import numpy
except ImportError:
    numpy = None


def square(server):
    for call in server:
        call.reply(call.request**2)


class Calls(Case):
    def squares(self, **options):
        return self.segment().service("squares", "u32", "u64", 4, **options)

    def test_a_call_is_replied_to(self):
        service = self.squares()
        client, server = service.client(), service.server()
        with thread(square, server):
            self.assertEqual([client.call(number, LONG) for number in range(50)],
                             [number**2 for number in range(50)])
            client.close()

    def test_several_are_under_way_and_replied_to_in_any_order(self):
        service = self.squares()
        client, server = service.client(), service.server()
        pending = [client.start(number) for number in range(4)]
        with self.assertRaises(tombolo.Full):
            client.try_start(4)
        with self.assertRaises(tombolo.SendTimeout):
            client.start(4, 0.01)
        self.assertEqual((client.qsize(), client.capacity, server.capacity), (4, 4, 4))
        calls = sorted((server.recv(LONG) for _ in range(4)), key=lambda call: -call.request)
        with self.assertRaises(tombolo.Empty):
            server.try_recv()
        for call in calls:
            self.assertTrue(call.is_wanted)
            self.assertTrue(call.reply(call.request + 100))
            self.assertTrue(call.closed)
            with self.assertRaises(tombolo.HandleClosed):
                call.reply(1)
        self.assertEqual([one.wait(LONG) for one in pending], [100, 101, 102, 103])
        with self.assertRaises(tombolo.HandleClosed):
            pending[0].wait()

    def test_structs_and_arrays_are_asked_and_replied(self):
        segment = self.segment()
        ask = "Ask{id:u64,side:Side:u8{Buy=1,Sell=2},rest:u8[7]}"
        service = segment.service("prices", ask, "f64[3]", 4)
        client, server = service.client(), service.server()
        pending = client.start({"id": 7, "side": 2, "rest": b"abc"})
        with server.recv(LONG) as call:
            self.assertEqual((call.request.id, call.request.side.name), (7, "Sell"))
            call.reply((1.0, 2.0, 3.5))
        self.assertEqual(pending.wait(LONG), (1.0, 2.0, 3.5))
        said = service.describe()
        self.assertEqual((said["kind"], said["size"], said["reply_size"]), ("calls", 16, 24))
        with self.assertRaises(tombolo.Mismatch):
            segment.service("prices", "u64", "f64[3]").client()
        with self.assertRaises(tombolo.Mismatch):
            segment.service("prices", ask, "f64[4]").client()

    @unittest.skipIf(numpy is None, "without numpy")
    def test_dtypes_are_asked_and_replied(self):
        service = self.segment().service("sums", ("f4", (2, 3)), numpy.dtype("f8"), 2)
        client, server = service.client(), service.server()
        with thread(lambda: [call.reply(call.request.sum()) for call in server]):
            self.assertEqual(client.call(numpy.arange(6).reshape(2, 3), LONG), 15.0)
            with self.assertRaises(tombolo.Mismatch):
                client.call(numpy.zeros(5))
            client.close()

    def test_bytes_of_any_length_are_asked_and_replied(self):
        segment = self.segment()
        service = segment.service_bytes("upper", 4, 100, 50)
        client, server = service.client(), segment.service("upper").server()
        for request in (b"", b"a", b"a line", bytes(50)):
            pending = client.start(request)
            call = server.recv(LONG)
            self.assertEqual(call.request, request)
            self.assertTrue(call.reply(request.upper()))
            self.assertEqual(pending.wait(LONG), request.upper())
        with self.assertRaises(tombolo.WrongSize):
            client.call(bytes(101))
        pending = client.start(b"much")
        with self.assertRaises(tombolo.WrongSize):
            server.recv(LONG).reply(bytes(51))
        with self.assertRaises(tombolo.Refused):
            pending.wait(LONG)

    def test_what_is_taken_as_it_is_are_bytes_of_one_size(self):
        segment = self.segment()
        typed = segment.service("squares", "u32", "u64", 4)
        server, client = typed.server(), segment.service("squares").client()
        with thread(square, server):
            self.assertEqual(client.call((12).to_bytes(4, "little"), LONG),
                             (144).to_bytes(8, "little"))
            with self.assertRaisesRegex(tombolo.WrongSize, "3 bytes.*4"):
                client.call(b"abc")
            client.close()
        with self.assertRaises(ValueError):
            segment.service("squares", "u32")
        with self.assertRaises(ValueError):
            segment.service("squares", capacity=3)

    def test_a_call_that_is_not_replied_to_is_refused_or_given_back(self):
        service = self.squares()
        client, server = service.client(), service.server()
        pending = client.start(1)
        server.recv(LONG).refuse()
        with self.assertRaises(tombolo.Refused):
            pending.wait(LONG)
        pending = client.start(2)
        with self.assertRaises(KeyError), server.recv(LONG):
            raise KeyError
        with self.assertRaises(tombolo.Refused):
            pending.wait(LONG)
        pending = client.start(3)
        server.recv(LONG)
        with self.assertRaises(tombolo.Refused):
            pending.wait(LONG)
        pending = client.start(4)
        server.recv(LONG).give_back()
        server.recv(LONG).reply(16)
        self.assertEqual(pending.wait(LONG), 16)

    def test_a_call_that_is_given_up_is_not_wanted(self):
        service = self.squares()
        client, server = service.client(), service.server()
        pending = client.start(1)
        call = server.recv(LONG)
        with self.assertRaises(tombolo.CallTimeout):
            pending.wait(0.01)
        with self.assertRaises(tombolo.Empty):
            pending.try_wait()
        self.assertTrue(call.is_wanted)
        pending.give_up()
        pending.give_up()
        self.assertTrue(pending.closed)
        self.assertFalse(call.is_wanted)
        self.assertFalse(call.reply(1))
        with self.assertRaises(tombolo.CallTimeout):
            client.call(2, 0.01)

    def test_threads_share_a_client_and_a_server(self):
        service = self.segment().service("squares", "u32", "u64", 16)
        client, server = service.client(), service.server()
        wrong = []

        def ask(first):
            for number in range(first, first + 100):
                if client.call(number, LONG) != number**2:
                    wrong.append(number)

        servers = [threading.Thread(target=square, args=(server,)) for _ in range(2)]
        clients = [threading.Thread(target=ask, args=(first * 100,)) for first in range(4)]
        for one in servers + clients:
            one.start()
        for one in clients:
            one.join(LONG)
        client.close()
        for one in servers:
            one.join(LONG)
        self.assertEqual(wrong, [])

    def test_a_killed_server_is_told_of_or_another_one_repeats_the_call(self):
        for repeats in (0, 1):
            with self.subTest(repeats):
                service = self.squares()
                client, server = service.client(repeats=repeats), service.server()

                def dies():
                    call = service.server().recv()
                    signal.pause()
                    call.refuse()

                pending = client.start(9)
                with forked(dies) as child:
                    until(lambda: client.qsize() == 0, "taken")
                    os.kill(child, signal.SIGKILL)
                    ended(child)
                if repeats:
                    with thread(square, server):
                        self.assertEqual(pending.wait(LONG), 81)
                        client.close()
                else:
                    with self.assertRaises(tombolo.ServerDied):
                        pending.wait(LONG)

    def test_without_servers_a_call_fails_and_without_clients_a_server_ends(self):
        service = self.squares()
        client = service.client()
        service.server().close()
        with self.assertRaises(tombolo.NoServer):
            client.call(1)
        server = service.server()
        client.close()
        self.assertEqual(list(server), [])
        with self.assertRaises(tombolo.Disconnected):
            server.recv()

    def test_waits_are_cancelled_and_closed(self):
        service = self.squares()
        client, server = service.client(), service.server()

        def cancelled(call):
            with self.assertRaises(tombolo.Cancelled):
                call()

        with thread(cancelled, lambda: client.call(1)):
            until(lambda: server.qsize() == 1)
            client.cancel()
        client.reset()
        server.try_recv().refuse() if server.qsize() else None
        with thread(cancelled, server.recv):
            server.cancel()
        server.reset()
        client.close()
        with self.assertRaises(tombolo.HandleClosed):
            client.call(1)
        self.assertEqual(repr(client), "<tombolo.Client of squares, closed>")

    def test_ends_are_pickled(self):
        service = self.squares()
        client, server = service.client(repeats=3), service.server()
        again = pickle.loads(pickle.dumps(client))
        self.assertEqual(again.repeats, 3)
        with thread(square, pickle.loads(pickle.dumps(server))):
            self.assertEqual(again.call(5, LONG), 25)
            client.close()
            again.close()

    def test_a_forked_process_has_ends_of_its_own(self):
        service = self.squares()
        client, server = service.client(), service.server()

        def calls():
            assert client.call(6, LONG) == 36

        with forked(calls) as child:
            call = server.recv(LONG)
            call.reply(call.request**2)
            self.assertEqual(ended(child), 0)

    def test_one_thread_waits_for_servers_and_channels(self):
        segment = self.segment()
        service, jobs = segment.service("squares", "u32", "u64", 1), segment.bytes("jobs", 1, 8)
        client, server = service.client(), service.server()
        sender, receiver = jobs.sender(), jobs.receiver()
        self.assertEqual(tombolo.wait([server, receiver, client], 0), [client])
        pending = client.start(3)
        self.assertEqual(tombolo.wait([server, receiver, client], LONG), [server])
        sender.send(b"1")
        self.assertEqual(tombolo.wait([server, receiver], LONG), [server, receiver])
        server.try_recv().reply(9)
        self.assertEqual(pending.wait(LONG), 9)


class Awaited(Case):
    def run_async(self, main):
        return asyncio.run(asyncio.wait_for(main, LONG))

    def test_calls_and_replies_are_awaited(self):
        service = self.segment().service("squares", "u32", "u64", 4)
        client, server = service.client(), service.server()

        async def serves():
            async for call in server:
                call.reply(call.request**2)

        async def main():
            serving = asyncio.create_task(serves())
            got = await asyncio.gather(*(client.acall(number) for number in range(40)))
            pending = await client.astart(50)
            got.append(await pending)
            client.close()
            await serving
            return got

        self.assertEqual(self.run_async(main()), [n**2 for n in range(40)] + [2500])

    def test_two_tasks_await_different_calls_and_one_call_ends_for_one(self):
        service = self.segment().service("squares", "u32", "u64", 4)
        client, server = service.client(), service.server()

        async def main():
            pending = client.start(1)
            both = [asyncio.create_task(asyncio.wait_for(pending, LONG)) for _ in range(2)]
            await asyncio.sleep(0.01)
            server.recv().reply(1)
            return await asyncio.gather(*both, return_exceptions=True)

        one, other = self.run_async(main())
        self.assertEqual({type(one), type(other)}, {int, tombolo.HandleClosed})

    def test_a_cancelled_call_is_given_up_and_a_cancelled_server_has_taken_none(self):
        service = self.segment().service("squares", "u32", "u64", 1)
        client, server = service.client(), service.server()

        async def main():
            for cancels in (lambda: client.acall(1), server.arecv):
                waiting = asyncio.create_task(cancels())
                await asyncio.sleep(0.01)
                waiting.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await waiting
            # There is room again: nothing is left behind.
            pending = client.try_start(3)
            serving = asyncio.create_task(server.arecv())
            (await serving).reply(9)
            self.assertEqual(await pending, 9)

        self.run_async(main())


class Broadcasts(Case):
    def test_the_newest_is_received_and_the_others_are_passed_over(self):
        channel = self.segment().broadcast("news", "u64", 8)
        publisher, subscriber = channel.publisher(), channel.subscriber()
        with self.assertRaises(tombolo.Empty):
            subscriber.latest()
        publisher.send_batch(range(5))
        self.assertEqual((subscriber.qsize(), subscriber.sequence), (5, 0))
        self.assertEqual(subscriber.latest(), 4)
        self.assertEqual((subscriber.qsize(), subscriber.sequence, subscriber.missed), (0, 5, 0))
        publisher.send_batch(range(5, 8))
        self.assertEqual((subscriber.skip_to_newest(), subscriber.recv()), (2, 7))
        self.assertEqual(publisher.published, 8)

    def test_a_publisher_waits_for_subscribers_and_knows_the_slowest(self):

        channel = self.segment().broadcast("news", "u64", 4)
        publisher = channel.publisher()
        with self.assertRaises(tombolo.SendTimeout):
            publisher.wait_for(1, 0.01)
        self.assertIsNone(publisher.slowest())
        with thread(publisher.wait_for, 2, LONG):
            ends = [channel.subscriber(), channel.reliable_subscriber()]
        publisher.send(1)
        self.assertEqual(publisher.slowest(), (os.getpid(), 1))
        ends[1].recv()
        self.assertEqual(publisher.slowest(), (os.getpid(), 0))

    def test_queues_have_none_of_that(self):
        queue = self.segment().bytes("queue", 1, 8)
        sender, receiver = queue.sender(), queue.receiver()
        for refused in (receiver.latest, receiver.skip_to_newest, sender.slowest,
                        lambda: receiver.sequence, lambda: sender.wait_for(1)):
            with self.assertRaises(ValueError):
                refused()


if __name__ == "__main__":
    unittest.main()
