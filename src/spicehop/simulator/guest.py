"""A model of the virtual machine: what a keyboard and a port do to it. It is what moves from QEMU to QEMU."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class ModelGuest:
    """Logs presses, echoes its port. While it stands still, keys that reach it are gone (measured results, B4)."""

    running: bool = True
    pressed: list[int] = field(default_factory=list)
    """Codes of the presses it saw, in order; repeats of a held key are none."""
    held: dict[int, None] = field(default_factory=dict)
    port_read: bytearray = field(default_factory=bytearray)
    """What came through the port, in order."""
    port_unsent: bytearray = field(default_factory=bytearray)
    """What it wrote to its port and no server has fetched: it moves with the machine's memory."""
    presses_dropped: list[int] = field(default_factory=list)
    """Codes of presses that came while it stood still or was elsewhere: charged to the server."""
    releases_dropped: list[int] = field(default_factory=list)
    presses_masked: list[int] = field(default_factory=list)
    """Presses of a key that it still held, because the release had been dropped."""

    def key_down(self, code: int, *, here: bool) -> None:
        """A key goes down, at the server that has this machine or at one that has it no more."""
        if not self.running or not here:
            self.presses_dropped.append(code)
        elif code in self.held:
            self.presses_masked.append(code)
        else:
            self.held[code] = None
            self.pressed.append(code)

    def key_up(self, code: int, *, here: bool) -> None:
        """A key goes up; `code` is the one of its press."""
        if not self.running or not here:
            self.releases_dropped.append(code)
        else:
            self.held.pop(code, None)

    def port_written(self, data: bytes) -> None:
        """Take bytes from the port, and write the same back."""
        self.port_read += data
        self.port_unsent += data
