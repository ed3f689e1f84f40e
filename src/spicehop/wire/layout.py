"""The one way in which this package describes bytes.

A structure is a frozen dataclass whose fields are annotated with `Annotated` aliases:

    @dataclass(frozen=True, slots=True)
    class Head(Structure):
        monitor_id: U32
        surface_id: U32

From the annotations a layout is made once per class, with which the class encodes, decodes and describes itself. All
integers are little endian and packed; a pointer is a u32 offset from the first byte of the message body (dossier,
conventions).

Decoding raises nothing but `ProtocolError` and checks every count against the bytes that are there before it
allocates. Encoding raises `StateError` when a value does not fit its field.
"""

from __future__ import annotations

import dataclasses
import inspect
import struct
from operator import attrgetter
from typing import Any, ClassVar, Self

from spicehop.errors import StateError
from spicehop.wire.buffers import MAX_ITEMS, NOTHING, Data, Reader, Writer, pack, without_terminator
from spicehop.wire.conditions import differs, equals, has, lacks, negotiated
from spicehop.wire.fields import (
    I16,
    I32,
    I64,
    INTEGER_NAMES,
    U8,
    U16,
    U32,
    U64,
    Array,
    ComputedBytes,
    Field,
    FixedArray,
    FixedBytes,
    Integer,
    MatchingArray,
    Nested,
    PointedArray,
    PointedBytes,
    Pointer,
    Rest,
    RestBytes,
    Scalar,
    SizedBytes,
    Switch,
    When,
    count_name,
)
from spicehop.wire.readers import CompiledReader, compile_reader

__all__ = [
    "I16",
    "I32",
    "I64",
    "MAX_ITEMS",
    "NOTHING",
    "U8",
    "U16",
    "U32",
    "U64",
    "Array",
    "ComputedBytes",
    "Data",
    "Field",
    "FixedArray",
    "FixedBytes",
    "Integer",
    "Layout",
    "MatchingArray",
    "Message",
    "Nested",
    "PointedArray",
    "PointedBytes",
    "Pointer",
    "Reader",
    "Rest",
    "RestBytes",
    "Scalar",
    "SizedBytes",
    "Structure",
    "Switch",
    "When",
    "Writer",
    "differs",
    "equals",
    "has",
    "lacks",
    "negotiated",
    "pack",
    "without_terminator",
]


@dataclasses.dataclass(frozen=True)
class Step:
    """One field in wire order, or the count of a later field."""

    name: str
    marker: Scalar | Field
    counts: tuple[str, Field] | None = None
    """The name and the kind of the field that this count belongs to."""

    def scalar_of(self, owner: Structure) -> int:
        """The integer to write."""
        if self.counts is None:
            value: int = getattr(owner, self.name)
            return value
        name, field = self.counts
        return field.count_of(getattr(owner, name))


class Layout:
    """The description of one structure class, made from its annotations."""

    def __init__(self, structure: type[Any]) -> None:
        hints: dict[str, Any] = {}
        for base in reversed(structure.__mro__):
            hints |= inspect.get_annotations(base, eval_str=True)
        self.structure = structure
        self.names = tuple(field.name for field in dataclasses.fields(structure))
        self.steps: list[Step] = []
        for name in self.names:
            marker = _marker(structure, name, hints[name])
            if isinstance(marker, Field) and marker.before is not None and marker.count is not None:
                place = next(i for i, step in enumerate(self.steps) if step.name == marker.before)
                code = Scalar(marker.count.format.lstrip("<"))
                self.steps.insert(place, Step(count_name(marker.before), code, (name, marker)))
            self.steps.append(Step(name, marker))
        self._runs = list(_runs(self.steps))
        self._integers: tuple[struct.Struct, Any] | None = None
        """The whole structure, when it is nothing but integers."""
        if len(self._runs) == 1 and not isinstance(self._runs[0], Step) and structure.write is Structure.write:
            integers, values, _ = self._runs[0]
            if values is not None:
                self._integers = integers, values
        self.minimum = sum(
            struct.calcsize("<" + step.marker.code) if isinstance(step.marker, Scalar) else step.marker.minimum
            for step in self.steps
        )
        self._reader: CompiledReader | None = None

    @property
    def reader(self) -> CompiledReader:
        """The class's own decoding functions, made at first use."""
        if self._reader is None:
            self._reader = compile_reader(self.structure)
        return self._reader

    def write(self, owner: Structure, writer: Writer) -> None:
        """Encode `owner` at the writer's end."""
        for part in self._runs:
            if isinstance(part, Step):
                assert isinstance(part.marker, Field)
                part.marker.encode(writer, getattr(owner, part.name), owner)
            else:
                integers, values, steps = part
                found = [step.scalar_of(owner) for step in steps] if values is None else values(owner)
                writer.buffer += pack(integers, *found)

    def encode(self, owner: Structure) -> bytes:
        """The whole body of `owner`."""
        if self._integers is not None:
            integers, values = self._integers
            return pack(integers, *values(owner))
        writer = Writer()
        owner.write(writer)
        return writer.finish()

    def describe(self) -> str:
        """The fields for documents, in wire order."""
        return ", ".join(_describe(step) for step in self.steps) or "—"


def _runs(steps: list[Step]) -> Any:
    """The steps, with integers that stand side by side gathered as (struct, what gives their values, steps); None
    gives the values when there are counts among them.
    """
    run: list[Step] = []
    codes = ""
    for step in steps:
        if isinstance(step.marker, Scalar):
            run.append(step)
            codes += step.marker.code
            continue
        if run:
            yield struct.Struct("<" + codes), _values(run), run
            run, codes = [], ""
        yield step
    if run:
        yield struct.Struct("<" + codes), _values(run), run


def _values(run: list[Step]) -> Any:
    if any(step.counts is not None for step in run):
        return None
    if len(run) == 1:
        one = attrgetter(run[0].name)
        return lambda owner: (one(owner),)
    return attrgetter(*[step.name for step in run])


def _describe(step: Step) -> str:
    if isinstance(step.marker, Field):
        return step.marker.describe(step.name)
    return f"{INTEGER_NAMES[step.marker.code]} {'n' if step.counts else step.name}"


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
        structure: Self = cls.layout().reader.read(reader)
        return structure

    def write(self, writer: Writer) -> None:
        """Encode at the writer's end."""
        self.layout().write(self, writer)

    @classmethod
    def decode(cls, body: Data) -> Self:
        """Decode a whole body; bytes behind the last field are allowed, as in the reference."""
        structure: Self = cls.layout().reader.decode(body)
        return structure

    def encode(self) -> bytes:
        """The body of this structure."""
        return self.layout().encode(self)


class Message(Structure):
    """Base of all messages; the registry gives each class its numbers."""

    __slots__ = ()
    NAME: ClassVar[str] = ""
    """The protocol's name, for example `MIGRATE_BEGIN`; set by the registry."""
