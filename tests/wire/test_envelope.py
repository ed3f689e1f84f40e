"""The envelope: what was put in comes out, what is newer is kept or refused, and bad bytes raise one error."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.errors import ProtocolError, StateError
from spicehop.wire import envelope
from spicehop.wire.envelope import Envelope, Section

U16 = st.integers(0, 0xFFFF)
U8 = st.integers(0, 0xFF)


@st.composite
def sections(draw: st.DrawFn) -> Section:
    version = draw(U16)
    return Section(
        draw(U16),
        version,
        draw(st.integers(0, version)),
        draw(st.binary(max_size=60)),
        draw(U8),
        draw(U8),
        sealed=draw(st.booleans()),
        obligatory=draw(st.booleans()),
    )


SECTIONS = st.lists(sections(), max_size=8, unique_by=lambda section: section.key)
ONE = Section(1, 1, 1, b"state", 2, 0, obligatory=True)


@given(SECTIONS, st.binary(max_size=100))
@settings(max_examples=100, deadline=None)
def test_what_was_put_in_comes_out_behind_any_layout(wanted: list[Section], layout: bytes) -> None:
    encoded = envelope.encode(wanted)
    assert envelope.decode(encoded) == Envelope(tuple(wanted))
    assert envelope.find(envelope.attach(layout, encoded)) == Envelope(tuple(wanted))
    size = envelope.OVERHEAD + sum(envelope.SECTION_OVERHEAD + len(section.data) for section in wanted)
    assert len(encoded) == size


@given(SECTIONS, st.data())
@settings(max_examples=100, deadline=None)
def test_changed_bytes_raise_one_error_or_are_an_envelope(wanted: list[Section], data: st.DataObject) -> None:
    encoded = bytearray(envelope.encode(wanted))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(U8)
    cut = bytes(encoded[: data.draw(st.integers(0, len(encoded)))]) if data.draw(st.booleans()) else bytes(encoded)
    for read in (envelope.decode, envelope.find):
        try:
            found = read(cut)
        except ProtocolError:
            continue
        assert found is None or sum(len(section.data) for section in found.sections) <= len(cut)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_noise_holds_no_envelope(noise: bytes) -> None:
    assert envelope.find(noise) is None


@given(SECTIONS, st.dictionaries(U16, U16, max_size=4))
@settings(max_examples=80, deadline=None)
def test_each_section_is_read_kept_or_refused(wanted: list[Section], known: dict[int, int]) -> None:
    parts = envelope.sort(Envelope(tuple(wanted)), known)
    kept = [section for section, _ in parts.kept]
    refused = [section for section, _ in parts.refused]
    assert sorted([*parts.readable, *kept, *refused], key=repr) == sorted(wanted, key=repr)
    assert all(known[section.kind] >= section.oldest_reader and not section.sealed for section in parts.readable)
    assert not any(section.obligatory for section in kept)
    assert all(section.obligatory for section in refused)
    assert bool(parts.reason) is bool(refused)


@pytest.mark.parametrize(
    ("section", "known", "reason"),
    [
        (ONE, {1: 1}, ""),
        (ONE, {1: 2}, ""),
        (replace(ONE, version=3), {1: 1}, ""),
        (replace(ONE, version=3, oldest_reader=2), {1: 2}, ""),
        (ONE, {}, "state of kind 1 is not known here"),
        (
            replace(ONE, version=3, oldest_reader=3),
            {1: 2},
            "state of kind 1 has version 3, and this server reads up to 2",
        ),
        (replace(ONE, sealed=True), {1: 1}, "state of kind 1 is sealed, and there is no key for it here"),
    ],
)
def test_older_and_newer_servers_agree_or_say_why_not(section: Section, known: dict[int, int], reason: str) -> None:
    assert envelope.sort(Envelope((section,)), known).reason == reason
    optional = replace(section, obligatory=False)
    parts = envelope.sort(Envelope((optional,)), known)
    assert [why for _, why in parts.kept] == ([reason] if reason else [])


def test_a_sealed_section_that_was_opened_is_read() -> None:
    assert envelope.sort(Envelope((replace(ONE, sealed=True),)), {1: 1}, opened=True).readable


def test_a_newer_container_is_refused_as_a_whole_with_a_reason() -> None:
    encoded = bytearray(envelope.encode([ONE]))
    encoded[4:8] = b"\x03\x00\x02\x00"
    assert envelope.decode(bytes(encoded)) == Envelope((), "the envelope has format 3, and this server reads up to 1")
    encoded[4:8] = b"\x03\x00\x01\x00"
    assert envelope.decode(bytes(encoded)).sections == (ONE,)


def test_limits() -> None:
    with pytest.raises(StateError, match="larger than 100"):
        envelope.encode([replace(ONE, data=bytes(100))], limit=100)
    with pytest.raises(StateError):
        envelope.encode([ONE, ONE])
    with pytest.raises(StateError):
        envelope.encode([replace(ONE, oldest_reader=2)])
    with pytest.raises(StateError):
        envelope.encode([replace(ONE, kind=0x10000)])
    with pytest.raises(ProtocolError):
        envelope.decode(envelope.encode([replace(ONE, data=bytes(100))]), limit=100)
