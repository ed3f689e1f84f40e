"""Messages in a byte stream: the full and the mini data header, and sub-message lists (dossier A.7)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from spicehop.errors import ProtocolError
from spicehop.wire.base import SubMessage, read_sub_messages
from spicehop.wire.gathering import Gatherer
from spicehop.wire.layout import Data, Reader

MINI_HEADER = struct.Struct("<HI")
FULL_HEADER = struct.Struct("<QHII")
DEFAULT_LIMIT = 64 * 1024 * 1024
"""Largest message body accepted unless the caller says otherwise, in bytes. A 4K screen as raw pixels takes 33 MB."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message as it came: number, body, and the sub-messages that are handled before it.

    `serial` is the header's with the full header; with the mini header the receiver's count, from 1.
    """

    serial: int
    number: int
    body: memoryview
    sub_messages: tuple[SubMessage, ...] = ()


class FrameReader:
    """Cuts a byte stream into frames. Feed it what arrives.

    It copies a body at most twice, and not at all when it comes in one piece.
    """

    def __init__(self, *, mini_header: bool, limit: int = DEFAULT_LIMIT, serial: int = 0) -> None:
        self.mini_header = mini_header
        self.limit = limit
        self.serial = serial
        """Serial of the last frame."""
        self.failure: ProtocolError | None = None
        """What is wrong with the bytes behind the last frames that `feed` returned; raised when it is called again."""
        self._gatherer = Gatherer()

    @property
    def pending(self) -> int:
        """Bytes that were fed and are not yet part of a frame."""
        return self._gatherer.held

    def feed(self, data: Data) -> list[Frame]:
        """The frames that `data` completes. `ProtocolError` when a header announces more than the limit.

        Frames that are complete before such a header are returned first, and `failure` says what comes then. Bodies
        are views into `data` where it holds them whole: do not change it afterwards.
        """
        if self.failure is not None:
            raise self.failure
        header = MINI_HEADER if self.mini_header else FULL_HEADER
        view = self._gatherer.feed(data, header.size)
        if view is None:
            return []
        frames: list[Frame] = []
        try:
            self._cut(view, header.size, frames)
        except ProtocolError as error:
            self.failure = error
            if not frames:
                raise
        return frames

    def _cut(self, view: memoryview, header_size: int, frames: list[Frame]) -> None:
        position = 0
        needed = 0
        length = len(view)
        while length - position >= header_size:
            sub_list = 0
            if self.mini_header:
                number, size = MINI_HEADER.unpack_from(view, position)
                serial = self.serial + 1
            else:
                serial, number, size, sub_list = FULL_HEADER.unpack_from(view, position)
            if size > self.limit:
                raise ProtocolError(f"a message of {size} bytes is larger than the limit of {self.limit}")
            if length - position < header_size + size:
                needed = header_size + size
                break
            start = position + header_size
            body = view[start : start + size]
            sub_messages = read_sub_messages(Reader(body).at(sub_list)) if sub_list else ()
            self.serial = serial
            frames.append(Frame(serial, number, body, sub_messages))
            position = start + size
        self._gatherer.keep(view[position:], needed)

    def take_rest(self) -> bytes:
        """Take the bytes that are not yet part of a frame away, for a channel that goes on elsewhere."""
        return self._gatherer.take()


def encode_frame(number: int, body: Data, *, mini_header: bool, serial: int = 0, sub_list: int = 0) -> bytes:
    """One message with its header; `serial` and `sub_list` (a body offset, 0 for none) are in the full header only."""
    if mini_header:
        return MINI_HEADER.pack(number, len(body)) + body
    return FULL_HEADER.pack(serial, number, len(body), sub_list) + body
