"""When a field is there: conditions that both directions, documents and generated tests can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

_OPERATORS = {
    "has": "{field} & {value}",
    "lacks": "not {field} & {value}",
    "is": "{field} == {value}",
    "is not": "{field} != {value}",
}


@dataclass(frozen=True)
class Condition:
    """A test of one earlier integer field of the same structure."""

    field: str
    operator: str
    """`has` or `lacks` (a bit), `is` or `is not` (a value)."""
    value: int

    def holds(self, seen: Mapping[str, Any], capabilities: frozenset[int]) -> bool:
        """Whether the field is there, after the fields in `seen`."""
        number: int = seen[self.field]
        if self.operator in ("is", "is not"):
            return (number == self.value) == (self.operator == "is")
        return bool(number & self.value) == (self.operator == "has")

    def expression(self, variable: str) -> str:
        """The test as Python source, on the field's variable."""
        return _OPERATORS[self.operator].format(field=variable, value=int(self.value))

    @property
    def text(self) -> str:
        """The test for people."""
        name = self.value.name if isinstance(self.value, IntEnum | IntFlag) else None
        return _OPERATORS[self.operator].format(field=self.field, value=name or self.value)


@dataclass(frozen=True)
class Negotiated:
    """Whether both sides have a capability."""

    capability: int
    field: None = None
    """No field is tested."""

    def holds(self, seen: Mapping[str, Any], capabilities: frozenset[int]) -> bool:
        """Whether the field is there, when both sides have `capabilities`."""
        return self.capability in capabilities

    @property
    def text(self) -> str:
        """The test for people."""
        name = self.capability.name if isinstance(self.capability, IntEnum) else self.capability
        return f"both have {name}"


def has(field: str, bit: int) -> Condition:
    """The field is there when an earlier field has this bit."""
    return Condition(field, "has", bit)


def lacks(field: str, bit: int) -> Condition:
    """The field is there when an earlier field does not have this bit."""
    return Condition(field, "lacks", bit)


def equals(field: str, value: int) -> Condition:
    """The field is there when an earlier field has this value."""
    return Condition(field, "is", value)


def differs(field: str, value: int) -> Condition:
    """The field is there when an earlier field has another value than this."""
    return Condition(field, "is not", value)


def negotiated(capability: int) -> Negotiated:
    """The field is there when both sides have this capability."""
    return Negotiated(capability)
