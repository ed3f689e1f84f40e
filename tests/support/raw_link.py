"""A client's link by hand: what a test sends is what goes out."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections import deque
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_der_public_key

from spicehop.wire import main, registry
from spicehop.wire.constants import AuthMechanism, ChannelType, CommonCap, Direction, LinkResult
from spicehop.wire.framing import Frame, FrameReader, encode_frame
from spicehop.wire.layout import Message
from spicehop.wire.link import Capabilities, LinkMessage, LinkReply

TIMEOUT = 10.0
COMMON = frozenset({CommonCap.PROTOCOL_AUTH_SELECTION, CommonCap.AUTH_SPICE, CommonCap.MINI_HEADER})


class RawLink:
    """A client's link by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.frames = FrameReader(mini_header=True)
        self.waiting: deque[Frame] = deque()
        """What has come and nobody has looked at."""
        self.kind = 0

    @classmethod
    async def open(
        cls,
        where: int | Path,
        kind: int,
        connection_id: int = 0,
        password: bytes = b"",
        *,
        tls: ssl.SSLContext | None = None,
    ) -> tuple[int, RawLink]:
        """The link's result, and the link; `where` is a port of this machine or a Unix socket."""
        if isinstance(where, Path):
            link = cls(*await asyncio.open_unix_connection(where))
        else:
            link = cls(*await asyncio.open_connection("127.0.0.1", where, ssl=tls))
        link.kind = kind
        link.writer.write(LinkMessage(connection_id, kind, 0, Capabilities(COMMON)).encode())
        async with asyncio.timeout(TIMEOUT):
            size = struct.unpack("<12xI", await link.reader.readexactly(16))[0]
            reply = LinkReply.decode(await link.reader.readexactly(size))
            if reply.error:
                return reply.error, link
            key = load_der_public_key(reply.public_key)
            scheme = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)
            ticket = key.encrypt(password + b"\0", scheme)  # type: ignore[union-attr,call-arg]
            link.writer.write(struct.pack("<I", AuthMechanism.SPICE) + ticket)
            return struct.unpack("<I", await link.reader.readexactly(4))[0], link

    def send(self, message: Message) -> None:
        number = registry.number_of(message, self.kind, Direction.FROM_CLIENT)
        self.writer.write(encode_frame(number, message.encode(), mini_header=True))

    async def first(self, wanted: type[Message]) -> Message:
        """The first message of a class."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                while self.waiting:
                    frame = self.waiting.popleft()
                    message = registry.decode(self.kind, Direction.FROM_SERVER, frame.number, frame.body)
                    if isinstance(message, wanted):
                        return message
                self.waiting.extend(self.frames.feed(await self.reader.read(1 << 16)))

    async def closed(self) -> None:
        """Wait until the server closes it."""
        async with asyncio.timeout(TIMEOUT):
            try:
                while await self.reader.read(1 << 16):
                    pass
            except ConnectionResetError:
                pass
        self.writer.close()


async def opened(where: int | Path, password: bytes = b"") -> tuple[RawLink, int]:
    """A main channel by hand, and its session's number."""
    result, link = await RawLink.open(where, ChannelType.MAIN, password=password)
    assert result == LinkResult.OK
    init = await link.first(main.Init)
    assert isinstance(init, main.Init)
    return link, init.session_id
