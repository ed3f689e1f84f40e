"""The demo guest moves between two `spicehop serve`, and the stock client goes after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from waiting import until

from spicehop.conductor.qmp import QmpAddress, QmpPeer
from spicehop.demo.gtk_client import GtkClient
from spicehop.demo.serial import read_serial
from spicehop.demo.server_process import ServerProcess

pytestmark = pytest.mark.peers
StartGtkClient = Callable[..., Awaitable[GtkClient]]
EXPECTED = {
    "seamless": ("seamless", "client"),
    "direct": ("seamless", "direct"),
    "direct, linked ahead": ("seamless", "direct"),
}
CODES = [0x1E, 0x30, 0x2E, 0x20]


def port_of(server: ServerProcess) -> int:
    return int(server.url.rpartition(":")[2])


async def link_directly(source: ServerProcess, target: ServerProcess, address: str) -> None:
    """A direct link between two servers on one host."""
    for server, command in ((target, "direct-link-listen"), (source, "direct-link-connect")):
        peer = QmpPeer("server", QmpAddress(path=server.control))
        await peer.connect()
        try:
            await peer.execute(command, {"address": address})
        finally:
            await peer.close()


@pytest.mark.parametrize("scheme", ["switch-host", "semi-seamless", "seamless", "direct", "direct, linked ahead"])
async def test_spice_gtk_goes_where_it_is_sent(
    start_gtk_client: StartGtkClient, tmp_path: Path, scheme: str
) -> None:
    """There: it types before and after, and nothing of that is lost or doubled. Semi-seamless it keeps its channels."""
    letting_in = ("--accept-unannounced-migration",) if scheme.endswith("seamless") else ()
    moving = ("--seamless-migration", "on") if scheme in ("seamless", "direct", "direct, linked ahead") else ()
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    async with (
        ServerProcess(folders[0], arguments=moving) as a,
        ServerProcess(folders[1], arguments=("--incoming", f"unix:{tmp_path / 'move'}", *letting_in)) as b,
    ):
        source = QmpPeer("source", QmpAddress(path=a.control))
        await source.connect()
        try:
            client = await start_gtk_client(port_of(a))
            await client.wait_session()
            client.send("keys", codes=CODES, hz=100)
            await client.wait_event("typed")
            await until(lambda: " key n=7 " in a.guest_log.read_text())
            if scheme.startswith("direct"):
                await link_directly(a, b, f"unix:{tmp_path / 'link'}")
            here = {"protocol": "spice", "hostname": "127.0.0.1", "port": port_of(b)}
            await source.execute("client_migrate_info", here)
            if scheme == "direct, linked ahead":
                await until(lambda: "AwaitingLink" in a.trace.read_text())
                await asyncio.sleep(0.5)
            seen = len(client.events)
            await source.execute("migrate", {"uri": f"unix:{tmp_path / 'move'}"})
            if scheme == "switch-host":
                again = {"event": "channel-event", "kind": "InputsChannel", "what": "opened"}
                await client.wait_for(
                    lambda: any(again.items() <= one.items() for one in client.events[seen:]),
                    "the inputs channel again",
                )
            else:
                async for event, data in source.events():
                    if event == "SPICE_MIGRATE_COMPLETED":
                        clients = data["clients"]
                        break
                expected = EXPECTED.get(scheme, (scheme, ""))
                assert [(one["scheme"], one["carrier"], one["outcome"]) for one in clients] == [(*expected, "moved")]
                assert not [one for one in client.events[seen:] if one["event"] == "channel-event"]
                if scheme == "semi-seamless":
                    # All begins anew then: spice-gtk takes no key before its inputs channel has had its first message.
                    await client.wait_for(
                        lambda: any(one["event"] == "mark" for one in client.events[seen:]), "the picture again"
                    )
            client.send("keys", codes=CODES, hz=100)
            await until(lambda: " key n=15 " in b.guest_log.read_text(), timeout=20)
            if scheme == "switch-host":
                async for event, _ in source.events():
                    if event == "SPICE_MIGRATE_COMPLETED":
                        break
            assert not client.criticals
        finally:
            await source.close()
        log = read_serial([a.guest_log, b.guest_log])
    assert log.faults == ()
    assert [key.code for key in log.keys if key.value == 1] == CODES * 2
