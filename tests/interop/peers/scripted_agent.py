"""The guest's agent at the Unix socket of our server (`--agent-socket`): it says what a test says, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from types import TracebackType
from typing import Self

from spicehop.wire import agent
from spicehop.wire.agent_constants import AgentCap, AgentPort
from spicehop.wire.agent_stream import CHUNK_HEADER_SIZE, ChunkHeader, encode_agent_message, encode_chunk

CAPABILITIES = frozenset({AgentCap.REPLY, AgentCap.CLIPBOARD_BY_DEMAND, AgentCap.CLIPBOARD_SELECTION})


class ScriptedAgent:
    """Enter it to connect; `received` is what the server has written to the device so far."""

    def __init__(self, path: Path) -> None:
        self.received = bytearray()
        self._path = path
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        reader, self._writer = await asyncio.open_unix_connection(str(self._path))
        self._reading = asyncio.get_running_loop().create_task(self._read(reader))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._reading is not None
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(1 << 16):
            self.received += data

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        self._writer.write(data)

    def say(self, message: agent.AgentMessage) -> None:
        """A message in one chunk."""
        self.write(encode_chunk(AgentPort.CLIENT, encode_agent_message(message, capabilities=CAPABILITIES)))

    def introduce(self) -> None:
        """Say what it can do."""
        self.say(agent.AnnounceCapabilities.of(CAPABILITIES, request=False))

    def payload(self, start: int = 0) -> bytes:
        """What was written in chunks of the client, whose first begins at `start`; the last may not be whole."""
        found, data = [], bytes(self.received)
        while len(data) >= start + CHUNK_HEADER_SIZE:
            begin = start + CHUNK_HEADER_SIZE
            head = ChunkHeader.decode(data[start:begin])
            start = begin + head.size
            if head.port == AgentPort.CLIENT:
                found.append(data[begin:start])
        return b"".join(found)
