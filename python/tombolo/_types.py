"""What the messages of a typed channel are: the same description as a Rust program's.

A Rust type that derives ``Message`` has a schema, such as ``Tick{id:u64,price:f64}``. Both sides of
a channel must have the same schema, size and alignment. A type is made here from that text, from
a numpy dtype, or from a format of the module ``struct``.
"""

from __future__ import annotations

import collections
import enum
import functools
import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tombolo._errors import BadOption, InvalidMessage, Mismatch

# As many bytes as the library keeps of a schema.
_SCHEMA_BYTES = 256
# "…" and a hash.
_ENDING = 3 + 16


def _kept(text: str) -> str:
    """The text; a long one is cut, and ends with the hash of all of it, as the library's."""
    data = text.encode()
    if len(data) <= _SCHEMA_BYTES:
        return text
    mixed = 0xCBF2_9CE4_8422_2325
    for byte in data:
        mixed = (mixed ^ byte) * 0x0100_0000_01B3 % (1 << 64)
    begin = data[: _SCHEMA_BYTES - _ENDING].decode(errors="ignore")
    return f"{begin}…{mixed:016x}"


@dataclass(frozen=True)
class Scalar:
    """A number, ``bool`` or ``char``."""

    schema: str
    size: int
    # As the module `struct` and the buffer protocol call it.
    code: str

    @property
    def align(self) -> int:
        return self.size


@dataclass(frozen=True)
class Enum:
    """An enum without fields."""

    name: str
    scalar: Scalar
    values: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        return self.scalar.size

    @property
    def align(self) -> int:
        return self.scalar.align

    @property
    def schema(self) -> str:
        values = ",".join(f"{name}={value}" for name, value in self.values)
        return _kept(f"{self.name}:{self.scalar.schema}{{{values}}}")


@dataclass(frozen=True)
class Field:
    """A field of a struct: one of a type, or an array in this shape."""

    name: str
    base: Base
    shape: tuple[int, ...]

    @property
    def length(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        return self.base.size * self.length

    @property
    def schema(self) -> str:
        many = "" if self.length == 1 else f"[{self.length}]"
        return f"{self.name}:{self.base.schema}{many}"


@dataclass(frozen=True)
class Struct:
    """A struct without padding."""

    name: str
    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        at = 0
        for before, field in zip((None, *self.fields), self.fields):
            if gap := -at % field.base.align:
                raise _padded(self.name, gap, before)
            at += field.size
        if gap := -at % self.align:
            raise _padded(self.name, gap, self.fields[-1])

    @property
    def size(self) -> int:
        return sum(field.size for field in self.fields)

    @property
    def align(self) -> int:
        return max((field.base.align for field in self.fields), default=1)

    @property
    def schema(self) -> str:
        return _kept(f"{self.name}{{{','.join(field.schema for field in self.fields)}}}")


Base = Scalar | Enum | Struct


def _padded(name: str, gap: int, before: Field | None) -> BadOption:
    after = before.name if before else "its beginning"
    return BadOption(
        f"{name} has {gap} bytes of padding after {after}: order the fields, the largest alignment "
        f"first, or add a field there of {gap} bytes"
    )


def _scalars() -> dict[str, Scalar]:
    codes = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q"}
    codes |= {"i64": "q", "f32": "f", "f64": "d", "bool": "?"}
    found = {name: Scalar(name, struct.calcsize(f"={code}"), code) for name, code in codes.items()}
    found["char"] = Scalar("char", 4, "I")
    # The module `struct` knows no numbers of 16 bytes.
    found["u128"] = Scalar("u128", 16, "16s")
    found["i128"] = Scalar("i128", 16, "16s")
    return found


SCALARS = _scalars()


class Type:
    """The type of a channel's messages."""

    def __init__(self, base: Base, shape: Sequence[int] = (), dtype: Any = None) -> None:
        self.base = base
        self.shape = tuple(shape)
        self._dtype = dtype

    @property
    def schema(self) -> str:
        """What the bytes mean. How long an array is, its size says."""
        return self.base.schema

    @property
    def size(self) -> int:
        """How many bytes a message has."""
        return self.base.size * math.prod(self.shape)

    @property
    def align(self) -> int:
        """To how many bytes a message is aligned."""
        return self.base.align

    @property
    def dtype(self) -> Any:
        """The numpy dtype."""
        if self._dtype is None:
            import numpy

            self._dtype = numpy.dtype((_dtype_of(self.base), self.shape))
        return self._dtype

    @property
    def layout(self) -> tuple[str, int, list[int]]:
        """Format, size and shape of the items of a message in place, for its buffer."""
        if isinstance(self.base, Struct):
            return _buffer_format(self.base), self.base.size, list(self.shape)
        scalar = self.base.scalar if isinstance(self.base, Enum) else self.base
        if scalar.size == 16:
            return "B", 1, [*self.shape, 16]
        return scalar.code, scalar.size, list(self.shape)

    def codec(self) -> tuple[Callable[[Any], Any], Callable[[bytes], Any]]:
        """From a value to bytes, and back: of numpy, if the type was made of a dtype."""
        return _Values(self).codec() if self._dtype is None else _Arrays(self).codec()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Type) and self._same() == other._same()

    def __hash__(self) -> int:
        return hash(self._same())

    def _same(self) -> tuple[str, int, int]:
        return self.schema, self.size, self.align

    def __repr__(self) -> str:
        many = "".join(f"[{length}]" for length in self.shape)
        return f"<tombolo.Type {self.schema}{many}, {self.size} bytes>"

    @classmethod
    def of_schema(cls, text: str) -> Type:
        """The type of a Rust program's ``Message::SCHEMA``; an array is written ``f64[3]``."""
        parser = _Parser(text)
        base, shape = parser.type()
        parser.end()
        return cls(base, shape)

    @classmethod
    def of_dtype(cls, dtype: Any, name: str | None = None) -> Type:
        """The type of a numpy dtype. A structured one needs the name of the Rust struct."""
        import numpy

        dtype = numpy.dtype(dtype)
        base, shape = _base_of(dtype, name)
        made = cls(base, shape, dtype)
        if made.size != dtype.itemsize:
            raise BadOption(f"{dtype} has {dtype.itemsize} bytes, and its fields {made.size}")
        return made

    @classmethod
    def of_format(
        cls, text: str, name: str | None = None, fields: Iterable[str] | None = None
    ) -> Type:
        """The type of a format of the module ``struct``. With several items, it needs a name;
        the fields have the names of a tuple struct's, 0, 1 and so on, if no others are given."""
        parts = _parts(text)
        if len(parts) == 1 and name is None:
            return cls(*parts[0])
        if name is None:
            raise BadOption(
                f"the format {text!r} has {len(parts)} items, which is a struct: give the name of "
                "the type (type_name), and of its fields (fields)"
            )
        names = [str(at) for at in range(len(parts))] if fields is None else list(fields)
        if len(names) != len(parts):
            raise BadOption(f"the format {text!r} has {len(parts)} items, not {len(names)}")
        return cls(Struct(name, tuple(Field(n, *part) for n, part in zip(names, parts))))


def _parts(text: str) -> list[tuple[Base, tuple[int, ...]]]:
    order, codes = ("@", text) if text[:1] not in "@=<>!" else (text[0], text[1:])
    if order in ">!":
        raise BadOption(f"the format {text!r} has not this machine's byte order")
    if not re.fullmatch(r"\s*((\d*)[bBhHiIlLqQfd?s]\s*)+", codes):
        raise BadOption(f"the format {text!r} has something that is no number, ? or s")
    parts: list[tuple[Base, tuple[int, ...]]] = []
    for count, code in re.findall(r"(\d*)([bBhHiIlLqQfd?s])", codes):
        if code in "lL":
            longer = struct.calcsize(f"{order}l") == 8
            code = {"l": "q", "L": "Q"}[code] if longer else {"l": "i", "L": "I"}[code]
        if code == "s":
            parts.append((SCALARS["u8"], (int(count or 1),)))
        else:
            scalar = next(scalar for scalar in SCALARS.values() if scalar.code == code)
            parts.append((scalar, (int(count),) if count else ()))
    if any(0 in shape for _, shape in parts):
        raise BadOption(f"the format {text!r} has an item of no bytes")
    return parts


class _Parser:
    """Reads a schema."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def wrong(self, what: str) -> BadOption:
        return BadOption(f"{self.text!r} is no schema: {what} at character {self.at}")

    def word(self) -> str:
        found = re.compile(r"[^\s{}\[\]:,=…]+").match(self.text, self.at)
        if found is None:
            raise self.wrong("a name is missing")
        self.at = found.end()
        return found.group()

    def take(self, mark: str) -> bool:
        if self.text.startswith(mark, self.at):
            self.at += len(mark)
            return True
        return False

    def expect(self, mark: str) -> None:
        if not self.take(mark):
            raise self.wrong(f"{mark!r} is missing")

    def end(self) -> None:
        if self.at < len(self.text):
            raise self.wrong("there is more")

    def number(self) -> int:
        text = self.word()
        if not re.fullmatch(r"-?\d+", text):
            raise self.wrong("a number is missing")
        return int(text)

    def type(self) -> tuple[Base, tuple[int, ...]]:
        name = self.word()
        base: Base
        if self.take("{"):
            base = Struct(name, tuple(self.listed(self.field)))
        elif self.take(":"):
            scalar = self.scalar(self.word())
            self.expect("{")
            base = Enum(name, scalar, tuple(self.listed(self.value)))
        else:
            base = self.scalar(name)
        shape = []
        while self.take("["):
            shape.append(self.number())
            self.expect("]")
        return base, tuple(shape)

    def scalar(self, name: str) -> Scalar:
        if name not in SCALARS:
            raise self.wrong(f"{name!r} is no number, bool or char;")
        return SCALARS[name]

    def listed(self, one: Callable[[], Any]) -> Iterator[Any]:
        yield one()
        while self.take(","):
            yield one()
        self.expect("}")

    def field(self) -> Field:
        name = self.word()
        self.expect(":")
        return Field(name, *self.type())

    def value(self) -> tuple[str, int]:
        name = self.word()
        self.expect("=")
        return name, self.number()


def _base_of(dtype: Any, name: str | None) -> tuple[Base, tuple[int, ...]]:
    """What a dtype is to a Rust program."""
    if dtype.subdtype is not None:
        inner, shape = dtype.subdtype
        base, more = _base_of(inner, name)
        return base, (*shape, *more)
    if dtype.names is not None:
        if name is None:
            raise BadOption(
                "a structured dtype needs the name of the Rust struct (type_name); fields that are "
                "structs themselves have names as well: give the schema of the whole as `type`"
            )
        return _struct_of(dtype, name), ()
    if dtype.byteorder == ">":
        raise BadOption(f"{dtype} has not this machine's byte order")
    kind, size = dtype.kind, dtype.itemsize
    if kind in "iuf" and f"{kind}{size * 8}" in SCALARS:
        return SCALARS[f"{kind}{size * 8}"], ()
    if kind == "b":
        return SCALARS["bool"], ()
    if kind in "mM":
        return SCALARS["i64"], ()
    if kind == "U" and size:
        return SCALARS["char"], () if size == 4 else (size // 4,)
    if kind in "SV" and size:
        return SCALARS["u8"], (size,)
    raise BadOption(f"{dtype} has no type in Rust that can be a message")


def _struct_of(dtype: Any, name: str) -> Struct:
    fields = []
    for field in sorted(dtype.names, key=lambda field: dtype.fields[field][1]):
        fields.append(Field(field, *_base_of(dtype.fields[field][0], None)))
    made = Struct(name, tuple(fields))
    at = 0
    for field in fields:
        offset = dtype.fields[field.name][1]
        if offset != at:
            raise BadOption(f"the field {field.name} of {dtype} is at {offset}, and not at {at}")
        at += field.size
    return made


def _dtype_of(base: Base) -> Any:
    import numpy

    match base:
        case Struct():
            names = [field.name for field in base.fields]
            formats = [(_dtype_of(field.base), field.shape) for field in base.fields]
            return numpy.dtype({"names": names, "formats": formats})
        case Enum():
            return _dtype_of(base.scalar)
        case Scalar(schema="char"):
            return numpy.dtype("U1")
        case Scalar(size=16):
            return numpy.dtype("V16")
        case _:
            return numpy.dtype(base.code)


def _buffer_format(base: Struct) -> str:
    """The format of PEP 3118."""
    said = []
    for field in base.fields:
        shape = list(field.shape)
        if isinstance(field.base, Struct):
            code = _buffer_format(field.base)
        else:
            scalar = field.base.scalar if isinstance(field.base, Enum) else field.base
            code = f"={scalar.code}"
            if scalar.size == 16:
                shape, code = [*shape, 16], "=B"
            elif scalar.schema == "char":
                code = "=w"
        many = f"({','.join(map(str, shape))})" if shape else ""
        said.append(f"{many}{code}:{field.name}:")
    return f"T{{{''.join(said)}}}"


class _Arrays:
    """Values of numpy."""

    def __init__(self, type: Type) -> None:
        self.dtype = type.dtype.base
        self.shape = type.dtype.shape

    def codec(self) -> tuple[Callable[[Any], Any], Callable[[bytes], Any]]:
        import numpy

        dtype, shape = self.dtype, self.shape
        asarray, frombuffer = numpy.asarray, numpy.frombuffer

        def encode(value: Any) -> Any:
            array = asarray(value, dtype=dtype)
            if array.shape != shape:
                raise Mismatch(f"a message has the shape {shape}, and not {array.shape}")
            if array.nbytes <= 1024:
                return array.tobytes()
            return numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8)

        def decode_one(data: bytes) -> Any:
            return frombuffer(data, dtype)[0]

        def decode(data: bytes) -> Any:
            return frombuffer(data, dtype).reshape(shape)

        return encode, decode if shape else decode_one


class _Values:
    """Values of Python's own: numbers, strings, bytes, tuples with names."""

    def __init__(self, type: Type) -> None:
        self.type = type

    def codec(self) -> tuple[Callable[[Any], Any], Callable[[bytes], Any]]:
        base, shape = self.type.base, self.type.shape
        packer = struct.Struct("=" + _codes(base, shape))
        pack, unpack = packer.pack, packer.unpack
        if isinstance(base, Scalar) and not shape and base.code in "bBhHiIqQfd?" and (
            base.schema != "char"
        ):
            return pack, lambda data: unpack(data)[0]
        flatten, build = _flatten(base, shape), _build(base, shape)

        def encode(value: Any) -> bytes:
            flat: list[Any] = []
            flatten(value, flat)
            return pack(*flat)

        def decode(data: bytes) -> Any:
            return build(iter(unpack(data)))

        return encode, decode


def _codes(base: Base, shape: tuple[int, ...]) -> str:
    count = math.prod(shape)
    match base:
        case Struct():
            return "".join(_codes(field.base, field.shape) for field in base.fields) * count
        case Enum():
            return _codes(base.scalar, shape)
        case Scalar(schema="u8") if shape:
            return f"{count}s"
        case Scalar(size=16):
            return base.code * count
        case _:
            return f"{count}{base.code}" if shape else base.code


Flatten = Callable[[Any, list[Any]], None]
Build = Callable[[Iterator[Any]], Any]


def _flatten(base: Base, shape: tuple[int, ...]) -> Flatten:
    """Puts the items of a value into a list."""
    if shape and base == SCALARS["u8"]:
        size = math.prod(shape)

        def octets(value: Any, flat: list[Any]) -> None:
            data = bytes(value)
            if len(data) > size:
                raise Mismatch(f"{len(data)} bytes are more than the array's {size}")
            flat.append(data)

        return octets
    if shape:
        inner, length = _flatten(base, shape[1:]), shape[0]

        def array(value: Any, flat: list[Any]) -> None:
            if len(value) != length:
                raise Mismatch(f"an array of {length} has not {len(value)} items")
            for item in value:
                inner(item, flat)

        return array
    match base:
        case Struct():
            names = [field.name for field in base.fields]
            inners = [_flatten(field.base, field.shape) for field in base.fields]

            def fields(value: Any, flat: list[Any]) -> None:
                if isinstance(value, Mapping):
                    value = [value[name] for name in names]
                if len(value) != len(inners):
                    raise Mismatch(f"{base.name} has {len(inners)} fields, and not {len(value)}")
                for inner, item in zip(inners, value):
                    inner(item, flat)

            return fields
        case Scalar(schema="char"):
            return lambda value, flat: flat.append(ord(value))
        case Scalar(size=16):
            signed = base.schema == "i128"
            return lambda value, flat: flat.append(
                int(value).to_bytes(16, "little", signed=signed)
            )
        case _:
            return lambda value, flat: flat.append(value)


def _build(base: Base, shape: tuple[int, ...]) -> Build:
    """Makes a value of the next items."""
    if shape and base == SCALARS["u8"]:
        return next
    if shape:
        inner, length = _build(base, shape[1:]), shape[0]
        return lambda items: tuple(inner(items) for _ in range(length))
    match base:
        case Struct():
            made = _tuple_class(base)
            inners = [_build(field.base, field.shape) for field in base.fields]
            return lambda items: made(*(inner(items) for inner in inners))
        case Enum():
            return _checked(_enum_class(base), base.name)
        case Scalar(schema="char"):
            return _checked(chr, "char")
        case Scalar(size=16):
            signed = base.schema == "i128"
            return lambda items: int.from_bytes(next(items), "little", signed=signed)
        case _:
            return next


def _checked(make: Callable[[int], Any], name: str) -> Build:
    def build(items: Iterator[Any]) -> Any:
        item = next(items)
        try:
            return make(item)
        except (ValueError, OverflowError):
            raise InvalidMessage(
                f"a message was received whose bytes are not a valid {name}: {item}"
            ) from None

    return build


@functools.cache
def _tuple_class(base: Struct) -> Any:
    names = [field.name for field in base.fields]
    return collections.namedtuple(base.name, names, rename=True)


@functools.cache
def _enum_class(base: Enum) -> Any:
    return enum.IntEnum(base.name, list(base.values))
