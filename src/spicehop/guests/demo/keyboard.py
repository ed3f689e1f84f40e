"""The guest's keyboard: scan codes to Linux key codes, held keys, lock keys, and what is typed with a US layout."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from spicehop.wire.constants import KeyboardModifier

PRESSED, RELEASED, REPEATED = 1, 0, 2

KEY_ESC, KEY_BACKSPACE, KEY_TAB, KEY_ENTER = 1, 14, 15, 28
KEY_LEFT_CTRL, KEY_LEFT_SHIFT, KEY_RIGHT_SHIFT, KEY_CAPS_LOCK = 29, 42, 54, 58
KEY_F5, KEY_F6, KEY_F7, KEY_F8, KEY_F9, KEY_F10 = 63, 64, 65, 66, 67, 68
KEY_NUM_LOCK, KEY_SCROLL_LOCK, KEY_KEYPAD_ENTER, KEY_RIGHT_CTRL = 69, 70, 96, 97
KEY_MUTE, KEY_VOLUME_DOWN, KEY_VOLUME_UP, KEY_PAUSE, KEY_LEFT_META, KEY_UNKNOWN = 113, 114, 115, 119, 125, 240
KEY_C, KEY_L, KEY_V = 46, 38, 47

_EXTENDED = {
    0x1C: KEY_KEYPAD_ENTER, 0x1D: KEY_RIGHT_CTRL, 0x20: KEY_MUTE, 0x2E: KEY_VOLUME_DOWN, 0x30: KEY_VOLUME_UP,
    0x35: 98, 0x37: 99, 0x38: 100, 0x47: 102, 0x48: 103, 0x49: 104, 0x4B: 105, 0x4D: 106, 0x4F: 107, 0x50: 108,
    0x51: 109, 0x52: 110, 0x53: 111, 0x5B: KEY_LEFT_META, 0x5C: 126, 0x5D: 127, 0x5E: 116, 0x5F: 142,
}  # fmt: skip
"""Scan codes behind 0xE0; those without it have the key code's number."""
_FAKE_SHIFTS = (0x2A, 0x36)
"""Behind 0xE0 these are part of other keys, and ignored."""
_LAST_PLAIN = 0x58
_OTHER_PLAIN = {0x70: 93, 0x73: 89, 0x79: 92, 0x7B: 94, 0x7D: 124}

_LOWER = "\0\0001234567890-=\0\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 "
_UPPER = '\0\0!@#$%^&*()_+\0\tQWERTYUIOP{}\n\0ASDFGHJKL:"~\0|ZXCVBNM<>?\0*\0 '
_KEYPAD = dict(zip(range(71, 84), "789-456+1230.", strict=True)) | {98: "/", KEY_KEYPAD_ENTER: "\n"}
_LOCKS = {
    KEY_CAPS_LOCK: KeyboardModifier.CAPS_LOCK,
    KEY_NUM_LOCK: KeyboardModifier.NUM_LOCK,
    KEY_SCROLL_LOCK: KeyboardModifier.SCROLL_LOCK,
}


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """One key, as the guest's kernel reports it."""

    code: int
    value: int
    """PRESSED, RELEASED, or REPEATED when the key was held already."""


class Keyboard:
    """Takes the bytes of the keyboard line."""

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.locks = 0
        """`KeyboardModifier`."""
        self.prefix = b""
        """Bytes of a key that is not complete."""

    def feed(self, scancodes: bytes) -> Iterable[KeyEvent]:
        """The events of these bytes, one after the other; a release of a key that is not held is none."""
        for byte in scancodes:
            code = self._code(byte)
            if code is None:
                continue
            if byte & 0x80:
                if code in self.held:
                    self.held.discard(code)
                    yield KeyEvent(code, RELEASED)
                continue
            value = REPEATED if code in self.held else PRESSED
            self.held.add(code)
            if value == PRESSED:
                self.locks ^= _LOCKS.get(code, 0)
            yield KeyEvent(code, value)

    def character(self, code: int) -> str:
        """What a key types now; empty when it is no letter."""
        if code in _KEYPAD:
            return _KEYPAD[code] if self.locks & KeyboardModifier.NUM_LOCK or code in (74, 78, 96, 98) else ""
        if code >= len(_LOWER) or _LOWER[code] == "\0":
            return ""
        letter = _LOWER[code]
        has_shift = bool(self.held & {KEY_LEFT_SHIFT, KEY_RIGHT_SHIFT})
        if letter.isalpha() and self.locks & KeyboardModifier.CAPS_LOCK:
            has_shift = not has_shift
        return _UPPER[code] if has_shift else letter

    @property
    def has_ctrl(self) -> bool:
        return bool(self.held & {KEY_LEFT_CTRL, KEY_RIGHT_CTRL})

    def _code(self, byte: int) -> int | None:
        """The key code that a byte completes."""
        prefix, number = self.prefix, byte & 0x7F
        self.prefix = b""
        if prefix == b"\xe0":
            return None if number in _FAKE_SHIFTS else _EXTENDED.get(number, KEY_UNKNOWN)
        if prefix == b"\xe1":
            self.prefix = prefix + bytes([byte])
            return None
        if prefix:
            return KEY_PAUSE
        if byte in (0xE0, 0xE1):
            self.prefix = bytes([byte])
            return None
        return number if 0 < number <= _LAST_PLAIN else _OTHER_PLAIN.get(number, KEY_UNKNOWN)
