"""A worker of the storm, in Python: as ``crates/capi/tests/c/storm.c``, which says what the
arguments and the log are."""

import os
import struct
import sys

import tombolo

WORDS = 24
MASK = (1 << 64) - 1


class Worker:
    def __init__(self, segment, role, channel, form, life, log):
        self.role = role
        self.in_place = form == "place"
        self.first = int(life) << 32
        append = 0 if role in ("produce", "ask") else os.O_APPEND
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | append, 0o600)
        self.segment = tombolo.open(segment)
        what = self.segment.service if role in ("ask", "serve") else self.segment.broadcast
        self.channel = what(channel)
        self.is_bytes = self.channel.describe()["schema"].startswith("bytes")

    def message(self, number):
        words = 1 + number % WORDS if self.is_bytes else WORDS
        return struct.pack(f"={words}Q", *(number * (2 * at + 1) & MASK for at in range(words)))

    def number(self, message):
        (number,) = struct.unpack_from("=Q", message)
        if message != self.message(number):
            raise AssertionError(f"torn: {number}, {len(message)} bytes")
        return number

    def came(self, number, what):
        os.write(self.log, struct.pack("=2Q", number, what))

    def produce(self):
        sender = self.channel.sender()
        sent = 0
        while True:
            message = self.message(self.first + sent)
            if self.in_place:
                with sender.reserve(len(message)) as place:
                    place.write(message)
            else:
                sender.send(message)
            sent += 1
            os.pwrite(self.log, struct.pack("=Q", sent), 0)

    def consume(self):
        self.receive(self.channel.receiver())

    def subscribe(self):
        self.receive(self.channel.reliable_subscriber())

    def receive(self, receiver):
        while True:
            if self.in_place:
                with receiver.take() as message:
                    number = self.number(bytes(message))
                    self.came(number, 1)
                self.came(number, 2)
            else:
                self.came(self.number(receiver.recv()), 1)

    def ask(self):
        client = self.channel.client()
        asked = replied = died = 0
        while True:
            number = self.first + asked
            asked += 1
            os.pwrite(self.log, struct.pack("=3Q", asked, replied, died), 0)
            try:
                if self.number(client.call(self.message(number))) != number + 1:
                    raise AssertionError("another call's reply")
                replied += 1
            except tombolo.ServerDied:
                died += 1
            os.pwrite(self.log, struct.pack("=3Q", asked, replied, died), 0)

    def serve(self):
        for call in self.channel.server():
            number = self.number(call.request)
            self.came(number, 1)
            call.reply(self.message(number + 1))
            self.came(number, 2)

    def run(self):
        getattr(self, self.role)()


if __name__ == "__main__":
    Worker(*sys.argv[1:]).run()
