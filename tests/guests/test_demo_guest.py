"""The demo guest: what it logs, shows, takes and gives."""

from __future__ import annotations

import numpy as np
import pytest

from spicehop.demo.keys import KeyPlan, count_keys
from spicehop.demo.payload import count_port, numbered_bytes
from spicehop.demo.serial import SerialLog, parse_serial
from spicehop.demo.stamp import read_stamp
from spicehop.errors import StateError, UsageError
from spicehop.guests.demo import DemoGuest
from spicehop.guests.demo.pointers import PointerKind
from spicehop.guests.interface import CopiedFromSurface, Guest, Moved, Resized, SurfaceCreated, SurfaceDestroyed
from spicehop.guests.testing import Replica
from spicehop.wire.constants import KeyboardModifier

F5, F6, F7, F8, F9, F10 = (bytes([code, code | 0x80]) for code in range(0x3F, 0x45))
MENU_KEY = b"\xe0\x5b\xe0\xdb"


class Bench:
    """A guest that runs, with its log and a clock."""

    def __init__(self, width: int = 640, height: int = 480, **options: int) -> None:
        self.lines: list[str] = []
        self.guest = DemoGuest(width, height, log=self.lines.append, **options)
        self.now = 50.0
        self.guest.run(self.now)

    def wait(self, seconds: float) -> None:
        """Calls the guest when it asks for it."""
        end = self.now + seconds
        while (deadline := self.guest.next_deadline()) is not None and deadline <= end:
            self.guest.advance(deadline)
        self.now = end
        self.guest.advance(end)

    @property
    def log(self) -> SerialLog:
        return parse_serial("".join(line + "\n" for line in self.lines))

    @property
    def pixels(self) -> np.ndarray:
        return self.guest.displays[0].pixels


def test_it_is_a_guest() -> None:
    guest: Guest = DemoGuest()
    assert not guest.running
    assert len(guest.uuid) == 16
    assert guest.uuid == DemoGuest().uuid != DemoGuest(seed=2).uuid
    assert guest.displays[0].pixels.shape == (768, 1024, 4)
    assert guest.next_deadline() is None


@pytest.mark.parametrize("size", [(319, 300), (640, 200), (5000, 600)])
def test_a_size_that_cannot_be_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError):
        DemoGuest(*size)


@pytest.mark.parametrize("size", [(320, 240), (321, 241), (4096, 2304)])
def test_every_other_size_can_be_drawn(size: tuple[int, int]) -> None:
    guest = DemoGuest(*size)
    guest.run(0)
    for step in range(30):
        guest.advance(step * 0.04)
    guest.key(F8)
    guest.advance(2)
    assert read_stamp(guest.displays[0].pixels) is not None


def test_it_says_that_it_is_ready_in_the_words_of_the_other_guest() -> None:
    bench = Bench()
    assert bench.log.is_ready
    assert bench.log.faults == ()
    assert bench.lines[-2:] == ["INIT 0 READY t=0.000000", "SCREEN 1 frame n=0 t=0.000000"]


def test_every_key_is_counted_as_under_qemu() -> None:
    bench = Bench()
    codes = KeyPlan().codes(300)
    for code in codes:
        bench.guest.key(bytes([code]))
        bench.wait(0.01)
        bench.guest.key(bytes([code | 0x80]))
        bench.wait(0.01)
    count = count_keys(codes, bench.log)
    assert (count.lost, count.duplicated, count.unreleased) == (0, 0, ())
    assert [event.number for event in bench.log.keys] == list(range(600))
    assert bench.log.faults == ()


def test_frames_follow_each_other_25_times_a_second() -> None:
    bench = Bench()
    stamps = []
    for _ in range(50):
        bench.wait(0.04)
        stamps.append(read_stamp(bench.pixels))
    assert stamps == list(range(1, 51))


def test_a_late_call_draws_one_frame_and_skips_no_number() -> None:
    bench = Bench()
    bench.guest.advance(bench.now + 3)
    assert read_stamp(bench.pixels) == 1


def test_frozen_it_shows_the_same_picture_whatever_is_done() -> None:
    bench = Bench()
    bench.wait(0.5)
    bench.guest.key(F7)
    before = bench.pixels.copy()
    bench.guest.displays[0].take_changes()
    bench.guest.key(b"\x1e\x9e")
    bench.guest.key(MENU_KEY)
    bench.wait(5)
    bench.guest.stop(bench.now)
    bench.guest.run(bench.now)
    assert np.array_equal(bench.pixels, before)
    assert bench.guest.displays[0].take_changes() == []
    assert bench.log.is_frozen
    assert bench.log.of("SCREEN", "frozen")[0].number("frame") - 1 == read_stamp(before)
    bench.guest.key(F7)
    bench.wait(0.1)
    assert not bench.log.is_frozen
    assert not np.array_equal(bench.pixels, before)


def test_it_draws_a_stamp_before_it_stops_and_after_it_runs() -> None:
    bench = Bench()
    bench.wait(0.1)
    shown = read_stamp(bench.pixels)
    assert shown is not None
    bench.guest.stop(bench.now)
    assert read_stamp(bench.pixels) == shown + 1
    bench.guest.run(bench.now + 100)
    assert read_stamp(bench.pixels) == shown + 2


def test_standing_still_it_takes_nothing_and_gives_nothing() -> None:
    bench = Bench()
    guest = bench.guest
    devices = guest.devices
    assert devices.smartcard is not None
    assert devices.webdav is not None
    assert devices.agent is not None
    every = (*devices.ports, *devices.usbredir, devices.smartcard, devices.webdav)
    assert [device.write(b"1234") for device in every] == [4, 4, 4, 4]
    bench.wait(1)
    guest.stop(bench.now)
    lines, pixels = len(bench.lines), bench.pixels.copy()
    for device in (*every, devices.agent):
        assert device.read(100) == b""
        assert device.write(b"5678") == 0
        device.client_changed(present=True)
    guest.key(b"\x1e\x9e")
    guest.pointer_placed(0, 1, 1, 1)
    guest.pointer_moved(5, 5, 1)
    guest.buttons_changed(1)
    guest.sound_in.write(b"1234")
    assert guest.sound_out.read(1000) == b""
    guest.advance(bench.now + 60)
    assert guest.next_deadline() is None
    assert len(bench.lines) == lines
    assert np.array_equal(bench.pixels, pixels)
    guest.run(bench.now + 60)
    assert [device.read(100) for device in every] == [b"1234"] * 4
    assert bench.lines[lines].startswith("KEYS ")
    assert "dropped keys=1 buttons=1 moves=2 " in bench.lines[lines]
    assert bench.log.keys == ()


def test_its_clock_stands_still_with_it() -> None:
    bench = Bench()
    bench.wait(1)
    bench.guest.stop(bench.now)
    bench.guest.run(bench.now + 1000)
    bench.now += 1000
    bench.wait(1)
    bench.guest.key(b"\x1e")
    assert bench.log.keys[0].time == pytest.approx(2)


def test_the_port_sends_back_and_counts() -> None:
    bench = Bench()
    port = bench.guest.devices.ports[0]
    assert port.name == "org.example.echo.0"
    sent, echoed, size = 0, b"", 50_000
    while sent < 1_000_000:
        sent += port.write(numbered_bytes(sent, size))
        echoed += port.read(30_000)
        bench.wait(0.01)
    while part := port.read(100_000):
        echoed += part
    bench.wait(1)
    count = count_port(sent, echoed, bench.log.port_totals)
    assert count.is_complete
    assert bench.log.port_totals[-1].size == sent


def test_a_port_that_nobody_reads_takes_no_more_than_its_buffer() -> None:
    port = Bench().guest.devices.ports[0]
    taken = sum(port.write(bytes(60_000)) for _ in range(100))
    assert taken == 240_000
    assert port.write(bytes(100_000)) == 0
    assert port.read(10**6) == bytes(taken)
    assert port.write(bytes(2_000_000)) == 2_000_000


def test_it_has_only_the_devices_that_were_asked_for() -> None:
    devices = DemoGuest(320, 240, loops=("webdav",)).devices
    assert (devices.usbredir, devices.smartcard) == ((), None)
    assert devices.webdav is not None


def test_the_port_says_who_comes_and_goes() -> None:
    bench = Bench()
    port = bench.guest.devices.ports[0]
    for present in (True, True, False, True):
        port.client_changed(present=present)
    assert [total.why for total in bench.log.port_totals] == ["open", "closed", "open"]


def test_f6_makes_every_role_say_its_totals() -> None:
    bench = Bench()
    bench.guest.key(F6)
    log = bench.log
    assert (
        log.syncs == len(log.of("SCREEN", "sync")) == len(log.of("ECHO", "sync")) == len(log.of("AGENT", "sync")) == 1
    )


def test_what_is_typed_is_shown() -> None:
    bench = Bench()
    for code in (0x2A, 0x23, 0xA3, 0xAA, 0x17, 0x97, 0x0E, 0x8E, 0x17, 0x97, 0x1C, 0x9C, 0x3A, 0xBA, 0x1E, 0x9E):
        bench.guest.key(bytes([code]))
    bench.wait(0.04)
    assert bench.guest.displays[0].scene.text == b"Hi\nA"
    assert bench.guest.lock_keys == KeyboardModifier.CAPS_LOCK


def test_scrolling_text_is_moved() -> None:
    bench = Bench()
    replica = Replica()
    for _ in range(30):
        bench.guest.key(b"\x1e\x9e\x1c\x9c")
        bench.wait(0.01)
    replica.follow(bench.guest.displays[0])
    bench.guest.key(b"\x1c\x9c")
    bench.wait(0.001)
    changes = replica.follow(bench.guest.displays[0])
    assert any(isinstance(change, Moved) for change in changes)
    assert np.array_equal(replica.surfaces[0], bench.pixels)


def test_a_window_that_is_dragged_is_moved() -> None:
    bench = Bench(1024, 768)
    guest, replica = bench.guest, Replica()
    replica.follow(guest.displays[0])
    guest.pointer_placed(0, 700, 60, 0)
    assert guest.pointer.shape is not None
    guest.buttons_changed(1)
    guest.pointer_placed(0, 720, 90, 1)
    bench.wait(0.001)
    changes = replica.follow(guest.displays[0])
    assert any(isinstance(change, Moved) for change in changes)
    assert np.array_equal(replica.surfaces[0], bench.pixels)
    assert replica.drawn_pixels < 1.2 * 1024 * 768


def test_the_planet_is_copied_from_its_surface() -> None:
    bench = Bench()
    changes = bench.guest.displays[0].take_changes()
    assert SurfaceCreated(1, *bench.guest.displays[0].surfaces[1].shape[1::-1]) in changes
    bench.wait(0.1)
    assert any(isinstance(change, CopiedFromSurface) for change in bench.guest.displays[0].take_changes())


def test_the_menu_is_a_surface_while_it_is_open() -> None:
    bench = Bench()
    display = bench.guest.displays[0]
    display.take_changes()
    bench.guest.key(MENU_KEY)
    bench.wait(0.001)
    created = [change for change in display.take_changes() if isinstance(change, SurfaceCreated)]
    assert [change.surface_id for change in created] == [2]
    assert 2 in display.surfaces
    bench.guest.key(MENU_KEY)
    bench.wait(0.001)
    assert SurfaceDestroyed(2) in display.take_changes()
    assert 2 not in display.surfaces


def test_it_takes_another_size() -> None:
    bench = Bench()
    bench.guest.want_monitors([(0, 0, 0, 0), (0, 0, 801, 603)])
    assert bench.pixels.shape == (603, 801, 4)
    assert Resized(801, 603) in bench.guest.displays[0].take_changes()
    bench.guest.stop(bench.now)
    bench.guest.want_monitors([(0, 0, 10_000, 10)])
    assert bench.pixels.shape == (603, 801, 4)
    bench.guest.run(bench.now)
    assert bench.pixels.shape == (240, 4096, 4)
    assert [line.number("width") for line in bench.log.of("SCREEN", "resized")] == [801, 4096]


def test_the_pointer_looks_like_what_it_is_above() -> None:
    bench = Bench(1024, 768)
    kinds = []
    for x, y in ((990, 300), (200, 300), (30, 750)):
        bench.guest.pointer_placed(0, x, y, 0)
        shape = bench.guest.pointer.shape
        assert shape is not None
        assert shape.pixels[shape.hot_y, shape.hot_x, 3] == 255
        kinds.append(shape.unique)
    assert kinds == [PointerKind.ARROW, PointerKind.TEXT, PointerKind.HAND]
    pointer = bench.guest.pointer
    bench.guest.pointer_placed(0, 30, 750, 0)
    assert bench.guest.pointer is pointer
    bench.guest.pointer_moved(2, 0, 0)
    assert (bench.guest.pointer.x, bench.guest.pointer.y) == (32, 750)
    bench.guest.key(F8)
    assert not bench.guest.pointer.visible


def test_buttons_moves_and_wheel_are_logged() -> None:
    bench = Bench()
    guest = bench.guest
    guest.pointer_placed(0, 10, 20, 0)
    guest.pointer_moved(-3, 4, 0)
    for buttons in (1, 0, 4, 0, 8, 0, 16, 0):
        guest.buttons_changed(buttons)
    texts = [line.split(" ", 2)[2].rsplit(" ", 1)[0] for line in bench.lines if "device" not in line]
    assert [text for text in texts if text.startswith(("move", "button", "wheel"))] == [
        "move n=0 kind=absolute x=10 y=20",
        "move n=1 kind=relative x=-3 y=4",
        "button n=0 code=272 value=1",
        "button n=1 code=272 value=0",
        "button n=2 code=273 value=1",
        "button n=3 code=273 value=0",
        "wheel code=8 value=1",
        "wheel code=8 value=-1",
    ]


def test_a_square_is_painted_also_while_it_stands_still() -> None:
    bench = Bench()
    guest = bench.guest
    guest.key(F7)
    guest.stop(bench.now)
    before = bench.pixels.copy()
    guest.displays[0].take_changes()
    assert guest.put_square(320, 192, 0x123456)
    changed = np.argwhere((bench.pixels != before).any(axis=-1))
    assert (changed.min(axis=0).tolist(), changed.max(axis=0).tolist()) == ([192, 320], [255, 383])
    assert bench.pixels[200, 330].tolist() == [0x56, 0x34, 0x12, 0]
    assert not guest.put_square(600, 450, 1)


def test_only_a_guest_that_stands_still_is_saved_or_loaded() -> None:
    guest = Bench().guest
    with pytest.raises(StateError):
        guest.save()
    with pytest.raises(StateError):
        guest.load(b"")
