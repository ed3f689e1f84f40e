#!/usr/bin/python3
"""The stock client without a screen: spice-gtk, told what to do by JSON lines, telling what happens by JSON lines.

    gtk_script.py HOST PORT [--username NAME] [--password WORD] [--ca-file FILE --tls-port PORT] [--echo FILE]
                  [--except TEXT]
    gtk_script.py --version

The second prints the version of spice-gtk, and fails where it is not installed. Where criticals are fatal
(`G_DEBUG=fatal-criticals`), one with exactly the TEXT is not.

Needs the Python that has `gi`, which is Debian's own, and nothing of this package: `gtk_client.py` starts it. Commands
come on standard input, one object a line with `do`:

    keys codes=[...] hz=50      type these scan codes; `typed` when all are
    key code=63                 one key, pressed and released
    type codes=[...] hz=50      type these codes over and over
    stop-typing file=PATH       no more; `typing-stopped` with the `count` of key events, which the file lists as JSON,
                                [code, 1 or 0, t] each, those of `down` and `up` with them
    down code=42                press a key, up code=42 releases it
    write text="..."            to the port
    pour rate=BYTES             a pattern to the port in messages of `piece` bytes, at most `window` bytes ahead of the
                                echo, which is compared; `echo-wrong` when it is not what was sent
    stop-pouring                no more; `poured` when all has come back, or nothing has for 10 s
    stream size=N rate=BYTES    numbered records of 16 bytes to the port; `streamed` when all are written
    offer size=N                offer the clipboard a text of numbered lines; checksums are of texts up to 1 MB only
    save file=PATH              the picture, as a PPM
    mode mode=1                 ask for a mouse mode: 1 of the server, 2 of the client
    motion dx=1 dy=2            move the pointer; position x= y= places it
    button button=1             one mouse button, pressed and released
    drag x= y= dx= dy= steps=N  press at a place, move and release; `dragged` when done
    watch                       note the number of each frame that the guest stamps on its screen
    watched                     `watched` with the `frames` that were seen, in order
    resize width=W height=H     ask for a monitor of this size
    record seconds=N            a loud square wave for the guest, as from a microphone
    agent                       `agent-can` with the numbers of the capabilities that the guest's agent has announced
    totals                      `totals` with what was sent and received
    quit

Each line printed is an object with `event` and `t`, CLOCK_MONOTONIC seconds.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import itertools
import json
import os
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import gi

gi.require_version("SpiceClientGLib", "2.0")
from gi.repository import GLib, GObject
from gi.repository import SpiceClientGLib as Spice

library = ctypes.CDLL("libspice-client-glib-2.0.so.8")
objects = ctypes.CDLL("libgobject-2.0.so.0")
glib = ctypes.CDLL("libglib-2.0.so.0")
TEXT = 1
TICK_MS = 20
SUMMED = 1 << 20  # bytes of which Python can compute the checksum while others wait
PATTERN = b"".join(b"%015d\n" % number for number in range(1 << 17))
"""What is poured into the port, again and again; see demo/payload.py."""
PATIENCE_SECONDS = 10
STAMP_MARK, STAMP_PLACE, STAMP_CELL = 0xA53C, 16, 8
"""How the guest shows the number of a frame: 4 rows of 16 cells, black or white."""


class Primary(ctypes.Structure):
    """spice-gtk's SpiceDisplayPrimary."""

    _fields_ = [
        ("format", ctypes.c_int),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("stride", ctypes.c_int),
        ("shared_memory", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("marked", ctypes.c_int),
    ]


pointer, unsigned, size_type = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_size_t
library.spice_display_channel_get_primary.argtypes = [pointer, unsigned, ctypes.POINTER(Primary)]
library.spice_port_channel_write_async.argtypes = [pointer, pointer, size_type, pointer, pointer, pointer]
library.spice_main_channel_clipboard_selection_notify.argtypes = [pointer, unsigned, unsigned, pointer, size_type]
library.spice_main_channel_clipboard_selection_grab.argtypes = [pointer, unsigned, pointer, ctypes.c_int]
library.spice_main_channel_clipboard_selection_request.argtypes = [pointer, unsigned, unsigned]
library.spice_record_channel_send_data.argtypes = [pointer, pointer, size_type, unsigned]
objects.g_signal_connect_data.argtypes = [pointer, ctypes.c_char_p, pointer, pointer, pointer, ctypes.c_int]
# PyGObject cannot turn the raw arrays of these two signals into Python values: they are connected in C.
GrabHandler = ctypes.CFUNCTYPE(ctypes.c_int, pointer, unsigned, pointer, unsigned, pointer)
TextHandler = ctypes.CFUNCTYPE(None, pointer, unsigned, unsigned, pointer, unsigned, pointer)
FatalHandler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, pointer)
glib.g_test_log_set_fatal_handler.argtypes = [FatalHandler, pointer]


def say(event: str, **detail: object) -> None:
    print(json.dumps({"event": event, "t": round(time.monotonic(), 6), **detail}), flush=True)


def address(thing: Any) -> ctypes.c_void_p:
    """The C address of a GObject: PyGObject's hash is that."""
    return ctypes.c_void_p(thing if isinstance(thing, int) else hash(thing))


def listen(thing: Any, signal: str, handler: Callable[..., object]) -> None:
    """GObject's connect, which Session.connect and Channel.connect hide."""
    GObject.Object.connect(thing, signal, handler)


def fnv1a(data: bytes) -> int:
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def checksum(data: bytes) -> int | None:
    return fnv1a(data) if len(data) <= SUMMED else None


def numbered_text(size: int) -> bytes:
    return b"".join(b"clip %08d\n" % number for number in range(-(-size // 14)))[:size]


def pattern_bytes(offset: int, size: int) -> bytes:
    first = offset % len(PATTERN)
    part = PATTERN[first : first + size]
    while len(part) < size:
        part += PATTERN[: size - len(part)]
    return part


class Client:
    def __init__(self, session: Any, loop: Any, echo: BinaryIO) -> None:
        self.session = session
        self.loop = loop
        self.echo = echo
        self.unfinished = b""
        self.channels: dict[str, Any] = {}
        self.kept: list[Any] = []  # C callbacks and buffers that spice-gtk goes on using
        self.port_sent = 0
        self.port_received = 0
        self.keys_typed = 0
        self.key_events: list[tuple[int, int, float]] = []
        self.typing = False
        self.pouring = False
        self.poured = 0
        self.flowed_back = 0
        self.flowed_at = 0.0
        self.flow_is_right = True
        self.under_way: collections.deque[tuple[int, Any]] = collections.deque()
        """Buffers of what is poured, with their ends."""
        self.sound_bytes = 0
        self.sound_peak = 0  # the largest high byte of a sample: not 0 when something can be heard
        self.offered = b""
        self.watches = False
        self.frames: list[int] = []
        listen(session, "channel-new", self.channel_came)
        listen(session, "channel-destroy", lambda _, channel: say("channel-gone", kind=type(channel).__name__))
        listen(session, "disconnected", lambda _: say("disconnected"))
        listen(session, "notify::migration-state", self.migration_state_changed)

    def migration_state_changed(self, session: Any, _: object) -> None:
        say("migration-state", state=session.get_property("migration-state").value_nick)

    def channel_came(self, _: object, channel: Any) -> None:
        kind = type(channel).__name__
        say("channel-came", kind=kind, id=channel.get_property("channel-id"))
        listen(channel, "channel-event", lambda _, event: say("channel-event", kind=kind, what=event.value_nick))
        self.channels[kind] = channel
        if kind == "MainChannel":
            self.watch_main(channel)
        elif kind == "DisplayChannel":
            listen(channel, "display-primary-create", lambda *a: say("surface", width=a[2], height=a[3]))
            listen(channel, "display-invalidate", lambda *_: self.look())
            listen(channel, "display-mark", lambda _, mark: say("mark", mark=mark))
        elif kind == "PlaybackChannel":
            listen(channel, "playback-start", lambda _, *what: say("playing", format=what[0], channels=what[1]))
            listen(channel, "playback-data", self.sound_came)
        elif kind == "RecordChannel":
            listen(channel, "record-start", lambda _, *what: say("recording", format=what[0], channels=what[1]))
            listen(channel, "record-stop", lambda _: say("not-recording"))
        elif kind == "PortChannel":
            listen(channel, "notify::port-opened", self.port_changed)
            listen(channel, "notify::port-name", self.port_changed)
            listen(channel, "port-data", self.port_data_came)
        Spice.Channel.connect(channel)

    def watch_main(self, main: Any) -> None:
        listen(main, "main-agent-update", lambda c: say("agent", connected=c.get_property("agent-connected")))
        listen(main, "main-mouse-update", lambda c: say("mouse-mode", mode=c.get_property("mouse-mode")))
        listen(main, "main-clipboard-selection-request", self.clipboard_requested)
        for signal, kind, handler in (
            ("main-clipboard-selection-grab", GrabHandler, self.clipboard_offered),
            ("main-clipboard-selection", TextHandler, self.clipboard_came),
        ):
            wrapped = kind(handler)
            self.kept.append(wrapped)
            function = ctypes.cast(wrapped, pointer)
            objects.g_signal_connect_data(address(main), signal.encode(), function, None, None, 0)

    def clipboard_requested(self, main: Any, selection: int, kind: int) -> bool:
        buffer = ctypes.create_string_buffer(self.offered, len(self.offered))
        self.kept.append(buffer)
        length = len(self.offered)
        library.spice_main_channel_clipboard_selection_notify(address(main), selection, kind, buffer, length)
        say("clipboard-given", size=length)
        return True

    def clipboard_offered(self, main: Any, selection: int, _types: object, _count: int, _data: object) -> int:
        say("clipboard-offered", selection=selection)
        library.spice_main_channel_clipboard_selection_request(main, selection, TEXT)
        return 1

    def clipboard_came(self, _main: object, _selection: int, kind: int, data: int, size: int, _data: object) -> None:
        text = ctypes.string_at(data, size)
        say("clipboard", kind=kind, size=size, checksum=checksum(text), numbered=text == numbered_text(size))

    def port_changed(self, port: Any, _: object) -> None:
        say("port", name=port.get_property("port-name"), opened=port.get_property("port-opened"))

    def sound_came(self, _: object, data: Any, size: int) -> None:
        self.sound_bytes += size
        self.sound_peak = max(self.sound_peak, *ctypes.string_at(address(data), size)[1::2])

    def port_data_came(self, _: object, data: Any, size: int) -> None:
        if self.poured:
            self.flow_back(ctypes.string_at(address(data), size))
            return
        self.echo.write(ctypes.string_at(address(data), size))
        self.port_received += size

    # What a command asks for.

    def do_keys(self, codes: Sequence[int], hz: float) -> None:
        """Presses at each tick of `hz` and releases half a tick later, as the channel at that moment takes it."""
        left = list(enumerate(codes))
        held: list[int] = []

        def step() -> bool:
            inputs = self.channels["InputsChannel"]
            if held:
                inputs.key_release(held.pop())
                self.keys_typed += 1
                if not left:
                    say("typed", count=len(codes))
                return bool(left)
            index, code = left.pop(0)
            inputs.key_press(code)
            held.append(code)
            say("pressed", index=index, code=code)
            return True

        GLib.timeout_add(max(1, int(500 / hz)), step)

    def do_key(self, code: int) -> None:
        self.channels["InputsChannel"].key_press(code)
        self.channels["InputsChannel"].key_release(code)

    def do_type(self, codes: Sequence[int], hz: float) -> None:
        """As `keys`, until `stop-typing`; notes each event when the channel takes it."""
        following = itertools.cycle(codes)
        self.typing = True
        held: list[int] = []

        def step() -> bool:
            if held:
                self.do_up(held.pop())
            elif self.typing:
                held.append(next(following))
                self.do_down(held[0])
            else:
                return False
            return True

        GLib.timeout_add(max(1, int(500 / hz)), step)

    def do_down(self, code: int) -> None:
        self.channels["InputsChannel"].key_press(code)
        self.key_events.append((code, 1, time.monotonic()))

    def do_up(self, code: int) -> None:
        self.channels["InputsChannel"].key_release(code)
        self.key_events.append((code, 0, time.monotonic()))

    def do_stop_typing(self, file: str) -> None:
        self.typing = False

        def tell() -> bool:
            with open(file, "w") as events:
                json.dump(self.key_events, events)
            say("typing-stopped", count=len(self.key_events), file=file)
            return False

        GLib.timeout_add(100, tell)

    def do_pour(self, rate: float, piece: int, window: int) -> None:
        self.pouring = True
        self.flowed_at = time.monotonic()
        due: list[float] = [self.poured, time.monotonic()]

        def step() -> bool:
            if not self.pouring:
                return False
            wanted = due[0] + rate * (time.monotonic() - due[1])
            while self.poured + piece <= min(wanted, self.flowed_back + window):
                self.pour_piece(piece)
            if wanted - self.poured > rate:  # what could not be sent in a second is not made up for
                due[:] = self.poured, time.monotonic()
            return True

        GLib.timeout_add(10, step)

    def pour_piece(self, piece: int) -> None:
        buffer = ctypes.create_string_buffer(pattern_bytes(self.poured, piece), piece)
        self.poured += piece
        self.under_way.append((self.poured, buffer))
        port = address(self.channels["PortChannel"])
        library.spice_port_channel_write_async(port, buffer, piece, None, None, None)

    def flow_back(self, data: bytes) -> None:
        expected = pattern_bytes(self.flowed_back, len(data))
        if self.flow_is_right and data != expected:
            self.flow_is_right = False
            at = next(place for place in range(len(data)) if data[place] != expected[place])
            found, wanted = (part[at : at + 64].decode("ascii", "replace") for part in (data, expected))
            say("echo-wrong", offset=self.flowed_back + at, found=found, expected=wanted)
        self.flowed_back += len(data)
        self.flowed_at = time.monotonic()
        while self.under_way and self.under_way[0][0] <= self.flowed_back:
            self.under_way.popleft()

    def do_stop_pouring(self) -> None:
        self.pouring = False

        def look() -> bool:
            if self.flowed_back < self.poured and time.monotonic() < self.flowed_at + PATIENCE_SECONDS:
                return True
            say("poured", sent=self.poured, echoed=self.flowed_back, right=self.flow_is_right)
            return False

        GLib.timeout_add(TICK_MS, look)

    def do_write(self, text: str) -> None:
        self.write_port(text.encode())

    def do_stream(self, size: int, rate: int, window: int = 1 << 18) -> None:
        end = self.port_sent + size

        def step() -> bool:
            room = window - (self.port_sent - self.port_received)
            take = min(rate * TICK_MS // 1000, room, end - self.port_sent)
            if take > 0:
                first, last = self.port_sent // 16, -(-(self.port_sent + take) // 16)
                records = b"".join(b"%015d\n" % number for number in range(first, last))
                self.write_port(records[self.port_sent - first * 16 :][:take])
            if self.port_sent < end:
                return True
            say("streamed", size=size)
            return False

        GLib.timeout_add(TICK_MS, step)

    def write_port(self, data: bytes) -> None:
        buffer = ctypes.create_string_buffer(data, len(data))
        self.kept.append(buffer)
        port = address(self.channels["PortChannel"])
        library.spice_port_channel_write_async(port, buffer, len(data), None, None, None)
        self.port_sent += len(data)

    def do_offer(self, size: int) -> None:
        self.offered = numbered_text(size)
        kinds = (unsigned * 1)(TEXT)
        library.spice_main_channel_clipboard_selection_grab(address(self.channels["MainChannel"]), 0, kinds, 1)
        say("offered", size=size, checksum=checksum(self.offered))

    def do_save(self, file: str) -> None:
        primary = Primary()
        display = address(self.channels["DisplayChannel"])
        if not library.spice_display_channel_get_primary(display, 0, ctypes.byref(primary)) or not primary.data:
            say("not-saved", file=file)
            return
        rows = ctypes.string_at(primary.data, primary.stride * primary.height)
        with open(file, "wb") as picture:
            picture.write(b"P6\n%d %d\n255\n" % (primary.width, primary.height))
            for y in range(primary.height):
                row = rows[y * primary.stride :][: 4 * primary.width]
                colours = bytearray(3 * primary.width)
                colours[0::3], colours[1::3], colours[2::3] = row[2::4], row[1::4], row[0::4]
                picture.write(colours)
        say("saved", file=file, width=primary.width, height=primary.height)

    def look(self) -> None:
        """Something was drawn: note the number of the frame when all of its stamp is there."""
        primary = Primary()
        display = address(self.channels["DisplayChannel"])
        if not self.watches or not library.spice_display_channel_get_primary(display, 0, ctypes.byref(primary)):
            return
        first = primary.data + (STAMP_PLACE + STAMP_CELL // 2) * (primary.stride + 4) + 1  # the green of a pixel
        words = []
        for row in range(4):
            cells = ctypes.string_at(first + row * STAMP_CELL * primary.stride, 16 * 4 * STAMP_CELL)[:: 4 * STAMP_CELL]
            words.append(int("".join("1" if cell > 127 else "0" for cell in cells), 2))
        check = fnv1a(struct.pack(">HH", words[1], words[2]))
        if words[0] == STAMP_MARK and words[3] == (check >> 16 ^ check) & 0xFFFF:
            number = words[1] << 16 | words[2]
            if self.frames[-1:] != [number]:
                self.frames.append(number)

    def do_watch(self) -> None:
        self.watches = True

    def do_watched(self) -> None:
        self.watches = False
        say("watched", frames=self.frames)

    def do_agent(self) -> None:
        main = self.channels["MainChannel"]
        say("agent-can", capabilities=[bit for bit in range(32) if main.agent_test_capability(bit)])

    def do_totals(self) -> None:
        port = {"port_sent": self.port_sent, "port_received": self.port_received}
        display = self.channels.get("DisplayChannel")
        pictures = display.get_property("total-read-bytes") if display is not None else 0
        sound = {"sound": self.sound_bytes, "peak": self.sound_peak}
        say("totals", keys=self.keys_typed, **port, **sound, display_bytes=pictures)

    def do_mode(self, mode: int) -> None:
        self.channels["MainChannel"].request_mouse_mode(mode)

    def do_motion(self, dx: int, dy: int) -> None:
        self.channels["InputsChannel"].motion(dx, dy, 0)

    def do_position(self, x: int, y: int) -> None:
        self.channels["InputsChannel"].position(x, y, 0, 0)

    def do_button(self, button: int) -> None:
        self.channels["InputsChannel"].button_press(button, 1 << button - 1)
        self.channels["InputsChannel"].button_release(button, 0)

    def do_drag(self, x: int, y: int, dx: int, dy: int, steps: int) -> None:
        inputs = self.channels["InputsChannel"]
        places = iter([(x + dx * step // steps, y + dy * step // steps) for step in range(1, steps + 1)])
        inputs.position(x, y, 0, 0)
        inputs.button_press(1, 1)

        def step() -> bool:
            place = next(places, None)
            if place is not None:
                inputs.position(*place, 0, 1)
                return True
            inputs.button_release(1, 0)
            say("dragged")
            return False

        GLib.timeout_add(TICK_MS, step)

    def do_record(self, seconds: int) -> None:
        wave = (b"\x00\x40" * 2 * 60 + b"\x00\xc0" * 2 * 60) * 4  # 10 ms of 400 Hz, both ears
        for packet in range(seconds * 100):
            buffer = ctypes.create_string_buffer(wave, len(wave))
            self.kept.append(buffer)
            channel = address(self.channels["RecordChannel"])
            library.spice_record_channel_send_data(channel, buffer, len(wave), packet * 10)
        say("recorded", size=len(wave) * seconds * 100)

    def do_resize(self, width: int, height: int) -> None:
        main = self.channels["MainChannel"]
        main.update_display_enabled(0, True, False)
        main.update_display(0, 0, 0, width, height, True)

    def do_quit(self) -> None:
        self.loop.quit()

    def commands_came(self, source: int, condition: int) -> bool:
        """Reads without a buffer: lines left in one would wake nobody."""
        data = os.read(0, 1 << 16)
        if not data:
            self.loop.quit()
            return False
        *lines, self.unfinished = (self.unfinished + data).split(b"\n")
        for line in lines:
            command = json.loads(line)
            getattr(self, "do_" + command.pop("do").replace("-", "_"))(**command)
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=Spice.util_get_version_string())
    parser.add_argument("host")
    parser.add_argument("port")
    parser.add_argument("--username")
    parser.add_argument("--password")
    parser.add_argument("--tls-port")
    parser.add_argument("--ca-file")
    parser.add_argument("--except", dest="excepted", help="text of a critical that is not fatal")
    parser.add_argument("--echo", help="file for what comes back from the port", default=os.devnull)
    given = parser.parse_args()
    is_fatal = FatalHandler(lambda domain, level, text, _: text.decode() != given.excepted)
    if given.excepted:
        glib.g_test_log_set_fatal_handler(is_fatal, None)
    session, loop = Spice.Session(), GLib.MainLoop()
    session.set_property("host", given.host)
    session.set_property("port", given.port)
    session.set_property("enable-usbredir", False)
    for name in ("username", "password", "tls-port", "ca-file"):
        value = getattr(given, name.replace("-", "_"))
        if value:
            session.set_property(name, value)
    with open(given.echo, "wb", buffering=0) as echo:
        client = Client(session, loop, echo)
        GLib.io_add_watch(0, GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, client.commands_came)
        say("started", connected=Spice.Session.connect(session))
        loop.run()
    say("ended")
    sys.stdout.flush()
    os._exit(0)  # the library's own teardown is not what is tested


if __name__ == "__main__":
    main()
