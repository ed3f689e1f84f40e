"""The inputs channel of a client: keys and mouse, and what the guest must be told again after a migration."""

from __future__ import annotations

from dataclasses import dataclass

from spicehop.channels.channel import ChannelEvent, ClientChannel, Received
from spicehop.errors import UsageError
from spicehop.wire import inputs
from spicehop.wire.constants import ChannelType, InputsCap, MouseMode
from spicehop.wire.layout import Message

RELEASE_MEMORY = 1.0
"""Seconds for which a release is sent again after a migration: a stopped VM may have swallowed it."""
MOTIONS_PER_ACK = 4
MAX_MOTIONS_UNACKNOWLEDGED = 2 * MOTIONS_PER_ACK
"""Dossier B.3: beyond this, movements are merged until the server acknowledges."""


def key_code(scancode: int) -> int:
    """A scan code of AT set 1, extended ones as 0xE0xx, in the order of the wire; `UsageError` when it is none."""
    if 0 < scancode < 0x80:
        return scancode
    if scancode >> 8 == 0xE0 and 0 < (scancode & 0xFF) < 0x80:
        return 0xE0 | (scancode & 0xFF) << 8
    raise UsageError(f"{scancode:#x} is not a scan code: 0x01 to 0x7f, or 0xe001 to 0xe07f")


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

    def release_all(self) -> None:
        """Release every held key and button, before the session ends."""
        for code in tuple(self.keys_held):
            self.keys_held.pop(code)
            self.send(inputs.KeyUp(release_code(code)))
        for bit in range(16):
            if self._buttons >> bit & 1:
                self.button_up(bit + 1)

    def lock_keys(self, modifiers: int) -> None:
        """Ask for these lock keys, `KeyboardModifier`."""
        self.send(inputs.KeyModifiers(modifiers))

    # -- mouse ------------------------------------------------------------------------------------------------------

    def button_down(self, button: int) -> None:
        """Press a `MouseButton`."""
        self._buttons |= 1 << button - 1
        self._send_motion()
        self.send(inputs.MousePress(button, self._buttons))

    def button_up(self, button: int) -> None:
        """Release a `MouseButton`."""
        self._buttons &= ~(1 << button - 1)
        self._send_motion()
        self.send(inputs.MouseRelease(button, self._buttons))

    def move(self, x: int, y: int, mode: int, display_id: int = 0) -> None:
        """Move the pointer: to (x, y) in client mouse mode, by (x, y) in server mode. Merged while unacknowledged."""
        if mode == MouseMode.CLIENT:
            self._position = (max(x, 0), max(y, 0), display_id)
        else:
            self._motion[0] += x
            self._motion[1] += y
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
        return self._told_again(now)

    def swap_messages(self, now: float) -> list[Message]:
        return self._told_again(now)

    def _told_again(self, now: float) -> list[Message]:
        """Releases of the last second and what is still held: a VM that stood still may have missed them.

        A key that is down in the guest takes KEY_DOWN as a repeat, one that is up ignores KEY_UP.
        """
        state = self.state(now)
        messages: list[Message] = [inputs.KeyUp(release_code(code)) for code, _ in state.released_keys]
        messages += [inputs.KeyDown(code) for code in state.held_keys]
        for button, told in self._told_buttons_up.items():
            if now - told <= RELEASE_MEMORY and not self._told_buttons >> button - 1 & 1:
                messages.append(inputs.MouseRelease(button, state.buttons))
        for bit in range(16):
            if state.buttons >> bit & 1:
                messages.append(inputs.MousePress(bit + 1, state.buttons))
        return messages

    def state(self, now: float) -> InputsState:
        """What the present server has been told."""
        released = tuple(
            (code, told)
            for code, told in self._told_up.items()
            if now - told <= RELEASE_MEMORY and code not in self._told_down
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
