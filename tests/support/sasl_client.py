"""A client's side of the link stage with SASL, for tests: what dossier A.2 and A.5 say, step by step."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

from scramp import ScramClient

from spicehop.wire.constants import ChannelType, CommonCap
from spicehop.wire.link import Capabilities, LinkMessage

SASL = 2
Answer = Callable[[bytes | None], bytes | None]
"""Turns the last challenge, None at first, into an answer."""


def plain(name: str, password: str, wanted: str = "") -> Answer:
    """PLAIN."""
    return lambda challenge: f"{wanted}\0{name}\0{password}".encode()


def scram(name: str, password: str) -> Answer:
    """SCRAM-SHA-256."""
    client = ScramClient(["SCRAM-SHA-256"], name, password)

    def answer(challenge: bytes | None) -> bytes:
        if challenge is None:
            return client.get_client_first().encode()
        client.set_server_first(challenge.decode())
        return client.get_client_final().encode()

    return answer


class SaslClient:
    """One connection; each method is one step, so that a test can stop anywhere."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def offer(self) -> bytes:
        """Ask for the main channel and choose SASL; gives the server's list of mechanisms."""
        common = frozenset({CommonCap.PROTOCOL_AUTH_SELECTION, CommonCap.AUTH_SASL, CommonCap.MINI_HEADER})
        self.writer.write(LinkMessage(0, ChannelType.MAIN, 0, Capabilities(common)).encode())
        (size,) = struct.unpack_from("<I", await self.reader.readexactly(16), 12)
        reply = await self.reader.readexactly(size)
        assert reply[:4] == bytes(4), f"link error {reply[0]}"
        assert reply[4:166] == bytes(162), "with SASL there is no key for tickets"
        self.writer.write(struct.pack("<I", SASL))
        return await self._sized() or b""

    async def _sized(self) -> bytes | None:
        (size,) = struct.unpack("<I", await self.reader.readexactly(4))
        return await self.reader.readexactly(size) if size else None

    def choose(self, mechanism: str) -> None:
        """Name the mechanism."""
        self.writer.write(struct.pack("<I", len(mechanism)) + mechanism.encode())

    def say(self, data: bytes | None) -> None:
        """An answer; the length counts the NUL behind it."""
        self.writer.write(struct.pack("<I", 0) if data is None else struct.pack("<I", len(data) + 1) + data + b"\0")

    async def challenge(self) -> tuple[bytes | None, bool]:
        """The server's step, and whether that was the last one. IncompleteReadError when it ends the connection."""
        data = await self._sized()
        (done,) = await self.reader.readexactly(1)
        return None if data is None else data[:-1], bool(done)

    async def log_in(self, mechanism: str, answer: Answer) -> int:
        """All of it; gives the link result. IncompleteReadError when the server ends the connection before."""
        await self.offer()
        self.choose(mechanism)
        challenge: bytes | None = None
        done = False
        while not done:
            self.say(answer(challenge))
            challenge, done = await self.challenge()
        assert await self.reader.readexactly(4) == bytes(4), "SASL's own yes"
        (result,) = struct.unpack("<I", await self.reader.readexactly(4))
        assert isinstance(result, int)
        return result
