"""The committed page of messages is the one that the code makes."""

from __future__ import annotations

from pathlib import Path

from spicehop.wire import registry
from spicehop.wire.describe import page

COMMITTED = Path(__file__).parents[2] / "docs" / "messages.md"


def test_the_committed_page_is_current() -> None:
    assert COMMITTED.read_text() == page(), "run: python -m spicehop.wire.describe > docs/messages.md"


def test_every_message_has_a_row() -> None:
    rows = [line for line in page().splitlines() if line.startswith(("| server", "| client"))]
    assert len(rows) == len(list(registry.registered()))


def test_a_row_tells_the_layout() -> None:
    assert (
        "| client → server | 112 | MOUSE_POSITION | `inputs.MousePosition` "
        "| u32 x, u32 y, u16 buttons, u8 display_id |" in page().splitlines()
    )


def test_structures_inside_structures_are_listed() -> None:
    names = {line.split(" ")[1] for line in page().rpartition("## Structures")[2].splitlines() if line.startswith("| ")}
    assert {"Image", "Palette", "GlyphBox", "SubMessage", "PhysicalSize", "LossySurface"} <= names
