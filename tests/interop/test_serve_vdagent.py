"""The real agent of Linux guests, spice-vdagentd and spice-vdagent, at the agent's socket of our server.

The agent's own X server stands for the guest's screen: its clipboard and its size are what the client's are to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from served_demo import ServerProcess
from virtual_screen import VirtualScreen
from waiting import until

from spicehop.demo.gtk_client import GtkClient
from spicehop.guests.demo.fnv import fnv1a
from spicehop.wire.agent_constants import AgentCap

pytestmark = pytest.mark.peers
StartGtkClient = Callable[..., Awaitable[GtkClient]]
WANTED = {
    AgentCap.MOUSE_STATE,
    AgentCap.MONITORS_CONFIG,
    AgentCap.REPLY,
    AgentCap.CLIPBOARD_BY_DEMAND,
    AgentCap.CLIPBOARD_SELECTION,
    AgentCap.MAX_CLIPBOARD,
    AgentCap.AUDIO_VOLUME_SYNC,
}


async def start_agent(screen: VirtualScreen, folder: Path) -> None:
    """Start the daemon at the agent's socket, and the part of it that lives in an X session."""
    device, session = folder / "agent.socket", folder / "session.socket"
    pointer = folder / "uinput"
    pointer.touch()
    for place in (device, session):
        assert len(str(place).encode()) < 108, "the system has no sockets at such long paths"
    fake = ("-X", "-f", "-u", str(pointer))
    await screen.start("spice-vdagentd", "-x", "-d", *fake, "-s", str(device), "-S", str(session))
    await until(session.exists, "the daemon's socket")
    await screen.start("spice-vdagent", "-x", "-d", "-s", str(device), "-S", str(session))


async def test_capabilities_clipboard_and_size(start_gtk_client: StartGtkClient, tmp_path: Path) -> None:
    text = b"".join(b"line %07d of the guest\n" % number for number in range(20_000))
    async with (
        ServerProcess(tmp_path, "--agent-socket", str(tmp_path / "agent.socket")) as server,
        VirtualScreen(tmp_path, 1600, 1200) as screen,
    ):
        client = await start_gtk_client(server.port)
        await client.wait_event("channel-event", kind="MainChannel", what="opened")
        assert client.seen("agent", connected=True) is None
        await start_agent(screen, tmp_path)
        await client.wait_event("agent", connected=True)

        async def can() -> set[int]:
            client.send("agent")
            count = len(client.events)
            await client.wait_for(lambda: any(e["event"] == "agent-can" for e in client.events[count:]), "capabilities")
            return set(client.events[-1].get("capabilities", ()))

        for _ in range(100):
            if (await can()) >= WANTED:
                break
            await asyncio.sleep(0.1)
        assert await can() >= WANTED

        client.send("offer", size=300_000)
        offered = await client.wait_event("offered")
        pasted = b""
        async with asyncio.timeout(20):
            while not pasted:  # until the session's part of the agent has taken the selection
                pasted = (await screen.run("xclip", "-selection", "clipboard", "-o")).encode()
                await asyncio.sleep(0.05)
        assert (len(pasted), fnv1a(pasted)) == (300_000, offered["checksum"])

        (tmp_path / "text").write_bytes(text)
        await screen.start("xclip", "-quiet", "-selection", "clipboard", "-i", str(tmp_path / "text"))
        given = await client.wait_event("clipboard")
        assert (given["size"], given["checksum"]) == (len(text), fnv1a(text))

        client.send("resize", width=800, height=600)
        await client.wait_event("surface", width=800, height=600)
        async with asyncio.timeout(20):
            while (await screen.run("xdotool", "getdisplaygeometry")).split() != ["800", "600"]:
                await asyncio.sleep(0.1)
        assert not client.criticals
