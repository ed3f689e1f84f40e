"""Faults of our own: they cost one session, or the server says so."""

from __future__ import annotations

import asyncio
import logging

import pytest
from raw_link import TIMEOUT, RawLink, opened
from small_guest import SmallGuest
from waiting import until

import spicehop
from spicehop.channels.serving.inputs import ServerInputs
from spicehop.raster.region import Box
from spicehop.server import SpiceServer
from spicehop.wire.constants import ChannelType


async def test_a_fault_in_one_session_is_not_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    guest = SmallGuest()
    async with SpiceServer(guest) as server, spicehop.connect(f"spice://127.0.0.1:{server.port}") as session:
        main, session_id = await opened(server.port)
        _, keys = await RawLink.open(server.port, ChannelType.INPUTS, session_id)
        machine = next(one for one in server.sessions if one.connection_id == session_id).channels[keys.kind, 0].machine
        assert isinstance(machine, ServerInputs)

        def broken(now: float) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(machine, "handle_timer", broken)
        with caplog.at_level(logging.CRITICAL):
            guest.screen.fill(Box(0, 0, 8, 8), 5)
            server.wake()
            await keys.closed()
            await main.closed()
        await session.keyboard.type("a")
        await until(lambda: guest.keys == [b"\x1e", b"\x9e"])
        assert len(server.sessions) == 1


async def test_a_guest_that_fails_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = SmallGuest()
    async with SpiceServer(guest) as server:
        main, _ = await opened(server.port)

        def broken(now: float) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(guest, "advance", broken)
        server.wake()
        await main.closed()
        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(TIMEOUT):
                await server.wait_closed()
