"""`spicehop serve` as a process, driven as QEMU is driven, beside a real QEMU; and clients that log in by SASL."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from PIL import Image
from qemu.qmp import EventListener, QMPClient

import spicehop
from spicehop.channels.serving.sasl import PLAIN, SaslUsers, Verifier
from spicehop.demo.gtk_client import GtkClient
from spicehop.demo.qemu import free_port
from spicehop.errors import SpicehopError
from spicehop.guests.demo import DemoGuest
from spicehop.server import ServerOptions, SpiceServer, tls_context
from spicehop.server.control_keys import KEYS
from spicehop.server.credentials import user_line

pytestmark = pytest.mark.peers
StartGtkClient = Callable[..., Awaitable[GtkClient]]
LIMIT = 30.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextlib.asynccontextmanager
async def served(*words: str, ends: bool = False) -> AsyncIterator[dict[str, Any]]:
    """`spicehop serve` with these words; gives what it says when it is ready.

    It must end well: at SIGTERM, or by itself when the test has seen to that (`ends`).
    """
    command = (sys.executable, "-m", "spicehop", "serve", *words, "--json")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), LIMIT)
        yield json.loads(line)
        if not ends:
            process.terminate()
        code = await asyncio.wait_for(process.wait(), LIMIT)
        assert (code, await process.stderr.read()) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def qemu(*words: str) -> AsyncIterator[None]:
    """A QEMU without a guest whose monitor is at `qemu`."""
    machine = ("qemu-system-x86_64", "-M", "pc", "-m", "16", "-name", "spicehop demo")
    devices = ("-display", "none", "-vga", "qxl", "-qmp", "unix:qemu,server=on,wait=off")
    process = await asyncio.create_subprocess_exec(*machine, *devices, *words, stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(LIMIT):
            while not os.path.exists("qemu"):  # noqa: ASYNC240
                await asyncio.sleep(0.05)
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def monitor(path: str) -> AsyncIterator[tuple[QMPClient, EventListener]]:
    client = QMPClient("test")
    with client.listener() as events:
        await client.connect(path)
        try:
            yield client, events
        finally:
            with contextlib.suppress(Exception):
                await client.disconnect()


async def talk(path: str, lines: list[str]) -> list[Any]:
    """What a monitor answers to each of these lines, events left out."""
    reader, writer = await asyncio.open_unix_connection(path)
    answers: list[Any] = [json.loads(await asyncio.wait_for(reader.readline(), LIMIT))]
    for line in lines:
        writer.write(line.encode() + b"\n")
        while "event" in (answer := json.loads(await asyncio.wait_for(reader.readline(), LIMIT))):
            pass
        answers.append(answer)
    writer.close()
    return answers


def command(name: str, **arguments: object) -> str:
    given = {key.replace("_", "-"): value for key, value in arguments.items()}
    return json.dumps({"execute": name, "arguments": given} if given else {"execute": name})


SAME = [
    command("query-status"),
    '{"execute":"qmp_capabilities","id":{"any":[1,"2"]}}',
    command("qmp_capabilities"),
    command("frob"),
    command("query-status", x=1),
    '{"execute":"query-status","frob":1}',
    '{"execute":5}',
    '{"id":5}',
    "[1,2]",
    "5",
    "}",
    "{'execute':'query-name'}",
    '{"execute":"query-name","execute":"query-status"}',
    '{"a" 5}',
    '{"execute":"query-status","arguments":[1]}',
    command("query-name"),
    command("query-status"),
    command("query-migrate"),
    command("stop"),
    command("stop"),
    command("query-status"),
    command("cont"),
    command("set_password", protocol="spice"),
    command("set_password", password="x"),
    command("set_password", protocol="frob", password="x"),
    command("set_password", protocol="vnc", password="x"),
    command("set_password", protocol="spice", password=5),
    command("set_password", protocol="spice", password="x", connected="frob"),
    command("set_password", protocol="spice", password="x" * 61),
    command("set_password", protocol="spice", password="x", connected="keep"),
    command("set_password", protocol="spice", password="y", connected="disconnect"),
    command("expire_password", protocol="spice"),
    command("expire_password", protocol="spice", time=5),
    *(command("expire_password", protocol="spice", time=time) for time in ("now", "+60", "99", "never")),
    command("migrate_cancel"),
    *(command("migrate-continue", state=state) for state in ("pre-switchover", "active", "frob")),
    command("migrate-incoming", uri="tcp:127.0.0.1:0"),
    *(command("migrate", uri=uri) for uri in ("frob:1", "tcp:frob", "unix:/dev/null/x")),
    command("migrate"),
    *(command("migrate-set-parameters", downtime_limit=limit) for limit in (-1, 2_000_001, 100)),
    command("migrate-set-parameters", frob=1),
    command("migrate-set-capabilities", capabilities=3),
    command("migrate-set-capabilities", capabilities=[{"capability": "frob", "state": True}]),
    command("migrate-set-capabilities", capabilities=[{"capability": "events"}]),
    command("migrate-set-capabilities", capabilities=[{"capability": "events", "state": 3}]),
    command("migrate-set-capabilities", capabilities=[{"capability": "return-path", "state": True}]),
    command("client_migrate_info", protocol="vnc", hostname="x", port=1),
    command("client_migrate_info", protocol="spice", hostname="x"),
    command("client_migrate_info", protocol="spice", hostname="x", port=1),
    command("screendump"),
    command("screendump", filename="absent/x"),
    command("screendump", filename="x", format="jpg"),
    command("screendump", filename="x", device="frob"),
    command("screendump", filename="x", head=1),
    command("screendump", filename="shown.ppm"),
    command("screendump", filename="shown.png", format="png"),
    command("send-key"),
    command("send-key", keys="a"),
    command("send-key", keys=["a"]),
    command("send-key", keys=[{"type": "qcode"}]),
    command("send-key", keys=[{"type": "x", "data": "a"}]),
    command("send-key", keys=[{"type": "qcode", "data": "frob"}]),
    command("send-key", keys=[{"type": "number", "data": "a"}]),
    command("send-key", keys=[{"type": "qcode", "data": "a", "x": 1}]),
    command("send-key", keys=[{"data": "a"}]),
    command("send-key", keys=[]),
    command("send-key", keys=[{"type": "qcode", "data": "a"}, {"type": "number", "data": 30}]),
    command("send-key", keys=[{"type": "qcode", "data": "a"}], hold_time=1),
    command("send-key", keys=[{"type": "number", "data": 99999}]),
]  # fmt: skip
"""Lines to which a QEMU and this server give the same answer, word by word."""


async def test_the_answers_are_qemus(folder: Path) -> None:
    (folder / "ticket").write_text("secret")
    ours_words = ("--port", "0", "--ticket-file", "ticket", "--control", "ours")
    theirs_words = ("-spice", f"port={free_port()},addr=127.0.0.1,password=secret")
    async with served(*ours_words), qemu(*theirs_words):
        theirs, ours = await asyncio.gather(talk("qemu", SAME), talk("ours", SAME))
    assert shape(ours[0]["QMP"]["version"]) == shape(theirs[0]["QMP"]["version"])
    differ = [(line, mine, its) for line, mine, its in zip(SAME, ours[1:], theirs[1:], strict=True) if mine != its]
    assert differ == []


def shape(value: object) -> object:
    """The types of a JSON value, with the names of its members."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    return type(value).__name__


async def session_facts(path: str, port: int) -> tuple[Any, dict[str, Any]]:
    """query-spice with one client, and the last of each event that the client caused."""
    async with monitor(path) as (client, events):
        async with spicehop.connect(f"spice://127.0.0.1:{port}", password="secret"):
            async with asyncio.timeout(LIMIT):
                while not (spice := await client.execute("query-spice"))["channels"]:  # type: ignore[index]
                    await asyncio.sleep(0.05)
        found: dict[str, Any] = {}
        async with asyncio.timeout(LIMIT):
            while "SPICE_DISCONNECTED" not in found:
                event = await events.get()
                found[str(event["event"])] = event
        return spice, found


async def test_sessions_are_told_as_qemu_tells_them(folder: Path) -> None:
    (folder / "ticket").write_text("secret")
    port = free_port()
    async with qemu("-spice", f"port={port},addr=127.0.0.1,password=secret"):
        theirs, their_events = await session_facts("qemu", port)
    async with served("--port", "0", "--ticket-file", "ticket", "--control", "ours") as ready:
        ours, our_events = await session_facts("ours", ready["port"])
    assert shape(ours) == shape(theirs)
    assert shape(ours["channels"][0]) == shape(theirs["channels"][0])
    for name in ("SPICE_CONNECTED", "SPICE_INITIALIZED", "SPICE_DISCONNECTED"):
        assert shape(our_events[name]) == shape(their_events[name]), name


async def test_the_key_names_are_qemus(folder: Path) -> None:
    async with qemu(), monitor("qemu") as (client, _):
        schema = await client.execute("query-qmp-schema")
    assert isinstance(schema, list)
    enums = [{member["name"] for member in one["members"]} for one in schema if one["meta-type"] == "enum"]
    assert set(KEYS) == next(names for names in enums if "kp_multiply" in names)


async def test_qmp_shell_drives_it(folder: Path) -> None:
    shell = Path(sys.executable).with_name("qmp-shell")
    async with served("--port", "0", "--disable-ticketing", "--control", "ours", ends=True):
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(shell, "ours", stdin=pipe, stdout=pipe, stderr=pipe)
        typed = b"query-status\nstop\nquery-status\nscreendump filename=shown.png format=png\nfrob\nquit\n"
        out, _ = await asyncio.wait_for(process.communicate(typed), LIMIT)
    answers = [json.loads(line.partition(b"(QEMU) ")[2]) for line in out.splitlines() if b"(QEMU) {" in line]
    assert [answer.get("return", answer.get("error")) for answer in answers] == [
        {"status": "running", "singlestep": False, "running": True},
        {},
        {"status": "paused", "singlestep": False, "running": False},
        {},
        {"class": "CommandNotFound", "desc": "The command frob has not been found"},
        {},
    ]
    with Image.open("shown.png") as shown:
        assert shown.size == (1024, 768)


async def test_keys_that_are_sent_are_typed(folder: Path) -> None:
    words = ("--port", "0", "--disable-ticketing", "--control", "ours", "--guest-log", "log")
    async with served(*words), monitor("ours") as (client, _):
        for letter in "hi":
            await client.execute("send-key", {"keys": [{"type": "qcode", "data": letter}], "hold-time": 10})
        async with asyncio.timeout(LIMIT):
            while (folder / "log").read_text().count(" key n=") < 4:
                await asyncio.sleep(0.05)
    keys = [line.split(" key n=")[1] for line in (folder / "log").read_text().splitlines() if " key n=" in line]
    words_of = [dict(word.split("=") for word in f"n={key}".split() if "=" in word) for key in keys]
    assert [(key["code"], key["value"]) for key in words_of] == [("35", "1"), ("35", "0"), ("23", "1"), ("23", "0")]


async def test_the_conductor_surveys_it(folder: Path) -> None:
    """Two servers, neither of which waits for a machine: `spicehop migrate` says so, and nothing else."""
    words = ("--port", "0", "--disable-ticketing")
    async with served(*words, "--control", "one"), served(*words, "--control", "two"):
        line = (sys.executable, "-m", "spicehop", "migrate", "one", "two")
        process = await asyncio.create_subprocess_exec(*line, stderr=asyncio.subprocess.PIPE)
        _, said = await asyncio.wait_for(process.communicate(), LIMIT)
    assert process.returncode == 1
    assert "Not migrated. The target is not waiting for a machine (its state is 'running')" in said.decode()


# -- ends -------------------------------------------------------------------------------------------------------------


async def test_clients_hear_why_at_sigterm(folder: Path, start_gtk_client: StartGtkClient) -> None:
    async with served("--port", "0", "--disable-ticketing", ends=True) as ready:
        gtk = await start_gtk_client(ready["port"])
        await gtk.wait_event("mark")
        async with spicehop.connect(f"spice://127.0.0.1:{ready['port']}") as session:
            os.kill(ready["pid"], signal.SIGTERM)
            with pytest.raises(SpicehopError):
                await asyncio.wait_for(session.wait_closed(), LIMIT)
            assert session.notices == ["the server ends"]
        await gtk.wait_event("channel-event", kind="MainChannel", what="closed")


async def test_a_new_password_with_connected_clients(folder: Path, start_gtk_client: StartGtkClient) -> None:
    (folder / "ticket").write_text("one")
    words = ("--port", "0", "--ticket-file", "ticket", "--control", "ours")
    async with served(*words) as ready, monitor("ours") as (client, events):
        gtk = await start_gtk_client(ready["port"], password="one")
        await gtk.wait_event("mark")
        change = {"protocol": "spice", "password": "two", "connected": "disconnect"}
        assert await client.execute("set_password", change) == {}
        await gtk.wait_event("channel-event", kind="MainChannel", what="closed")
        async with asyncio.timeout(LIMIT):
            while (await events.get())["event"] != "SPICE_DISCONNECTED":
                pass
        late = await start_gtk_client(ready["port"], password="one", name="late")
        await late.wait_event("channel-event", kind="MainChannel", what="error-auth")
        again = await start_gtk_client(ready["port"], password="two", name="again")
        await again.wait_event("mark")


# -- SASL -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def login(authority: Authority, tls_port: int, password: str) -> dict[str, object]:
    """What a stock client is started with."""
    options = ("--tls-port", str(tls_port), "--ca-file", str(authority.certificate), "--username", "anna")
    return {"password": password, "options": options}


async def test_the_stock_client_logs_in_by_scram(
    folder: Path, authority: Authority, start_gtk_client: StartGtkClient
) -> None:
    pair = authority.pair()
    (folder / "users").write_text(user_line("anna", "secret"))
    tls = ("--tls-port", "0", "--cert", str(pair.certificate), "--key", str(pair.key))
    words = ("--port", "0", *tls, "--sasl-file", "users", "--control", "ours")
    async with served(*words) as ready, monitor("ours") as (client, _):
        wrong = await start_gtk_client(ready["port"], name="wrong", **login(authority, ready["tls_port"], "guess"))
        await wrong.wait_event("channel-event", kind="MainChannel", what="error-auth")
        gtk = await start_gtk_client(ready["port"], **login(authority, ready["tls_port"], "secret"))
        await gtk.wait_event("mark")
        await gtk.wait_event("channel-event", kind="InputsChannel", what="opened")
        spice: Any = await client.execute("query-spice")
        assert spice["auth"] == "sasl"
        assert all(channel["tls"] for channel in spice["channels"])
        assert {channel["channel-type"] for channel in spice["channels"]} >= {1, 2, 3, 4}


async def test_the_stock_client_logs_in_by_plain(authority: Authority, start_gtk_client: StartGtkClient) -> None:
    pair = authority.pair()
    users = {"anna": Verifier.of("secret", bytes(16))}
    sasl = SaslUsers(users, nonce=lambda: "unused", secret=bytes(32), mechanisms=(PLAIN,))
    options = ServerOptions(port=0, tls_port=0, tls=tls_context(pair.certificate, pair.key), sasl=sasl)
    async with SpiceServer(DemoGuest(), options) as server:
        wrong = await start_gtk_client(server.port, name="wrong", **login(authority, server.tls_port, "guess"))
        await wrong.wait_event("channel-event", kind="MainChannel", what="error-auth")
        gtk = await start_gtk_client(server.port, **login(authority, server.tls_port, "secret"))
        await gtk.wait_event("mark")
