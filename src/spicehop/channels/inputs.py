"""The inputs channel of a client: keys and mouse, and what the guest must be told again after a migration."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from spicehop.channels.channel import ChannelEvent, ClientChannel, Received
from spicehop.errors import UsageError
from spicehop.wire import inputs
from spicehop.wire.constants import ChannelType, InputsCap, MouseButton, MouseMode
from spicehop.wire.layout import Message

RELEASE_MEMORY = 1.0
"""Seconds for which a release is sent again after a migration: a stopped VM may have swallowed it."""
TARGET_GATE = 0.25
"""Seconds for which input waits at most for the first sign that the machine runs at the target.

QEMU drops input until it runs, and the channels go to the target before that (reference results, 5.4)."""
TOLD_AGAIN_AFTER = (0.75, 2.0, 5.0)
"""Seconds after which a server is told again what is held and released, as long as nothing shows that the machine runs.

A machine that draws nothing and has no port or agent shows nothing, and on a busy host it can begin to run after the
gate has opened: then it has dropped what it was told, and a key would stay down."""
FEW_RELEASES = 4
"""So many are said once more, the first time, also where the machine runs: one was lost on a busy host all the same."""
MESSAGES_AT_ONCE = 4
MESSAGES_PER_SECOND = 300.0
"""QEMU's PS/2 keyboard keeps 16 bytes that the guest has not read, up to 2 for each key event, and drops the rest."""
ARRIVAL_SECONDS = 1.0
MESSAGES_PER_SECOND_ON_ARRIVAL = 40.0
"""The pace where a machine has just arrived, unless it shows that it runs: under emulation it can stall for 0.2 s."""
RELEASES_PER_SECOND = 50.0
"""The pace of releases said again, of which most are not needed."""
MOTIONS_PER_ACK = 4
MAX_MOTIONS_UNACKNOWLEDGED = 2 * MOTIONS_PER_ACK
"""Dossier B.3: beyond this, movements are merged until the server acknowledges."""
MAX_BUTTON = 16
WHEEL = frozenset({MouseButton.UP, MouseButton.DOWN})
"""Each press of these is a step, so they are not told again."""
MAX_COORDINATE = 2**31 - 1


def key_code(scancode: int) -> int:
    """A scan code of AT set 1, extended ones as 0xE0xx, in the order of the wire; `UsageError` when it is none."""
    if 0 < scancode < 0x80:
        return scancode
    if scancode >> 8 == 0xE0 and 0 < (scancode & 0xFF) < 0x80:
        return 0xE0 | (scancode & 0xFF) << 8
    raise UsageError(f"{scancode:#x} is not a scan code: 0x01 to 0x7f, or 0xe001 to 0xe07f")


def button_bit(button: int) -> int:
    """The bit of a `MouseButton` in a mask of buttons; `UsageError` when there is no such button."""
    if not 1 <= button <= MAX_BUTTON:
        raise UsageError(f"{button} is not a mouse button: 1 to {MAX_BUTTON}")
    return 1 << button - 1


def within(low: int, value: float, high: int) -> int:
    """The whole number nearest to `value` that the field takes."""
    return round(min(max(value, low), high))


def release_code(code: int) -> int:
    """The release of a key in the order of the wire."""
    return code | (0x8000 if code > 0xFF else 0x80)


@dataclass(frozen=True, slots=True)
class InputsState:
    """What the server was told and a later server must hear again."""

    held_keys: tuple[int, ...]
    released_keys: tuple[tuple[int, float], ...]
    buttons: int


class InputsChannel(ClientChannel):
    """Queues keys and mouse; knows which keys the server has been told are down."""

    def __init__(self, channel_id: int = 0) -> None:
        super().__init__(ChannelType.INPUTS, channel_id)
        self.modifiers = 0
        self.keys_held: dict[int, None] = {}
        """Keys the caller holds, in order, whether or not the server has heard of it."""
        self._told_down: dict[int, None] = {}
        self._told_up: dict[int, float] = {}
        self._told_buttons_up: dict[int, float] = {}
        self._buttons = 0
        self._told_buttons = 0
        self._unacknowledged = 0
        self._motion = [0, 0]
        self._position: tuple[int, int, int] | None = None
        self.migrating_since: float | None = None
        """Since when the VM may have stood still for a migration; no release since then is forgotten."""
        self._again: deque[Message] = deque()
        self._release_again: dict[int, None] = {}
        self._next_release_at = 0.0
        self._gate_until: float | None = None
        self._awaits_life_since: float | None = None
        """When the channel came to a server that has not yet shown that the machine runs there."""
        self._tell_again_at: tuple[float, ...] = ()
        self._brought: list[int] = []
        """Keys that were released just before the channel came to its server."""
        self._arrived_at: float | None = None
        self._allowance = float(MESSAGES_AT_ONCE)
        self._allowance_time = 0.0
        self._closing = False

    def channel_capabilities(self) -> frozenset[int]:
        return frozenset({InputsCap.KEY_SCANCODE})

    # -- keys -------------------------------------------------------------------------------------------------------

    def key_down(self, scancode: int) -> None:
        """Press a key; pressing a held key again repeats it."""
        code = key_code(scancode)
        self.keys_held[code] = None
        self.send(inputs.KeyDown(code))

    def key_up(self, scancode: int) -> None:
        """Release a key; a key that is not held is released all the same."""
        code = key_code(scancode)
        self.keys_held.pop(code, None)
        self.send(inputs.KeyUp(release_code(code)))

    def holds(self, scancode: int) -> bool:
        """Whether the caller holds a key."""
        return key_code(scancode) in self.keys_held

    def release_all(self) -> None:
        """Release every held key and button, before the session ends; from now on nothing waits its turn."""
        self._closing = True
        for code in tuple(self.keys_held):
            self.keys_held.pop(code)
            self.send(inputs.KeyUp(release_code(code)))
        for button in range(1, MAX_BUTTON + 1):
            if self._buttons & button_bit(button):
                self.button_up(button)

    def lock_keys(self, modifiers: int) -> None:
        """Ask for these lock keys, `KeyboardModifier`; `UsageError` for anything else."""
        if not 0 <= modifiers <= 0xFFFF:
            raise UsageError(f"{modifiers:#x} is not a set of lock keys")
        self.send(inputs.KeyModifiers(modifiers))

    # -- mouse ------------------------------------------------------------------------------------------------------

    def button_down(self, button: int) -> None:
        """Press a `MouseButton`; `UsageError` when there is no such button."""
        bit = button_bit(button)
        self._send_motion()
        self._buttons |= bit
        self.send(inputs.MousePress(button, self._buttons))

    def button_up(self, button: int) -> None:
        """Release a `MouseButton`; `UsageError` when there is no such button."""
        bit = button_bit(button)
        self._send_motion()
        self._buttons &= ~bit
        self.send(inputs.MouseRelease(button, self._buttons))

    def move(self, x: float, y: float, mode: int, display_id: int = 0) -> None:
        """Move the pointer: to (x, y) in client mouse mode, by (x, y) in server mode. Merged while unacknowledged."""
        if mode == MouseMode.CLIENT:
            self._position = (within(0, x, MAX_COORDINATE), within(0, y, MAX_COORDINATE), display_id)
        else:
            dx, dy = self._motion
            self._motion = [within(-MAX_COORDINATE, value, MAX_COORDINATE) for value in (dx + x, dy + y)]
        if self._unacknowledged < MAX_MOTIONS_UNACKNOWLEDGED:
            self._send_motion()

    def _send_motion(self) -> None:
        if self._position is not None:
            x, y, display_id = self._position
            self._position = None
            self._unacknowledged += 1
            self.send(inputs.MousePosition(x, y, self._buttons, display_id))
        if self._motion != [0, 0]:
            dx, dy = self._motion
            self._motion = [0, 0]
            self._unacknowledged += 1
            self.send(inputs.MouseMotion(dx, dy, self._buttons))

    # -- the channel ------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Queued keys are kept: no server has had them."""
        self._unacknowledged = 0

    def opening_messages(self, now: float) -> list[Message]:
        self._come_to_server(now)
        return []

    def swap_messages(self, now: float) -> list[Message]:
        self._come_to_server(now)
        return []

    def migration_aborted(self, now: float) -> None:
        """The machine goes on where it was; it may have stood still meanwhile, and what it swallowed is said again."""
        if self.connected and self.migrating_since is not None:
            self._tell_again(now)

    def _come_to_server(self, now: float) -> None:
        if self.messages_sent:
            self._gate_until = now + TARGET_GATE
            self._awaits_life_since = now
            self._tell_again_at = tuple(now + after for after in TOLD_AGAIN_AFTER)
            self._brought = [code for code, _ in self.state(now).released_keys]
        self._tell_again(now)

    def _tell_again(self, now: float) -> None:
        """What is still held is said again before all else; releases follow when there is room for them.

        A VM that stood still may have missed both. A key that is down in the guest takes KEY_DOWN as a repeat, one
        that is up ignores KEY_UP.
        """
        state = self.state(now)
        pending = [code for code in self._release_again if code not in self._told_down]
        self._release_again = {code: None for code, _ in reversed(state.released_keys)} | dict.fromkeys(pending)
        self._next_release_at = now
        self._again = deque(inputs.KeyDown(code) for code in state.held_keys)
        for button, told in self._told_buttons_up.items():
            if now - told <= RELEASE_MEMORY and not state.buttons & button_bit(button):
                self._again.append(inputs.MouseRelease(button, state.buttons))
        for button in range(1, MAX_BUTTON + 1):
            if state.buttons & button_bit(button) and button not in WHEEL:
                self._again.append(inputs.MousePress(button, state.buttons))

    def _say_once_more(self, now: float) -> None:
        if self._awaits_life_since is not None:
            self._tell_again_at = self._tell_again_at[1:]
            self._tell_again(now)
            return
        self._tell_again_at = ()
        if len(self._brought) <= FEW_RELEASES:
            self._release_again |= {code: None for code in self._brought if code not in self._told_down}

    # -- the pace of keys -------------------------------------------------------------------------------------------

    def guest_alive(self, now: float) -> None:
        """The machine runs at the present server: input need not wait any more. Call it with every sign of that.

        What went there before, because the wait was over, may have been dropped. Where the machine has just arrived,
        each sign makes room for a few more messages.
        """
        if self._awaits_life_since is not None and self._gate_until is None:
            self._tell_again(now)
        if self._gate_until is not None:
            self._arrived_at = now
        elif self._arrived_at is not None:
            self._allowance, self._allowance_time = float(MESSAGES_AT_ONCE), now
        self._gate_until = self._awaits_life_since = None
        if len(self._tell_again_at) < len(TOLD_AGAIN_AFTER):
            self._tell_again_at = ()

    @property
    def waiting(self) -> bool:
        return bool(self._queue or self._again or self._release_again or self._next_telling is not None)

    @property
    def _next_telling(self) -> float | None:
        """When what was said is said again, where anything was said that can be."""
        said = self._told_down or self._told_up or self._told_buttons or self._told_buttons_up
        return self._tell_again_at[0] if self._tell_again_at and said else None

    def take(self, now: float) -> Message | None:
        """What is held, what the user does, and releases said again, at a pace that the guest's keyboard can follow."""
        telling = self._next_telling
        if telling is not None and now >= telling:
            self._say_once_more(now)
        waiting = self._again or self._queue
        release_due = bool(self._release_again) and now >= self._next_release_at
        if not (waiting or release_due) or not self._room(now):
            return None
        self._allowance -= 1
        first = waiting[0] if waiting else inputs.KeyDown(next(iter(self._release_again)))
        if isinstance(first, inputs.KeyDown) and first.code in self._release_again:
            # The guest would take the press of a key that it believes held for a repeat.
            del self._release_again[first.code]
            self._next_release_at = now + 1 / RELEASES_PER_SECOND
            return inputs.KeyUp(release_code(first.code))
        return waiting.popleft()

    def _room(self, now: float) -> bool:
        if self._closing:
            return True
        if self._gate_until is not None and now < self._gate_until:
            return False
        if self._gate_until is not None:
            self._gate_until, self._arrived_at = None, now
        self._allowance = min(MESSAGES_AT_ONCE, self._allowance + (now - self._allowance_time) * self._pace)
        self._allowance_time = now
        if self._arrived_at is not None and now >= self._arrived_at + ARRIVAL_SECONDS:
            self._arrived_at = None
        return self._allowance >= 1 - 1e-9  # what a timer waited for may be short of 1 by rounding

    @property
    def _pace(self) -> float:
        return MESSAGES_PER_SECOND if self._arrived_at is None else MESSAGES_PER_SECOND_ON_ARRIVAL

    def next_write(self) -> float | None:
        waiting = self._again or self._queue
        again = self._next_telling
        if not (waiting or self._release_again):
            return again
        if self._gate_until is not None:
            return self._gate_until
        due = self._allowance_time + max(0.0, 1 - self._allowance) / self._pace
        due = due if waiting else max(due, self._next_release_at)
        return due if again is None else min(due, again)

    def state(self, now: float) -> InputsState:
        """What the present server has been told; releases, from the oldest to the newest, as far as they matter."""
        earliest = now - RELEASE_MEMORY
        for since in (self.migrating_since, self._awaits_life_since):
            earliest = earliest if since is None else min(earliest, since)
        released = tuple(
            (code, told) for code, told in self._told_up.items() if told >= earliest and code not in self._told_down
        )
        return InputsState(tuple(self._told_down), released, self._told_buttons)

    def message_written(self, message: Message, now: float) -> None:
        match message:
            case inputs.KeyDown():
                self._told_down[message.code] = None
                self._told_up.pop(message.code, None)
            case inputs.KeyUp():
                code = message.code & ~(0x8000 if message.code > 0xFF else 0x80)
                self._told_down.pop(code, None)
                self._told_up.pop(code, None)
                self._told_up[code] = now
            case inputs.MousePress():
                self._told_buttons = message.buttons
            case inputs.MouseRelease():
                self._told_buttons = message.buttons
                self._told_buttons_up[message.button] = now
            case _:
                pass

    def handle(self, message: Message, events: list[ChannelEvent], now: float) -> None:
        match message:
            case inputs.Init() | inputs.KeyModifiers():
                self.modifiers = message.modifiers
            case inputs.MouseMotionAck():
                self._unacknowledged = max(0, self._unacknowledged - MOTIONS_PER_ACK)
                if self._unacknowledged < MAX_MOTIONS_UNACKNOWLEDGED:
                    self._send_motion()
            case _:
                pass
        events.append(Received(message))
