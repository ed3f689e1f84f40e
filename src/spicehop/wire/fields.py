"""The kinds of fields a layout can have, besides plain integers.

Each reads itself, writes itself and describes itself. `describe` is in the dossier's notation: `u32 size, u8[size]`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from spicehop.errors import ProtocolError, StateError
from spicehop.wire.buffers import Data, Reader, Writer, pack, without_terminator
from spicehop.wire.conditions import Condition, Negotiated

if TYPE_CHECKING:
    from spicehop.wire.layout import Structure

_U32 = struct.Struct("<I")
INTEGER_NAMES = {"B": "u8", "H": "u16", "I": "u32", "Q": "u64", "b": "i8", "h": "i16", "i": "i32", "q": "i64"}
"""The dossier's names of the struct module's letters."""


@dataclass(frozen=True)
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


class Field:
    """How one field that is not a plain integer is read and written."""

    minimum = 0
    """Fewest bytes the field takes in place."""
    uses_earlier = False
    """Whether `decode` looks at the fields before it."""
    before: str | None = None
    """The field in front of which this field's count stands, when it does not stand right before its content."""
    count: struct.Struct | None = None

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> Any:
        """Read the value; `seen` holds the fields before it by name."""
        raise StateError(f"{type(self).__name__} does not decode")

    def encode(self, writer: Writer, value: Any, owner: Any) -> None:
        """Write `value`, a field of the structure `owner`."""
        raise StateError(f"{type(self).__name__} does not encode")

    def count_of(self, value: Any) -> int:
        """What is written as the count of `value`, for fields with `before`."""
        return len(value)

    def describe(self, name: str) -> str:
        """The field for documents."""
        raise StateError(f"{type(self).__name__} is not described")

    def parts(self) -> tuple[type[Structure], ...]:
        """The structures that the field's values are made of, for documents."""
        return ()

    def _count_text(self) -> str:
        return "" if self.count is None or self.before else f"{integer_name(self.count)} n, "


class RestBytes(Field):
    """All bytes up to the end of the body; `terminated` means that a closing NUL is not part of the value."""

    def __init__(self, *, terminated: bool = False) -> None:
        self.terminated = terminated

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> memoryview:
        return without_terminator(reader.rest()) if self.terminated else reader.rest()

    def encode(self, writer: Writer, value: Data, owner: Any) -> None:
        writer.buffer += value
        if self.terminated:
            writer.buffer += b"\0"

    def describe(self, name: str) -> str:
        return f"rest {name}" + (" (NUL at the end)" if self.terminated else "")


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

    def describe(self, name: str) -> str:
        return f"u8[{self.minimum}] {name}"


class ComputedBytes(Field):
    """As many bytes as the product of these earlier fields."""

    uses_earlier = True

    def __init__(self, first: str, second: str) -> None:
        self.factors = (first, second)

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> memoryview:
        first, second = self.factors
        return reader.take(seen[first] * seen[second])

    def encode(self, writer: Writer, value: Data, owner: Any) -> None:
        first, second = self.factors
        needed = getattr(owner, first) * getattr(owner, second)
        if len(value) != needed:
            raise StateError(f"{needed} bytes are needed, {len(value)} given")
        writer.buffer += value

    def describe(self, name: str) -> str:
        return f"u8[{' * '.join(self.factors)}] {name}"


class SizedBytes(Field):
    """A count, then that many bytes.

    `terminated` means the count includes a closing NUL, `nul_behind` that one is written which it does not include.
    """

    def __init__(
        self, count: str = "I", *, terminated: bool = False, nul_behind: bool = False, before: str | None = None
    ) -> None:
        self.count: struct.Struct = struct.Struct("<" + count)
        self.before = before
        self.uses_earlier = before is not None
        self.terminated = terminated
        self.nul_behind = nul_behind
        self.minimum = self.count.size if before is None else 0

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> memoryview:
        count = reader.unpack(self.count)[0] if self.before is None else seen[count_name(self.before)]
        data = reader.take(count)
        return without_terminator(data) if self.terminated else data

    def encode(self, writer: Writer, value: Data, owner: Any) -> None:
        if self.before is None:
            writer.buffer += pack(self.count, self.count_of(value))
        writer.buffer += value
        if self.terminated or self.nul_behind:
            writer.buffer += b"\0"

    def count_of(self, value: Any) -> int:
        return len(value) + self.terminated

    def describe(self, name: str) -> str:
        remark = " (n counts a NUL)" if self.terminated else " (a NUL behind it)" if self.nul_behind else ""
        return f"{self._count_text()}u8[n] {name}{remark}"


class PointedBytes(Field):
    """A count and a pointer to that many bytes; `terminated` means the count includes a closing NUL.

    Nothing to point to is a count of 0 and a null pointer.
    """

    minimum = 4

    def __init__(self, count: str = "I", *, terminated: bool = False, before: str | None = None) -> None:
        self.count: struct.Struct = struct.Struct("<" + count)
        self.before = before
        self.uses_earlier = before is not None
        self.terminated = terminated
        self.minimum = 4 + (self.count.size if before is None else 0)

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> memoryview:
        count = reader.unpack(self.count)[0] if self.before is None else seen[count_name(self.before)]
        (offset,) = reader.unpack(_U32)
        if not count:
            return reader.body[:0]
        if not offset:
            raise ProtocolError(f"{count} bytes are announced behind a null pointer")
        data = reader.at(offset).take(count)
        return without_terminator(data) if self.terminated else data

    def encode(self, writer: Writer, value: Data, owner: Any) -> None:
        count = self.count_of(value)
        if self.before is None:
            writer.buffer += pack(self.count, count)
        if not count:
            writer.buffer += b"\0\0\0\0"
            return
        content = bytes(value) + (b"\0" if self.terminated else b"")
        writer.point_to(lambda out: out.buffer.extend(content))

    def count_of(self, value: Any) -> int:
        return len(value) + self.terminated if len(value) else 0

    def describe(self, name: str) -> str:
        return f"{self._count_text()}ptr→u8[n] {name}" + (" (n counts a NUL)" if self.terminated else "")


class Nested(Field):
    """A structure in place."""

    def __init__(self, structure: type[Structure]) -> None:
        self.structure = structure
        self.minimum = structure.minimum_size()

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> Structure:
        return self.structure.read(reader)

    def encode(self, writer: Writer, value: Structure, owner: Any) -> None:
        require(value, self.structure)
        value.write(writer)

    def parts(self) -> tuple[type[Structure], ...]:
        return (self.structure,)

    def describe(self, name: str) -> str:
        return f"{self.structure.__name__} {name}"


class Pointer(Field):
    """A pointer to a structure; null is None, which `required` forbids."""

    minimum = 4

    def __init__(self, structure: Callable[[], type[Structure]], *, required: bool = False) -> None:
        self.structure = structure
        self.required = required

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> Structure | None:
        (offset,) = reader.unpack(_U32)
        if offset:
            return self.structure().read(reader.at(offset))
        if self.required:
            raise ProtocolError(f"a pointer to {self.structure().__name__} is null")
        return None

    def encode(self, writer: Writer, value: Structure | None, owner: Any) -> None:
        if value is not None:
            require(value, self.structure())
            writer.point_to(value.write)
        elif self.required:
            raise StateError(f"a {self.structure().__name__} is needed, none given")
        else:
            writer.buffer += b"\0\0\0\0"

    def parts(self) -> tuple[type[Structure], ...]:
        return (self.structure(),)

    def describe(self, name: str) -> str:
        return f"ptr{'!' if self.required else ''}→{self.structure().__name__} {name}"


class Items(Field):
    """What arrays have in common: items one behind the other, integers (by their struct letter) or structures."""

    def __init__(self, item: str | type[Structure]) -> None:
        self.item = item
        self._size = struct.calcsize("<" + item) if isinstance(item, str) else max(item.minimum_size(), 1)

    def read_items(self, reader: Reader, count: int) -> tuple[Any, ...]:
        """Read `count` items, after checking that they can be there."""
        reader.expect(count, self._size)
        if isinstance(self.item, str):
            return reader.unpack(struct.Struct(f"<{count}{self.item}"))
        read = self.item.read
        return tuple([read(reader) for _ in range(count)])

    def write_items(self, writer: Writer, value: tuple[Any, ...]) -> None:
        """Write the items."""
        if isinstance(self.item, str):
            writer.buffer += pack(struct.Struct(f"<{len(value)}{self.item}"), *value)
            return
        for item in value:
            require(item, self.item)
            item.write(writer)

    def parts(self) -> tuple[type[Structure], ...]:
        return () if isinstance(self.item, str) else (self.item,)

    def item_text(self) -> str:
        """The item's name in documents."""
        return INTEGER_NAMES[self.item] if isinstance(self.item, str) else self.item.__name__


class Array(Items):
    """Items behind their count, of struct letter `count`, or up to the end of the body when that is None."""

    def __init__(self, item: str | type[Structure], *, count: str | None = "I", before: str | None = None) -> None:
        super().__init__(item)
        self.before = before
        self.uses_earlier = before is not None
        self.count = None if count is None else struct.Struct("<" + count)
        self.minimum = self.count.size if self.count is not None and before is None else 0

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> tuple[Any, ...]:
        if self.count is None:
            count = (reader.size - reader.position) // self._size
        elif self.before is None:
            (count,) = reader.unpack(self.count)
        else:
            count = seen[count_name(self.before)]
        return self.read_items(reader, count)

    def encode(self, writer: Writer, value: tuple[Any, ...], owner: Any) -> None:
        if self.count is not None and self.before is None:
            writer.buffer += pack(self.count, len(value))
        self.write_items(writer, value)

    def describe(self, name: str) -> str:
        return f"{self._count_text()}{self.item_text()}[{'n' if self.count else 'rest'}] {name}"


class FixedArray(Items):
    """A known number of items."""

    def __init__(self, item: str | type[Structure], size: int) -> None:
        super().__init__(item)
        self.size = size
        self.minimum = size * self._size

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> tuple[Any, ...]:
        return self.read_items(reader, self.size)

    def encode(self, writer: Writer, value: tuple[Any, ...], owner: Any) -> None:
        if len(value) != self.size:
            raise StateError(f"{self.size} items are needed, {len(value)} given")
        self.write_items(writer, value)

    def describe(self, name: str) -> str:
        return f"{self.item_text()}[{self.size}] {name}"


class MatchingArray(Items):
    """As many items as an earlier array field has."""

    uses_earlier = True

    def __init__(self, item: str | type[Structure], *, matching: str) -> None:
        super().__init__(item)
        self.matching = matching

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> tuple[Any, ...]:
        return self.read_items(reader, len(seen[self.matching]))

    def encode(self, writer: Writer, value: tuple[Any, ...], owner: Any) -> None:
        wanted = len(getattr(owner, self.matching))
        if len(value) != wanted:
            raise StateError(f"{wanted} items are needed, as many as {self.matching}, {len(value)} given")
        self.write_items(writer, value)

    def describe(self, name: str) -> str:
        return f"{self.item_text()}[as many as {self.matching}] {name}"


class PointedArray(Items):
    """A count, then a pointer to that many items."""

    def __init__(self, item: str | type[Structure], *, count: str) -> None:
        super().__init__(item)
        self.count: struct.Struct = struct.Struct("<" + count)
        self.minimum = self.count.size + 4

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> tuple[Any, ...]:
        (count,) = reader.unpack(self.count)
        (offset,) = reader.unpack(_U32)
        if not count:
            return ()
        if not offset:
            raise ProtocolError(f"{count} items are announced behind a null pointer")
        return self.read_items(reader.at(offset), count)

    def encode(self, writer: Writer, value: tuple[Any, ...], owner: Any) -> None:
        writer.buffer += pack(self.count, len(value))
        if value:
            writer.point_to(lambda out: self.write_items(out, value))
        else:
            writer.buffer += b"\0\0\0\0"

    def describe(self, name: str) -> str:
        return f"{self._count_text()}ptr→{self.item_text()}[n] {name}"


class Switch(Field):
    """One of several structures, by an earlier field; `key` may be dotted, as in `descriptor.type`."""

    uses_earlier = True

    def __init__(
        self, key: str, cases: Mapping[int, type[Structure]], otherwise: type[Structure]
    ) -> None:
        self.key = key
        self.cases = cases
        self.otherwise = otherwise
        self._first, *self._path = key.split(".")

    def wanted(self, seen: Mapping[str, Any]) -> type[Structure]:
        """The structure that the earlier fields ask for."""
        value = seen[self._first]
        for name in self._path:
            value = getattr(value, name)
        return self.cases.get(value, self.otherwise)

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> Structure:
        return self.wanted(seen).read(reader)

    def encode(self, writer: Writer, value: Structure, owner: Any) -> None:
        wanted = self.wanted({self._first: getattr(owner, self._first)})
        if type(value) is not wanted:
            raise StateError(f"{self.key} asks for {wanted.__name__}, {type(value).__name__} given")
        value.write(writer)

    def parts(self) -> tuple[type[Structure], ...]:
        return tuple(dict.fromkeys([*self.cases.values(), self.otherwise]))

    def describe(self, name: str) -> str:
        kinds = " / ".join(part.__name__ for part in self.parts())
        return f"{name}, by {self.key}: {kinds}"


class When(Field):
    """A field that is there only under a condition; else its value is `otherwise`."""

    uses_earlier = True

    def __init__(self, condition: Condition | Negotiated, field: Field, otherwise: Any = None) -> None:
        self.condition = condition
        self.field = field
        self.otherwise = otherwise

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> Any:
        if self.condition.holds(seen, reader.capabilities):
            return self.field.decode(reader, seen)
        return self.otherwise

    def encode(self, writer: Writer, value: Any, owner: Any) -> None:
        field = self.condition.field
        seen = {} if field is None else {field: getattr(owner, field)}
        if self.condition.holds(seen, writer.capabilities):
            self.field.encode(writer, value, owner)

    def parts(self) -> tuple[type[Structure], ...]:
        return self.field.parts()

    def describe(self, name: str) -> str:
        return f"[{self.condition.text}: {self.field.describe(name)}]"


class Integer(Field):
    """An integer where a `Field` is needed, as in `When`; `padding` zero bytes follow it."""

    def __init__(self, code: str, *, padding: int = 0) -> None:
        self.code = code
        self.padding = padding
        self._struct = struct.Struct(f"<{code}{padding}x" if padding else "<" + code)
        self.minimum = self._struct.size

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> int:
        value: int = reader.unpack(self._struct)[0]
        return value

    def encode(self, writer: Writer, value: int, owner: Any) -> None:
        writer.buffer += pack(self._struct, value)

    def describe(self, name: str) -> str:
        return f"{INTEGER_NAMES[self.code]} {name}" + (f", {self.padding} zero bytes" if self.padding else "")


def require(value: Any, structure: type[Structure]) -> None:
    """`StateError` unless `value` is of the structure that its field asks for."""
    if not isinstance(value, structure):
        raise StateError(f"a {structure.__name__} is needed, {type(value).__name__} given")


def count_name(field: str) -> str:
    """The name under which a count that stands before `field` is kept while decoding."""
    return f"count before {field}"


def integer_name(fields: struct.Struct) -> str:
    """The dossier's name of a single integer."""
    return INTEGER_NAMES[fields.format.lstrip("<")]
