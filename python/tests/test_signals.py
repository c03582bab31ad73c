"""Signal handlers of Python run during waits, and end them if they raise."""

import os
import signal
import subprocess
import sys
import threading
import time
import unittest

from support import LONG, Case

# A program that waits in one of several ways, says so, and says when Ctrl-C ended it.
PROGRAM = """
import asyncio, os, sys, time, tombolo
segment = tombolo.anonymous()
queue = segment.bytes("queue", 1, 8)
sender, receiver = queue.sender(), queue.receiver()
spsc = segment.bytes("spsc", 1, 8, spsc=True)
single, one = spsc.sender(), spsc.receiver()
news = segment.broadcast_bytes("news", 1, 8)
publisher, subscriber, reliable = news.publisher(), news.subscriber(), news.reliable_subscriber()
full = segment.bytes("full", 1, 8)
filler, holder = full.sender(), full.receiver()
filler.send(b"full")
calls = segment.service_bytes("calls", 1, 8, 8)
client, server = calls.client(), calls.server()
WAITS = dict(
    recv=receiver.recv,
    recv_timeout=lambda: receiver.recv(60),
    recv_batch=lambda: receiver.recv_batch(3),
    take=receiver.take,
    iterate=lambda: list(receiver),
    one=one.recv,
    subscriber=subscriber.recv,
    reliable=reliable.take,
    send=lambda: filler.send(b"more"),
    send_timeout=lambda: filler.send(b"more", 60),
    send_batch=lambda: filler.send_batch([b"more", b"and more"]),
    reserve=filler.reserve,
    wait=lambda: tombolo.wait([receiver, one, filler]),
    call=lambda: client.call(b"a"),
    pending=lambda: client.start(b"a").wait(),
    start=lambda: (client.start(b"a"), client.start(b"b")),
    serve=server.recv,
    wait_for=lambda: publisher.wait_for(9),
    arecv=lambda: asyncio.run(awaits()),
)
async def awaits():
    print("ready", flush=True)
    await receiver.arecv()
try:
    if sys.argv[1] != "arecv":
        print("ready", flush=True)
    WAITS[sys.argv[1]]()
except KeyboardInterrupt:
    print(time.monotonic(), flush=True)
"""

WAITS = (
    "recv recv_timeout recv_batch take iterate one subscriber reliable send send_timeout "
    "send_batch reserve wait call pending start serve wait_for arecv"
).split()


class Signals(Case):
    def test_ctrl_c_ends_every_wait_within_20_ms(self):
        late = {}
        for wait in WAITS:
            with self.subTest(wait):
                command = [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, wait]
                with subprocess.Popen(
                    command, stdout=subprocess.PIPE, text=True, env=os.environ
                ) as process:
                    self.addCleanup(process.kill)
                    self.assertEqual(process.stdout.readline(), "ready\n")
                    # At any moment of the wait, or just before it.
                    time.sleep(0.001 * (len(late) % 5))
                    sent = time.monotonic()
                    process.send_signal(signal.SIGINT)
                    late[wait] = float(process.stdout.readline()) - sent
                    self.assertEqual(process.wait(LONG), 0)
        # The machine may be busy: not each of them has to be in time.
        in_time = sorted(late.values())[len(late) * 3 // 4]
        self.assertLess(in_time, 0.02, late)

    def test_other_handlers_run_and_the_wait_goes_on(self):
        segment = self.segment()
        channel = segment.bytes("queue", 1, 8)
        sender, receiver = channel.sender(), channel.receiver()
        came = []
        before = signal.signal(signal.SIGUSR1, lambda *_: came.append(len(came)))
        self.addCleanup(signal.signal, signal.SIGUSR1, before)

        def disturb():
            for count in range(1, 4):
                os.kill(os.getpid(), signal.SIGUSR1)
                while len(came) < count:
                    time.sleep(0.001)
            sender.send(b"after")

        disturbing = threading.Thread(target=disturb)
        disturbing.start()
        self.assertEqual(receiver.recv(LONG), b"after")
        disturbing.join()
        self.assertEqual(came, [0, 1, 2])

    def test_a_handler_may_use_the_same_end(self):
        segment = self.segment()
        channel = segment.bytes("queue", 2, 8)
        sender, receiver = channel.sender(), channel.receiver()
        before = signal.signal(signal.SIGALRM, lambda *_: sender.send(b"from the handler"[:8]))
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        self.assertEqual(receiver.recv(LONG), b"from the")

    def test_an_exception_of_a_handler_comes_out_and_nothing_is_lost(self):
        segment = self.segment()
        channel = segment.bytes("queue", 1, 8)
        sender, receiver = channel.sender(), channel.receiver()

        def fail(*_):
            raise ZeroDivisionError

        before = signal.signal(signal.SIGALRM, fail)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        for wait in (receiver.recv, receiver.take, lambda: receiver.recv(LONG)):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            with self.assertRaises(ZeroDivisionError):
                wait()
        sender.send(b"kept")
        self.assertEqual(receiver.recv(), b"kept")


if __name__ == "__main__":
    unittest.main()
