"""What a client brings from libspice-server, and what its channels go on with here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spicehop.channels.serving.channel import ChannelState, Peer
from spicehop.channels.serving.cursor import CursorState, Pointer, ServerCursor, Shape
from spicehop.channels.serving.display import DisplayState
from spicehop.channels.serving.inputs import InputsState
from spicehop.channels.serving.main import MainState
from spicehop.channels.serving.playback import PlaybackState
from spicehop.channels.serving.record import RecordState
from spicehop.migration.arriving import Here, RestoredChannel, StateCollector, without_state
from spicehop.migration.state import MAIN, SessionState, sections
from spicehop.wire import cursor, display, envelope, inputs, registry
from spicehop.wire.constants import ChannelType, Direction, KeyboardModifier
from spicehop.wire.framing import FrameReader
from spicehop.wire.migration_data import (
    NO_DEVICE,
    DisplayMigrationData,
    InputsMigrationData,
    MainMigrationData,
    SurfaceList,
)

DISPLAY, INPUTS = (ChannelType.DISPLAY, 1), (ChannelType.INPUTS, 0)
HERE = Here(connection_id=99, locks=KeyboardModifier.NUM_LOCK, displays=2)


def brought(key: tuple[int, int], body: bytes) -> RestoredChannel:
    (restored,) = StateCollector().body_came(key, body, {key}, HERE)
    assert restored.from_libspice
    return restored


def test_the_main_channel_is_this_sessions_and_no_mouse_mode_is_known() -> None:
    restored = brought(MAIN, MainMigrationData(NO_DEVICE, 0, 0, 0, 0, 0, b"", 0, 0, 0, 0).encode())
    assert isinstance(restored.state, MainState)
    assert restored.state.connection_id == 99
    assert restored.state.supported_mouse_modes == 0


def test_inputs_are_told_this_guests_lock_keys() -> None:
    restored = brought(INPUTS, InputsMigrationData(3).encode())
    assert isinstance(restored.state, InputsState)
    assert (restored.state.locks, restored.state.motions) == (KeyboardModifier.NUM_LOCK, 3)
    (told,) = restored.state.channel.queued
    assert told.body == inputs.KeyModifiers(KeyboardModifier.NUM_LOCK).encode()


def test_a_displays_caches_are_emptied_and_all_surfaces_but_the_primary_end() -> None:
    body = DisplayMigrationData(34, 0, 1, 20 << 20, 1, (0, 0, 0, 0), 1, 6 << 20, 4, 12, SurfaceList((0, 5, 9))).encode()
    restored = brought(DISPLAY, body)
    assert isinstance(restored.state, DisplayState)
    assert restored.first == (
        display.InvalAllPixmaps(()),
        display.InvalAllPalettes(),
        display.SurfaceDestroy(5),
        display.SurfaceDestroy(9),
    )
    assert restored.view is not None
    assert (restored.view.display_id, restored.view.displays, restored.view.surfaces) == (1, 2, ())


def test_a_channel_that_the_client_did_not_have_at_the_source_is_not_awaited() -> None:
    port, usb = (ChannelType.PORT, 0), (ChannelType.USBREDIR, 0)
    state = MainState(ChannelState(), 99, 2, 3, listed=True)
    layout = MainMigrationData(NO_DEVICE, 0, 0, 0, 0, 0, b"", 0, 0, 0, 0).encode()
    body = layout + envelope.encode(sections(SessionState({MAIN: state}, handed=frozenset({MAIN, usb}))))
    collector = StateCollector()
    linked = {MAIN, port, usb}
    assert not collector.is_surplus(port)
    assert [one.key for one in collector.body_came(MAIN, body, linked, HERE)] == [MAIN]
    assert collector.missing(linked) == {usb}
    assert [collector.is_surplus(key) for key in (port, usb)] == [True, False]


def said(machine: ServerCursor) -> list[type]:
    frames = FrameReader(mini_header=True).feed(b"".join(machine.drain(0.0)))
    return [
        type(registry.decode(ChannelType.CURSOR, Direction.FROM_SERVER, one.number, bytes(one.body))) for one in frames
    ]


SHAPE = Shape(7, 1, 1, 0, 0, bytes(4))


@pytest.mark.parametrize("visible", [True, False])
def test_a_cursor_of_which_nothing_is_known_is_not_begun_a_second_time(visible: bool) -> None:
    restored = without_state((ChannelType.CURSOR, 0))
    assert restored is not None
    assert isinstance(restored.state, CursorState)
    machine = ServerCursor(0, Peer(local=True), 0.0, restored.state)
    machine.pointer = replace(Pointer(), shape=SHAPE, visible=visible)
    words = said(machine)
    assert words[1:3] == [cursor.InvalAll, cursor.Hide]
    assert words[3:] == ([cursor.Set] if visible else [])


def test_sound_begins_anew_and_everything_else_as_if_it_were_new() -> None:
    playback, record = without_state((ChannelType.PLAYBACK, 0)), without_state((ChannelType.RECORD, 0))
    assert playback is not None
    assert record is not None
    assert isinstance(playback.state, PlaybackState)
    assert isinstance(record.state, RecordState)
    assert playback.state.playing is record.state.recording is None
    assert without_state((ChannelType.PORT, 0)) is None
