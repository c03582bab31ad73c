"""Python's types are the same as a Rust program's."""

import os
import subprocess
import unittest

import tombolo
from support import LONG, PEER, Case
from tombolo import Type

try:
    import numpy
except ImportError:
    numpy = None

TICK = "Tick{id:u64,price:f64,side:Side:u8{Buy=1,Sell=2},venue:u8[7]}"

EVERYTHING = (
    "Everything{the_largest_of_all_numbers_here:u128,a_negative_one_of_the_same_size:i128,"
    "three_by_two_of_another_struct:Pair{0:i32,1:f32}[6],a_number_of_32_bits_without_sign:u32,"
    "a_character_of_whichever_language:char,whether_or_not_it_is_so_and_no_more:bool,"
    "seven_more_bytes_that_are_of_no_use:u8[7]}"
)


class Types(unittest.TestCase):
    def test_a_schema_is_read_and_written(self):
        for text in ("u8", "bool", "char", TICK, "A{b:B{c:u16[3]}[2],d:i32}", "E:i16{A=-1,B=2}"):
            self.assertEqual(Type.of_schema(text).schema, text)
        self.assertEqual(Type.of_schema("f64[3]").schema, "f64")
        self.assertEqual(Type.of_schema("f64[3]").size, 24)
        self.assertEqual((Type.of_schema(TICK).size, Type.of_schema(TICK).align), (24, 8))

    def test_what_is_no_schema_is_refused(self):
        for text in ("", "u7", "u8]", "A{", "A{b}", "A{b:u8", "u8[x]", "E:f8{A=1}", "A{b:u8}}"):
            with self.subTest(text), self.assertRaises(ValueError):
                Type.of_schema(text)

    def test_padding_is_refused_and_named(self):
        with self.assertRaisesRegex(ValueError, "7 bytes of padding after a:"):
            Type.of_schema("A{a:u8,b:u64}")
        with self.assertRaisesRegex(ValueError, "padding after b"):
            Type.of_schema("A{a:u32,b:u8}")

    def test_a_format_is_a_type(self):
        for text, schema in (("Q", "u64"), ("<h", "i16"), ("=l", "i32"), ("@l", "i64"), ("?", "bool")):
            self.assertEqual(Type.of_format(text).schema, schema)
        self.assertEqual(Type.of_format("3d"), Type.of_schema("f64[3]"))
        self.assertEqual(Type.of_format("5s"), Type.of_schema("u8[5]"))
        named = Type.of_format("Qd", "Tick", ["id", "price"])
        self.assertEqual(named.schema, "Tick{id:u64,price:f64}")
        self.assertEqual(Type.of_format("Qd", "Pair").schema, "Pair{0:u64,1:f64}")
        for text in (">Q", "Qd", "bQ", "P", "0s", "x"):
            with self.subTest(text), self.assertRaises(ValueError):
                Type.of_format(text)

    def test_values_come_back_as_they_were(self):
        cases = [
            ("u64", 2**64 - 1),
            ("f32", 0.5),
            ("bool", True),
            ("char", "ß"),
            ("i128", -(2**127)),
            ("u128", 2**128 - 1),
            ("i16[2][3]", ((1, 2, 3), (-1, -2, -3))),
            ("u8[3]", b"abc"),
            ("A{b:B{c:u16[3]}[2],d:i32}", ((((1, 2, 3),), ((4, 5, 6),)), 7)),
            (TICK, (1, 101.5, 2, b"XETRA  ")),
        ]
        for text, value in cases:
            with self.subTest(text):
                described = Type.of_schema(text)
                encode, decode = described.codec()
                data = encode(value)
                self.assertEqual(len(data), described.size)
                self.assertEqual(decode(data), value)

    def test_a_struct_has_names_and_an_enum_has_values(self):
        encode, decode = Type.of_schema(TICK).codec()
        tick = decode(encode({"id": 1, "price": 2.0, "side": 2, "venue": b"x"}))
        self.assertEqual((tick.id, tick.side.name), (1, "Sell"))
        with self.assertRaises(tombolo.InvalidMessage):
            decode(bytes(24))
        with self.assertRaises(tombolo.InvalidMessage):
            Type.of_schema("char").codec()[1](b"\xff\xff\xff\xff")

    def test_a_wrong_value_is_refused(self):
        for text, value in (
            (TICK, (1, 2.0)),
            ("u8[2]", b"abc"),
            ("i16[2]", (1, 2, 3)),
        ):
            with self.subTest(text), self.assertRaises(TypeError):
                Type.of_schema(text).codec()[0](value)
        with self.assertRaises(Exception):
            Type.of_schema("u8").codec()[0](256)

    @unittest.skipUnless(numpy, "numpy is not installed")
    def test_a_dtype_is_a_type(self):
        for dtype, text in (
            ("f4", "f32"),
            (("u2", (2, 3)), "u16[2][3]"),
            ("?", "bool"),
            ("U1", "char"),
            ("S5", "u8[5]"),
            ("m8[ns]", "i64"),
        ):
            self.assertEqual(Type.of_dtype(dtype), Type.of_schema(text))
        tick = numpy.dtype([("id", "u8"), ("price", "f8"), ("side", "u1"), ("venue", "S7")])
        self.assertEqual(Type.of_dtype(tick, "Tick").schema, "Tick{id:u64,price:f64,side:u8,venue:u8[7]}")
        for dtype, name in ((">u2", None), ("c8", None), ("f2", None), (tick, None)):
            with self.subTest(dtype=dtype), self.assertRaises(ValueError):
                Type.of_dtype(dtype, name)
        padded = numpy.dtype([("a", "u1"), ("b", "u8")], align=True)
        with self.assertRaises(ValueError):
            Type.of_dtype(padded, "A")

    @unittest.skipUnless(numpy, "numpy is not installed")
    def test_arrays_come_back_as_they_were(self):
        for dtype, value in (
            ("f8", 2.5),
            ("m8[ns]", numpy.timedelta64(5, "ns")),
            (("i2", (2, 3)), [[1, 2, 3], [4, 5, 6]]),
            (("f8", (200,)), range(200)),
            ("S5", b"abc"),
        ):
            with self.subTest(dtype=dtype):
                encode, decode = Type.of_dtype(dtype).codec()
                got = decode(bytes(encode(value)))
                self.assertTrue(numpy.array_equal(got, numpy.asarray(value)))
        with self.assertRaises(TypeError):
            Type.of_dtype(("u1", (2,))).codec()[0]([1, 2, 3])

    @unittest.skipUnless(numpy, "numpy is not installed")
    def test_a_schema_has_a_dtype(self):
        dtype = Type.of_schema(TICK).dtype
        self.assertEqual((dtype.names, dtype.itemsize), (("id", "price", "side", "venue"), 24))
        self.assertEqual(Type.of_schema("f64[3]").dtype.shape, (3,))


@unittest.skipUnless(PEER, "TOMBOLO_PEER does not name the Rust program")
class Rust(Case):
    def peer(self, segment, what):
        process = subprocess.Popen([PEER, str(segment.id), what])
        self.addCleanup(process.kill)
        return process

    def there_and_back(self, segment, what, channels, messages):
        """Sends messages to the Rust program, which sends them back."""
        there, back = channels
        sender = there.publisher() if "news" in what else there.sender()
        receiver = back.reliable_subscriber() if "news" in what else back.receiver()
        process = self.peer(segment, what)
        got = []
        for at, message in enumerate(messages):
            sender.send(message, LONG)
            if at >= 8:
                got.append(receiver.recv(LONG))
        while len(got) < len(messages):
            got.append(receiver.recv(LONG))
        sender.close()
        self.assertEqual(process.wait(LONG), 0)
        return got

    # A million where tests run at length.
    COUNT = 1_000_000 if os.environ.get("TOMBOLO_TEST_LONG") else 2_000

    def test_structs_go_there_and_back(self):
        segment = self.segment()
        channels = [segment.channel(name, TICK, 16) for name in ("there", "back")]
        ticks = [(at, at / 2, 1 + at % 2, b"venue%02d" % (at % 100)) for at in range(self.COUNT)]
        self.assertEqual(self.there_and_back(segment, "echo ticks", channels, ticks), ticks)

    def test_bytes_go_there_and_back(self):
        segment = self.segment()
        channels = [segment.bytes(name, 16, 1000) for name in ("there", "back")]
        texts = [b"%d" % at * (at % 100) for at in range(self.COUNT)]
        self.assertEqual(self.there_and_back(segment, "echo bytes", channels, texts), texts)

    def test_news_go_there_and_back(self):
        segment = self.segment()
        channels = [segment.broadcast(name, "u64", 16) for name in ("there", "back")]
        numbers = list(range(self.COUNT))
        self.assertEqual(self.there_and_back(segment, "echo news", channels, numbers), numbers)

    @unittest.skipUnless(numpy, "numpy is not installed")
    def test_arrays_go_there_and_back(self):
        segment = self.segment()
        channels = [
            segment.channel(name, dtype=("u1", (4, 5, 3)), capacity=16, spsc=True)
            for name in ("there", "back")
        ]
        frames = [numpy.full((4, 5, 3), at % 256, "u1") for at in range(self.COUNT)]
        got = self.there_and_back(segment, "echo frames", channels, frames)
        self.assertTrue(numpy.array_equal(got, frames))

    def test_every_type_is_the_same(self):
        segment = self.segment()
        self.assertEqual(self.peer(segment, "everything").wait(LONG), 0)
        channel = segment.channel("everything", EVERYTHING)
        got = channel.receiver().recv(LONG)
        self.assertEqual(got[0], 2**128 - 1)
        self.assertEqual(got[1], -2)
        self.assertEqual([pair[0] for pair in got[2]], [1, 2, 3, 4, 5, 6])
        self.assertEqual(got[3:], (7, "ß", True, b"useless"))
        channel.sender().send(got)
        self.assertEqual(self.peer(segment, "equal").wait(LONG), 0)
        matrix = segment.channel("matrix", "f32[2][3]").receiver().recv(LONG)
        self.assertEqual(matrix, ((1, 2, 3), (4, 5, 6)))
        with self.assertRaises(tombolo.Mismatch):
            segment.channel("matrix", "f32[3]").receiver()


if __name__ == "__main__":
    unittest.main()
