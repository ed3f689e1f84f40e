"""Migration data: the offsets of dossier C4, round trips, and the defects of the reference that we do not share."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from damage import bit_flips, forged_counts, survives, truncations
from hypothesis import HealthCheck, given, settings
from strategies import structure

from spicehop.errors import ProtocolError, StateError
from spicehop.wire import migration_data as md

LAYOUTS = [*{cls.__name__: cls for cls in md.LAYOUTS.values()}.values(), md.LossyDisplayMigrationData]
every_layout = pytest.mark.parametrize("cls", LAYOUTS, ids=lambda cls: cls.__name__)
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DEVICE = md.DeviceState(1, 1, 11, 12, 13, b"device bytes")


@every_layout
def test_comes_back_as_it_was(cls: type[md.MigrationData]) -> None:
    @quick
    @given(structure(cls))
    def check(data: md.MigrationData) -> None:
        body = data.encode()
        assert cls.decode(body) == data
        assert cls.decode(body).encode() == body
        assert cls.decode(body + b"our envelope") == data

    check()


@every_layout
def test_damage_gives_data_or_a_protocol_error(cls: type[md.MigrationData]) -> None:
    peaks = [0]

    @settings(quick, max_examples=10)
    @given(structure(cls))
    def check(data: md.MigrationData) -> None:
        body = data.encode()
        for damaged in (*truncations(body), *bit_flips(body)):
            survives(cls.decode, damaged)
            if issubclass(cls, md.DisplayMigrationData):
                survives(md.display_forms, damaged)
        variants = list(forged_counts(body))
        tracemalloc.start()
        for damaged in variants:
            survives(cls.decode, damaged)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    check()
    assert max(peaks) < 100_000


def at(body: bytes, offset: int, form: str) -> int:
    value: int = struct.unpack_from("<" + form, body, offset)[0]
    return value


def test_offsets_of_a_device() -> None:
    body = md.VmcMigrationData(DEVICE).encode()
    assert body[:8] == b"SVMD" + struct.pack("<I", 1)
    assert [at(body, 8, "I"), at(body, 12, "B"), at(body, 13, "I"), at(body, 17, "I")] == [1, 1, 11, 12]
    assert [at(body, 21, "I"), at(body, 25, "I"), at(body, 29, "I")] == [12, 13, 33]
    assert body[33:] == b"device bytes"


def test_an_absent_device_is_a_version_and_zeros() -> None:
    assert md.VmcMigrationData(md.NO_DEVICE).encode() == b"SVMD" + struct.pack("<II", 1, 1) + bytes(21)


def test_offsets_of_a_smartcard() -> None:
    body = md.SmartcardMigrationData(DEVICE, 1, b"half a message").encode()
    assert body[:4] == b"SCMD"
    assert [at(body, 33, "B"), at(body, 34, "I"), at(body, 38, "I")] == [1, 14, 42 + 12]
    assert body[42:] == b"device bytes" + b"half a message"


def test_offsets_of_inputs() -> None:
    assert md.InputsMigrationData(3).encode() == b"ICMD" + struct.pack("<IH", 1, 3)


MAIN = md.MainMigrationData(
    agent=DEVICE,
    client_agent_started=1,
    chunk_header_bytes=8,
    chunk_port=21,
    chunk_remaining=22,
    message_header_done=0,
    message_header=b"partial",
    a2c_remaining=23,
    a2c_filter=1,
    c2a_remaining=24,
    c2a_filter=2,
)


def test_offsets_of_main() -> None:
    body = MAIN.encode()
    assert body[:4] == b"MNMD"
    assert [at(body, 33, "B"), at(body, 34, "I"), at(body, 38, "I"), at(body, 42, "I")] == [1, 8, 21, 22]
    assert [at(body, 46, "B"), at(body, 47, "I"), at(body, 51, "I"), at(body, 55, "I")] == [0, 7, 65 + 12, 23]
    assert [at(body, 59, "B"), at(body, 60, "I"), at(body, 64, "B")] == [1, 24, 2]
    assert body[65:] == b"device bytes" + b"partial"


DISPLAY_FIELDS = {
    "message_serial": 31,
    "low_bandwidth": 1,
    "pixmap_cache_id": 2,
    "pixmap_cache_size": 2**40,
    "pixmap_cache_freezer": 1,
    "pixmap_cache_clients": (32, 33, 34, 35),
    "glz_dictionary_id": 3,
    "glz_window_size": 36,
    "glz_max_encoders": 4,
    "glz_last_image_id": 37,
}


def test_offsets_of_a_display() -> None:
    body = md.DisplayMigrationData(**DISPLAY_FIELDS, surfaces=md.SurfaceList((0, 5))).encode()
    assert body[:4] == b"DCMD"
    assert [at(body, 8, "Q"), at(body, 16, "B"), at(body, 17, "B"), at(body, 18, "q")] == [31, 1, 2, 2**40]
    assert [at(body, 26, "B"), struct.unpack_from("<4Q", body, 27)] == [1, (32, 33, 34, 35)]
    assert [at(body, 59, "B"), at(body, 60, "I"), at(body, 64, "I"), at(body, 68, "Q")] == [3, 36, 4, 37]
    assert at(body, 76, "I") == 80
    assert body[80:] == struct.pack("<III", 2, 0, 5)


def test_offsets_of_lossy_surfaces() -> None:
    surfaces = md.LossySurfaceList((md.LossySurface(id=5, left=-1, top=2, right=3, bottom=4),))
    body = md.LossyDisplayMigrationData(**DISPLAY_FIELDS, surfaces=surfaces).encode()
    assert body[80:] == struct.pack("<IIiiii", 1, 5, -1, 2, 3, 4)


@pytest.mark.parametrize(
    ("data", "forms"),
    [
        (
            md.DisplayMigrationData(**DISPLAY_FIELDS, surfaces=md.SurfaceList(())),
            (md.DisplayMigrationData, md.LossyDisplayMigrationData),
        ),
        (md.DisplayMigrationData(**DISPLAY_FIELDS, surfaces=md.SurfaceList((0,))), (md.DisplayMigrationData,)),
        (
            md.LossyDisplayMigrationData(
                **DISPLAY_FIELDS, surfaces=md.LossySurfaceList((md.LossySurface(0, 0, 0, 0, 0),))
            ),
            (md.LossyDisplayMigrationData,),
        ),
    ],
)
def test_forms_of_display_data(data: md.MigrationData, forms: tuple[type, ...]) -> None:
    assert md.display_forms(data.encode()) == forms
    assert md.display_forms(data.encode() + b"more") == ()


def patched(data: md.MigrationData, offset: int, form: str, value: int) -> bytes:
    body = bytearray(data.encode())
    struct.pack_into("<" + form, body, offset, value)
    return bytes(body)


DISPLAY = md.DisplayMigrationData(**DISPLAY_FIELDS, surfaces=md.SurfaceList((0,)))


@pytest.mark.parametrize(
    ("cls", "body", "sentence"),
    [
        (md.MainMigrationData, b"DCMD" + bytes(61), "begins with b'DCMD', b'MNMD' was expected"),
        (md.MainMigrationData, patched(MAIN, 4, "I", 2), "version 2 is not known"),
        (md.MainMigrationData, patched(MAIN, 8, "I", 2), "device state of version 2 is not known"),
        (md.MainMigrationData, patched(MAIN, 21, "I", 2**32 - 1), "bytes too early"),
        (md.MainMigrationData, patched(MAIN, 29, "I", 2**32 - 1), "a pointer leads to byte 4294967295"),
        (md.MainMigrationData, patched(MAIN, 29, "I", 0), "12 bytes are announced behind a null pointer"),
        (md.MainMigrationData, patched(MAIN, 34, "I", 9), "9 bytes of a chunk header are more than it has"),
        (md.MainMigrationData, patched(MAIN, 59, "B", 4), "an agent filter in state 4 is not known"),
        (md.SmartcardMigrationData, b"SCMD\1\0\0\0" + bytes(33), "bytes too early"),
        (md.DisplayMigrationData, patched(DISPLAY, 84, "I", 1024), "surface 1024 is beyond the last possible, 1023"),
        (md.DisplayMigrationData, patched(DISPLAY, 80, "I", 2**31), "items are announced"),
        (md.DisplayMigrationData, patched(DISPLAY, 76, "I", 0), "a pointer to SurfaceList is null"),
    ],
)
def test_data_that_lies(cls: type[md.MigrationData], body: bytes, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        cls.decode(body)


def test_more_surfaces_than_there_can_be() -> None:
    body = DISPLAY.encode()[:80] + struct.pack("<1026I", 1025, *range(1025))
    with pytest.raises(ProtocolError, match="1025 surfaces are more than 1024"):
        md.DisplayMigrationData.decode(body)


def test_a_partial_message_header_is_partial() -> None:
    body = MAIN.encode() + bytes(20)
    body = body[:47] + struct.pack("<II", 20, len(body) - 20) + body[55:]
    with pytest.raises(ProtocolError, match="20 bytes of a message header are not a part of it"):
        md.MainMigrationData.decode(body)


def test_what_a_server_would_refuse_is_not_encoded() -> None:
    most = md.MAIN_LIMIT - 65 - 7
    fitting = md.DeviceState(1, 1, 0, 0, 0, bytes(most))
    too_much = md.DeviceState(1, 1, 0, 0, 0, bytes(most + 1))
    fields = {name: getattr(MAIN, name) for name in MAIN.layout().names if name != "agent"}
    assert len(md.MainMigrationData(agent=fitting, **fields).encode()) == md.MAIN_LIMIT == 26_624
    with pytest.raises(StateError, match="26625 bytes is larger than 26624"):
        md.MainMigrationData(agent=too_much, **fields).encode()
    with pytest.raises(StateError, match="surface 1024 is beyond"):
        md.DisplayMigrationData(**DISPLAY_FIELDS, surfaces=md.SurfaceList((1024,))).encode()
