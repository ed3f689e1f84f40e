"""send-key: QEMU's key names as AT set 1 scan codes, and keys that are pressed one after another.

The table was read from QEMU 7.2: each scan code was sent as a number, and its trace says the name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

_ROWS = (
    (0x01, "esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab"),
    (0x10, "q w e r t y u i o p bracket_left bracket_right ret ctrl"),
    (0x1E, "a s d f g h j k l semicolon apostrophe grave_accent shift backslash"),
    (0x2C, "z x c v b n m comma dot slash shift_r kp_multiply alt spc caps_lock"),
    (0x3B, "f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 num_lock scroll_lock"),
    (0x47, "kp_7 kp_8 kp_9 kp_subtract kp_4 kp_5 kp_6 kp_add kp_1 kp_2 kp_3 kp_0 kp_decimal sysrq"),
    (0x56, "less f11 f12 kp_equals"),
    (0x5B, "lf"),
    (0x64, "open paste"),
    (0x70, "katakanahiragana lang2 lang1 ro"),
    (0x77, "hiragana"),
    (0x79, "henkan"),
    (0x7B, "muhenkan"),
    (0x7D, "yen kp_comma"),
    (0x85, "again props undo"),
    (0x8C, "front"),
    (0x90, "audioprev"),
    (0x99, "audionext"),
    (0x9C, "kp_enter ctrl_r menu"),
    (0xA0, "audiomute calculator audioplay"),
    (0xA4, "audiostop"),
    (0xAE, "volumedown"),
    (0xB0, "volumeup"),
    (0xB2, "ac_home"),
    (0xB5, "kp_divide"),
    (0xB7, "print alt_r"),
    (0xBC, "cut"),
    (0xC1, "find"),
    (0xC6, "pause home up pgup"),
    (0xCB, "left"),
    (0xCD, "right"),
    (0xCF, "end down pgdn insert delete"),
    (0xDB, "meta_l meta_r compose power sleep"),
    (0xE3, "wake"),
    (0xE6, "ac_bookmarks ac_refresh stop ac_forward ac_back computer mail mediaselect"),
    (0xF5, "help"),
    (0xF8, "copy"),
)
KEYS = {name: first + place for first, names in _ROWS for place, name in enumerate(names.split())}
"""QKeyCode name to number: the scan code, plus 0x80 for those that 0xE0 begins."""
KEYS |= {"asterisk": 0x37, "unmapped": 0}

EXTENDED = 0xE0
RELEASED = 0x80
HIGHEST = 0xFF
MAX_QUEUED = 1024
"""Presses and releases that wait; QEMU has the same limit, and drops what is beyond."""


def key_bytes(number: int, *, down: bool) -> bytes:
    """The bytes of one key for a guest's keyboard; none for a number that is no key."""
    code = number & ~RELEASED
    if code == 0 or number > HIGHEST:
        return b""
    last = bytes([code if down else code | RELEASED])
    return bytes([EXTENDED]) + last if number & RELEASED else last


class KeyQueue:
    """Keys pressed in order, held, and released in the reverse order, as QEMU does it; time is an argument."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, bytes]] = deque()

    def press(self, numbers: Sequence[int], hold: float, now: float) -> None:
        """Press these keys together when the ones before are done; `hold` seconds lie between two steps."""
        start = self._steps[-1][0] + hold if self._steps else now
        steps = [key_bytes(number, down=True) for number in numbers]
        steps += [key_bytes(number, down=False) for number in reversed(numbers)]
        steps = [step for step in steps if step]
        if len(self._steps) + len(steps) > MAX_QUEUED:
            return  # all or nothing: half of it would leave keys down
        self._steps.extend((start + place * hold, step) for place, step in enumerate(steps))

    def next_deadline(self) -> float | None:
        """When the next step is due."""
        return self._steps[0][0] if self._steps else None

    def due(self, now: float) -> list[bytes]:
        """The steps that are due, each for `Guest.key`."""
        found: list[bytes] = []
        while self._steps and self._steps[0][0] <= now:
            found.append(self._steps.popleft()[1])
        return found

    def clear(self) -> list[bytes]:
        """Drop what waits; the releases among it are to be given to the guest, so that no key stays down."""
        releases = [step for _, step in self._steps if step[-1] & RELEASED]
        self._steps.clear()
        return releases
