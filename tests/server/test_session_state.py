"""The states of a live session go through the envelope, and another server's machines and views begin with them."""

from __future__ import annotations

import pytest
from waiting import until

import spicehop
from spicehop.channels.serving.agent import AgentHub
from spicehop.channels.serving.smartcard import ServerSmartcard
from spicehop.guests.demo import DemoGuest
from spicehop.migration.state import AgentStates, ServingState, SessionState, decode, encode, sections
from spicehop.painting import ClientView
from spicehop.server import ServerOptions, SpiceServer
from spicehop.server.session import ServedSession
from spicehop.wire import envelope


def state_of(server: SpiceServer, session: ServedSession) -> SessionState:
    channels: dict[tuple[int, int], ServingState] = {}
    for key, served in session.channels.items():
        machine = served.machine
        smartcard = isinstance(machine, ServerSmartcard)
        channels[key] = machine.smartcard_state() if smartcard else machine.state()  # type: ignore[attr-defined]
    views = {number: feed.painter.view.state() for number, feed in session.feeds.items()}
    hub = server.agent.hub
    return SessionState(channels, views, AgentStates(hub.client_state(session.number), hub.device_state()))


@pytest.mark.parametrize("size", [(320, 240), (1920, 1080)], ids="{0[0]}x{0[1]}".format)
async def test_a_live_session_goes_through_the_envelope(size: tuple[int, int]) -> None:
    guest = DemoGuest(*size)
    async with (
        SpiceServer(guest, ServerOptions(compression="lz")) as server,
        spicehop.connect(f"spice://127.0.0.1:{server.port}") as client,
    ):
        await client.keyboard.type("text")
        client.mouse.move(100, 120)
        client.keyboard.down(0x2A)  # left shift stays down
        port = client.ports["org.example.echo.0"]
        port.write(b"bytes")
        await port.drain()
        await until(lambda: guest.displays[0].pixels.shape[0] == size[1] and bool(server.sessions))
        (session,) = server.sessions
        machines = {served.machine.name for served in session.channels.values()}
        await until(lambda: session.feeds[0].painter.view.has_begun)
        for _ in range(3):
            state = state_of(server, session)
            encoded = encode(state)
            found = decode(encoded)
            assert isinstance(found, SessionState)
            assert [section.key for section in sections(found)] == [section.key for section in sections(state)]
            assert found.channels.keys() == state.channels.keys()
            assert found.main == state.main or found.main.channel.serial == state.main.channel.serial
            assert found.agent == state.agent
            view = ClientView.restored(found.views[0])
            assert view.state().encode() == state.views[0].encode()
            assert len(encoded) <= envelope.MAX_BYTES
            if found.agent is not None:
                AgentHub().restore(1, found.agent.client, found.agent.device)
            await client.keyboard.type("more")
        assert {"main:0", "display:0", "inputs:0", "cursor:0", "port:0"} <= machines
