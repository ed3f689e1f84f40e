"""The text of the notes: typed at its end, broken into lines."""

from __future__ import annotations

from spicehop.errors import ProtocolError
from spicehop.guests.demo.font import width_of
from spicehop.guests.demo.scene import check_text

MAX_LINES = 200
"""Older lines are forgotten."""
_TAB = 4
_HARD, _SOFT = b"\n", b"\x0b"
"""What separates two lines in `encoded`: typed, or only because the line was full."""


class Notes:
    """Lines of a width in pixels; a line goes on in the next one when a letter does not fit."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._lines = [b""]
        self._continues = [False]  # whether the line goes on with the text of the one before it
        self._reach = 0

    def type(self, text: bytes) -> None:
        """Letters, line feeds and tabs at the end; what is not ASCII becomes a question mark."""
        for letter in text:
            if letter == 0x0A:
                self._begin_line(b"", continues=False)
            elif letter == 0x09:
                self.type(b" " * (_TAB - len(self._lines[-1]) % _TAB))
            elif letter >= 0x20:
                self._add(bytes([letter]) if letter < 0x7F else b"?")

    def backspace(self) -> None:
        """Takes the last letter or line feed away."""
        last = self._lines[-1]
        ends_here = not last
        if last:
            self._lines[-1] = last[:-1]
            ends_here = len(last) == 1 and self._continues[-1]
        if ends_here and len(self._lines) > 1:
            del self._lines[-1], self._continues[-1]
        self._reach = width_of(self._lines[-1])

    def clear(self) -> None:
        """Takes everything away."""
        self._lines, self._continues, self._reach = [b""], [False], 0

    def last(self, rows: int) -> bytes:
        """The last `rows` lines, with line feeds between them."""
        return b"\n".join(self._lines[-rows:])

    @property
    def text(self) -> bytes:
        """What was typed."""
        return self.encoded.replace(_SOFT, b"")

    @property
    def encoded(self) -> bytes:
        """The lines, for `restore`."""
        parts = [self._lines[0]]
        for line, continues in zip(self._lines[1:], self._continues[1:], strict=True):
            parts += (_SOFT if continues else _HARD, line)
        return b"".join(parts)

    def restore(self, encoded: bytes) -> None:
        """Become what `encoded` was taken from, on a screen of the same size."""
        text = encoded.replace(_SOFT, _HARD)
        check_text(text)
        lines = text.split(_HARD)
        if len(lines) > MAX_LINES:
            raise ProtocolError("the notes of a saved guest are too long")
        self._lines = lines
        self._continues = [False, *(byte == _SOFT[0] for byte in encoded if byte in (_HARD[0], _SOFT[0]))]
        self._reach = width_of(self._lines[-1])

    def _add(self, letter: bytes) -> None:
        last = self._lines[-1]
        width = width_of(letter)
        if self._reach + width <= self._width:
            self._lines[-1] = last + letter
            self._reach += width
            return
        word = last.rfind(b" ") + 1
        moves = last[word:] if 0 < word < len(last) and letter != b" " else b""
        if moves:
            self._lines[-1] = last[:word]
        self._begin_line(moves, continues=True)
        self._add(letter)

    def _begin_line(self, text: bytes, *, continues: bool) -> None:
        self._lines.append(text)
        self._continues.append(continues)
        self._reach = width_of(text)
        if len(self._lines) > MAX_LINES:
            del self._lines[0], self._continues[0]
