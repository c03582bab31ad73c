"""Messages go through channels of every kind, and calls end as they should."""

import functools
import pickle
import queue
import time
import unittest

import tombolo
from support import Case, thread


def of_each_kind(test=None, *, capacity=4):
    """Runs a test with both ends of a channel of each kind, and some messages for it."""
    if test is None:
        return functools.partial(of_each_kind, capacity=capacity)

    @functools.wraps(test)
    def tests(self):
        segment = self.segment()
        texts, numbers = [b"one", b"", b"three" * 100], [1, 2**64 - 1, 0]
        kinds = {
            "mpmc bytes": (segment.bytes("a", capacity, 1000), texts),
            "spsc bytes": (segment.bytes("b", capacity, 1000, spsc=True), texts),
            "mpmc": (segment.channel("c", "u64", capacity), numbers),
            "spsc": (segment.channel("d", format="Q", capacity=capacity, spsc=True), numbers),
            "broadcast": (segment.broadcast("e", "u64", capacity), numbers),
            "broadcast bytes": (segment.broadcast_bytes("f", capacity, 1000), texts),
        }
        for kind, (channel, messages) in kinds.items():
            with self.subTest(kind):
                self.assertEqual(channel.describe()["kind"], kind)
                if kind.startswith("broadcast"):
                    receiver = channel.reliable_subscriber()
                else:
                    receiver = channel.receiver()
                with channel.sender() as sender, receiver:
                    test(self, sender, receiver, messages)

    return tests


class Channels(Case):
    @of_each_kind
    def test_what_is_sent_is_received(self, sender, receiver, messages):
        for message in messages:
            sender.send(message)
        self.assertEqual([receiver.recv() for _ in messages], messages)
        for message in messages:
            sender.try_send(message)
        self.assertEqual([receiver.try_recv() for _ in messages], messages)

    @of_each_kind
    def test_batches_keep_their_order(self, sender, receiver, messages):
        sender.send_batch(messages)
        self.assertEqual(receiver.recv_batch(2), messages[:2])
        self.assertEqual(sender.try_send_batch(messages), 3)
        self.assertEqual(receiver.try_recv_batch(10), messages[2:] + messages)
        self.assertEqual(receiver.try_recv_batch(10), [])

    @of_each_kind(capacity=1)
    def test_what_is_not_there_raises_what_the_module_queue_raises(self, sender, receiver, messages):
        with self.assertRaises(queue.Empty):
            receiver.try_recv()
        with self.assertRaises(queue.Empty):
            receiver.try_take()
        began = time.monotonic()
        for late in (receiver.recv, receiver.take):
            with self.assertRaises(TimeoutError) as raised:
                late(timeout=0.02)
            self.assertIsInstance(raised.exception, queue.Empty)
        self.assertGreaterEqual(time.monotonic() - began, 0.04)
        while True:
            try:
                sender.try_send(messages[-1])
            except queue.Full:
                break
        with self.assertRaises(queue.Full):
            sender.try_reserve()
        with self.assertRaises(TimeoutError) as raised:
            sender.send(messages[-1], timeout=0.02)
        self.assertIsInstance(raised.exception, queue.Full)
        with self.assertRaises(tombolo.SendTimeout) as raised:
            sender.send_batch(messages, timeout=0)
        self.assertLess(raised.exception.sent, 3)

    @of_each_kind(capacity=1)
    def test_a_wait_ends_with_what_it_waits_for(self, sender, receiver, messages):
        got = []
        with thread(lambda: got.append(receiver.recv())):
            sender.send(messages[0])
        with thread(lambda: [got.append(receiver.recv()) for _ in messages]):
            for message in messages:
                sender.send(message)
        self.assertEqual(got, [messages[0], *messages])

    @of_each_kind
    def test_the_iteration_ends_with_the_last_sender(self, sender, receiver, messages):
        sender.send_batch(messages)
        sender.close()
        self.assertEqual(list(receiver), messages)
        with self.assertRaises(tombolo.Disconnected):
            receiver.recv()

    @of_each_kind
    def test_a_closed_end_says_so(self, sender, receiver, messages):
        for end in (sender, receiver):
            self.assertFalse(end.closed)
            end.close()
            end.close()
            self.assertTrue(end.closed)
        with self.assertRaises(ValueError):
            sender.send(messages[0])
        with self.assertRaises(tombolo.HandleClosed):
            receiver.try_recv()

    @of_each_kind
    def test_closing_ends_the_wait_of_another_thread(self, sender, receiver, messages):
        def waits():
            with self.assertRaises(tombolo.HandleClosed):
                receiver.recv()

        with thread(waits) as waiting:
            # Whether it sleeps already makes no difference.
            waiting.join(0.01)
            receiver.close()

    def test_a_message_of_another_size_is_refused(self):
        segment = self.segment()
        sender = segment.bytes("short", 1, 3).sender()
        with self.assertRaises(ValueError):
            sender.send(b"long")
        raw = segment.channel("numbers", "u32", 1)
        raw.sender()
        untyped = segment.channel("numbers").sender()
        with self.assertRaises(tombolo.WrongSize):
            untyped.send(b"12345")

    def test_any_buffer_is_a_message(self):
        segment = self.segment()
        channel = segment.bytes("any", 8, 16)
        sender, receiver = channel.sender(), channel.receiver()
        for message in (b"bytes", bytearray(b"array"), memoryview(b"view")):
            sender.send(message)
            self.assertEqual(receiver.recv(), bytes(message))
        with self.assertRaises((BufferError, TypeError)):
            sender.send(memoryview(b"abcdef")[::2])
        with self.assertRaises(TypeError):
            sender.send("text")
        self.assertEqual(receiver.qsize(), 0)

    def test_a_large_message_is_whole(self):
        segment = self.segment()
        channel = segment.bytes("large", 2, 1 << 20)
        sender, receiver = channel.sender(), channel.receiver()
        message = bytes(range(256)) * 4096
        sender.send(message)
        sender.try_send(message)
        self.assertEqual(receiver.recv(), message)
        self.assertEqual(receiver.try_recv(), message)

    def test_a_channel_is_taken_as_it_is_by_its_name(self):
        segment = self.segment()
        segment.channel("numbers", "i16", 3, spsc=True).sender().send(-2)
        found = segment.channel("numbers")
        described = found.describe()
        self.assertEqual((described["schema"], described["capacity"]), ("i16", 3))
        self.assertEqual(found.receiver().recv(), b"\xfe\xff")
        with self.assertRaises(LookupError):
            segment.channel("others").receiver()
        with self.assertRaises(TypeError):
            segment.channel("numbers", "u16", spsc=True).sender()
        with self.assertRaises(ValueError):
            segment.channel("x", "u8", -1 + 1).sender()
        with self.assertRaises(ValueError):
            segment.channel("x", capacity=1)

    def test_an_spsc_channel_has_each_end_once(self):
        segment = self.segment()
        channel = segment.bytes("one", 1, 1, spsc=True)
        first = channel.sender()
        with self.assertRaises(tombolo.RoleTaken):
            channel.sender()
        first.close()
        channel.sender()

    def test_a_removed_segment_ends_every_call(self):
        segment = self.segment()
        receiver = segment.bytes("never", 1, 1).receiver()

        def waits():
            with self.assertRaises(tombolo.Removed):
                receiver.recv()

        with thread(waits):
            segment.remove()

    def test_cancelling_ends_waits_until_it_is_reset(self):
        segment = self.segment()
        channel = segment.bytes("some", 1, 1)
        receiver, sender = channel.receiver(), channel.sender()
        receiver.cancel()
        with self.assertRaises(tombolo.Cancelled):
            receiver.recv()
        receiver.reset()
        sender.send(b"1")
        self.assertEqual(receiver.recv(), b"1")

    def test_handles_are_described(self):
        segment = self.segment()
        channel = segment.bytes("some", 7, 9)
        sender, receiver = channel.sender(), channel.receiver()
        self.assertEqual((sender.capacity, receiver.element_size), (7, 9))
        self.assertIn("some", repr(channel) + repr(sender) + repr(receiver))
        self.assertIs(pickle.loads(pickle.dumps(segment)), segment)
        self.assertGreater(segment.size, 0)
        segment.leave()
        self.assertIn("left", repr(segment))
        with self.assertRaises(ValueError):
            segment.bytes("some").receiver()


class Broadcasts(Case):
    def test_a_slow_subscriber_is_told_what_it_missed(self):
        channel = self.segment().broadcast("news", "u64", 4)
        publisher, slow = channel.publisher(), channel.subscriber()
        skipping = channel.subscriber(on_lag="skip")
        for number in range(100):
            publisher.send(number)
        with self.assertRaises(tombolo.Lagged) as raised:
            slow.recv()
        missed = raised.exception.missed
        self.assertGreater(missed, 50)
        self.assertEqual(slow.missed, missed)
        self.assertEqual(slow.recv(), missed)
        first = skipping.recv()
        self.assertEqual(skipping.missed, first)

    def test_a_reliable_subscriber_holds_publishers_up(self):
        channel = self.segment().broadcast("news", "u64", 4)
        publisher, ledger = channel.publisher(), channel.reliable_subscriber()
        got = []
        with thread(lambda: got.extend(ledger.recv() for _ in range(1000))):
            for number in range(1000):
                publisher.send(number)
        self.assertEqual(got, list(range(1000)))

    def test_a_subscriber_begins_where_it_says(self):
        channel = self.segment().broadcast_bytes("news", 8, 8)
        channel.publisher().send_batch([b"1", b"2", b"3"])
        self.assertEqual(channel.subscriber("oldest").recv(), b"1")
        self.assertEqual(channel.reliable_subscriber(2).recv(), b"2")
        with self.assertRaises(tombolo.Empty):
            channel.subscriber().try_recv()
        with self.assertRaises(ValueError):
            channel.subscriber("never")
        with self.assertRaises(ValueError):
            channel.subscriber(on_lag="ignore")

    def test_each_subscriber_gets_every_message(self):
        channel = self.segment().broadcast("news", "u64", 16)
        subscribers = [channel.subscriber() for _ in range(3)]
        with channel.publisher() as publisher:
            publisher.send_batch(range(10))
        for subscriber in subscribers:
            self.assertEqual(list(subscriber), list(range(10)))


if __name__ == "__main__":
    unittest.main()
