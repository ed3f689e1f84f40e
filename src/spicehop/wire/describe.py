"""Writes the table of all messages, `docs/messages.md`, from the registry: `python -m spicehop.wire.describe`."""

from __future__ import annotations

import sys

from spicehop.wire import agent, migration_data, registry
from spicehop.wire.constants import ChannelType, Direction
from spicehop.wire.fields import Field
from spicehop.wire.layout import Structure

_HEAD = """\
# Messages

Every message that spicehop encodes and decodes. This page is made from the code by `python -m spicehop.wire.describe`.

All integers are little endian and packed. `ptr→T` is a 4 byte offset from the start of the body to a T, 0 for none,
`ptr!→T` one that may not be 0. `T[n]` is n items in place, `rest` goes to the end of the body. `[condition: field]` is
there when the condition holds. A number that is not listed comes as `Unknown` with its bytes, and any value of a listed
field is passed on as it is.
"""
_SIDES = {Direction.FROM_SERVER: "server → client", Direction.FROM_CLIENT: "client → server"}


def page() -> str:
    """The whole page."""
    structures: dict[str, type[Structure]] = {}
    lines = [_HEAD]
    for channel in sorted({channel for channel, _, _, _ in registry.registered()}):
        lines += ["", f"## {_title(channel)}", ""]
        lines += ["| direction | number | name | class | fields |", "|---|---|---|---|---|"]
        for place, direction, number, cls in registry.registered():
            if place == channel:
                lines.append(_row([_SIDES[direction], str(number), cls.NAME, _class_name(cls), _fields(cls)]))
                _collect(cls, structures)
    lines += ["", "## Agent", "", "In AGENT_DATA of the main channel, each behind an `agent_stream.AgentHeader`.", ""]
    lines += ["| type | name | class | fields |", "|---|---|---|---|"]
    for kind, message in agent.registered():
        lines.append(_row([str(kind), message.NAME, _class_name(message), _fields(message)]))
        _collect(message, structures)
    lines += ["", "## Migration data", "", "The body of MIGRATE_DATA, in the layouts of libspice-server.", ""]
    lines += ["| magic | class | fields |", "|---|---|---|"]
    layouts: list[type[migration_data.MigrationData]] = [*migration_data.LAYOUTS.values()]
    layouts.append(migration_data.LossyDisplayMigrationData)
    for layout in dict.fromkeys(layouts):
        text = f"u8[4] magic, u32 version, {_fields(layout)}"
        lines.append(_row([layout.MAGIC.decode(), _class_name(layout), text]))
        _collect(layout, structures)
    lines += ["", "## Structures", "", "What the messages are made of.", ""]
    lines += ["| structure | class | fields |", "|---|---|---|"]
    for name in sorted(structures):
        lines.append(_row([name, _class_name(structures[name]), _fields(structures[name])]))
    return "\n".join(lines) + "\n"


def _title(channel: int) -> str:
    if channel == registry.ANY_CHANNEL:
        return "Every channel"
    return f"{ChannelType(channel).name.capitalize()} ({channel})"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _class_name(cls: type[Structure]) -> str:
    return f"`{cls.__module__.removeprefix('spicehop.wire.')}.{cls.__name__}`"


def _fields(cls: type[Structure]) -> str:
    return cls.layout().describe()


def _collect(cls: type[Structure], found: dict[str, type[Structure]]) -> None:
    """Add the structures that `cls` is made of, also those of its structures."""
    for step in cls.layout().steps:
        if isinstance(step.marker, Field):
            for part in step.marker.parts():
                if part.__name__ not in found:
                    found[part.__name__] = part
                    _collect(part, found)


if __name__ == "__main__":
    sys.stdout.write(page())
