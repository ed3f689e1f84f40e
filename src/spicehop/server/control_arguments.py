"""The arguments of a control command, and QEMU's words for those that are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spicehop.server.control import CommandError

KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
}
Arguments = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command."""

    name: str
    kind: str = "string"
    optional: bool = False
    choices: tuple[str, ...] = ()


def check_arguments(wanted: tuple[Argument, ...], given: Arguments, path: str = "") -> None:
    """Refuse arguments that are missing, too many, of another type or of a value that is not taken."""
    for argument in wanted:
        name = path + argument.name
        if argument.name not in given:
            if not argument.optional:
                raise CommandError(f"Parameter '{name}' is missing")
            continue
        value = given[argument.name]
        if not isinstance(value, KINDS[argument.kind]) or (isinstance(value, bool) and argument.kind != "boolean"):
            raise CommandError(f"Invalid parameter type for '{name}', expected: {argument.kind}")
        if argument.choices and value not in argument.choices:
            raise CommandError(f"Parameter '{argument.name}' does not accept value '{str(value)[:100]}'")
    for name in given.keys() - {argument.name for argument in wanted}:
        raise CommandError(f"Parameter '{path}{name[:100]}' is unexpected")
