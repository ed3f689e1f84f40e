"""The port's numbered bytes and the checksum of the guest."""

from __future__ import annotations

import pytest

from spicehop.demo.payload import RECORD, clipboard_text, count_port, fnv1a, numbered_bytes
from spicehop.demo.serial import PortTotal


def total(size: int) -> PortTotal:
    return PortTotal(size, fnv1a(numbered_bytes(0, size)), "total")


@pytest.mark.parametrize(("data", "expected"), [(b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"foobar", 0xBF9CF968)])
def test_fnv1a_published_values(data: bytes, expected: int) -> None:
    assert fnv1a(data) == expected


def test_numbered_bytes_can_be_cut_anywhere() -> None:
    whole = numbered_bytes(0, 100)
    assert whole.startswith(b"000000000000000\n000000000000001\n")
    for start in range(50):
        assert numbered_bytes(start, 50) == whole[start : start + 50]
    assert numbered_bytes(7, 0) == b""


def test_clipboard_text() -> None:
    assert clipboard_text(20) == b"clip 00000000\nclip 0"
    assert len(clipboard_text(65536)) == 65536


def test_a_complete_stream() -> None:
    count = count_port(100_000, numbered_bytes(0, 100_000), [total(65536), total(100_000)])
    assert count.is_complete
    assert (count.received, count.lost, count.duplicated, count.guest_received) == (100_000, 0, 0, 100_000)


def test_an_unfinished_echo_is_lost_at_its_end() -> None:
    count = count_port(1000, numbered_bytes(0, 900), [total(1000)])
    assert not count.is_complete
    assert (count.received, count.lost, count.in_order, count.checksums_match) == (900, 100, True, True)


def test_a_hole() -> None:
    stream = numbered_bytes(0, 100 * RECORD)
    echoed = stream[: 10 * RECORD] + stream[15 * RECORD :]
    count = count_port(len(stream), echoed, [PortTotal(len(echoed), fnv1a(echoed), "total")])
    assert (count.lost, count.duplicated, count.in_order, count.checksums_match) == (5 * RECORD, 0, True, False)


def test_doubled_and_disordered_records() -> None:
    stream = numbered_bytes(0, 100 * RECORD)
    doubled = stream[: 20 * RECORD] + stream[18 * RECORD :]
    count = count_port(len(stream), doubled, [])
    assert (count.lost, count.duplicated, count.in_order) == (0, 2 * RECORD, False)


def test_a_wrong_checksum_of_the_guest() -> None:
    count = count_port(1000, numbered_bytes(0, 1000), [PortTotal(1000, 1, "total")])
    assert not count.checksums_match
    assert not count.is_complete
