"""Programs in C, Rust and Python exchange messages on each kind of channel, both ways.

A sample; a million on each kind with TOMBOLO_TEST_LONG=1, and how long they took."""

import os
import struct
import subprocess
import sys
import time
import unittest

import tombolo

LONG = os.environ.get("TOMBOLO_TEST_LONG") == "1"
COUNT = 500_000 if LONG else 1_000
# Longer than anything waited for takes.
PATIENCE = 60
ROW = "Row{n:u64,rest:u64[2]}"
KINDS = "mpmc", "spsc", "mpmc bytes", "spsc bytes", "broadcast", "broadcast bytes"
FORMS = ("batch",) if LONG else ("value", "place", "batch")
# Those at the other end, with the same arguments: crates/capi/tests/c/peer.c says which.
PEERS = {
    language: os.environ[variable]
    for language, variable in (("C", "TOMBOLO_C_PEER"), ("Rust", "TOMBOLO_RUST_PEER"))
    if variable in os.environ
}


def row(number):
    return struct.pack("=3Q", number, 0, 0)


@unittest.skipUnless(PEERS, "without programs in other languages: .ci/python builds them")
class Languages(unittest.TestCase):
    def setUp(self):
        self.name = f"languages/{os.getpid()}.{self._testMethodName}"
        self.segment = tombolo.create(self.name, size=4 << 20)
        self.addCleanup(self.segment.leave)
        self.addCleanup(self.segment.remove)

    def channel(self, kind, name):
        broadcast, of_bytes = kind.startswith("broadcast"), kind.endswith("bytes")
        single = {} if broadcast else {"spsc": kind.startswith("spsc")}
        if of_bytes:
            make = self.segment.broadcast_bytes if broadcast else self.segment.bytes
            return make(name, 64, 24, **single)
        make = self.segment.broadcast if broadcast else self.segment.channel
        return make(name, ROW, 64, **single)

    def peer(self, language, *arguments):
        process = subprocess.Popen(
            [PEERS[language], self.name, *map(str, arguments)], stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "open\n")
        return process

    def over(self, process):
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_each_kind_both_ways_in_each_form(self):
        for language in PEERS:
            for kind in KINDS:
                for form in FORMS:
                    with self.subTest(language=language, kind=kind, form=form):
                        start = time.monotonic()
                        self.exchange(language, kind, form)
                        took = time.monotonic() - start
                        if LONG:
                            print(f"Python and {language}, {kind}: {2 * COUNT} messages in "
                                  f"{took:.1f} s", file=sys.stderr)

    def exchange(self, language, kind, form):
        name = f"{language} {kind}".replace(" ", "-")
        channel = self.channel(kind, name)
        # The peer takes the channel as it is.
        channel.describe()
        # To the other language.
        receives = self.peer(language, "recv", name, form, COUNT)
        with channel.sender() as sender:
            self.send(sender, form)
            self.over(receives)
        # From there. Nobody is told of the end before it has come.
        reliable = getattr(channel, "reliable_subscriber", channel.receiver)
        with reliable() as receiver:
            sends = self.peer(language, "send", name, form, COUNT)
            self.receive(receiver, form, kind)
            self.over(sends)

    def send(self, sender, form):
        of_bytes = sender.channel.type is None
        value = row if of_bytes else lambda number: (number, (0, 0))
        for at in range(0, COUNT, 50):
            if form == "batch":
                sender.send_batch([value(number) for number in range(at, at + 50)])
                continue
            for number in range(at, at + 50):
                if form == "value":
                    sender.send(value(number))
                else:
                    with sender.reserve(24) as place:
                        place.write(row(number))

    def receive(self, receiver, form, kind):
        of_bytes = receiver.channel.type is None
        number = 0
        while number < COUNT:
            if form == "batch":
                came = receiver.recv_batch(50, PATIENCE)
            elif form == "value":
                came = [receiver.recv(PATIENCE)]
            else:
                with receiver.take(PATIENCE) as message:
                    came = [message.value]
                    self.assertEqual(bytes(message)[:8], struct.pack("=Q", number))
            for message in came:
                # In place, what is behind the number is of a message before.
                found = struct.unpack_from("=Q", message)[0] if of_bytes else message.n
                if found != number:
                    self.fail(f"{found} came instead of {number}")
                number += 1

    def test_calls_both_ways(self):
        count = COUNT // 10
        for language in PEERS:
            with self.subTest(language):
                calls = self.segment.service_bytes("calls", 4, 8, 64)
                client = calls.client()
                serves = self.peer(language, "serve", count)
                for number in range(count):
                    request = struct.pack("=Q", number)
                    reply = client.call(request, PATIENCE)
                    self.assertEqual(reply, bytes((byte + 1) % 256 for byte in request))
                self.over(serves)
                client.close()
                server = calls.server()
                asks = self.peer(language, "call", count)
                for _ in range(count):
                    call = server.recv(PATIENCE)
                    call.reply(bytes((byte + 1) % 256 for byte in call.request))
                self.over(asks)
                server.close()

    def test_typed_calls_both_ways(self):
        for language in PEERS:
            with self.subTest(language):
                name = f"squares-{language}"
                squares = self.segment.service(name, "u32", "u64", 4)
                client = squares.client()
                serves = self.peer(language, "serve-squares", name, 100)
                for number in range(100):
                    self.assertEqual(client.call(number, PATIENCE), number**2)
                self.over(serves)
                client.close()
                server = squares.server()
                asks = self.peer(language, "ask-squares", name, 100)
                for _ in range(100):
                    call = server.recv(PATIENCE)
                    call.reply(call.request**2)
                self.over(asks)
                server.close()


if __name__ == "__main__":
    unittest.main()
