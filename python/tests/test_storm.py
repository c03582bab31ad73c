"""The storm: workers in C, Rust and Python are killed at random moments, and every message is
accounted for.

A few dozen kills of each kind of channel; a thousand with TOMBOLO_TEST_LONG=1."""

import collections
import contextlib
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import unittest

import tombolo
from storm_worker import Worker

ALL = os.environ.get("TOMBOLO_TEST_LONG") == "1"
KILLS = 1000 if ALL else 40
# So long nothing takes that does not hang.
LONG = 30
SHORT = 0.25
ELEMENT = "Numbered{w:u64[24]}"
# The programs in the other languages: built by .ci/python.
PROGRAMS = {
    language: os.environ[variable]
    for language, variable in (("C", "TOMBOLO_C_STORM"), ("Rust", "TOMBOLO_STORM"))
    if variable in os.environ
}
LANGUAGES = [*PROGRAMS, "Python"]


class Life:
    """One life of a worker."""

    def __init__(self, storm, role, number):
        self.role, self.number = role, number
        self.language = random.choice(LANGUAGES)
        self.form = random.choice(storm.forms)
        self.log = os.path.join(storm.folder, f"{number}")
        arguments = storm.name, role, "storm", self.form, str(number), self.log
        if self.language == "Python":
            self.pid = forked(arguments)
        else:
            self.child = subprocess.Popen([PROGRAMS[self.language], *arguments])
            self.pid = self.child.pid

    def kill(self):
        """Kills it. One that has ended by itself has failed."""
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        if self.language != "Python":
            self.child.returncode = status
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            raise AssertionError(f"a {self.role} in {self.language} has ended: {status:#x}")

    def words(self):
        try:
            with open(self.log, "rb") as log:
                data = log.read()
        except FileNotFoundError:
            return ()
        return struct.unpack(f"={len(data) // 8}Q", data)

    def counts(self):
        """Of a producer or a client."""
        words = self.words()
        return (*words, 0, 0, 0)[:3]

    def rows(self):
        """Of the others: each message, and whether it was released."""
        words = self.words()
        rows = []
        for number, what in zip(words[::2], words[1::2]):
            if what == 2:
                assert rows[-1][0] == number
                rows[-1] = number, True
            else:
                # By value it is taken as a whole.
                rows.append((number, self.form == "value"))
        return rows


def forked(arguments):
    pid = os.fork()
    if pid == 0:
        try:
            Worker(*arguments).run()
        except BaseException:
            os.write(2, f"in Python: {traceback.format_exc()}".encode())
        finally:
            os._exit(1)
    return pid


class Storm(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.lives = []
        self.seats = []
        self.killed = collections.Counter()
        self.forms = ["place", "value"]
        self.addCleanup(self.end)

    def end(self):
        while self.seats:
            with contextlib.suppress(AssertionError, ProcessLookupError, ChildProcessError):
                self.seats.pop().kill()

    def begin(self, what):
        self.name = f"storm/{os.getpid()}.{what.replace(' ', '-')}"
        self.segment = tombolo.create(self.name, participants=24)
        self.addCleanup(self.segment.leave)
        self.addCleanup(self.segment.remove)

    def start(self, role):
        life = Life(self, role, len(self.lives) + 1)
        self.lives.append(life)
        return life

    def kill(self, seat):
        self.seats[seat].kill()
        self.killed[self.seats[seat].language] += 1

    def rage(self, roles):
        """Kills workers, and starts others in their places."""
        self.seats.extend(map(self.start, roles))
        for _ in range(KILLS):
            time.sleep(random.uniform(0, 0.008))
            seat = random.randrange(len(self.seats))
            self.kill(seat)
            self.seats[seat] = self.start(roles[seat])
        # First those who send; what is there by then is received.
        for role in ("produce", "ask"):
            self.stop(role)

    def stop(self, role):
        for at in reversed(range(len(self.seats))):
            if self.seats[at].role == role:
                self.kill(at)
                del self.seats[at]

    def of_role(self, role):
        return [life for life in self.lives if life.role == role]

    def told(self, kind, count):
        if ALL:
            print(f"{kind}: {dict(self.killed)} killed, {count} messages", file=sys.stderr)

    def sent(self):
        """How many sends of each life have returned."""
        return {life.number: life.counts()[0] for life in self.of_role("produce")}

    def check_numbers(self, numbers, sent):
        """That all of them were sent: at most one of each life has not returned."""
        for number in numbers:
            life, at = number >> 32, number & 0xFFFF_FFFF
            self.assertLessEqual(at, sent.get(life, -1), f"message {at} of life {life}")

    def queue(self, kind):
        self.begin(kind)
        spsc = kind.startswith("spsc")
        options = {"spsc": spsc, "lasting": True, "redeliver": 15}
        if kind.endswith("bytes"):
            channel = self.segment.bytes("storm", 16, 192, **options)
        else:
            channel = self.segment.channel("storm", ELEMENT, 16, **options)
        channel.describe()
        self.rage(["produce", "consume"] if spsc else ["produce"] * 2 + ["consume"] * 3)
        self.stop("consume")
        # What is left, and what they held.
        rest = []
        with channel.receiver() as receiver, contextlib.suppress(tombolo.RecvTimeout):
            check = checker(channel)
            while True:
                with receiver.take(SHORT) as message:
                    rest.append(check(bytes(message)))
        whole = collections.Counter(rest)
        held = collections.Counter()
        for life in self.of_role("consume"):
            rows = life.rows()
            for number, released in rows[:-1]:
                self.assertTrue(released)
            whole.update(number for number, released in rows if released)
            held.update(number for number, released in rows if not released)
        sent = self.sent()
        self.check_numbers([*whole, *held], sent)
        doubled = {number: count for number, count in whole.items() if count > 1}
        self.assertEqual(doubled, {})
        wanted = {life << 32 | at for life, count in sent.items() for at in range(count)}
        lost = wanted - whole.keys() - held.keys()
        # One that was copied out dies with its receiver, before that can note it.
        could = sum(life.form == "value" for life in self.of_role("consume"))
        self.assertLessEqual(len(lost), could, lost)
        if "value" not in self.forms:
            self.assertEqual(lost, set())
        self.assertGreater(len(whole), KILLS)
        self.told(kind, len(whole))

    def test_mpmc(self):
        self.queue("mpmc")

    def test_mpmc_bytes(self):
        self.queue("mpmc bytes")

    def test_spsc(self):
        self.queue("spsc")

    def test_spsc_bytes(self):
        self.queue("spsc bytes")

    def test_nothing_is_lost_that_is_taken_in_hand(self):
        self.forms = ["place"]
        self.queue("mpmc bytes")

    def broadcast(self, kind):
        self.begin(kind)
        if kind.endswith("bytes"):
            channel = self.segment.broadcast_bytes("storm", 16, 192, lasting=True)
        else:
            channel = self.segment.broadcast("storm", ELEMENT, 16, lasting=True)
        subscriber = channel.reliable_subscriber()
        got = []
        check = checker(channel)
        ends = threading.Event()

        def subscribe():
            while True:
                try:
                    got.append(check(subscriber.recv(SHORT)))
                except tombolo.RecvTimeout:
                    if ends.is_set():
                        return

        reading = threading.Thread(target=subscribe, daemon=True)
        reading.start()
        self.rage(["produce"] * 2 + ["subscribe"] * 2)
        self.stop("subscribe")
        ends.set()
        reading.join(LONG)
        self.assertFalse(reading.is_alive())
        sent = self.sent()
        self.check_numbers(got, sent)
        self.assertEqual(len(got), len(set(got)), "one came twice")
        wanted = {life << 32 | at for life, count in sent.items() for at in range(count)}
        self.assertEqual(wanted - set(got), set(), "they are lost")
        rows = [[number for number, _ in life.rows()] for life in self.of_role("subscribe")]
        for numbers in (got, *rows):
            before = {}
            for number in numbers:
                life = number >> 32
                self.assertEqual(number, before.get(life, number - 1) + 1)
                before[life] = number
        self.assertGreater(len(got), KILLS)
        self.told(kind, len(got))

    def test_broadcast(self):
        self.broadcast("broadcast")

    def test_broadcast_bytes(self):
        self.broadcast("broadcast bytes")

    def calls(self, kind):
        self.begin(kind)
        if kind.endswith("bytes"):
            service = self.segment.service_bytes("storm", 8, 192, 192, lasting=True)
        else:
            service = self.segment.service("storm", ELEMENT, ELEMENT, 8, lasting=True)
        client = service.client()
        self.rage(["ask"] * 2 + ["serve"] * 2)
        deaths = sum(life.role == "serve" for life in self.lives) - 2
        asked, replied, died = map(sum, zip(*(life.counts() for life in self.of_role("ask"))))
        # The one that it was killed over.
        self.assertLessEqual(asked - replied - died, len(self.of_role("ask")))
        # A server has one in hand.
        self.assertLessEqual(died, deaths)
        self.assertGreater(replied, KILLS)
        self.told(kind, replied)
        self.stop("serve")
        # All goes on.
        pending = client.start(bytes(192) if kind.endswith("bytes") else (tuple([0] * 24),))
        call = service.server().recv(LONG)
        call.reply(call.request)
        self.assertEqual(pending.wait(LONG), call.request)

    def test_calls(self):
        self.calls("calls")

    def test_calls_of_bytes(self):
        self.calls("calls bytes")


def checker(channel):
    """The number of a message, which is whole."""
    reads = object.__new__(Worker)
    reads.is_bytes = channel.describe()["schema"].startswith("bytes")

    def check(message):
        if not isinstance(message, bytes):
            message = struct.pack("=24Q", *message.w)
        return reads.number(message)

    return check


if __name__ == "__main__":
    unittest.main()
