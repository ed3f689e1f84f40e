"""Clipboard texts in both directions, and what became of them by the guest's log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spicehop.client.session import Session
from spicehop.demo.keys import KEY_F5
from spicehop.demo.payload import clipboard_text, fnv1a
from spicehop.demo.serial import ClipboardText, SerialLog, read_serial
from spicehop.demo.work import press
from spicehop.errors import StateError

GUEST_TEXT = 65_536
"""Bytes of the text that the guest offers."""
ARRIVAL_SECONDS = 10.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class ClipboardCount:
    """Texts and bytes of one direction."""

    texts: int
    sent: int
    """Bytes that one side put on its clipboard."""
    received: int
    """Bytes of those texts that came whole to the other side."""

    @property
    def is_whole(self) -> bool:
        return self.received == self.sent


class Exchange:
    """Puts texts on the clipboard and fetches the guest's, one after the other.

    `guest_logs` gives the pieces of the guest's log, in order.
    """

    def __init__(self, session: Session, guest_logs: Callable[[], Sequence[Path]]) -> None:
        self.written: list[bytes] = []
        self.offers = 0
        """How often the guest was asked to offer its text."""
        self.read: list[bytes] = []
        self._session = session
        self._guest_logs = guest_logs

    async def to_guest(self, size: int) -> None:
        """Write a text of `size` bytes, other than the ones before, and wait until it is there, or late."""
        number = len(self.written)
        text = (f"text {number} of the demo\n".encode() + clipboard_text(size))[:size]
        await self._session.clipboard.write(text.decode())
        self.written.append(text)
        deadline = time.monotonic() + ARRIVAL_SECONDS
        while time.monotonic() < deadline:
            texts = read_serial(self._guest_logs()).clipboard_texts
            if sum(one.received for one in texts) > number:
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def from_guest(self) -> None:
        """Have the guest offer its text, and read it, or note that it did not come."""
        self.offers += 1
        press(self._session, KEY_F5)
        try:
            text = await self._session.clipboard.read(timeout=ARRIVAL_SECONDS)
        except StateError:
            return
        self.read.append(text.encode())

    def counts(self, log: SerialLog) -> tuple[ClipboardCount, ClipboardCount]:
        """What became of the texts to the guest, and of those from it, by the guest's whole log."""
        return count_to_guest(self.written, log), count_from_guest(self.offers, self.read, log)


def count_to_guest(written: Sequence[bytes], log: SerialLog) -> ClipboardCount:
    """Which of the texts written the guest has received, by sizes and checksums in its log."""
    return _count(written, [text for text in log.clipboard_texts if text.received])


def count_from_guest(offers: int, read: Sequence[bytes], log: SerialLog) -> ClipboardCount:
    """Which of the guest's texts the client has read, of those that the guest says it has sent."""
    sent = {(text.size, text.checksum) for text in log.clipboard_texts if not text.received}
    came = [ClipboardText(False, len(text), fnv1a(text)) for text in read]
    return _count([clipboard_text(GUEST_TEXT)] * offers, [one for one in came if (one.size, one.checksum) in sent])


def _count(sent: Sequence[bytes], came: Sequence[ClipboardText]) -> ClipboardCount:
    whole = sum(
        len(text)
        for text, one in zip(sent, came, strict=False)
        if (one.size, one.checksum) == (len(text), fnv1a(text))
    )
    return ClipboardCount(len(sent), sum(map(len, sent)), whole)
