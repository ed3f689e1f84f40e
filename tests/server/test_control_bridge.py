"""The control socket's view of a real server: what it tells of connections, and what its commands do there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from small_guest import SmallGuest
from waiting import until

import spicehop
from spicehop.errors import LinkError, OperationError, SpicehopError
from spicehop.server import ServerOptions, SpiceServer
from spicehop.server.control_bridge import ServerControl
from spicehop.server.control_target import ControlEvent

NOW = 5000.0


@pytest.fixture
def guest() -> SmallGuest:
    return SmallGuest()


@pytest.fixture
async def server(guest: SmallGuest) -> AsyncIterator[SpiceServer]:
    async with SpiceServer(guest, ServerOptions(password="one")) as server:
        yield server


@pytest.fixture
def target(server: SpiceServer) -> ServerControl:
    return ServerControl(server, wall_clock=lambda: NOW)


@pytest.fixture
def told(target: ServerControl) -> list[ControlEvent]:
    """Everything that is told."""
    events: list[ControlEvent] = []
    target.listen(events.append)
    return events


def url(server: SpiceServer) -> str:
    return f"spice://127.0.0.1:{server.port}"


async def can_come(server: SpiceServer, password: str | None) -> bool:
    """Whether a client with this password gets in."""
    try:
        async with spicehop.connect(url(server), password=password):
            return True
    except LinkError:
        return False


def client_of(event: ControlEvent) -> object:
    assert event.data is not None
    client = event.data["client"]
    assert isinstance(client, dict)
    return client["port"]


async def test_a_session_is_told_and_listed(
    server: SpiceServer, target: ServerControl, told: list[ControlEvent]
) -> None:
    async with spicehop.connect(url(server), password="one") as session:
        await until(lambda: len(target.spice().channels) == len(session.core.channels))
        listed = target.spice().channels
        assert {channel.connection_id for channel in listed} == {session.core.connection_id}
        assert {(channel.kind, channel.number) for channel in listed} == set(session.core.channels)
        assert target.spice().auth == "spice"
        assert target.spice().mouse_mode in ("client", "server")
    await until(lambda: not target.spice().channels)
    count = len(listed)
    for channel in listed:
        names = [event.name for event in told if client_of(event) == channel.client.port]
        assert names == ["SPICE_CONNECTED", "SPICE_INITIALIZED", "SPICE_DISCONNECTED"]
    assert len(told) == 3 * count
    linked = next(event for event in told if event.name == "SPICE_INITIALIZED")
    assert linked.data is not None
    assert linked.data["server"] == {"host": "127.0.0.1", "port": str(server.port), "family": "ipv4", "auth": "spice"}


async def test_a_link_that_fails_is_told_too(server: SpiceServer, told: list[ControlEvent]) -> None:
    assert not await can_come(server, "wrong")
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await until(lambda: len(told) == 4)
    writer.close()
    assert [event.name for event in told] == ["SPICE_CONNECTED", "SPICE_DISCONNECTED"] * 2


async def test_clients_of_a_unix_socket(guest: SmallGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with SpiceServer(guest, ServerOptions(port=None, unix_path=Path("spice"))) as server:
        target = ServerControl(server)
        told: list[ControlEvent] = []
        target.listen(told.append)
        facts = target.spice().as_json()
        assert (facts["host"], facts["auth"]) == ("spice", "none")
        assert "port" not in facts
        _, writer = await asyncio.open_unix_connection("spice")
        await until(lambda: len(told) == 1)
        writer.close()
        assert told[0].data == {
            "server": {"host": "localhost", "port": "spice", "family": "unix"},
            "client": {"host": "localhost", "port": "", "family": "unix"},
        }


async def test_stop_and_cont_are_told_when_they_change_something(
    guest: SmallGuest, target: ServerControl, told: list[ControlEvent]
) -> None:
    assert target.status == "running"
    target.resume()
    target.stop()
    target.stop()
    assert (target.status, guest.running) == ("paused", False)
    target.resume()
    assert (target.status, guest.running) == ("running", True)
    assert [event.name for event in told] == ["STOP", "RESUME"]


async def test_another_password(server: SpiceServer, target: ServerControl) -> None:
    async with spicehop.connect(url(server), password="one") as session:
        target.change_password("two")
        assert not await can_come(server, "one")
        assert await can_come(server, "two")
        assert not session.closed, "who is in stays in"
    with pytest.raises(OperationError, match="Could not set password"):
        target.change_password("x" * 61)
    assert await can_come(server, "two")


async def test_a_password_expires(server: SpiceServer, target: ServerControl) -> None:
    target.expire_password(NOW)
    assert not await can_come(server, "one")
    target.change_password("two")
    assert not await can_come(server, "two"), "another password does not change until when it is good"
    target.expire_password(NOW + 60)
    assert await can_come(server, "two")
    target.expire_password(NOW - 60)
    assert not await can_come(server, "two")
    target.expire_password(None)
    assert await can_come(server, "two")


async def test_without_ticketing_there_is_no_password(guest: SmallGuest) -> None:
    async with SpiceServer(guest) as server:
        target = ServerControl(server)
        with pytest.raises(OperationError, match="Could not set password"):
            target.change_password("two")
        with pytest.raises(OperationError, match="Could not set password expire time"):
            target.expire_password(None)
        assert await can_come(server, None)


async def test_clients_are_told_why_they_are_disconnected(server: SpiceServer, target: ServerControl) -> None:
    async with spicehop.connect(url(server), password="one") as session:
        target.disconnect_clients("the password was changed")
        with pytest.raises(SpicehopError):
            await asyncio.wait_for(session.wait_closed(), 10)
        assert "the password was changed" in session.notices
    assert len(server.sessions) == 0


async def test_quit_is_told_once(target: ServerControl, told: list[ControlEvent]) -> None:
    target.quit("host-signal")
    target.quit("host-qmp-quit")
    await asyncio.wait_for(target.wait_ended(), 1)
    assert told == [ControlEvent("SHUTDOWN", {"guest": False, "reason": "host-signal"})]


async def test_keys_and_pictures(guest: SmallGuest, target: ServerControl) -> None:
    target.key(b"\x1e")
    assert guest.keys == [b"\x1e"]
    picture = target.picture(0)
    assert np.array_equal(picture, guest.displays[0].pixels)
    assert not np.shares_memory(picture, guest.displays[0].pixels)
    assert (target.displays, target.name) == (1, "small")
