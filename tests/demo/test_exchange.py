"""Counting clipboard texts by the guest's log."""

from __future__ import annotations

from spicehop.demo.exchange import GUEST_TEXT, ClipboardCount, count_from_guest, count_to_guest
from spicehop.demo.payload import clipboard_text, fnv1a
from spicehop.demo.serial import SerialLog, parse_serial


def log_of(what: str, *texts: bytes) -> SerialLog:
    lines = (f"AGENT {number} {what} bytes={len(text)} fnv={fnv1a(text):08x}\n" for number, text in enumerate(texts))
    return parse_serial("".join(lines))


WRITTEN = [b"one", b"three"]
OFFERED = clipboard_text(GUEST_TEXT)


def test_texts_that_the_guest_logged_are_whole() -> None:
    count = count_to_guest(WRITTEN, log_of("clipboard-received", *WRITTEN))
    assert count == ClipboardCount(2, 8, 8)
    assert count.is_whole


def test_a_text_that_changed_or_never_came_is_not() -> None:
    assert count_to_guest(WRITTEN, log_of("clipboard-received", b"one", b"thre3")) == ClipboardCount(2, 8, 3)
    assert not count_to_guest(WRITTEN, log_of("clipboard-received", b"one")).is_whole


def test_a_text_of_the_guest_is_judged_by_its_log_and_its_content() -> None:
    log = log_of("clipboard-sending", OFFERED)
    assert count_from_guest(1, [OFFERED], log) == ClipboardCount(1, GUEST_TEXT, GUEST_TEXT)
    assert not count_from_guest(1, [OFFERED[:-1]], log).is_whole
    assert not count_from_guest(1, [], log).is_whole
    assert not count_from_guest(1, [OFFERED], log_of("clipboard-sending")).is_whole
