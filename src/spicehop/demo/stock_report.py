"""What became of spice-gtk beside our client, for people and for machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from spicehop.demo.keys import KeyCount


@dataclass(frozen=True, slots=True)
class StockMove:
    """One move of its session, by the account of the source."""

    number: int
    """As in `Hop`."""
    scheme: str
    carrier: str
    """The way its state went: `client` or `direct`."""
    reason: str
    """Why not seamless."""
    channels: dict[str, str]
    """What became of each channel, by name, `display:0`."""
    seconds: float | None = None
    """From its link to the target to the last channel there, as spice-gtk saw it; None when it did not tell."""

    def as_text(self) -> str:
        """Its place in the table of moves."""
        return self.scheme if self.seconds is None else f"{self.scheme}, {self.seconds:.2f} s"


@dataclass(frozen=True, slots=True)
class StockView:
    """What it showed and played."""

    frames: int
    """Different frame numbers that were on its screen."""
    sound_seconds: float
    texts: int
    """How often the guest offered its text."""
    whole_texts: int
    """How often that came whole."""


@dataclass(frozen=True, slots=True)
class StockReport:
    """Everything of spice-gtk."""

    version: str
    connection_id: int = 0
    channels: tuple[str, ...] = ()
    """Those it had when its work began."""
    moves_made: int = 0
    """How often the guest moved while it was there, or should have been."""
    moves: tuple[StockMove, ...] = ()
    """Those that it went along with."""
    opened: tuple[str, ...] = ()
    """Channels that it opened after that; a seamless move shows no such thing."""
    closed: tuple[str, ...] = ()
    """Channels that it closed or lost, with what it said."""
    criticals: tuple[str, ...] = ()
    """What it called critical, a sentence each."""
    keys: KeyCount | None = None
    """None when it could not say what it has typed."""
    view: StockView | None = None
    pixels_differ: int | None = None
    """Pixels of its last picture that are not the server's own; None without a picture."""
    trouble: str = ""
    """The sentence that ended its work before its time."""

    @property
    def problems(self) -> Iterator[str]:
        """What went wrong, a sentence each."""
        if self.trouble:
            yield f"{self.trouble.rstrip('.')}."
        for move in self.moves:
            if move.scheme != "seamless":
                yield f"Migration {move.number} of spice-gtk was {move.scheme}: {move.reason or 'no reason is known'}."
        if self.keys is not None and self.keys.lost:
            yield f"{self.keys.lost} keys of spice-gtk were lost."
        if self.keys is not None and self.keys.duplicated:
            yield f"{self.keys.duplicated} keys of spice-gtk came twice."
        if self.opened:
            yield f"spice-gtk opened channels while it worked: {', '.join(self.opened)}."
        if self.closed:
            yield f"spice-gtk closed channels while it worked: {', '.join(self.closed)}."
        if self.criticals:
            yield f"spice-gtk called {len(self.criticals)} things critical, first: {self.criticals[0].rstrip('.')}."
        if self.view is not None:
            yield from self._blind_spots(self.view)
        if self.pixels_differ:
            yield f"{self.pixels_differ} pixels of spice-gtk's picture differ from the server's."
        if self.pixels_differ is None and not self.trouble:
            yield "No picture of spice-gtk was compared."

    def _blind_spots(self, view: StockView) -> Iterator[str]:
        if view.whole_texts != view.texts:
            yield f"Of {view.texts} clipboard texts {view.whole_texts} came whole to spice-gtk."
        if view.frames < 2:
            yield "The picture of spice-gtk did not move."
        if not view.sound_seconds:
            yield "No sound came to spice-gtk."

    def as_json(self) -> dict[str, Any]:
        """Its part of the object that `--json` prints."""
        keys = self.keys
        return {
            "version": self.version,
            "scheme": [move.scheme for move in self.moves],
            "moves": [asdict(move) for move in self.moves],
            "keys": None
            if keys is None
            else {"sent": keys.sent, "received": keys.received, "lost": keys.lost, "duplicated": keys.duplicated},
            "channels": {"had": list(self.channels), "opened": list(self.opened), "closed": list(self.closed)},
            "criticals": list(self.criticals),
            "view": None if self.view is None else asdict(self.view),
            "pixels_differ": self.pixels_differ,
            "trouble": self.trouble,
        }

    def as_lines(self) -> list[str]:
        """Its part of what the command prints."""
        seamless = sum(move.scheme == "seamless" for move in self.moves)
        changed = self.opened or self.closed
        changes = f"{len(self.opened)} opened and {len(self.closed)} closed" if changed else "none opened or closed"
        lines = [
            f"spice-gtk {self.version} beside it: {seamless} of {self.moves_made} moves seamless; "
            f"{len(self.channels)} channels, {changes}; {len(self.criticals)} criticals"
        ]
        if self.keys is not None:
            keys = self.keys
            lines.append(
                f"  keys    {keys.sent} typed, {keys.received} received, {keys.lost} lost, {keys.duplicated} doubled"
            )
        if self.view is not None:
            view = self.view
            lines.append(
                f"  view    {view.frames} frames seen, {view.sound_seconds:.1f} s of sound, "
                f"{view.whole_texts} of {view.texts} clipboard texts whole"
            )
        if self.pixels_differ is not None:
            differs = f"{self.pixels_differ} pixels DIFFER from" if self.pixels_differ else "equal to"
            lines.append(f"  picture {differs} the server's own")
        return lines
