"""The control socket over real sockets: `qemu.qmp` is the client, and clients that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import socket
import ssl
import stat
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from certificates import Authority
from control_target import CHANNEL, SERVER, FakeTarget
from qemu.qmp import ConnectError as QmpConnectError
from qemu.qmp import EventListener, ExecuteError, QMPClient
from waiting import until

from spicehop.errors import ConnectError
from spicehop.server.control_listener import MAX_CLIENTS, MAX_UNSENT, ControlAddress, ControlServer, control_tls
from spicehop.server.control_target import ControlEvent
from spicehop.trace import MemorySink, Trace

NEGOTIATE = b'{"execute":"qmp_capabilities"}'
QUERY = b'{"execute":"query-status"}\n'


@pytest.fixture
def target() -> FakeTarget:
    return FakeTarget()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Short, for a socket's path has at most 107 bytes."""
    monkeypatch.chdir(tmp_path)
    return Path("control")


@pytest.fixture
async def server(target: FakeTarget, path: Path) -> AsyncIterator[ControlServer]:
    server = ControlServer(target, ControlAddress(path))
    await server.open()
    yield server
    await server.close()


@contextlib.asynccontextmanager
async def monitor(path: Path) -> AsyncIterator[tuple[QMPClient, EventListener]]:
    client = QMPClient("test")
    with client.listener() as events:
        await client.connect(str(path))
        try:
            yield client, events
        finally:
            with contextlib.suppress(Exception):
                await client.disconnect()


async def works(path: Path) -> None:
    """Whoever comes next is served."""
    async with monitor(path) as (client, _):
        assert await client.execute("query-name") == {"name": "fake"}


def test_the_socket_is_the_users_alone(target: FakeTarget, path: Path) -> None:
    async def look() -> int:
        server = ControlServer(target, ControlAddress(path))
        await server.open()
        mode = os.stat(path).st_mode
        await server.close()
        return mode

    old = os.umask(0)
    try:
        mode = asyncio.run(look())
    finally:
        os.umask(old)
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    assert not path.exists()


async def test_qemus_own_client_drives_it(server: ControlServer, target: FakeTarget, path: Path) -> None:
    async with monitor(path) as (client, events):
        assert await client.execute("query-name") == {"name": "fake"}
        with pytest.raises(ExecuteError, match="The command frob has not been found"):
            await client.execute("frob")
        assert await client.execute("stop") == {}
        assert await client.execute("cont") == {}
        target.tell(ControlEvent.connected(SERVER, CHANNEL.client))
        target.tell(ControlEvent.initialized(CHANNEL, "spice"))
        target.tell(ControlEvent.disconnected(SERVER, CHANNEL.client))
        assert await client.execute("quit") == {}
        told = [dict(await events.get()) for _ in range(6)]
    names = [event["event"] for event in told]
    assert names == ["STOP", "RESUME", "SPICE_CONNECTED", "SPICE_INITIALIZED", "SPICE_DISCONNECTED", "SHUTDOWN"]
    where = {"host": "127.0.0.1", "port": "5900", "family": "ipv4"}
    who = {"host": "192.0.2.7", "port": "40000", "family": "ipv4"}
    linked = {**who, "connection-id": -5, "channel-type": 1, "channel-id": 0, "tls": False}
    assert [event.get("data") for event in told] == [
        None,
        None,
        {"server": where, "client": who},
        {"server": {**where, "auth": "spice"}, "client": linked},
        {"server": where, "client": who},
        {"guest": False, "reason": "host-qmp-quit"},
    ]
    assert set(told[0]["timestamp"]) == {"seconds", "microseconds"}


async def test_several_clients_hear_the_same_events(server: ControlServer, target: FakeTarget, path: Path) -> None:
    async with monitor(path) as (first, events), monitor(path) as (_, other_events):
        await first.execute("stop")
        assert (await events.get())["event"] == (await other_events.get())["event"] == "STOP"


async def test_keys_are_pressed_and_released(server: ControlServer, target: FakeTarget, path: Path) -> None:
    async with monitor(path) as (client, _):
        keys = [{"type": "qcode", "data": "ctrl"}, {"type": "qcode", "data": "c"}]
        await client.execute("send-key", {"keys": keys, "hold-time": 1})
        await until(lambda: len(target.keys) == 4)
    assert target.keys == [b"\x1d", b"\x2e", b"\xae", b"\x9d"]


async def test_no_key_stays_down_when_the_server_ends(server: ControlServer, target: FakeTarget, path: Path) -> None:
    async with monitor(path) as (client, _):
        await client.execute("send-key", {"keys": [{"type": "qcode", "data": "a"}], "hold-time": 10_000})
        assert target.keys == [b"\x1e"]
        await server.close()
    assert target.keys == [b"\x1e", b"\x9e"]


async def test_a_fault_in_the_server_is_an_answer(
    server: ControlServer, target: FakeTarget, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target.broken = True
    async with monitor(path) as (client, _):
        with pytest.raises(ExecuteError, match="its log says why"):
            await client.execute("query-spice")
        assert await client.execute("query-name") == {"name": "fake"}
    assert "ZeroDivisionError" in caplog.text


async def test_the_last_answer_goes_out_before_the_server_closes(server: ControlServer, path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(NEGOTIATE + b'{"execute":"quit","id":1}')
    await until(lambda: bool(server._target.ended))  # type: ignore[attr-defined]
    await server.close()
    text = (await reader.read()).decode()
    assert text.endswith('{"return": {}, "id": 1}\r\n')
    writer.close()


async def test_commands_leave_a_trace_without_their_arguments(target: FakeTarget, path: Path) -> None:
    sink = MemorySink()
    server = ControlServer(target, ControlAddress(path), trace=Trace("server", lambda: 0.0, sink))
    await server.open()
    async with monitor(path) as (client, _):
        await client.execute("set_password", {"protocol": "spice", "password": "hush"})
        with pytest.raises(ExecuteError):
            await client.execute("set_password", {"protocol": "vnc", "password": "hush"})
    await server.close()
    assert [(record.event, dict(record.detail)) for record in sink.records] == [
        ("server.command", {"command": "set_password", "refused": ""}),
        ("server.command", {"command": "set_password", "refused": "Could not set password"}),
    ]


# -- where it listens -------------------------------------------------------------------------------------------------


async def test_a_socket_that_a_dead_server_left_is_replaced(target: FakeTarget, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = ControlServer(target, ControlAddress(path))
    await server.open()
    await works(path)
    await server.close()


async def test_a_socket_in_use_and_a_file_are_left_alone(server: ControlServer, target: FakeTarget, path: Path) -> None:
    with pytest.raises(ConnectError, match="another program listens at control"):
        await ControlServer(target, ControlAddress(path)).open()
    await works(path)
    os.mkdir("folder")
    with pytest.raises(ConnectError, match="folder is there and is no socket"):
        await ControlServer(target, ControlAddress(Path("folder"))).open()
    with pytest.raises(ConnectError, match="there can be no socket at absent/control: No such file or directory"):
        await ControlServer(target, ControlAddress(Path("absent/control"))).open()
    with pytest.raises(ConnectError, match="path too long"):
        await ControlServer(target, ControlAddress(Path("x" * 200))).open()


async def test_somebody_elses_socket_is_not_removed(target: FakeTarget, path: Path) -> None:
    server = ControlServer(target, ControlAddress(path))
    await server.open()
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        await server.close()
        assert "control" in os.listdir()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def remote(target: FakeTarget, authority: Authority) -> AsyncIterator[ControlServer]:
    pair = authority.pair()
    tls = control_tls(pair.certificate, pair.key, authority.certificate)
    server = ControlServer(target, ControlAddress(host="127.0.0.1", port=0, tls=tls))
    await server.open()
    yield server
    await server.close()


def client_context(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.certificate)


async def test_tcp_with_a_client_certificate(remote: ControlServer, authority: Authority) -> None:
    context = client_context(authority)
    pair = authority.pair("operator")
    context.load_cert_chain(pair.certificate, pair.key)
    client = QMPClient("test")
    await client.connect(("127.0.0.1", remote.port), ssl=context)
    assert await client.execute("query-name") == {"name": "fake"}
    await remote.close()  # qemu.qmp 0.0.6 cannot end a TLS connection by itself on Python 3.11: it waits for ever
    with contextlib.suppress(EOFError):
        await client.disconnect()


@pytest.mark.parametrize("stranger", [False, True], ids=["no certificate", "another CA's certificate"])
async def test_tcp_without_the_right_certificate(
    remote: ControlServer, authority: Authority, tmp_path: Path, stranger: bool
) -> None:
    context = client_context(authority)
    if stranger:
        pair = Authority(tmp_path, "other-ca").pair("stranger")
        context.load_cert_chain(pair.certificate, pair.key)
    client = QMPClient("test")
    with pytest.raises(QmpConnectError):
        await client.connect(("127.0.0.1", remote.port), ssl=context)
    await test_tcp_with_a_client_certificate(remote, authority)


async def test_tcp_without_tls_gets_no_greeting(remote: ControlServer, authority: Authority) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", remote.port)
    writer.write(NEGOTIATE)
    with contextlib.suppress(ConnectionError):
        assert b"QMP" not in await reader.read()
    writer.close()
    await test_tcp_with_a_client_certificate(remote, authority)


# -- clients that misbehave -------------------------------------------------------------------------------------------

SCREENDUMP = b'{"execute":"screendump","arguments":{"filename":"shown"}}\n'
WHOLE = NEGOTIATE + b"\n" + QUERY + SCREENDUMP + b'{"execute":"stop"}\n'


async def test_a_client_may_go_at_every_byte(server: ControlServer, target: FakeTarget, path: Path) -> None:
    tasks = len(asyncio.all_tasks())
    for end in range(0, len(WHOLE) + 1, 5):
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, str(path))
            await asyncio.get_running_loop().sock_sendall(client, WHOLE[:end])
            await asyncio.sleep(0)
    await until(lambda: not server._clients and len(asyncio.all_tasks()) == tasks)
    await works(path)


async def test_garbage(server: ControlServer, path: Path) -> None:
    chance = random.Random(7)
    for size in (1, 100, 5000, 300_000):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(NEGOTIATE + b"\n" + chance.randbytes(size) + b'\n"\n' + QUERY)
        while (line := await asyncio.wait_for(reader.readline(), 20)) and b'"running"' not in line:
            pass
        assert line, f"the answer came behind {size} bytes of garbage"
        writer.close()
    await works(path)


async def test_a_line_that_does_not_end_takes_no_memory(server: ControlServer, path: Path) -> None:
    _, writer = await asyncio.open_unix_connection(path)
    gc.collect()
    tracemalloc.start()
    try:
        writer.write(b'{"execute":"')
        for _ in range(512):
            writer.write(b"x" * 65536)
            await writer.drain()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20, "32 MiB were sent"
    writer.close()
    await works(path)


@pytest.fixture
def small_pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A client that reads nothing, with a small buffer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        yield client


async def send_for_ever(client: socket.socket, data: bytes) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(client, data)


async def test_a_client_that_does_not_read_is_not_read_either(
    server: ControlServer, path: Path, small_pipe: socket.socket
) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(small_pipe, str(path))
    await loop.sock_sendall(small_pipe, NEGOTIATE)
    sending = asyncio.ensure_future(send_for_ever(small_pipe, QUERY * 1000))
    assert await asyncio.wait({sending}, timeout=1) == (set(), {sending})
    sending.cancel()
    assert sum(client._transport.get_write_buffer_size() for client in server._clients if client._transport) < 1 << 20
    await works(path)


async def test_a_client_that_reads_no_events_is_given_up(
    server: ControlServer, target: FakeTarget, path: Path, small_pipe: socket.socket
) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(small_pipe, str(path))
    await loop.sock_sendall(small_pipe, NEGOTIATE)
    async with monitor(path) as (_, events):
        told = 0
        while len(server._clients) == 2:
            target.tell(ControlEvent("STOP", {"filler": "x" * 4000}))
            told += 1
            assert told < MAX_UNSENT // 2000
            if told % 10 == 0:
                await asyncio.sleep(0)
        for _ in range(told):
            await events.get()
    assert told > MAX_UNSENT // 5000


async def test_silent_clients_keep_nobody_out(server: ControlServer, path: Path) -> None:
    silent = [await asyncio.open_unix_connection(path) for _ in range(MAX_CLIENTS)]
    for reader, _ in silent:
        await reader.readline()
    await works(path)
    assert await silent[0][0].read() == b"", "the oldest had to go"
    for _, writer in silent:
        writer.close()


async def test_clients_that_negotiated_are_not_turned_out(server: ControlServer, path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(monitor(path)) for _ in range(MAX_CLIENTS)]
        with pytest.raises(QmpConnectError):
            await QMPClient("one too many").connect(str(path))
        for client, _ in clients:
            assert await client.execute("query-name") == {"name": "fake"}
