"""Makes a decoding function for one structure class out of its layout.

Walking a layout costs more than reading it: this module writes the walk down as Python source, once per class, as
`dataclasses` does for `__init__`. Integers that stand side by side, also across structures in place, are read at once.
`Layout` decides what is read; here it only gets fast. To see the source of a class: `compile_reader(cls).source`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from spicehop.errors import ProtocolError
from spicehop.wire.buffers import Data, Reader
from spicehop.wire.conditions import Condition
from spicehop.wire.fields import Field, Nested, RestBytes, Scalar, When

if TYPE_CHECKING:
    from spicehop.wire.layout import Structure


@dataclass(frozen=True)
class CompiledReader:
    """The decoding functions of one class."""

    read: Callable[[Reader], Any]
    """Decode at a reader's position."""
    decode: Callable[[Data], Any]
    """Decode a whole body."""
    source: str


def compile_reader(structure: type[Structure]) -> CompiledReader:
    """Make the decoding functions of a class."""
    source = _Source()
    source.lines.append("def read(reader):")
    result = source.structure(structure)
    source.flush()
    source.lines.append(f"    return {result}")
    source.lines += _whole_body(source, structure)
    text = "\n".join(source.lines)
    exec(compile(text, f"<reader of {structure.__name__}>", "exec"), source.names)
    return CompiledReader(source.names["read"], source.names["decode"], text)


class _Source:
    """Source under construction: lines, and the objects that they name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"Reader": Reader, "none_seen": {}}
        self._run = ""
        self._run_variables: list[str] = []
        self._waiting: list[str] = []

    def name(self, value: Any) -> str:
        """A global name for an object."""
        name = f"g{len(self.names)}"
        self.names[name] = value
        return name

    def variable(self) -> str:
        """A new local variable."""
        name = f"v{len(self.names)}"
        self.names[name] = None
        return name

    def structure(self, structure: type[Structure]) -> str:
        """Add the reading of a structure; the variable that will hold it after the next `flush`."""
        seen: dict[str, str] = {}
        layout = structure.layout()
        for step in layout.steps:
            if isinstance(step.marker, Scalar):
                seen[step.name] = self.variable()
                self._run += step.marker.code
                self._run_variables.append(seen[step.name])
            elif isinstance(step.marker, Nested):
                seen[step.name] = self.structure(step.marker.structure)
            else:
                self.flush()
                seen[step.name] = self.variable()
                self._field(seen[step.name], step.marker, seen)
        result = self.variable()
        self._waiting += self.construction(result, structure, [seen[name] for name in layout.names])
        return result

    def construction(self, variable: str, structure: type[Structure], values: list[str]) -> list[str]:
        """The lines that make an instance out of its fields' values.

        Filling the slots takes half the time of a frozen dataclass's `__init__`, which does no more than that.
        """
        setters = [self.name(getattr(structure, name).__set__) for name in structure.layout().names]
        lines = [f"    {variable} = {self.name(object.__new__)}({self.name(structure)})"]
        lines += [f"    {setter}({variable}, {value})" for setter, value in zip(setters, values, strict=True)]
        return lines

    def flush(self) -> None:
        """Read the integers gathered so far and make the structures that waited for them."""
        if self._run:
            variables = ", ".join(self._run_variables)
            self.lines.append(f"    {variables}, = reader.unpack({self.name(struct.Struct('<' + self._run))})")
            self._run, self._run_variables = "", []
        self.lines += self._waiting
        self._waiting = []

    def _field(self, variable: str, field: Field, seen: dict[str, str]) -> None:
        if isinstance(field, When) and isinstance(field.condition, Condition):
            self.lines.append(f"    if {field.condition.expression(seen[field.condition.field])}:")
            self.lines.append(f"        {variable} = {self._call(field.field, variable, seen)}")
            self.lines.append(f"    else: {variable} = {self.name(field.otherwise)}")
        else:
            self.lines.append(f"    {variable} = {self._call(field, variable, seen)}")

    def _call(self, field: Field, variable: str, seen: dict[str, str]) -> str:
        earlier = "none_seen"
        if field.uses_earlier:
            pairs = [f"{name!r}: {value}" for name, value in seen.items() if value != variable]
            earlier = "{" + ", ".join(pairs) + "}"
        return f"{self.name(field.decode)}(reader, {earlier})"


def _whole_body(source: _Source, structure: type[Structure]) -> list[str]:
    """The lines of `decode`: without a reader where only integers, or integers and the rest, have to be read."""
    layout = structure.layout()
    steps = layout.steps
    last = steps[-1].marker if steps else None
    rest = isinstance(last, RestBytes) and not last.terminated
    plain = steps[:-1] if rest else steps
    if not all(isinstance(step.marker, Scalar) for step in plain):
        return ["def decode(body):", "    return read(Reader(body))"]
    codes = "<" + "".join(step.marker.code for step in plain if isinstance(step.marker, Scalar))
    integers = struct.Struct(codes)
    lines = ["def decode(body):"]
    arguments = [f"a{i}" for i in range(len(plain))]
    if rest:
        lines.append(f"    if body.__class__ is not {source.name(memoryview)}: body = {source.name(memoryview)}(body)")
    if plain:
        lines.append(f"    if len(body) < {integers.size}: {source.name(_too_short)}(body, {integers.size})")
        lines.append(f"    {', '.join(arguments)}, = {source.name(integers.unpack_from)}(body)")
    if rest:
        arguments.append(f"body[{integers.size}:]" if plain else "body")
    lines += source.construction("result", structure, arguments)
    return [*lines, "    return result"]


def _too_short(body: Data, size: int) -> NoReturn:
    raise ProtocolError(f"the message ends {size - len(body)} bytes too early")
