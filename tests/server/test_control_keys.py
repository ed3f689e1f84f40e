"""QEMU's key names as scan codes, and keys that are pressed one after another."""

from __future__ import annotations

import pytest

from spicehop.client.keyboard import scancode_of
from spicehop.server.control_keys import KEYS, MAX_QUEUED, KeyQueue, key_bytes


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a", "a"),
        ("ret", "Enter"),
        ("spc", "Space"),
        ("shift_r", "RightShift"),
        ("ctrl_r", "RightCtrl"),
        ("alt_r", "AltGr"),
        ("f12", "F12"),
        ("pgdn", "PageDown"),
        ("delete", "Delete"),
        ("meta_l", "Super"),
        ("compose", "Menu"),
        ("grave_accent", "`"),
    ],
)
def test_the_names_mean_the_keys_that_our_client_means(name: str, key: str) -> None:
    code = scancode_of(key)
    assert key_bytes(KEYS[name], down=True) == code.to_bytes(2 if code > 0xFF else 1, "big")


def test_bytes_of_keys() -> None:
    assert key_bytes(KEYS["a"], down=True) == b"\x1e"
    assert key_bytes(KEYS["a"], down=False) == b"\x9e"
    assert key_bytes(KEYS["up"], down=True) == b"\xe0\x48"
    assert key_bytes(KEYS["up"], down=False) == b"\xe0\xc8"
    assert key_bytes(0, down=True) == key_bytes(0x80, down=True) == key_bytes(99999, down=True) == b""


def run(queue: KeyQueue) -> list[tuple[float, bytes]]:
    """All steps with their times."""
    found = []
    while (deadline := queue.next_deadline()) is not None:
        assert queue.due(deadline - 0.01) == []
        found += [(round(deadline, 3), step) for step in queue.due(deadline)]
    return found


def test_keys_go_down_in_order_and_up_in_the_reverse_order() -> None:
    queue = KeyQueue()
    queue.press([KEYS["ctrl"], KEYS["c"]], 0.1, now=5.0)
    assert run(queue) == [(5.0, b"\x1d"), (5.1, b"\x2e"), (5.2, b"\xae"), (5.3, b"\x9d")]


def test_keys_wait_for_those_before_them() -> None:
    queue = KeyQueue()
    queue.press([KEYS["a"]], 0.1, now=0.0)
    queue.press([KEYS["b"]], 0.05, now=0.0)
    assert run(queue) == [(0.0, b"\x1e"), (0.1, b"\x9e"), (0.15, b"\x30"), (0.2, b"\xb0")]


def test_without_a_hold_time_all_is_due_at_once() -> None:
    queue = KeyQueue()
    queue.press([KEYS["a"], 0], 0.0, now=1.0)
    assert queue.due(1.0) == [b"\x1e", b"\x9e"]


def test_what_is_too_much_is_dropped_whole() -> None:
    queue = KeyQueue()
    for _ in range(MAX_QUEUED):
        queue.press([KEYS["a"], KEYS["b"], KEYS["c"]], 1.0, now=0.0)
    steps = queue.due(1e9)
    assert MAX_QUEUED - 6 < len(steps) <= MAX_QUEUED
    assert len(steps) % 6 == 0


def test_no_key_stays_down_at_the_end() -> None:
    queue = KeyQueue()
    queue.press([KEYS["shift"], KEYS["a"]], 1.0, now=0.0)
    assert queue.due(0.5) == [b"\x2a"]
    assert queue.clear() == [b"\x9e", b"\xaa"]
    assert queue.next_deadline() is None
