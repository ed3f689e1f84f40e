"""The demo guest: a desktop that lives on a clock it is told, and moves from server to server as a few kilobytes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from spicehop.errors import StateError, UsageError
from spicehop.guests.demo import keyboard as keys
from spicehop.guests.demo.agent import GuestAgent
from spicehop.guests.demo.agent_outbox import LARGEST_TEXT
from spicehop.guests.demo.clock import GuestClock
from spicehop.guests.demo.compositor import Compositor
from spicehop.guests.demo.desktop import Desktop
from spicehop.guests.demo.devices import EchoPort, LoopDevice
from spicehop.guests.demo.geometry import Geometry
from spicehop.guests.demo.keyboard import Keyboard
from spicehop.guests.demo.log import GuestLog, Role
from spicehop.guests.demo.notes import Notes
from spicehop.guests.demo.pointers import shape_of
from spicehop.guests.demo.pointing import BUTTON_CODES, Pointing, Pressed
from spicehop.guests.demo.saving import LARGEST_SEED, NEVER, SavedGuest, SurfaceSize, decode_saved, encode_saved
from spicehop.guests.demo.scene import LARGEST, SMALLEST, Button, Scene, Square
from spicehop.guests.demo.sound import PERIOD, Recorder, Tone, sound_state
from spicehop.guests.interface import CharDevice, GuestDevices, Pointer
from spicehop.wire.constants import AGENT_CHUNK_BYTES, MouseButton

FRAME = 40_000
"""Microseconds from one frame to the next."""
ECHO_PORT = "org.example.echo.0"
LOOPS = ("usbredir", "smartcard", "webdav")
_SAMENESS = uuid.UUID("5b1c0f3e-3f65-4a86-9d2a-7d9a54f0c0de")


class DemoGuest:
    """A small desktop; implements `guests.interface.Guest`.

    It is deterministic: pixels, bytes and log follow from the size, the seed and the calls made to it, with the times
    given to `advance` counted only while it runs. F5 makes its agent offer the clipboard, F6 logs all totals, F7
    freezes the picture or lets it go on, F8 fills the screen with the film, F9 and F10 switch tone and recording.

    `log` gets each line of its log, without the line feed; `spicehop.demo.serial.parse_serial` reads them. `tone` says
    whether it plays from the start, `tablet` whether it takes positions. The agent offers a text of `clipboard_bytes`
    and sends its messages in chunks of at most `agent_chunk` bytes, 0 for whole. `loops` names which of its devices
    usbredir, smartcard and webdav it has: there is nothing behind them, they give back what they take.
    `agent` takes the place of its own agent; it does not move with the guest's state.
    """

    def __init__(
        self,
        width: int = 1024,
        height: int = 768,
        *,
        seed: int = 1,
        log: Callable[[str], None] | None = None,
        tone: bool = True,
        tablet: bool = True,
        clipboard_bytes: int = 65_536,
        agent_chunk: int = AGENT_CHUNK_BYTES,
        loops: Collection[str] = LOOPS,
        agent: CharDevice | None = None,
    ) -> None:
        if not (SMALLEST[0] <= width <= LARGEST[0] and SMALLEST[1] <= height <= LARGEST[1]):
            low, high = ("x".join(map(str, size)) for size in (SMALLEST, LARGEST))
            raise UsageError(f"the demo guest's screen can be {low} to {high} pixels, not {width}x{height}")
        if not 0 <= seed <= LARGEST_SEED:
            raise UsageError(f"the demo guest's seed can be 0 to {LARGEST_SEED}, not {seed}")
        if not 0 <= clipboard_bytes <= LARGEST_TEXT or not (agent_chunk == 0 or 20 <= agent_chunk <= LARGEST_TEXT):
            raise UsageError("the demo guest's clipboard or its agent's chunks cannot be that large or small")
        self.seed = seed
        self._tablet = tablet
        self._log = GuestLog(log)
        self._clock = GuestClock()
        self._keyboard = Keyboard()
        self._pointing = Pointing(width // 2, height // 2)
        self._desktop = Desktop(Geometry(width, height))
        self._frame = 0
        self._next_frame = 0
        self._frozen = False
        self._has_booted = False
        self._wanted_size: tuple[int, int] | None = None
        self._counts = {"keys": 0, "buttons": 0, "moves": 0, "syncs": 0}
        self._dropped = {"keys": 0, "buttons": 0, "moves": 0}
        self._echo = EchoPort(ECHO_PORT, self._clock, lambda text: self._say(Role.ECHO, text))
        self._loops = tuple(LoopDevice(name, self._clock) for name in LOOPS)
        usbredir, smartcard, webdav = self._loops
        self._agent = GuestAgent(self._clock, self, clipboard_size=clipboard_bytes, chunk=agent_chunk)
        self._tone = Tone(self._clock, playing=tone)
        self._recorder = Recorder(self._clock)
        self._devices = GuestDevices(
            agent=agent or self._agent,
            ports=(self._echo,),
            usbredir=(usbredir,) if usbredir.name in loops else (),
            smartcard=smartcard if smartcard.name in loops else None,
            webdav=webdav if webdav.name in loops else None,
        )
        self._compositor = Compositor(self._scene(), seed)
        self._pointer = self._pointer_now()
        decode_saved(encode_saved(self._saved()))  # makes the layouts, so that nobody waits for them in a migration

    # What the server looks at.

    @property
    def name(self) -> str:
        return "spicehop demo"

    @property
    def uuid(self) -> bytes:
        return uuid.uuid5(_SAMENESS, str(self.seed)).bytes

    @property
    def displays(self) -> Sequence[Compositor]:
        return (self._compositor,)

    @property
    def pointer(self) -> Pointer:
        return self._pointer

    @property
    def lock_keys(self) -> int:
        return self._keyboard.locks

    @property
    def absolute_pointer(self) -> bool:
        return self._tablet

    @property
    def devices(self) -> GuestDevices:
        return self._devices

    @property
    def sound_out(self) -> Tone:
        return self._tone

    @property
    def sound_in(self) -> Recorder:
        return self._recorder

    # Its life.

    @property
    def running(self) -> bool:
        return self._clock.running

    def run(self, now: float) -> None:
        """Let it run; it draws a frame at once."""
        if self.running:
            return
        self._clock.run(now)
        if not self._has_booted:
            self._boot()
        if any(self._dropped.values()):
            self._say(Role.KEYS, "dropped " + " ".join(f"{name}={count}" for name, count in self._dropped.items()))
            self._dropped = dict.fromkeys(self._dropped, 0)
        for device in self._all_devices():
            device.notice_client()
        self._apply_size()
        self._draw_frame()

    def stop(self, now: float) -> None:
        """Let it stand still; it draws a last frame."""
        if not self.running:
            return
        self.advance(now)
        self._draw_frame()
        self._clock.stop(now)

    def advance(self, now: float) -> None:
        """Bring it up to `now`: at most one frame, however long it was not called."""
        if not self.running:
            return
        self._clock.advance(now)
        self._echo.advance()
        if self._clock.time >= self._next_frame:
            self._draw_frame()
        else:
            self._show()

    def next_deadline(self) -> float | None:
        times = [] if self._frozen else [self._next_frame]
        if self._echo.idle_at is not None:
            times.append(self._echo.idle_at)
        if self._tone.playing:
            times.append(self._clock.time + PERIOD)
        return self._clock.deadline(min(times)) if times else None

    # What is done to it.

    def key(self, scancodes: bytes) -> None:
        if not self.running:
            self._dropped["keys"] += 1
            return
        for event in self._keyboard.feed(scancodes):
            self._say(Role.KEYS, f"key n={self._count('keys')} code={event.code} value={event.value}")
            if event.value == keys.PRESSED:
                self._command(event.code)
            if event.value != keys.RELEASED:
                self._type(event.code)

    def pointer_moved(self, dx: int, dy: int, buttons: int) -> None:
        if not self.running:
            self._dropped["moves"] += 1
            return
        if dx or dy:
            self._say(Role.KEYS, f"move n={self._count('moves')} kind=relative x={dx} y={dy}")
            self._place_pointer(self._pointing.x + dx, self._pointing.y + dy)
        self._press(buttons)

    def pointer_placed(self, display: int, x: int, y: int, buttons: int) -> None:
        if not self.running:
            self._dropped["moves"] += 1
            return
        if (x, y) != (self._pointing.x, self._pointing.y):
            self._say(Role.KEYS, f"move n={self._count('moves')} kind=absolute x={x} y={y}")
            self._place_pointer(x, y)
        self._press(buttons)

    def buttons_changed(self, buttons: int) -> None:
        if not self.running:
            self._dropped["buttons"] += 1
            return
        self._press(buttons)

    def want_monitors(self, monitors: Sequence[tuple[int, int, int, int]]) -> None:
        """Takes the size of the first monitor that has one, or the nearest it can have."""
        for _, _, width, height in monitors:
            if width > 0 and height > 0:
                self._wanted_size = (
                    min(max(width, SMALLEST[0]), LARGEST[0]),
                    min(max(height, SMALLEST[1]), LARGEST[1]),
                )
                if self.running:
                    self._apply_size()
                return

    def put_square(self, x: int, y: int, colour: int) -> bool:
        """Paints a square of 64 by 64 pixels at once, also while it stands still or is frozen; for tests.

        False when it is not wholly on the screen, or there are too many.
        """
        if not self._desktop.put_square(Square(x, y, colour & 0xFFFFFF)):
            return False
        self._compositor.show(replace(self._compositor.scene, squares=self._desktop.squares))
        return True

    # What its agent does to it.

    def agent_line(self, text: str) -> None:
        """Part of `AgentHost`."""
        self._say(Role.AGENT, text)

    def agent_mouse(self, x: int, y: int, buttons: int) -> None:
        """Part of `AgentHost`."""
        self.pointer_placed(0, x, y, buttons)

    # How it moves.

    def save(self) -> bytes:
        """Its whole state, some kilobytes and what its devices hold; `StateError` unless it stands still."""
        if self.running:
            raise StateError("a guest that runs cannot be saved: stop it first")
        return encode_saved(self._saved())

    def draft(self) -> bytes:
        """Its state as of now, while it runs; what becomes of it later is not in it."""
        return encode_saved(self._saved())

    def load(self, state: bytes) -> None:
        """Become what `save` gave. `ProtocolError`, and nothing has changed, when the bytes are not such a state."""
        if self.running:
            raise StateError("a guest that runs cannot become another: stop it first")
        saved = decode_saved(bytes(state))
        notes = Notes(Geometry(saved.width, saved.height).text_width())
        notes.restore(bytes(saved.desktop.notes))
        self._become(saved, notes)

    # How it does it.

    def _say(self, role: Role, text: str) -> None:
        self._log.line(role, text, time=self._clock.seconds)

    def _count(self, what: str) -> int:
        number = self._counts[what]
        self._counts[what] = number + 1
        return number

    def _boot(self) -> None:
        self._has_booted = True
        geometry = self._desktop.geometry
        self._say(Role.KEYS, "device n=0 name=spicehop_keyboard")
        self._say(Role.KEYS, "device n=1 name=spicehop_tablet")
        self._say(Role.ECHO, "port present=1")
        if self._devices.agent is self._agent:
            self._agent.boot()
        self._say(Role.SCREEN, f"screen width={geometry.width} height={geometry.height} driver=spicehop")
        self._say(Role.INIT, "READY")

    def _command(self, code: int) -> None:
        """What a key starts when it goes down."""
        match code:
            case keys.KEY_F5:
                self._start(Button.OFFER)
            case keys.KEY_F6:
                self._sync()
            case keys.KEY_F7:
                self._start(Button.FREEZE)
            case keys.KEY_F8:
                self._start(Button.FULL_SCREEN)
            case keys.KEY_F9:
                self._start(Button.TONE)
            case keys.KEY_F10:
                self._start(Button.RECORD)
            case keys.KEY_MUTE:
                self._tone.muted = not self._tone.muted
            case keys.KEY_LEFT_META:
                self._start(Button.MENU)
            case keys.KEY_ESC:
                if self._desktop.film_fills:
                    self._desktop.toggle_film()
                self._desktop.menu_open = False
                self._refresh_pointer()

    def _start(self, button: Button) -> None:
        """What a button or a key switches."""
        match button:
            case Button.MENU:
                self._desktop.toggle_menu()
            case Button.FULL_SCREEN:
                self._desktop.toggle_film()
            case Button.TONE:
                self._tone.toggle()
            case Button.RECORD:
                self._say(Role.SCREEN, self._recorder.toggle())
            case Button.OFFER:
                self._agent.offer()
            case Button.FREEZE:
                self._frozen = not self._frozen
                self._say(Role.SCREEN, f"{'frozen' if self._frozen else 'drawing'} frame={self._frame}")
                self._next_frame = self._clock.time
        self._refresh_pointer()

    def _type(self, code: int) -> None:
        notes = self._desktop.notes
        if code == keys.KEY_BACKSPACE:
            notes.backspace()
        elif code in (keys.KEY_VOLUME_UP, keys.KEY_VOLUME_DOWN):
            self._tone.louder(1 if code == keys.KEY_VOLUME_UP else -1)
        elif self._keyboard.has_ctrl:
            self._edit(code)
        else:
            notes.type(self._keyboard.character(code).encode())

    def _edit(self, code: int) -> None:
        """A letter with Ctrl."""
        match code:
            case keys.KEY_C:
                self._agent.copy(self._desktop.notes.text)
            case keys.KEY_L:
                self._desktop.notes.clear()
            case keys.KEY_V:
                self._desktop.notes.type(self._agent.pasted)

    def _sync(self) -> None:
        self._counts["syncs"] += 1
        counts = " ".join(f"{name}={self._counts[name]}" for name in ("keys", "buttons", "moves"))
        self._say(Role.KEYS, f"sync n={self._counts['syncs']} {counts}")
        self._say(Role.SCREEN, f"sync frame={self._frame}")
        self._echo.report("sync")
        for device in self._loops:
            self._say(Role.ECHO, f"device name={device.name} bytes={device.total} fnv={device.hash:08x}")
        self._say(Role.AGENT, self._agent.sync())

    def _press(self, buttons: int) -> None:
        for pressed in self._pointing.press(buttons):
            self._log_pressed(pressed)
            if pressed.code != BUTTON_CODES[MouseButton.LEFT]:
                continue
            if pressed.is_down:
                self._start(self._desktop.pressed(self._pointing.x, self._pointing.y))
            else:
                self._desktop.released()
            self._refresh_pointer()

    def _log_pressed(self, pressed: Pressed) -> None:
        if pressed.wheel:
            self._say(Role.KEYS, f"wheel code={pressed.code} value={pressed.wheel}")
        else:
            self._say(Role.KEYS, f"button n={self._count('buttons')} code={pressed.code} value={int(pressed.is_down)}")

    def _place_pointer(self, x: int, y: int) -> None:
        geometry = self._desktop.geometry
        self._pointing.place(x, y, geometry.width, geometry.height)
        self._desktop.pointer_at(self._pointing.x, self._pointing.y)
        self._refresh_pointer()

    def _refresh_pointer(self) -> None:
        pointer = self._pointer_now()
        if pointer != self._pointer:
            self._pointer = pointer

    def _pointer_now(self) -> Pointer:
        x, y = self._pointing.x, self._pointing.y
        kind = self._desktop.pointer_kind(x, y)
        return Pointer(x, y, not self._desktop.film_fills, shape_of(kind))

    def _apply_size(self) -> None:
        wanted, self._wanted_size = self._wanted_size, None
        geometry = self._desktop.geometry
        if wanted is None or wanted == (geometry.width, geometry.height):
            return
        self._desktop.resize(Geometry(*wanted))
        self._pointing.place(self._pointing.x, self._pointing.y, *wanted)
        self._say(Role.SCREEN, f"resized width={wanted[0]} height={wanted[1]}")
        self._compositor.show(self._scene())
        self._refresh_pointer()

    def _draw_frame(self) -> None:
        """The next frame, unless the picture is frozen."""
        if self._frozen:
            return
        self._desktop.tick(self._frame)
        if self._frame % 50 == 0:
            self._say(Role.SCREEN, f"frame n={self._frame}")
        self._recorder.tick(self._frame)
        self._frame += 1
        self._next_frame += FRAME
        if self._next_frame <= self._clock.time:
            self._next_frame = self._clock.time + FRAME
        self._show()

    def _show(self) -> None:
        if not self._frozen:
            self._compositor.show(self._scene())

    def _scene(self) -> Scene:
        desktop = self._desktop
        return Scene(
            width=desktop.geometry.width,
            height=desktop.geometry.height,
            frame=max(0, self._frame - 1),
            seconds=self._clock.time // 1_000_000,
            text=desktop.notes.last(desktop.geometry.text_rows()),
            log_lines=desktop.log_lines,
            windows=tuple(desktop.places),
            squares=desktop.squares,
            menu_open=int(desktop.menu_open),
            hover=desktop.hover,
            film_fills=int(desktop.film_fills),
            locks=self._keyboard.locks,
            playing=int(self._tone.playing),
            muted=int(self._tone.muted),
            volume=self._tone.level,
            recording=int(self._recorder.recording),
            level=self._recorder.shown_level,
        )

    def _all_devices(self) -> tuple[LoopDevice | GuestAgent, ...]:
        return (self._agent, self._echo, *self._loops)

    def _saved(self) -> SavedGuest:
        geometry, wanted = self._desktop.geometry, self._wanted_size or (0, 0)
        return SavedGuest(
            seed=self.seed,
            width=geometry.width,
            height=geometry.height,
            wanted_width=wanted[0],
            wanted_height=wanted[1],
            sequences=self._log.sequences,
            time=self._clock.time,
            frame=self._frame,
            next_frame=self._next_frame,
            has_booted=int(self._has_booted),
            frozen=int(self._frozen),
            tablet=int(self._tablet),
            counts=tuple(self._counts.values()),
            dropped=tuple(self._dropped.values()),
            held=tuple(sorted(self._keyboard.held)),
            locks=self._keyboard.locks,
            key_prefix=self._keyboard.prefix,
            pointer_x=self._pointing.x,
            pointer_y=self._pointing.y,
            buttons=self._pointing.buttons,
            desktop=self._desktop.state(),
            shown=self._compositor.scene,
            has_changes=int(self._compositor.has_changes),
            known=tuple(SurfaceSize(name, *size) for name, size in self._compositor.known.items()),
            sound=sound_state(self._tone, self._recorder),
            agent=self._agent.state(),
            echo=self._echo.state(),
            reported=self._echo.reported,
            idle_at=NEVER if self._echo.idle_at is None else self._echo.idle_at,
            others=tuple(device.state() for device in self._loops),
        )

    def _become(self, saved: SavedGuest, notes: Notes) -> None:
        """All has been checked: from here on nothing fails."""
        self.seed, self._tablet = saved.seed, bool(saved.tablet)
        self._log.restore(saved.sequences)
        self._clock.restore(saved.time)
        self._frame, self._next_frame = saved.frame, saved.next_frame
        self._has_booted, self._frozen = bool(saved.has_booted), bool(saved.frozen)
        self._wanted_size = (saved.wanted_width, saved.wanted_height) if saved.wanted_width else None
        self._counts = dict(zip(self._counts, saved.counts, strict=True))
        self._dropped = dict(zip(self._dropped, saved.dropped, strict=True))
        self._keyboard.held, self._keyboard.locks = set(saved.held), saved.locks
        self._keyboard.prefix = bytes(saved.key_prefix)
        self._pointing.x, self._pointing.y = saved.pointer_x, saved.pointer_y
        self._pointing.buttons = saved.buttons
        self._desktop = Desktop(Geometry(saved.width, saved.height))
        self._desktop.restore(saved.desktop, notes)
        self._tone.restore(saved.sound)
        self._recorder.restore(saved.sound)
        self._agent.restore(saved.agent)
        self._echo.restore(saved.echo)
        self._echo.reported = saved.reported
        self._echo.idle_at = None if saved.idle_at == NEVER else saved.idle_at
        for device, state in zip(self._loops, saved.others, strict=True):
            device.restore(state)
        known = {surface.id: (surface.width, surface.height) for surface in saved.known}
        shown = replace(saved.shown, text=bytes(saved.shown.text))
        self._compositor.restart(shown, saved.seed, known, complete=not saved.has_changes)
        self._pointer = self._pointer_now()
