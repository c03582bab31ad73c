"""Messages are written and read where they are, and no view outlives them."""

import functools
import gc
import sys
import unittest
import weakref

import tombolo
from support import Case, ended, forked

try:
    import numpy
except ImportError:
    numpy = None


def of_each_kind(test):
    """Runs a test with both ends of channels whose messages are read in place."""

    @functools.wraps(test)
    def tests(self):
        for spsc in (False, True):
            with self.subTest(spsc=spsc):
                test(self, *self.ends(spsc=spsc))
        with self.subTest("broadcast"):
            channel = self.segment().broadcast_bytes("news", 4, 64)
            test(self, channel.publisher(), channel.reliable_subscriber())

    return tests


class InPlace(Case):
    def ends(self, **options):
        channel = self.segment().bytes("bytes", 4, 64, **options)
        return channel.sender(), channel.receiver()

    @of_each_kind
    def test_a_grant_is_written_and_sent(self, sender, receiver):
        with sender.reserve(5) as place:
            self.assertEqual(len(place), 5)
            with memoryview(place) as view:
                self.assertFalse(view.readonly)
                view[:] = b"hello"
        self.assertTrue(place.closed)
        with receiver.take() as message:
            self.assertEqual(bytes(message), b"hello")
            self.assertEqual(message.value, b"hello")
            self.assertTrue(memoryview(message).readonly)
        self.assertTrue(message.closed)
        with self.assertRaises(ValueError):
            memoryview(message)
        with self.assertRaises(ValueError):
            memoryview(place)

    def test_a_grant_is_cut_to_what_is_said(self):
        sender, receiver = self.ends()
        with sender.reserve() as place:
            self.assertEqual(place.write(b"four"), 4)
            self.assertEqual(place.length, 4)
        with sender.reserve(10) as place:
            place.write(b"0123456789")
            place.length = 3
        sender.reserve(10).commit(0)
        self.assertEqual(receiver.recv_batch(3), [b"four", b"012", b""])
        with self.assertRaises(ValueError):
            sender.reserve(10).commit(5)

    @of_each_kind
    def test_a_failed_body_sends_nothing_and_gives_back(self, sender, receiver):
        with self.assertRaises(ZeroDivisionError):
            with sender.reserve(1):
                1 / 0
        with self.assertRaises(tombolo.Empty):
            receiver.try_recv()
        sender.send(b"job")
        with self.assertRaises(ZeroDivisionError):
            with receiver.take() as job:
                1 / 0
        self.assertTrue(job.closed)
        with receiver.take() as job:
            self.assertEqual(bytes(job), b"job")

    def test_a_failure_counts_and_the_end_of_the_program_does_not(self):
        sender, receiver = self.ends()
        sender.send(b"job")
        for error, attempts in ((KeyboardInterrupt, 0), (ValueError, 0), (ValueError, 1)):
            with self.assertRaises(error):
                with receiver.take() as job:
                    self.assertEqual(job.attempts, attempts)
                    raise error
        with receiver.take() as job:
            self.assertEqual(job.attempts, 2)

    @of_each_kind
    def test_a_view_that_is_alive_is_an_error(self, sender, receiver):
        with self.assertRaises(BufferError):
            with sender.reserve(3) as place:
                view = memoryview(place)
        view[:] = b"yes"
        view.release()
        place.commit()
        with self.assertRaises(BufferError):
            with receiver.take() as message:
                view = memoryview(message)
        with self.assertRaises(BufferError):
            message.give_back()
        self.assertEqual(view, b"yes")
        view.release()
        message.release()

    def test_a_view_in_a_traceback_ends_what_failed_when_it_goes(self):
        sender, receiver = self.ends()
        sender.send(b"job")
        kept = []
        with self.assertRaises(ZeroDivisionError):
            with receiver.take() as job:
                kept.append(memoryview(job))
                1 / 0
        self.assertFalse(job.closed)
        self.assertEqual(kept[0], b"job")
        kept.clear()
        self.assertTrue(job.closed)
        self.assertEqual(receiver.recv(), b"job")
        with self.assertRaises(ZeroDivisionError):
            with sender.reserve(1) as place:
                kept.append(memoryview(place))
                1 / 0
        kept[0][:] = b"x"
        kept.clear()
        with self.assertRaises(tombolo.Empty):
            receiver.try_recv()

    def test_a_view_keeps_the_memory_whatever_else_goes(self):
        def view_of_lost(open):
            segment = tombolo.anonymous()
            sender, receiver = open(segment)
            sender.send(b"kept")
            view = memoryview(receiver.take())
            segment.remove()
            segment.leave()
            sender.close()
            receiver.close()
            return view, weakref.ref(receiver)

        def queue(segment, spsc):
            channel = segment.bytes("bytes", 4, 64, spsc=spsc)
            return channel.sender(), channel.receiver()

        def news(segment):
            channel = segment.broadcast_bytes("news", 4, 64)
            return channel.publisher(), channel.reliable_subscriber()

        for open in (lambda s: queue(s, False), lambda s: queue(s, True), news):
            view, gone = view_of_lost(open)
            gc.collect()
            self.assertIsNone(gone())
            self.assertEqual(view, b"kept")
            view.release()

    def test_a_message_that_is_lost_is_given_back(self):
        sender, receiver = self.ends()
        sender.send(b"job")
        receiver.take()
        gc.collect()
        self.assertEqual(receiver.recv(), b"job")
        sender.reserve(1)
        gc.collect()
        self.assertEqual(receiver.qsize(), 0)

    def test_several_are_in_hand_at_once(self):
        sender, receiver = self.ends()
        for number in b"123":
            sender.send(bytes([number]))
        jobs = [receiver.take() for _ in range(3)]
        jobs[1].release()
        jobs[0].give_back()
        self.assertEqual(bytes(jobs[2]), b"3")
        jobs[2].release()
        self.assertEqual(receiver.recv(), b"1")
        places = [sender.reserve(1) for _ in range(3)]
        for place, byte in zip(places, b"abc"):
            place.write(bytes([byte]))
        for place in reversed(places):
            place.commit()
        self.assertEqual(sorted(receiver.recv_batch(3)), [b"a", b"b", b"c"])

    def test_an_spsc_end_does_one_thing_at_a_time(self):
        sender, receiver = self.ends(spsc=True)
        sender.send(b"1")
        with receiver.take():
            with self.assertRaises(tombolo.InUse):
                receiver.try_take()

    def test_the_job_of_a_killed_process_comes_again(self):
        sender, receiver = self.ends()
        sender.send(b"job")

        def child():
            self.held = receiver.take()
            started.send(b"")
            receiver.recv()

        started = receiver.channel.segment.bytes("started", 1, 1).sender()
        news = started.channel.receiver()
        with forked(child):
            news.recv(20)
        with receiver.take(20) as job:
            self.assertEqual((bytes(job), job.attempts), (b"job", 1))

    def test_what_the_parent_has_in_hand_is_not_the_childs(self):
        sender, receiver = self.ends()
        sender.send(b"job")
        job = receiver.take()

        def child():
            assert bytes(job) == b"job"
            job.release()

        with forked(child) as pid:
            self.assertEqual(ended(pid), 0)
        job.give_back()
        self.assertEqual(receiver.recv(), b"job")

    def test_a_typed_message_has_its_shape_without_numpy(self):
        channel = self.segment().channel("numbers", "f64[2][3]", 2)
        sender, receiver = channel.sender(), channel.receiver()
        with sender.reserve() as place, memoryview(place) as view:
            self.assertEqual((view.format, view.shape, view.itemsize), ("d", (2, 3), 8))
            view[1, 2] = 2.5
            with view.cast("B") as octets:
                self.assertEqual(len(octets), 48)
        # The views of two managers end before the message does.
        self.assertEqual(receiver.recv()[1][2], 2.5)

    def test_references_are_not_leaked(self):
        sender, receiver = self.ends()
        sender.send(b"once")
        receiver.recv()
        before = sys.getrefcount(sender), sys.getrefcount(receiver)
        for _ in range(100):
            with sender.reserve(1) as place:
                bytes(place)
                place.write(b"1")
            with receiver.take() as job:
                bytes(job)
        self.assertEqual((sys.getrefcount(sender), sys.getrefcount(receiver)), before)


@unittest.skipUnless(numpy, "numpy is not installed")
class Arrays(Case):
    def test_an_array_is_the_message(self):
        channel = self.segment().channel("frames", dtype=("u1", (4, 5, 3)), capacity=2)
        sender, receiver = channel.sender(), channel.receiver()
        with sender.reserve() as place:
            numpy.asarray(place)[...] = numpy.arange(60).reshape(4, 5, 3)
        with receiver.take() as frame:
            array = numpy.asarray(frame)
            self.assertEqual((array.shape, array.sum()), ((4, 5, 3), sum(range(60))))
            self.assertFalse(array.flags.writeable)
            del array
        with self.assertRaises(BufferError):
            with sender.reserve() as place:
                array = numpy.asarray(place)
        del array
        place.abort()

    def test_a_structured_array_is_the_message(self):
        dtype = numpy.dtype([("id", "u8"), ("price", "f8"), ("venue", "u1", 8)])
        channel = self.segment().channel("ticks", dtype=dtype, type_name="Tick", capacity=2)
        sender, receiver = channel.sender(), channel.receiver()
        with sender.reserve() as place:
            array = numpy.asarray(place)
            array["id"], array["price"] = 7, 101.5
            array["venue"] = 1
            del array
        with receiver.take() as tick:
            self.assertEqual(numpy.asarray(tick)["price"], 101.5)
            self.assertEqual(numpy.asarray(tick).dtype, dtype)
        sender.send((1, 2.5, range(8)))
        got = receiver.recv()
        self.assertEqual((got["id"], got["venue"][7], got.dtype), (1, 7, dtype))


if __name__ == "__main__":
    unittest.main()
