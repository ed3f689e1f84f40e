"""The one way in which this package describes bytes.

A structure is a frozen dataclass whose fields are annotated with `Annotated` aliases:

    @dataclass(frozen=True, slots=True)
    class Head(Structure):
        monitor_id: U32
        surface_id: U32

From the annotations a layout is made once per class, with which the class encodes and decodes itself. All integers are
little endian and packed; a pointer is a u32 offset from the first byte of the message body (dossier, conventions).

Decoding raises nothing but `ProtocolError` and checks every count against the bytes that are there before it
allocates. Encoding raises `StateError` when a value does not fit its field.
"""

from __future__ import annotations

import dataclasses
import inspect
import struct
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Self, TypeAlias

from spicehop.errors import ProtocolError, StateError

Data: TypeAlias = bytes | memoryview
"""Bytes of a message. What was decoded is a view into the received body; compare it with `==`."""


class Reader:
    """A cursor over one message body that knows its end."""

    __slots__ = ("body", "position", "size")

    def __init__(self, body: Data, position: int = 0) -> None:
        self.body = body if isinstance(body, memoryview) else memoryview(body)
        self.size = len(self.body)
        self.position = position

    def take(self, count: int) -> memoryview:
        """The next `count` bytes, as a view."""
        start = self.position
        if count > self.size - start:
            raise ProtocolError(f"the message ends {count - (self.size - start)} bytes too early")
        self.position = start + count
        return self.body[start : self.position]

    def unpack(self, fields: struct.Struct) -> tuple[Any, ...]:
        """The next fixed-size fields."""
        start = self.position
        if fields.size > self.size - start:
            raise ProtocolError(f"the message ends {fields.size - (self.size - start)} bytes too early")
        self.position = start + fields.size
        return fields.unpack_from(self.body, start)

    def rest(self) -> memoryview:
        """All bytes up to the end of the body."""
        return self.take(self.size - self.position)

    def at(self, offset: int) -> Reader:
        """A reader of the same body at `offset`, as a pointer asks for."""
        if offset > self.size:
            raise ProtocolError(f"a pointer leads to byte {offset} of a message of {self.size}")
        return Reader(self.body, offset)

    def expect(self, count: int, minimum: int) -> None:
        """Check that `count` items of at least `minimum` bytes can still follow."""
        if count * minimum > self.size - self.position:
            raise ProtocolError(f"{count} items are announced and {self.size - self.position} bytes follow")


class Writer:
    """Collects a message body. What pointers lead to is placed behind the fixed part, in order."""

    __slots__ = ("_pending", "buffer")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self._pending: list[tuple[int, Callable[[Writer], None]]] = []

    def point_to(self, write: Callable[[Writer], None]) -> None:
        """Reserve a pointer here; `write` puts what it leads to at the end of the body."""
        self._pending.append((len(self.buffer), write))
        self.buffer += b"\0\0\0\0"

    def finish(self) -> bytes:
        """Place everything that pointers lead to and return the body."""
        pending = self._pending
        index = 0
        while index < len(pending):
            position, write = pending[index]
            struct.pack_into("<I", self.buffer, position, len(self.buffer))
            write(self)
            index += 1
        return bytes(self.buffer)


class Field:
    """How one field that is not a plain integer is read and written."""

    minimum = 0
    """Fewest bytes the field takes in place."""

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> Any:
        """Read the value; `seen` holds the fields before it by name."""
        raise StateError(f"{type(self).__name__} does not decode")

    def encode(self, writer: Writer, value: Any, owner: Any) -> None:
        """Write `value`, a field of the structure `owner`."""
        raise StateError(f"{type(self).__name__} does not encode")


@dataclasses.dataclass(frozen=True)
class Scalar:
    """An integer of fixed size, by its letter in the struct module."""

    code: str


U8 = Annotated[int, Scalar("B")]
U16 = Annotated[int, Scalar("H")]
U32 = Annotated[int, Scalar("I")]
U64 = Annotated[int, Scalar("Q")]
I16 = Annotated[int, Scalar("h")]
I32 = Annotated[int, Scalar("i")]
I64 = Annotated[int, Scalar("q")]


class RestBytes(Field):
    """All bytes up to the end of the body."""

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> memoryview:
        return reader.rest()

    def encode(self, writer: Writer, value: Data, owner: Any) -> None:
        writer.buffer += value


Rest = Annotated[Data, RestBytes()]


class FixedBytes(Field):
    """A known number of bytes."""

    def __init__(self, size: int) -> None:
        self.minimum = size

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> memoryview:
        return reader.take(self.minimum)

    def encode(self, writer: Writer, value: Data, owner: Any) -> None:
        if len(value) != self.minimum:
            raise StateError(f"{self.minimum} bytes are needed, {len(value)} given")
        writer.buffer += value


class SizedBytes(Field):
    """A count, then that many bytes."""

    def __init__(self, count: str = "I", *, terminated: bool = False, before: str | None = None) -> None:
        self.count = struct.Struct("<" + count)
        self.before = before
        self._terminated = terminated
        self.minimum = self.count.size if before is None else 0

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> memoryview:
        count = reader.unpack(self.count)[0] if self.before is None else seen[count_name(self.before)]
        data = reader.take(count)
        return without_terminator(data) if self._terminated else data

    def encode(self, writer: Writer, value: Data, owner: Any) -> None:
        tail = b"\0" if self._terminated else b""
        if self.before is None:
            writer.buffer += pack(self.count, len(value) + len(tail))
        writer.buffer += value
        writer.buffer += tail


class ComputedBytes(Field):
    """As many bytes as the fields before it tell; `text` says how, for documents."""

    def __init__(self, size: Callable[[Mapping[str, Any]], int], text: str) -> None:
        self.size = size
        self.text = text

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> memoryview:
        return reader.take(self.size(seen))

    def encode(self, writer: Writer, value: Data, owner: Any) -> None:
        needed = self.size(AttributeView(owner))
        if len(value) != needed:
            raise StateError(f"{needed} bytes are needed, {len(value)} given")
        writer.buffer += value


class PointedBytes(Field):
    """A count and a pointer to that many bytes; `terminated` means the count includes a closing NUL."""

    def __init__(self, count: str = "I", *, terminated: bool = False) -> None:
        self._fields = struct.Struct("<" + count + "I")
        self._count = struct.Struct("<" + count)
        self._terminated = terminated
        self.minimum = self._fields.size

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> memoryview:
        count, offset = reader.unpack(self._fields)
        if count and not offset:
            raise ProtocolError(f"{count} bytes are announced behind a null pointer")
        data = reader.at(offset).take(count) if count else reader.body[:0]
        return without_terminator(data) if self._terminated else data

    def encode(self, writer: Writer, value: Data, owner: Any) -> None:
        if not len(value):
            writer.buffer += bytes(self.minimum)
            return
        content = bytes(value) + (b"\0" if self._terminated else b"")
        writer.buffer += pack(self._count, len(content))
        writer.point_to(lambda out: out.buffer.extend(content))


class Nested(Field):
    """A structure in place."""

    def __init__(self, structure: type[Structure]) -> None:
        self._structure = structure
        self.minimum = structure.minimum_size()

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> Structure:
        return self._structure.read(reader)

    def encode(self, writer: Writer, value: Structure, owner: Any) -> None:
        value.write(writer)


class Pointer(Field):
    """A pointer to a structure; null is None, which `required` forbids."""

    minimum = 4

    def __init__(self, structure: Callable[[], type[Structure]], *, required: bool = False) -> None:
        self._structure = structure
        self._required = required

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> Structure | None:
        (offset,) = reader.unpack(_U32)
        if offset:
            return self._structure().read(reader.at(offset))
        if self._required:
            raise ProtocolError(f"a pointer to {self._structure().__name__} is null")
        return None

    def encode(self, writer: Writer, value: Structure | None, owner: Any) -> None:
        if value is None:
            writer.buffer += b"\0\0\0\0"
        else:
            writer.point_to(value.write)


class Array(Field):
    """Items one behind the other: integers (by their struct letter) or structures.

    `count` is the struct letter of the item count in front, or None for items up to the end of the body.
    `before` names a field in front of which the count stands when it does not stand right before the items.
    """

    def __init__(self, item: str | type[Structure], *, count: str | None = "I", before: str | None = None) -> None:
        self._item = item
        self._item_size = struct.calcsize("<" + item) if isinstance(item, str) else max(item.minimum_size(), 1)
        self.before = before
        self.count = None if count is None else struct.Struct("<" + count)
        self.minimum = self.count.size if self.count is not None and before is None else 0

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> tuple[Any, ...]:
        if self.count is None:
            count = (reader.size - reader.position) // self._item_size
        elif self.before is None:
            (count,) = reader.unpack(self.count)
        else:
            count = seen[count_name(self.before)]
        reader.expect(count, self._item_size)
        if isinstance(self._item, str):
            return reader.unpack(struct.Struct(f"<{count}{self._item}"))
        read = self._item.read
        return tuple([read(reader) for _ in range(count)])

    def encode(self, writer: Writer, value: tuple[Any, ...], owner: Any) -> None:
        if self.count is not None and self.before is None:
            writer.buffer += pack(self.count, len(value))
        if isinstance(self._item, str):
            writer.buffer += pack(struct.Struct(f"<{len(value)}{self._item}"), *value)
        else:
            for item in value:
                item.write(writer)


class PointedArray(Field):
    """A count, then a pointer to that many integers, given by their struct letter."""

    def __init__(self, item: str, *, count: str) -> None:
        self.item = item
        self.count = struct.Struct("<" + count)
        self._fields = struct.Struct("<" + count + "I")
        self.minimum = self._fields.size

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> tuple[int, ...]:
        count, offset = reader.unpack(self._fields)
        if not count:
            return ()
        if not offset:
            raise ProtocolError(f"{count} items are announced behind a null pointer")
        items = reader.at(offset)
        items.expect(count, struct.calcsize("<" + self.item))
        return items.unpack(struct.Struct(f"<{count}{self.item}"))

    def encode(self, writer: Writer, value: tuple[int, ...], owner: Any) -> None:
        if not value:
            writer.buffer += bytes(self.minimum)
            return
        content = pack(struct.Struct(f"<{len(value)}{self.item}"), *value)
        writer.buffer += pack(self.count, len(value))
        writer.point_to(lambda out: out.buffer.extend(content))


class Switch(Field):
    """One of several structures, by a key that the fields before it hold; `text` names the key, for documents."""

    def __init__(
        self,
        key: Callable[[Mapping[str, Any]], int],
        cases: Mapping[int, type[Structure]],
        otherwise: type[Structure],
        text: str,
    ) -> None:
        self.key = key
        self.cases = cases
        self.otherwise = otherwise
        self.text = text

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> Structure:
        return self.cases.get(self.key(seen), self.otherwise).read(reader)

    def encode(self, writer: Writer, value: Structure, owner: Any) -> None:
        wanted = self.cases.get(self.key(AttributeView(owner)), self.otherwise)
        if type(value) is not wanted:
            raise StateError(f"{self.text} asks for {wanted.__name__}, {type(value).__name__} given")
        value.write(writer)


class When(Field):
    """A field that is there only when a condition on the fields before it holds; else its value is `otherwise`."""

    def __init__(self, condition: Callable[[Mapping[str, Any]], bool], field: Field, otherwise: Any = None) -> None:
        self._condition = condition
        self._field = field
        self._otherwise = otherwise

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> Any:
        return self._field.decode(reader, seen) if self._condition(seen) else self._otherwise

    def encode(self, writer: Writer, value: Any, owner: Any) -> None:
        if self._condition(AttributeView(owner)):
            self._field.encode(writer, value, owner)


class Integer(Field):
    """An integer where a `Field` is needed, as in `When`."""

    def __init__(self, code: str) -> None:
        self._struct = struct.Struct("<" + code)
        self.minimum = self._struct.size

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> int:
        value: int = reader.unpack(self._struct)[0]
        return value

    def encode(self, writer: Writer, value: int, owner: Any) -> None:
        writer.buffer += pack(self._struct, value)


class AttributeView(Mapping[str, Any]):
    """The fields of a structure as a mapping, so that conditions read both ways."""

    def __init__(self, owner: Any) -> None:
        self._owner = owner

    def __getitem__(self, name: str) -> Any:
        return getattr(self._owner, name)

    def __iter__(self) -> typing.Iterator[str]:
        return iter(field.name for field in dataclasses.fields(self._owner))

    def __len__(self) -> int:
        return len(dataclasses.fields(self._owner))


_U32 = struct.Struct("<I")


def pack(fields: struct.Struct, *values: Any) -> bytes:
    """`fields.pack` with our error."""
    try:
        return fields.pack(*values)
    except struct.error as error:
        raise StateError(f"a value does not fit its field: {error}") from None


def without_terminator(data: memoryview) -> memoryview:
    """A text without its closing NUL, when there is one."""
    return data[:-1] if len(data) and data[-1] == 0 else data


def count_name(field: str) -> str:
    """The name under which a count that stands before `field` is kept while decoding."""
    return f"count before {field}"


class _Integers:
    """A run of integers, read and written at once."""

    def __init__(self, names: list[str], codes: str) -> None:
        self.names = tuple(names)
        self.struct = struct.Struct("<" + codes)


class Layout:
    """The description of one structure class, made from its annotations."""

    def __init__(self, structure: type[Any]) -> None:
        hints: dict[str, Any] = {}
        for base in reversed(structure.__mro__):
            hints |= inspect.get_annotations(base, eval_str=True)
        self.names = tuple(field.name for field in dataclasses.fields(structure))
        steps: list[tuple[str, Scalar | Field, Array | None]] = []
        for name in self.names:
            marker = _marker(structure, name, hints[name])
            if isinstance(marker, Array | SizedBytes) and marker.before is not None:
                position = next(i for i, step in enumerate(steps) if step[0] == marker.before)
                steps.insert(position, (count_name(marker.before), Scalar(_code(marker)), None))
            steps.append((name, marker, None))
        self.steps: list[_Integers | tuple[str, Field]] = []
        self.minimum = 0
        names: list[str] = []
        codes = ""
        for name, marker, _ in steps:
            if isinstance(marker, Scalar):
                names.append(name)
                codes += marker.code
                continue
            if names:
                self._integers(names, codes)
                names, codes = [], ""
            self.steps.append((name, marker))
            self.minimum += marker.minimum
        if names:
            self._integers(names, codes)
        only = self.steps[0] if len(self.steps) == 1 else None
        self.fixed = only.struct if isinstance(only, _Integers) and only.names == self.names else None

    def _integers(self, names: list[str], codes: str) -> None:
        run = _Integers(names, codes)
        self.steps.append(run)
        self.minimum += run.struct.size


def _code(counted: Array | SizedBytes) -> str:
    assert counted.count is not None
    return counted.count.format.lstrip("<")


def _marker(structure: type[Any], name: str, hint: Any) -> Scalar | Field:
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, Scalar | Field):
            return extra
    if isinstance(hint, type) and issubclass(hint, Structure):
        return Nested(hint)
    raise StateError(f"{structure.__name__}.{name} has no wire layout")


class Structure:
    """Base of everything with a layout: a frozen dataclass with annotated fields."""

    __slots__ = ()
    _layouts: ClassVar[dict[type, Layout]] = {}

    @classmethod
    def layout(cls) -> Layout:
        """The layout of this class, made at first use."""
        layout = Structure._layouts.get(cls)
        if layout is None:
            layout = Structure._layouts[cls] = Layout(cls)
        return layout

    @classmethod
    def minimum_size(cls) -> int:
        """Fewest bytes the structure takes in place."""
        return cls.layout().minimum

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Decode at the reader's position and move it on."""
        layout = cls.layout()
        if layout.fixed is not None:
            return cls(*reader.unpack(layout.fixed))
        seen: dict[str, Any] = {}
        for step in layout.steps:
            if isinstance(step, _Integers):
                for name, value in zip(step.names, reader.unpack(step.struct), strict=True):
                    seen[name] = value
            else:
                seen[step[0]] = step[1].decode(reader, seen)
        return cls(*[seen[name] for name in layout.names])

    def write(self, writer: Writer) -> None:
        """Encode at the writer's end."""
        layout = self.layout()
        for step in layout.steps:
            if isinstance(step, _Integers):
                writer.buffer += pack(step.struct, *[self._scalar(name) for name in step.names])
            else:
                step[1].encode(writer, getattr(self, step[0]), self)

    def _scalar(self, name: str) -> int:
        if name.startswith("count before "):
            before = name.removeprefix("count before ")
            for step in self.layout().steps:
                if isinstance(step, _Integers):
                    continue
                if isinstance(step[1], Array | SizedBytes) and step[1].before == before:
                    return len(getattr(self, step[0]))
        value: int = getattr(self, name)
        return value

    @classmethod
    def decode(cls, body: Data) -> Self:
        """Decode a whole body; bytes behind the last field are allowed, as in the reference."""
        return cls.read(Reader(body))

    def encode(self) -> bytes:
        """The body of this structure."""
        writer = Writer()
        self.write(writer)
        return writer.finish()


class Message(Structure):
    """Base of all messages; the registry gives each class its numbers."""

    __slots__ = ()
    NAME: ClassVar[str] = ""
    """The protocol's name, for example `MIGRATE_BEGIN`; set by the registry."""
