"""Typing: text and key names to scan codes of AT set 1 (US layout)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from spicehop.channels.inputs import InputsChannel
from spicehop.errors import ConnectionLost, StateError, UsageError

_ROWS = ((0x02, "1234567890-="), (0x10, "qwertyuiop[]"), (0x1E, "asdfghjkl;'`"), (0x2B, "\\zxcvbnm,./"))
_SHIFTED_ROWS = ((0x02, "!@#$%^&*()_+"), (0x10, "QWERTYUIOP{}"), (0x1E, 'ASDFGHJKL:"~'), (0x2B, "|ZXCVBNM<>?"))
PLAIN = {letter: first + i for first, row in _ROWS for i, letter in enumerate(row)}
PLAIN |= {" ": 0x39, "\n": 0x1C, "\t": 0x0F}
SHIFTED = {letter: first + i for first, row in _SHIFTED_ROWS for i, letter in enumerate(row)}
NAMES = {
    "esc": 0x01,
    "backspace": 0x0E,
    "tab": 0x0F,
    "enter": 0x1C,
    "ctrl": 0x1D,
    "shift": 0x2A,
    "rightshift": 0x36,
    "alt": 0x38,
    "space": 0x39,
    "capslock": 0x3A,
    **{f"f{n}": 0x3A + n for n in range(1, 11)},
    "numlock": 0x45,
    "scrolllock": 0x46,
    "f11": 0x57,
    "f12": 0x58,
    "rightctrl": 0xE01D,
    "altgr": 0xE038,
    "home": 0xE047,
    "up": 0xE048,
    "pageup": 0xE049,
    "left": 0xE04B,
    "right": 0xE04D,
    "end": 0xE04F,
    "down": 0xE050,
    "pagedown": 0xE051,
    "insert": 0xE052,
    "delete": 0xE053,
    "super": 0xE05B,
    "menu": 0xE05D,
}
SHIFT = NAMES["shift"]


def scancode_of(key: str) -> int:
    """The scan code of a key by name (`Enter`, `F5`, `Ctrl`) or by the character on it; `UsageError` when unknown."""
    code = NAMES.get(key.lower().replace(" ", "").replace("_", "")) or PLAIN.get(key) or SHIFTED.get(key)
    if code is None:
        names = ", ".join(sorted(NAMES))
        raise UsageError(f"no key is called {key!r}; names are {names}, or a character of the US layout")
    return code


class Keyboard:
    """The session's keyboard. Held keys are carried over every migration and released when the session ends."""

    def __init__(self, channel: Callable[[], InputsChannel | None], changed: Callable[[], None]) -> None:
        self._inputs = channel
        self._changed = changed

    def down(self, scancode: int) -> None:
        """Press a key by scan code; extended keys are 0xE0xx. `StateError` when the server has no keyboard."""
        self._channel().key_down(scancode)
        self._changed()

    def up(self, scancode: int) -> None:
        """Release a key by scan code."""
        self._channel().key_up(scancode)
        self._changed()

    async def press(self, key: str, *, seconds: float = 0.01) -> None:
        """Press and release a key by name, held for `seconds`."""
        code = scancode_of(key)
        self.down(code)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._let_go(code)

    @contextmanager
    def hold(self, *keys: str) -> Iterator[None]:
        """Hold keys by name, for as long as the block lasts; those that are held already stay held behind it."""
        with self._held([scancode_of(key) for key in keys]):
            yield

    @contextmanager
    def _held(self, codes: Sequence[int]) -> Iterator[None]:
        held: list[int] = []
        try:
            for code in codes:
                if not self._channel().holds(code):
                    self.down(code)
                    held.append(code)
            yield
        finally:
            for code in reversed(held):
                self._let_go(code)

    def _let_go(self, code: int) -> None:
        """Release a key whatever has happened; a session that has ended has released it."""
        try:
            self.up(code)
        except ConnectionLost:
            pass

    async def type(self, text: str, *, interval: float = 0.01) -> None:
        """Type text, a key every `interval` seconds; `UsageError` before the first when a character has no key."""
        keys = [(SHIFTED[letter], True) if letter in SHIFTED else (PLAIN.get(letter, 0), False) for letter in text]
        for letter, (code, _) in zip(text, keys, strict=True):
            if not code:
                raise UsageError(f"the character {letter!r} is not on a US keyboard")
        for code, shifted in keys:
            with self._held([SHIFT] if shifted else []):
                self.down(code)
                try:
                    await asyncio.sleep(interval / 2)
                finally:
                    self._let_go(code)
            await asyncio.sleep(interval / 2)

    def _channel(self) -> InputsChannel:
        channel = self._inputs()
        if channel is None:
            raise StateError("the server has no inputs channel")
        return channel
