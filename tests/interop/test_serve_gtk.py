"""The stock client at our server: what it shows, what it types, what it pipes. The judge is spice-gtk itself."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from gtk_driver import GtkClient
from PIL import Image
from waiting import until

from spicehop.guests.demo import DemoGuest
from spicehop.server import ServerOptions, SpiceServer, tls_context

pytestmark = pytest.mark.peers
StartGtkClient = Callable[..., Awaitable[GtkClient]]
F7, F8 = 65, 66
LETTERS = [0x1E, 0x30, 0x2E, 0x20, 0x12, 0x21, 0x22, 0x23]


class Lines(list[str]):
    """The guest's log."""

    def key_events(self) -> list[tuple[int, int]]:
        """(code, value) of each key event, in order."""
        found = []
        for line in self:
            if " key n=" in line:
                words = dict(word.split("=") for word in line.split() if "=" in word)
                found.append((int(words["code"]), int(words["value"])))
        return found


@asynccontextmanager
async def serving(
    options: ServerOptions | None = None, size: tuple[int, int] = (1024, 768)
) -> AsyncIterator[tuple[SpiceServer, DemoGuest, Lines]]:
    lines = Lines()
    guest = DemoGuest(*size, log=lines.append)
    async with SpiceServer(guest, options) as server:
        yield server, guest, lines


async def session_open(client: GtkClient) -> None:
    await client.wait_event("channel-event", kind="InputsChannel", what="opened")
    await client.wait_event("mark")
    await client.wait_event("port", opened=True)


async def freeze(server: SpiceServer, guest: DemoGuest) -> None:
    """Let the picture stand still, and every client have it."""
    guest.key(bytes([F7]))
    guest.key(bytes([F7 | 0x80]))
    server.wake()

    def settled() -> bool:
        feeds = [feed for session in server.sessions for feed in session.feeds.values()]
        return all(feed.settled for feed in feeds)

    await until(settled, "every client has the picture")


async def picture(client: GtkClient, folder: Path, name: str) -> np.ndarray:
    file = folder / f"{name}.ppm"
    client.send("save", file=str(file))
    await client.wait_event("saved", file=str(file))
    return np.asarray(Image.open(file))


async def assert_shows(client: GtkClient, guest: DemoGuest, folder: Path, name: str = "shown") -> None:
    """The client shows the guest's pixels; it may need a moment to draw what it has received."""
    wanted = guest.displays[0].pixels[..., 2::-1]
    for attempt in range(20):
        shown = await picture(client, folder, f"{name}-{attempt}")
        if np.array_equal(shown, wanted):
            return
        await asyncio.sleep(0.1)
    differs = (shown != wanted).any(axis=2)
    rows, columns = np.nonzero(differs)
    area = f"rows {rows.min()}-{rows.max()}, columns {columns.min()}-{columns.max()}"
    raise AssertionError(f"{int(differs.sum())} pixels differ, in {area}")


@pytest.mark.parametrize("size", [(1024, 768), (1920, 1080)], ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("compression", ["off", "quic", "glz", "lz", "lz4", "jpeg", "auto"])
async def test_the_picture_is_the_guests(
    start_gtk_client: StartGtkClient, tmp_path: Path, compression: str, size: tuple[int, int]
) -> None:
    """After typing, with windows that move and a film that plays; lossy settings are exact once it stands still."""
    async with serving(ServerOptions(compression=compression), size) as (server, guest, lines):
        client = await start_gtk_client(server.port)
        await session_open(client)
        client.send("keys", codes=LETTERS, hz=50)
        await client.wait_event("typed")
        await until(lambda: len(lines.key_events()) >= 2 * len(LETTERS), "the keys")
        await asyncio.sleep(1.0)
        await freeze(server, guest)
        await assert_shows(client, guest, tmp_path)
        assert not client.criticals


async def test_keys_arrive_in_order_and_the_port_echoes(start_gtk_client: StartGtkClient, tmp_path: Path) -> None:
    async with serving() as (server, _, lines):
        client = await start_gtk_client(server.port)
        await session_open(client)
        codes = LETTERS * 25
        client.send("keys", codes=codes, hz=200)
        client.send("stream", size=400_000, rate=2_000_000)
        await client.wait_event("typed")
        await client.wait_event("streamed")
        await until(lambda: len(lines.key_events()) >= 2 * len(codes), "the keys")
        await until(lambda: len(client.echo) >= 400_000, "the echo")
        assert [code for code, value in lines.key_events() if value == 1] == codes
        records = b"".join(b"%015d\n" % number for number in range(400_000 // 16))
        assert client.echo == records
        assert not client.criticals


async def test_two_clients_and_one_of_them_is_stopped(start_gtk_client: StartGtkClient, tmp_path: Path) -> None:
    async with serving() as (server, guest, lines):
        first = await start_gtk_client(server.port, name="first")
        await session_open(first)
        second = await start_gtk_client(server.port, name="second")
        await second.wait_event("mark")
        pid = second.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            feed = next(feed for session in server.sessions for feed in session.feeds.values() if session.number == 1)
            before = feed.frames
            first.send("keys", codes=LETTERS * 4, hz=50)
            await first.wait_event("typed")
            await until(lambda: feed.frames > before + 25, "frames for the one that runs")
            await until(lambda: len(lines.key_events()) >= 8 * len(LETTERS), "the keys")
        finally:
            os.kill(pid, signal.SIGCONT)
        await freeze(server, guest)
        await assert_shows(first, guest, tmp_path, "first")
        await assert_shows(second, guest, tmp_path, "second")


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine, its own authority."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True, timeout=60)
    return cert, key


async def test_over_tls_with_a_ticket(start_gtk_client: StartGtkClient, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    options = ServerOptions(port=None, tls_port=0, tls=tls_context(cert, key), password="secret")
    async with serving(options) as (server, guest, _):
        further = ("--tls-port", str(server.tls_port), "--ca-file", str(cert))
        client = await start_gtk_client(0, password="secret", options=further)
        await session_open(client)
        client.send("keys", codes=LETTERS, hz=50)
        client.send("stream", size=100_000, rate=2_000_000)
        await client.wait_event("typed")
        await until(lambda: len(client.echo) >= 100_000, "the echo")
        await freeze(server, guest)
        await assert_shows(client, guest, tmp_path)
        assert not client.criticals


async def test_sound_arrives(start_gtk_client: StartGtkClient) -> None:
    async with serving() as (server, _, _lines):
        client = await start_gtk_client(server.port)
        await client.wait_event("playing", channels=2)
        await asyncio.sleep(0.5)
        client.send("totals")
        totals = await client.wait_event("totals")
        assert totals["sound"] > 48_000 * 4 // 5
        assert totals["peak"] > 8
        assert not client.criticals


async def test_the_mouse_both_ways(start_gtk_client: StartGtkClient) -> None:
    async with serving() as (server, _, lines):
        client = await start_gtk_client(server.port)
        await client.wait_event("mouse-mode", mode=2)
        await session_open(client)
        for place in range(40):
            client.send("position", x=100 + place, y=200)
        client.send("button", button=1)
        await until(lambda: any("kind=absolute x=139 y=200" in line for line in lines), "the last position")
        await until(lambda: sum("button n=" in line for line in lines) == 2, "a click")
        client.send("mode", mode=1)
        await client.wait_for(lambda: client.events[-1].get("mode") == 1, "the other mouse mode")
        for _ in range(40):
            client.send("motion", dx=2, dy=-1)

        def moved() -> tuple[int, int]:
            found = [line.split() for line in lines if "kind=relative" in line]
            words = [dict(word.split("=") for word in line if "=" in word) for line in found]
            return sum(int(one["x"]) for one in words), sum(int(one["y"]) for one in words)

        await until(lambda: moved() == (80, -40), "all movements")
        assert not client.criticals


async def test_clipboards_and_another_size(start_gtk_client: StartGtkClient, tmp_path: Path) -> None:
    async with serving() as (server, guest, lines):
        client = await start_gtk_client(server.port)
        await session_open(client)
        await client.wait_event("agent", connected=True)
        client.send("offer", size=100_000)
        offered = await client.wait_event("offered")
        await client.wait_event("clipboard-given")
        checksum = f"{offered['checksum']:08x}"
        await until(lambda: any("clipboard" in line and checksum in line for line in lines), "the text")
        client.send("key", code=63)
        await client.wait_event("clipboard")
        client.send("resize", width=800, height=600)
        await client.wait_event("surface", width=800, height=600)
        await freeze(server, guest)
        await assert_shows(client, guest, tmp_path)
        assert not client.criticals
