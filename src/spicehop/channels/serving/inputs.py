"""The inputs channel of a server: keys and mouse of one client, as the guest is to get them (dossier B.3)."""

from __future__ import annotations

from dataclasses import dataclass

from spicehop.channels.serving.channel import ChannelState, Peer, Received, ServerChannel, ServerEvent
from spicehop.errors import ProtocolError
from spicehop.wire import inputs
from spicehop.wire.constants import ChannelType, InputsCap, KeyboardModifier, MouseMode
from spicehop.wire.layout import Message

MOTIONS_PER_ACK = 4
MAX_BUTTON = 16
MAX_COORDINATE = 2**31 - 1
EITHER_MODE = 0
"""While the main channel's state is not here: the client knows the mode."""
EXTENDED = 0xE0
RELEASED = 0x80
LOCK_KEYS = {
    KeyboardModifier.SCROLL_LOCK: 0x46,
    KeyboardModifier.NUM_LOCK: 0x45,
    KeyboardModifier.CAPS_LOCK: 0x3A,
}
"""The scan code that toggles each lock."""


@dataclass(frozen=True, slots=True)
class KeyCame(ServerEvent):
    """AT set 1 bytes for the guest's keyboard."""

    scancodes: bytes


@dataclass(frozen=True, slots=True)
class PointerMoved(ServerEvent):
    """A relative movement, with the buttons that are down."""

    dx: int
    dy: int
    buttons: int


@dataclass(frozen=True, slots=True)
class PointerPlaced(ServerEvent):
    """A position on a display, with the buttons that are down."""

    display: int
    x: int
    y: int
    buttons: int


@dataclass(frozen=True, slots=True)
class ButtonsChanged(ServerEvent):
    """The buttons that are down now; the wheel's two are buttons for a moment."""

    buttons: int


InputEvent = KeyCame | PointerMoved | PointerPlaced | ButtonsChanged


@dataclass(frozen=True, slots=True)
class InputsState:
    """What an inputs channel that goes on elsewhere begins with."""

    channel: ChannelState
    held_keys: tuple[bytes, ...]
    buttons: int
    motions: int
    locks: int
    scan: bytes = b""
    """A key of KEY_SCANCODE that is not complete."""
    waiting: tuple[InputEvent, ...] = ()
    """What came while the guest stood still, in order."""


def key_bytes(code: int) -> bytes:
    """The bytes of KEY_DOWN or KEY_UP: up to four, low byte first, without the zeros behind them."""
    return code.to_bytes(4, "little").rstrip(b"\0")


class ServerInputs(ServerChannel):
    """Turns one client's messages into input, and knows which keys and buttons it holds."""

    def __init__(self, channel_id: int, peer: Peer, now: float, state: InputsState | None = None) -> None:
        super().__init__(ChannelType.INPUTS, channel_id, peer, now, state.channel if state else None)
        self.mouse_mode: int = MouseMode.SERVER
        self._held: dict[bytes, None] = dict.fromkeys(state.held_keys) if state else {}
        self._buttons = state.buttons if state else 0
        self._motions = state.motions if state else 0
        self._locks = state.locks if state else 0
        self._scan = state.scan if state else b""

    @classmethod
    def capabilities(cls) -> frozenset[int]:
        return frozenset({InputsCap.KEY_SCANCODE})

    def state(self) -> InputsState:
        """What a later server needs."""
        held = tuple(self._held)
        return InputsState(self.channel_state(), held, self._buttons, self._motions, self._locks, self._scan)

    def begin(self, locks: int) -> None:
        """Tell a new client which lock keys the guest has on."""
        self._locks = locks
        self.send(inputs.Init(locks))

    def locks_changed(self, locks: int) -> None:
        """The guest's lock keys have changed."""
        if locks != self._locks:
            self._locks = locks
            self.send(inputs.KeyModifiers(locks))

    # -- what comes ------------------------------------------------------------------------------------------------

    def handle(self, message: Message, events: list[ServerEvent], now: float) -> None:
        match message:
            case inputs.KeyDown() | inputs.KeyUp():
                self._key(key_bytes(message.code), events)
            case inputs.KeyScancode():
                self._scancodes(bytes(message.codes), events)
            case inputs.KeyModifiers():
                self._locks_wanted(message.modifiers, events)
            case inputs.MouseMotion():
                self._motion()
                if self.mouse_mode in (MouseMode.SERVER, EITHER_MODE):
                    self._buttons = message.buttons
                    events.append(PointerMoved(message.dx, message.dy, message.buttons))
            case inputs.MousePosition():
                self._motion()
                # As in the reference, a position in the other mode counts for the acknowledgement and for nothing else.
                if self.mouse_mode in (MouseMode.CLIENT, EITHER_MODE):
                    self._buttons = message.buttons
                    place = min(message.x, MAX_COORDINATE), min(message.y, MAX_COORDINATE)
                    events.append(PointerPlaced(message.display_id, *place, message.buttons))
            case inputs.MousePress():
                self._button(message.button, message.buttons | self._bit(message.button), events)
            case inputs.MouseRelease():
                self._button(message.button, message.buttons & ~self._bit(message.button), events)
            case _:
                events.append(Received(message))

    def _key(self, scancodes: bytes, events: list[ServerEvent]) -> None:
        if not scancodes:
            raise ProtocolError(f"{self.name}: a key without a scan code")
        if scancodes[-1] & RELEASED and scancodes[-1] != EXTENDED:
            self._held.pop(_pressed(scancodes), None)
        elif len(self._held) < 256:
            self._held[scancodes] = None
        events.append(KeyCame(scancodes))

    def _scancodes(self, codes: bytes, events: list[ServerEvent]) -> None:
        """Any number of keys in one message, or a key in several."""
        self._scan += codes
        start = 0
        for position, byte in enumerate(self._scan):
            if byte in (EXTENDED, 0xE1) and position - start < 3:
                continue
            self._key(self._scan[start : position + 1], events)
            start = position + 1
        self._scan = self._scan[start:]

    def _locks_wanted(self, wanted: int, events: list[ServerEvent]) -> None:
        """Press the lock keys whose state the client sees otherwise."""
        for lock, code in LOCK_KEYS.items():
            if (wanted ^ self._locks) & lock:
                events.append(KeyCame(bytes([code])))
                events.append(KeyCame(bytes([code | RELEASED])))
        # What the guest makes of them comes with `locks_changed`; until then they count as pressed.
        self._locks = wanted & sum(LOCK_KEYS)

    def _motion(self) -> None:
        self._motions += 1
        if self._motions == MOTIONS_PER_ACK:
            self._motions = 0
            self.send(inputs.MouseMotionAck())

    def _button(self, button: int, buttons: int, events: list[ServerEvent]) -> None:
        self._buttons = buttons
        events.append(ButtonsChanged(buttons))

    def _bit(self, button: int) -> int:
        if not 1 <= button <= MAX_BUTTON:
            raise ProtocolError(f"{self.name}: there is no mouse button {button}")
        return 1 << button - 1

    def releases(self) -> list[InputEvent]:
        """What lets go of all that the client holds."""
        events: list[InputEvent] = [KeyCame(key[:-1] + bytes([key[-1] | RELEASED])) for key in self._held]
        return [*events, *([ButtonsChanged(0)] if self._buttons else [])]

    def release_all(self) -> list[InputEvent]:
        """What the guest must hear when the client is gone: its keys and buttons are up."""
        events = self.releases()
        self._held.clear()
        self._buttons = 0
        return events


def _pressed(released: bytes) -> bytes:
    return released[:-1] + bytes([released[-1] & ~RELEASED])
