"""The keyboard, the notes, the checksum and the list of changes, each alone."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spicehop.demo.payload import clipboard_text
from spicehop.demo.payload import fnv1a as plain_fnv1a
from spicehop.guests.demo.agent_outbox import numbered_hash, numbered_text
from spicehop.guests.demo.changes import ChangeLog
from spicehop.guests.demo.colours import blank
from spicehop.guests.demo.devices import ByteQueue
from spicehop.guests.demo.fnv import fnv1a
from spicehop.guests.demo.font import width_of
from spicehop.guests.demo.keyboard import PRESSED, RELEASED, REPEATED, Keyboard, KeyEvent
from spicehop.guests.demo.notes import Notes
from spicehop.guests.demo.wallpaper import Wallpaper
from spicehop.guests.interface import CopiedFromSurface, Drawn, Moved, Resized, SurfaceCreated
from spicehop.raster.region import Box


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1))
def test_the_checksum_is_fnv(data: bytes, start: int) -> None:
    assert fnv1a(data, start) == plain_fnv1a(data, start)


@pytest.mark.parametrize("size", [16_383, 16_384, 16_385, 40_000])
def test_the_checksum_of_long_data_is_fnv_too(size: int) -> None:
    data = os.urandom(size)
    assert fnv1a(data) == plain_fnv1a(data)
    assert fnv1a(data[99:], fnv1a(data[:99])) == plain_fnv1a(data)


def test_the_numbered_text_is_that_of_the_demo() -> None:
    whole = clipboard_text(3000)
    assert numbered_text(0, 3000) == whole
    assert all(numbered_text(start, 100) == whole[start : start + 100] for start in range(0, 2900, 7))
    assert numbered_hash(3000) == plain_fnv1a(whole)


@pytest.mark.parametrize(
    ("scancodes", "events"),
    [
        (b"\x1e\x1e\x9e\x9e", [(30, PRESSED), (30, REPEATED), (30, RELEASED)]),
        (b"\xe0\x48\xe0\xc8", [(103, PRESSED), (103, RELEASED)]),
        (b"\xe0\x2a\xe0\x37\xe0\xb7\xe0\xaa", [(99, PRESSED), (99, RELEASED)]),
        (b"\xe1\x1d\x45\xe1\x9d\xc5", [(119, PRESSED), (119, RELEASED)]),
        (b"\x57\xd7", [(87, PRESSED), (87, RELEASED)]),
        (b"\x7f", [(240, PRESSED)]),
        (b"\x9e", []),
    ],
)
def test_scan_codes_become_keys(scancodes: bytes, events: list[tuple[int, int]]) -> None:
    wanted = [KeyEvent(*event) for event in events]
    assert list(Keyboard().feed(scancodes)) == wanted
    keyboard = Keyboard()
    assert [event for byte in scancodes for event in keyboard.feed(bytes([byte]))] == wanted


@pytest.mark.parametrize(
    ("before", "code", "typed"),
    [
        (b"", 30, "a"),
        (b"\x2a", 30, "A"),
        (b"\x36", 3, "@"),
        (b"\x3a\xba", 30, "A"),
        (b"\x3a\xba\x2a", 30, "a"),
        (b"\x3a\xba", 3, "2"),
        (b"", 71, ""),
        (b"\x45\xc5", 71, "7"),
        (b"", 57, " "),
        (b"", 29, ""),
        (b"", 111, ""),
    ],
)
def test_the_layout_is_that_of_the_us(before: bytes, code: int, typed: str) -> None:
    keyboard = Keyboard()
    list(keyboard.feed(before))
    assert keyboard.character(code) == typed


def test_notes_break_between_words_and_backspace_goes_back() -> None:
    notes = Notes(width_of(b"hello wor"))
    notes.type(b"hello world\n\tx")
    assert notes.last(9) == b"hello \nworld\n    x"
    assert notes.text == b"hello world\n    x"
    for _ in range(6):
        notes.backspace()
    assert notes.text == b"hello world"
    for _ in range(5):
        notes.backspace()
    assert notes.last(9) == b"hello "
    for _ in range(9):
        notes.backspace()
    assert notes.text == b""


@given(st.lists(st.sampled_from([b"word ", b"a", b"\n", b"\t", b"longer", "ü".encode()]), max_size=60))
def test_notes_go_round_and_fit(pieces: list[bytes]) -> None:
    notes = Notes(80)
    for piece in pieces:
        notes.type(piece)
    again = Notes(80)
    again.restore(notes.encoded)
    assert again.encoded == notes.encoded
    assert all(width_of(line) <= 80 for line in notes.last(1000).split(b"\n"))
    for _ in range(400):
        notes.backspace()
    assert notes.text == b""


@given(st.lists(st.tuples(st.binary(max_size=9), st.integers(0, 9)), max_size=20))
def test_a_queue_gives_what_it_got(steps: list[tuple[bytes, int]]) -> None:
    queue, plain = ByteQueue(), b""
    for data, limit in steps:
        queue.append(data)
        plain += data
        assert queue.content == plain
        assert queue.take(limit) == plain[:limit]
        plain = plain[limit:]
        assert len(queue) == len(plain)


def test_any_part_of_the_wallpaper_is_that_part() -> None:
    wallpaper = Wallpaper(400, 300, 3)
    whole = blank(400, 300)
    wallpaper.draw(Box(0, 0, 400, 300), whole)
    for left, top in ((0, 0), (200, 100), (399, 299), (133, 250)):
        box = Box(left, top, min(400, left + 90), min(300, top + 70))
        part = blank(box.width, box.height)
        wallpaper.draw(box, part)
        assert (part == whole[box.area]).all()


SCREEN = Box(0, 0, 100, 100)


def _taken() -> ChangeLog:
    changes = ChangeLog(SCREEN)
    changes.surface_created(1, 10, 10)
    changes.resized(SCREEN)
    assert changes.take() == [
        SurfaceCreated(1, 10, 10),
        Resized(100, 100),
        Drawn(1, (Box(0, 0, 10, 10),)),
        Drawn(0, (SCREEN,)),
    ]
    return changes


def test_what_was_stale_when_it_moved_is_drawn_where_it_went() -> None:
    changes = _taken()
    changes.drawn(0, Box(10, 10, 20, 20))
    changes.moved(Box(0, 10, 50, 50), 0, 0)
    assert changes.take() == [
        Moved(0, Box(0, 10, 50, 50), 0, 0),
        Drawn(0, (Box(10, 10, 20, 20), Box(10, 0, 20, 10))),
    ]


def test_a_surface_is_drawn_before_it_is_copied() -> None:
    changes = _taken()
    changes.drawn(1, Box(0, 0, 5, 5))
    changes.copied(1, Box(0, 0, 10, 10), 30, 30)
    assert changes.take() == [Drawn(1, (Box(0, 0, 5, 5),)), CopiedFromSurface(1, Box(0, 0, 10, 10), 30, 30)]


def test_a_copy_of_what_has_changed_since_is_drawn() -> None:
    changes = _taken()
    changes.copied(1, Box(0, 0, 10, 10), 30, 30)
    changes.drawn(1, Box(0, 0, 5, 5))
    assert changes.take() == [Drawn(1, (Box(0, 0, 5, 5),)), Drawn(0, (Box(30, 30, 40, 40),))]


def test_a_surface_that_came_and_went_is_not_mentioned() -> None:
    changes = _taken()
    changes.surface_created(2, 5, 5)
    changes.drawn(2, Box(0, 0, 5, 5))
    changes.copied(2, Box(0, 0, 5, 5), 1, 1)
    changes.surface_destroyed(2)
    assert changes.take() == [Drawn(0, (Box(1, 1, 6, 6),))]


def test_a_list_that_nobody_takes_does_not_grow() -> None:
    changes = _taken()
    for step in range(10_000):
        changes.copied(1, Box(0, 0, 10, 10), step % 90, step % 80)
        changes.drawn(0, Box(step % 90, step % 70, step % 90 + 1, step % 70 + 1))
    assert len(changes.take()) < 300
