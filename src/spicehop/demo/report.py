"""What a demo has found out, for people and for machines."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spicehop.demo.exchange import ClipboardCount
from spicehop.demo.hearing import SoundCount
from spicehop.demo.keys import Charge, KeyCount
from spicehop.demo.payload import PortCount
from spicehop.demo.stock_report import StockReport
from spicehop.migration.conducting_result import SessionOutcome


@dataclass(frozen=True, slots=True)
class Hop:
    """One migration of the demo."""

    number: int
    scheme: str
    reason: str
    frozen: bool
    """Whether the guest drew nothing, so that everything on the display is redrawing."""
    blackout: float | None
    """Seconds without a new picture around the switch; None for a frozen guest."""
    redrawn_bytes: int | None
    """Display bytes of the target in the 2 s after the switch, of a frozen guest."""
    picture_equal: bool | None
    """Whether the client's picture is the target's own, pixel for pixel; taken of a frozen guest."""
    seconds: float
    """From the announcement to the end of the switch."""
    carrier: str = ""
    """The way the session's state went: `client`, or `direct` from server to server."""
    sessions: tuple[SessionOutcome, ...] = ()
    """What the conductor says of each session, other clients' too."""


@dataclass(frozen=True, slots=True)
class FrameCount:
    """The guest's frames while a client watched. A client that is late gets fewer of them, and loses nothing by it."""

    drawn: int
    """By the guest's log."""
    seen: int
    """Different frame numbers that were read off the client's picture."""
    video: int
    """Frames of the moving picture that came as video."""


@dataclass(frozen=True, slots=True)
class DeskReport:
    """What a client did at our servers, besides typing and streaming."""

    to_guest: ClipboardCount
    from_guest: ClipboardCount
    sound: SoundCount
    frames: FrameCount
    picture_equal: bool
    """Whether the client's picture was the server's own, pixel for pixel."""
    log_faults: tuple[str, ...]
    """What is wrong with the guest's log."""
    server_ended_well: bool
    compiled: bool
    """Whether the codecs ran compiled."""
    stock: StockReport | None = None
    """spice-gtk beside our client, where it is installed."""

    @property
    def problems(self) -> Iterator[str]:
        """What went wrong, a sentence each."""
        for count, way in ((self.to_guest, "to the guest"), (self.from_guest, "from the guest")):
            if not count.is_whole:
                yield f"Of {count.sent} bytes of clipboard texts {way} {count.received} came whole."
        if not self.sound.packets:
            yield "No sound came."
        elif not self.sound.is_tone:
            yield "The sound is not what the guest plays."
        if self.frames.seen < 2:
            yield "The picture did not move."
        if self.log_faults:
            yield f"The guest's log is not as it should be: {'; '.join(self.log_faults[:3])}."
        if not self.server_ended_well:
            yield "The server did not end when it was asked to."
        if self.stock is not None:
            yield from self.stock.problems

    def as_json(self) -> dict[str, Any]:
        """Its part of the object that `--json` prints."""
        return {
            "clipboard": {"to_guest": asdict(self.to_guest), "from_guest": asdict(self.from_guest)},
            "sound": {**asdict(self.sound), "seconds": round(self.sound.seconds, 2)},
            "frames": asdict(self.frames),
            "compiled": self.compiled,
            "spice_gtk": None if self.stock is None else self.stock.as_json(),
        }

    def as_lines(self) -> list[str]:
        """Its part of what the command prints."""
        sound, frames = self.sound, self.frames
        gaps = f", with {sound.gaps} gap{'s' if sound.gaps > 1 else ''}" if sound.gaps else ", without a gap"
        return [
            f"clipboard {self.to_guest.received} of {self.to_guest.sent} bytes to the guest, "
            f"{self.from_guest.received} of {self.from_guest.sent} from it",
            f"sound     {sound.seconds:.1f} s" + (" of the guest's tone" if sound.is_tone else ", NOT THE TONE") + gaps,
            f"picture   {frames.seen} of {frames.drawn} frames seen, {frames.video} came as video; "
            + ("equal to the server's own" if self.picture_equal else "DIFFERS from the server's own"),
            *(self.stock.as_lines() if self.stock is not None else ()),
        ]


@dataclass(frozen=True, slots=True)
class DemoReport:
    """Everything of one demo."""

    hops: tuple[Hop, ...]
    keys: KeyCount
    charge: Charge
    port: PortCount
    session_interrupted: bool
    seconds: float
    files: dict[str, Path] = field(default_factory=dict)
    desk: DeskReport | None = None
    """Of the demo with our own servers."""

    @property
    def blackouts_ms(self) -> list[float]:
        """Blackouts of the migrations in which the guest drew."""
        return [1000 * hop.blackout for hop in self.hops if hop.blackout is not None]

    @property
    def redrawn_bytes(self) -> int | None:
        """The most that a target redrew after a switch."""
        return max((hop.redrawn_bytes for hop in self.hops if hop.redrawn_bytes is not None), default=None)

    @property
    def picture_equal(self) -> bool | None:
        """Whether every comparison found equal pictures; None when there was none."""
        compared = [hop.picture_equal for hop in self.hops if hop.picture_equal is not None]
        if self.desk is not None:
            compared.append(self.desk.picture_equal)
        return all(compared) if compared else None

    @property
    def problems(self) -> tuple[str, ...]:
        """What went wrong, a sentence each; empty when nothing was lost but what is charged to libspice."""
        found: list[str] = []
        if self.session_interrupted:
            found.append("The session was interrupted.")
        for hop in self.hops:
            if hop.scheme != "seamless":
                found.append(f"Migration {hop.number} was {hop.scheme}: {hop.reason}.")
        if self.charge.ours:
            by_us = " that libspice cannot be charged with" if self.desk is None else ""
            found.append(f"{len(self.charge.ours)} keys were lost{by_us}.")
        if self.keys.duplicated:
            found.append(f"{self.keys.duplicated} keys came twice.")
        if not self.port.is_complete:
            found.append(f"The port's stream is not whole: {self.port}.")
        if self.picture_equal is False:
            found.append(f"The client's picture differs from the {'target' if self.hops else 'server'}'s.")
        if self.picture_equal is None:
            found.append("No pictures were compared.")
        if self.desk is not None:
            found += self.desk.problems
        return tuple(found)

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "scheme": [hop.scheme for hop in self.hops],
            "migrations": len(self.hops),
            "carriers": [hop.carrier or "client" for hop in self.hops],
            "keys": {
                "sent": self.keys.sent,
                "received": self.keys.received,
                "lost": self.keys.lost,
                "duplicated": self.keys.duplicated,
                "lost_by_libspice": len(self.charge.libspice),
                "lost_by_spicehop": len(self.charge.ours),
            },
            "port": {
                "sent": self.port.sent,
                "received": self.port.received,
                "lost": self.port.lost,
                "duplicated": self.port.duplicated,
                "in_order": self.port.in_order,
                "guest_received": self.port.guest_received,
                "checksums_match": self.port.checksums_match,
            },
            "blackout_ms": spread(self.blackouts_ms),
            "redrawn_bytes": self.redrawn_bytes,
            "picture_equal": self.picture_equal,
            "fallbacks": [
                {"migration": hop.number, "scheme": hop.scheme, "reason": hop.reason}
                for hop in self.hops
                if hop.scheme != "seamless"
            ],
            **(self.desk.as_json() if self.desk is not None else {}),
            "problems": list(self.problems),
            "seconds": round(self.seconds, 1),
            "files": {name: str(path) for name, path in self.files.items()},
        }

    def as_text(self) -> str:
        """The lines that the command prints."""
        by_libspice = f", {len(self.charge.libspice)} of them by libspice while the machine stood still"
        lines = [
            "",
            *(self._hop_lines() if self.hops else ()),
            f"keys      {self.keys.sent} typed, {self.keys.received} received, {self.keys.lost} lost"
            + (by_libspice if self.keys.lost and self.desk is None else "")
            + f", {self.keys.duplicated} doubled",
            f"port      {self.port.sent} bytes sent, {self.port.received} echoed, {self.port.lost} lost, "
            f"{self.port.duplicated} doubled, " + ("in order" if self.port.in_order else "OUT OF ORDER"),
            *(self.desk.as_lines() if self.desk is not None else ()),
            "session   " + ("INTERRUPTED" if self.session_interrupted else "never interrupted"),
        ]
        lines += [f"problem   {problem}" for problem in self.problems]
        lines += [f"{name:<9} {path}" for name, path in self.files.items()]
        return "\n".join(lines)

    def _hop_lines(self) -> Iterator[str]:
        stock = self.desk.stock if self.desk is not None else None
        beside = {move.number: move.as_text() for move in stock.moves} if stock is not None else {}
        heading = "migration  scheme          state by    switch     blackout    redrawn   picture"
        yield f"{heading}   spice-gtk" if stock is not None else heading
        for hop in self.hops:
            blackout = "-" if hop.blackout is None else f"{1000 * hop.blackout:.0f} ms"
            redrawn = "-" if hop.redrawn_bytes is None else f"{hop.redrawn_bytes / 1000:.1f} kB"
            equal = {None: "-", True: "equal", False: "DIFFERS"}[hop.picture_equal]
            moved = f"{hop.number:>9}  {hop.scheme:<14} {hop.carrier or 'client':<9} {hop.seconds:5.2f} s"
            row = f"{moved} {blackout:>12} {redrawn:>10}   {equal}"
            yield f"{row:<79}   {beside.get(hop.number, 'lost')}" if stock is not None else row
        yield ""


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Minimum, median and maximum, None without values."""
    if not values:
        return {"min": None, "median": None, "max": None}
    return {
        "min": round(min(values), 1),
        "median": round(statistics.median(values), 1),
        "max": round(max(values), 1),
    }
