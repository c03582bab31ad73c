"""One thread waits for any of many ends."""

import unittest

import tombolo
from support import LONG, Case, thread


class WaitSets(Case):
    def test_what_is_ready_is_told(self):
        segment = self.segment()
        queue, news = segment.bytes("queue", 1, 8), segment.broadcast("news", "u64", 4)
        sender, receiver = queue.sender(), queue.receiver()
        publisher, subscriber = news.publisher(), news.subscriber()
        waiting = tombolo.WaitSet()
        waiting.add(receiver, "jobs")
        waiting.add(subscriber, "news")
        self.assertEqual(len(waiting), 2)
        self.assertEqual(waiting.wait(0.01), [])
        sender.send(b"1")
        self.assertEqual(waiting.wait(LONG), ["jobs"])
        publisher.send(7)
        self.assertEqual(waiting.wait(LONG), ["jobs", "news"])
        self.assertEqual((receiver.try_recv(), subscriber.try_recv()), (b"1", 7))
        waiting.add(sender)
        self.assertEqual(waiting.wait(LONG), [sender])
        waiting.remove(sender)
        with self.assertRaises(ValueError):
            waiting.add(receiver, "news")
        publisher.close()
        self.assertEqual(waiting.wait(LONG), ["news"])
        with self.assertRaises(tombolo.Disconnected):
            subscriber.try_recv()

    def test_a_wait_ends_when_something_comes(self):
        segment = self.segment()
        channels = [segment.bytes(f"queue-{at}", 1, 8) for at in range(5)]
        receivers = [channel.receiver() for channel in channels]
        senders = [channel.sender() for channel in channels]
        for at in (0, 4, 2):
            with thread(senders[at].send, b"1"):
                self.assertEqual(tombolo.wait(receivers), [receivers[at]])
            receivers[at].try_recv()

    def test_what_cannot_be_waited_for_is_refused(self):
        receiver = self.segment().bytes("queue", 1, 8).receiver()
        other = self.segment().bytes("queue", 1, 8).receiver()
        with self.assertRaises(tombolo.Error):
            tombolo.wait([receiver, other], 0)
        with self.assertRaises(ValueError):
            tombolo.wait([])
        with self.assertRaises((ValueError, AttributeError)):
            tombolo.wait([3], 0)


if __name__ == "__main__":
    unittest.main()
