"""Each command of the control socket: what it answers, what it does, how it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from control_target import CHANNEL, FakeTarget
from PIL import Image

from spicehop.migration.preflight import survey_of
from spicehop.server.control import CommandError, ControlRequest
from spicehop.server.control_commands import COMMANDS, MAX_KEYS, Commands, expiry
from spicehop.server.control_migration import MAX_CONNECTION_ID, MOST_ANNOUNCED

NOW = 1_000_000.0


class Desk:
    """Time stands still, and keys are written down."""

    def __init__(self) -> None:
        self.pressed: list[tuple[list[int], float]] = []

    def wall_clock(self) -> float:
        return NOW

    def press(self, numbers: list[int], hold: float) -> None:
        self.pressed.append((numbers, hold))


@pytest.fixture
def target() -> FakeTarget:
    return FakeTarget()


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def commands(target: FakeTarget, desk: Desk) -> Commands:
    return Commands(target, desk)


async def run(commands: Commands, command: str, **arguments: object) -> object:
    named = {name.replace("_", "-") if name == "hold_time" else name: value for name, value in arguments.items()}
    return await commands.perform(ControlRequest(command, named, {}))


async def refusal(commands: Commands, command: str, **arguments: object) -> tuple[str, str]:
    with pytest.raises(CommandError) as caught:
        await run(commands, command, **arguments)
    return caught.value.kind, str(caught.value)


QCODE_A = {"type": "qcode", "data": "a"}
REFUSALS: list[tuple[str, dict[str, object], str]] = [
    ("query-status", {"x": 1}, "Parameter 'x' is unexpected"),
    ("set_password", {"protocol": "spice"}, "Parameter 'password' is missing"),
    ("set_password", {"password": "x"}, "Parameter 'protocol' is missing"),
    ("set_password", {"protocol": "frob", "password": "x"}, "Parameter 'protocol' does not accept value 'frob'"),
    ("set_password", {"protocol": "vnc", "password": "x"}, "Could not set password"),
    ("set_password", {"protocol": "spice", "password": 5}, "Invalid parameter type for 'password', expected: string"),
    ("set_password", {"protocol": "spice", "password": "x", "connected": "frob"},
     "Parameter 'connected' does not accept value 'frob'"),
    ("expire_password", {"protocol": "spice"}, "Parameter 'time' is missing"),
    ("expire_password", {"protocol": "spice", "time": 5}, "Invalid parameter type for 'time', expected: string"),
    ("expire_password", {"protocol": "vnc", "time": "now"}, "Could not set password expire time"),
    ("screendump", {}, "Parameter 'filename' is missing"),
    ("screendump", {"filename": "x", "format": "jpg"}, "Parameter 'format' does not accept value 'jpg'"),
    ("screendump", {"filename": "x", "head": 1}, "'head' must be specified together with 'device'"),
    ("screendump", {"filename": "x", "device": "display", "head": 1}, "Device 'display' head 1 not found"),
    ("screendump", {"filename": "x", "device": "display", "head": True},
     "Invalid parameter type for 'head', expected: integer"),
    ("screendump", {"filename": "absent/x"}, "failed to open file 'absent/x': No such file or directory"),
    ("screendump", {"filename": "a\0b"}, "the file name is none"),
    ("screendump", {"filename": "\ud800"}, "the file name is none"),
    ("send-key", {}, "Parameter 'keys' is missing"),
    ("send-key", {"keys": "a"}, "Invalid parameter type for 'keys', expected: array"),
    ("send-key", {"keys": ["a"]}, "Invalid parameter type for 'keys[0]', expected: object"),
    ("send-key", {"keys": [QCODE_A, {"data": "a"}]}, "Parameter 'keys[1].type' is missing"),
    ("send-key", {"keys": [{"type": "qcode"}]}, "Parameter 'keys[0].data' is missing"),
    ("send-key", {"keys": [{"type": "x", "data": "a"}]}, "Parameter 'type' does not accept value 'x'"),
    ("send-key", {"keys": [{"type": "qcode", "data": "frob"}]}, "Parameter 'data' does not accept value 'frob'"),
    ("send-key", {"keys": [{"type": "number", "data": "a"}]},
     "Invalid parameter type for 'keys[0].data', expected: integer"),
    ("send-key", {"keys": [{**QCODE_A, "x": 1}]}, "Parameter 'keys[0].x' is unexpected"),
    ("send-key", {"keys": [QCODE_A], "hold-time": -1}, "Parameter 'hold-time' expects 0 to 10000"),
    ("send-key", {"keys": [QCODE_A] * (MAX_KEYS + 1)}, "Parameter 'keys' has more than 64 keys"),
    ("announce-clients", {}, "Parameter 'connection-ids' is missing"),
    ("announce-clients", {"connection-ids": 5}, "Invalid parameter type for 'connection-ids', expected: array"),
    ("announce-clients", {"connection-ids": [1, "2"]},
     "Invalid parameter type for 'connection-ids[1]', expected: integer"),
    ("announce-clients", {"connection-ids": [True]},
     "Invalid parameter type for 'connection-ids[0]', expected: integer"),
    ("announce-clients", {"connection-ids": [1, 0]},
     "Parameter 'connection-ids[1]' expects a number from 1 to 4294967295"),
    ("announce-clients", {"connection-ids": [-5]},
     "Parameter 'connection-ids[0]' expects a number from 1 to 4294967295"),
    ("announce-clients", {"connection-ids": [1 << 32]},
     "Parameter 'connection-ids[0]' expects a number from 1 to 4294967295"),
    ("announce-clients", {"connection-ids": [1] * (MOST_ANNOUNCED + 1)},
     "Parameter 'connection-ids' has more than 1024 elements"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "arguments", "reason"), REFUSALS)
async def test_what_is_refused(
    commands: Commands, command: str, arguments: dict[str, object], reason: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError) as caught:
        await commands.perform(ControlRequest(command, arguments, {}))
    assert (caught.value.kind, str(caught.value)) == ("GenericError", reason)


async def test_a_command_that_there_is_not(commands: Commands) -> None:
    assert await refusal(commands, "frob") == ("CommandNotFound", "The command frob has not been found")
    long = "x" * 100_000
    assert len((await refusal(commands, long))[1]) < 200


async def test_questions(commands: Commands, target: FakeTarget) -> None:
    assert await run(commands, "query-name") == {"name": "fake"}
    assert await run(commands, "query-status") == {"status": "running", "singlestep": False, "running": True}
    target.running = False
    assert await run(commands, "query-status") == {"status": "paused", "singlestep": False, "running": False}
    listed = await run(commands, "query-commands")
    assert isinstance(listed, list)
    assert {one["name"] for one in listed} == {"qmp_capabilities", *COMMANDS}
    target.name = ""
    assert await run(commands, "query-name") == {}


async def test_query_spice(commands: Commands, target: FakeTarget) -> None:
    target.channels = (CHANNEL,)
    assert await run(commands, "query-spice") == {
        "enabled": True,
        "migrated": False,
        "host": "127.0.0.1",
        "port": 5900,
        "auth": "spice",
        "compiled-version": "1",
        "mouse-mode": "server",
        "channels": [
            {
                "host": "192.0.2.7",
                "port": "40000",
                "family": "ipv4",
                "connection-id": -5,
                "channel-type": 1,
                "channel-id": 0,
                "tls": False,
            }
        ],
    }


async def test_the_conductor_can_survey_it(commands: Commands, target: FakeTarget) -> None:
    target.channels = (CHANNEL,)
    answers = {}
    for query in ("query-version", "query-status", "query-spice", "query-migrate"):
        answers[query] = await run(commands, query)
    survey = survey_of(answers)
    assert (survey.version, survey.status, survey.auth) == ((7, 2, 0), "running", "spice")
    assert (survey.spice, survey.spice_host, survey.spice_port) == (True, "127.0.0.1", 5900)
    assert {number: [key.name for key in keys] for number, keys in survey.sessions.items()} == {0xFFFFFFFB: ["main:0"]}
    assert survey.migration_status == ""


async def test_set_password(commands: Commands, target: FakeTarget) -> None:
    assert await run(commands, "set_password", protocol="spice", password="one") == {}
    target.channels = (CHANNEL,)
    assert await run(commands, "set_password", protocol="spice", password="two", connected="keep") == {}
    refused = await refusal(commands, "set_password", protocol="spice", password="three", connected="fail")
    assert refused == ("GenericError", "Could not set password")
    assert target.disconnected == []
    assert await run(commands, "set_password", protocol="spice", password="four", connected="disconnect") == {}
    assert target.passwords == ["one", "two", "four"]
    assert target.disconnected == ["the password was changed"]


async def test_a_password_that_cannot_be_set_disconnects_nobody(commands: Commands, target: FakeTarget) -> None:
    target.auth = "none"
    refused = await refusal(commands, "set_password", protocol="spice", password="x", connected="disconnect")
    assert refused == ("GenericError", "Could not set password")
    assert target.disconnected == []


async def test_expire_password(commands: Commands, target: FakeTarget) -> None:
    for time in ("now", "never", "+60", "1234"):
        assert await run(commands, "expire_password", protocol="spice", time=time) == {}
    assert target.expiries == [NOW, None, NOW + 60, 1234.0]


@pytest.mark.parametrize("text", ["", "soon", "+x", "12x", "-5", "+-5", "1" * 14, " now", "٣"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(CommandError, match="expects now, never"):
        expiry(text, NOW)


async def test_stop_cont_and_quit(commands: Commands, target: FakeTarget) -> None:
    assert await run(commands, "stop") == {}
    assert not target.running
    assert await run(commands, "cont") == {}
    assert target.running
    assert await run(commands, "quit") == {}
    assert target.ended == ["host-qmp-quit"]


@pytest.mark.parametrize("arguments", [{}, {"format": "ppm"}, {"format": "png"}, {"device": "display", "head": 1}])
async def test_screendump(commands: Commands, target: FakeTarget, arguments: dict[str, object], tmp_path: Path) -> None:
    target.screens.append(np.full((3, 5, 4), 7, np.uint8))
    file = tmp_path / "shown"
    assert await run(commands, "screendump", filename=str(file), **arguments) == {}
    with Image.open(file) as shown:
        assert shown.format == ("PNG" if arguments.get("format") == "png" else "PPM")
        wanted = target.screens[1 if "head" in arguments else 0]
        assert np.array_equal(np.asarray(shown), wanted[:, :, 2::-1])


async def test_screendump_of_a_device_that_there_is_not(commands: Commands, tmp_path: Path) -> None:
    refused = await refusal(commands, "screendump", filename=str(tmp_path / "x"), device="frob")
    assert refused == ("DeviceNotFound", "Device 'frob' not found")
    assert os.listdir(tmp_path) == []


async def test_screendump_into_a_pipe_that_nobody_reads(commands: Commands, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    kind, reason = await refusal(commands, "screendump", filename=str(tmp_path / "pipe"))
    assert (kind, reason.split(":")[0]) == ("GenericError", f"failed to open file '{tmp_path / 'pipe'}'")


async def test_send_key(commands: Commands, desk: Desk) -> None:
    keys = [{"type": "qcode", "data": "ctrl"}, {"type": "number", "data": 0x53}, {"type": "number", "data": 99999}]
    assert await run(commands, "send-key", keys=keys) == {}
    assert await run(commands, "send-key", keys=[{"type": "qcode", "data": "unmapped"}], hold_time=5) == {}
    assert await run(commands, "send-key", keys=[]) == {}
    assert desk.pressed == [([0x1D, 0x53, 0], 0.1), ([0], 0.005), ([], 0.1)]


@pytest.mark.parametrize("ids", [[], [1, MAX_CONNECTION_ID], list(range(1, MOST_ANNOUNCED + 1))])
async def test_announce_clients(commands: Commands, target: FakeTarget, ids: list[int]) -> None:
    assert await commands.perform(ControlRequest("announce-clients", {"connection-ids": ids}, {})) == {}
    assert target.moves.done == [("announce-clients", ids)]
