"""TLS, Unix sockets, and how a server takes its leave."""

from __future__ import annotations

import asyncio
import ssl
import stat
import struct
import subprocess
from pathlib import Path

import pytest
from raw_link import COMMON, TIMEOUT, RawLink, opened
from small_guest import SmallGuest
from waiting import until

import spicehop
from spicehop.errors import ConnectError, UsageError
from spicehop.server import AcceptLimits, Security, ServerOptions, SpiceServer, tls_context
from spicehop.wire import base, inputs, main
from spicehop.wire.constants import AuthMechanism, ChannelType, LinkResult
from spicehop.wire.framing import MINI_HEADER
from spicehop.wire.link import Capabilities, LinkMessage


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True, timeout=60)
    return cert, key


def trusting(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate[0]))


class Records:
    """A TLS client that takes one record after the other, as spice-gtk does."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")

    async def connect(self, port: int) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
                await self._take_record()
        await self._flush()

    async def _flush(self) -> None:
        self._writer.write(self._outgoing.read())
        await self._writer.drain()

    async def _take_record(self) -> None:
        async with asyncio.timeout(TIMEOUT):
            header = await self._reader.readexactly(5)
            self._incoming.write(header + await self._reader.readexactly(int.from_bytes(header[3:], "big")))

    async def send(self, data: bytes) -> None:
        self._tls.write(data)
        await self._flush()

    async def record(self) -> bytes:
        """What the next record with data in it holds."""
        while True:
            await self._take_record()
            try:
                return self._tls.read(1 << 16)
            except ssl.SSLWantReadError:
                continue

    def close(self) -> None:
        self._writer.close()


async def test_no_record_holds_the_start_of_a_message_behind_another(certificate: tuple[Path, Path]) -> None:
    """Dossier F: spice-gtk handles the first message of a record and sleeps on the rest."""
    options = ServerOptions(port=None, tls_port=0, tls=tls_context(*certificate))
    async with SpiceServer(SmallGuest(), options) as server:
        client = Records(trusting(certificate))
        await client.connect(server.tls_port)
        await client.send(LinkMessage(0, ChannelType.MAIN, 0, Capabilities(COMMON)).encode())
        reply = await client.record()
        assert len(reply) == 16 + struct.unpack_from("<I", reply, 12)[0]
        await client.send(struct.pack("<I", AuthMechanism.SPICE) + bytes(128))
        assert await client.record() == bytes(4)
        for _ in range(3):
            begin = await client.record()
            size = MINI_HEADER.size + MINI_HEADER.unpack_from(begin)[1]
            while len(begin) < size:
                begin += await client.record()
            assert len(begin) == size
            number = MINI_HEADER.unpack_from(begin)[0]
            if number == 4:
                ping = base.Ping.decode(begin[MINI_HEADER.size :])
                await client.send(MINI_HEADER.pack(3, 12) + base.Pong(ping.id, ping.timestamp).encode())
        client.close()


@pytest.mark.parametrize("stream", [b"", b"\x16\x03\x01", b"REDQ" + bytes(40)])
async def test_nobody_waits_long_for_a_tls_handshake(certificate: tuple[Path, Path], stream: bytes) -> None:
    limits = AcceptLimits(deadline=1.0)
    options = ServerOptions(port=None, tls_port=0, tls=tls_context(*certificate), limits=limits)
    async with SpiceServer(SmallGuest(), options) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.tls_port)
        writer.write(stream)
        async with asyncio.timeout(TIMEOUT):
            await reader.read(-1)
        writer.close()
        await until(lambda: len(server.gate) == 0)
        result, link = await RawLink.open(server.tls_port, ChannelType.MAIN, tls=trusting(certificate))
        assert result == LinkResult.OK
        link.writer.close()


async def test_channels_have_their_own_security(certificate: tuple[Path, Path]) -> None:
    security = {ChannelType.MAIN: Security.PLAIN, ChannelType.INPUTS: Security.TLS}
    options = ServerOptions(tls_port=0, tls=tls_context(*certificate), security=security)
    async with SpiceServer(SmallGuest(), options) as server:
        result, link = await RawLink.open(server.tls_port, ChannelType.MAIN, tls=trusting(certificate))
        assert result == LinkResult.NEED_UNSECURED
        link.writer.close()
        link, session_id = await opened(server.port)
        result, keys = await RawLink.open(server.port, ChannelType.INPUTS, session_id)
        assert result == LinkResult.NEED_SECURED
        keys.writer.close()
        result, keys = await RawLink.open(
            server.tls_port, ChannelType.INPUTS, session_id, tls=trusting(certificate)
        )
        assert result == LinkResult.OK
        await keys.first(inputs.Init)
        keys.writer.close()
        link.writer.close()


async def test_a_unix_socket_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "spice.sock"
    async with SpiceServer(SmallGuest(), ServerOptions(port=None, unix_path=path)) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        link, session_id = await opened(path)
        result, keys = await RawLink.open(path, ChannelType.INPUTS, session_id)
        assert result == LinkResult.OK
        keys.send(inputs.KeyDown(0x1E))
        await until(lambda: server.guest.keys == [b"\x1e"])  # type: ignore[attr-defined]
        keys.writer.close()
        link.writer.close()
    assert not path.exists()


async def test_the_server_says_why_it_ends() -> None:
    server = SpiceServer(SmallGuest())
    async with server:
        link, _ = await opened(server.port)
        closing = asyncio.create_task(server.close("the host is shut down"))
        notice = await link.first(base.Notify)
        assert isinstance(notice, base.Notify)
        assert bytes(notice.text) == b"the host is shut down"
        await link.closed()
        await closing
    with pytest.raises(ConnectError):
        async with spicehop.connect(f"spice://127.0.0.1:{server.port}"):
            pass


async def test_a_client_without_mini_header_is_served() -> None:
    async with SpiceServer(SmallGuest()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(LinkMessage(0, ChannelType.MAIN, 0, Capabilities()).encode())
        async with asyncio.timeout(TIMEOUT):
            size = struct.unpack("<12xI", await reader.readexactly(16))[0]
            await reader.readexactly(size)
            writer.write(bytes(128))
            assert await reader.readexactly(4) == bytes(4)
            serial, number, size, _ = struct.unpack("<QHII", await reader.readexactly(18))
            assert (serial, number) == (1, 103)
            assert main.Init.decode(await reader.readexactly(size)).supported_mouse_modes == 3
        writer.close()


@pytest.mark.parametrize(
    "options", [ServerOptions(port=None), ServerOptions(tls_port=0), ServerOptions(password="x" * 61)]
)
async def test_options_that_cannot_be(options: ServerOptions) -> None:
    with pytest.raises(UsageError):
        async with SpiceServer(SmallGuest(), options):
            pass


async def test_a_port_that_is_taken() -> None:
    async with SpiceServer(SmallGuest()) as server:
        with pytest.raises(ConnectError):
            async with SpiceServer(SmallGuest(), ServerOptions(port=server.port)):
                pass
