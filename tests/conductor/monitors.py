"""Stand-ins for QEMU's monitor: they speak QMP on a Unix socket and answer what a test tells them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

GREETING = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}
CLIENT = {"host": "192.0.2.9", "port": "40000", "family": "ipv4"}
CHANNEL = {**CLIENT, "connection-id": -5, "channel-type": 1, "channel-id": 0, "tls": False}


class Monitor:
    """One monitor at `path`. `answers[command]` is a value, an Exception for an error, or a function giving either."""

    def __init__(self, path: Path, answers: dict[str, Any]) -> None:
        self.path = path
        self.answers = answers
        self.commands: list[str] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()
        await asyncio.sleep(0)  # let the handlers see it

    def hang_up(self) -> None:
        """End every connection."""
        for writer in self._writers:
            writer.close()

    def tell(self, event: str, **data: object) -> None:
        """Send an event."""
        for writer in self._writers:
            self._send(writer, {"event": event, "data": data, "timestamp": {"seconds": 0, "microseconds": 0}})

    @staticmethod
    def _send(writer: asyncio.StreamWriter, message: object) -> None:
        writer.write(json.dumps(message).encode() + b"\n")

    @staticmethod
    async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
        """QMP's messages have no separator that must be there."""
        text, decoder = "", json.JSONDecoder()
        while chunk := await reader.read(65536):
            text = (text + chunk.decode()).lstrip()
            while text:
                try:
                    message, end = decoder.raw_decode(text)
                except ValueError:
                    break
                text = text[end:].lstrip()
                yield message

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._send(writer, GREETING)
        async for message in self._messages(reader):
            command = message["execute"]
            self.commands.append(command)
            value = self.answers.get(command, {})
            if callable(value):
                value = value()
            if isinstance(value, Exception):
                reply = {"error": {"class": "GenericError", "desc": str(value)}}
            else:
                reply = {"return": value}
            if not writer.is_closing():
                self._send(writer, {**reply, **({"id": message["id"]} if "id" in message else {})})


class Pair:
    """Two monitors of one migration that succeeds, of a machine with one session of one channel."""

    def __init__(self, folder: Path) -> None:
        self.status = {"source": "running", "target": "inmigrate"}
        self.channels: dict[str, list[object]] = {"source": [CHANNEL], "target": []}
        self.source = Monitor(folder / "source", self._answers("source"))
        self.target = Monitor(folder / "target", self._answers("target"))
        self.source.answers.update({"client_migrate_info": self.link, "migrate": self.move, "quit": self.quit})

    async def __aenter__(self) -> Self:
        await self.source.__aenter__()
        await self.target.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.source.__aexit__(kind, error, trace)
        await self.target.__aexit__(kind, error, trace)

    def _answers(self, name: str) -> dict[str, Any]:
        return {
            "query-version": {"qemu": {"major": 7, "minor": 2, "micro": 0}},
            "query-status": lambda: {"status": self.status[name]},
            "query-spice": lambda: {
                "enabled": True,
                "host": "127.0.0.1",
                "port": 1,
                "auth": "spice",
                "channels": self.channels[name],
            },
            "query-migrate": {"socket-address": [{"type": "unix", "path": "m"}]} if name == "target" else {},
            "qom-get": "pc-machine",
        }

    def link(self) -> object:
        """The client links to the target."""
        self.channels["target"] = [CHANNEL]
        self.target.tell("SPICE_CONNECTED", client=CLIENT)
        self.target.tell("SPICE_INITIALIZED", client=CHANNEL)
        return {}

    def move(self) -> object:
        """The machine moves, and the session after it."""
        self.status = {"source": "postmigrate", "target": "running"}
        self.source.tell("STOP")
        self.target.tell("RESUME")
        self.source.tell("MIGRATION", status="completed")
        self.source.tell("SPICE_MIGRATE_COMPLETED")
        return {}

    def quit(self) -> object:
        """The source ends."""
        self.source.tell("SHUTDOWN", guest=False)
        asyncio.get_running_loop().call_later(0.02, self.source.hang_up)
        return {}
