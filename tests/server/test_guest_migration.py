"""Moving a guest by commands: what is refused, and run states, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from waiting import until

from spicehop.errors import OperationError
from spicehop.guests.demo import DemoGuest
from spicehop.server import ServerOptions, SpiceServer
from spicehop.server.control_bridge import ServerControl
from spicehop.server.control_target import ControlEvent
from spicehop.server.run_state import RUN_TABLE, RunInput, RunState, RunStates
from spicehop.wire import guest_stream as stream


class Party:
    """A server with its control."""

    def __init__(self, *, incoming: bool) -> None:
        self.guest = DemoGuest(320, 240)
        self.server = SpiceServer(self.guest, ServerOptions(run_guest=not incoming))
        self.control = ServerControl(self.server, incoming=incoming)
        self.moves = self.control.migration
        self.moves.change_capabilities({"events": True})
        self.events: list[str] = []
        self.control.listen(self._note)

    def _note(self, event: ControlEvent) -> None:
        self.events.append(str(event.data["status"]) if event.name == "MIGRATION" and event.data else event.name)

    @property
    def status(self) -> object:
        return self.moves.describe().get("status")


@pytest.fixture
async def source() -> AsyncIterator[Party]:
    party = Party(incoming=False)
    async with party.server:
        yield party
        await party.moves.close()


@pytest.fixture
async def target() -> AsyncIterator[Party]:
    party = Party(incoming=True)
    async with party.server:
        yield party
        await party.moves.close()


REFUSED = [
    ("frob:1", "Parameter 'uri' expects a valid migration protocol"),
    ("tcp:frob", "error parsing address 'frob'"),
    ("tcp:a b:1", "error parsing address 'a b:1'"),
    ("tcp:x:70000", "error parsing address 'x:70000'"),
    ("unix:", "Parameter 'uri' expects a valid migration protocol"),
    ("unix:\0", "Parameter 'uri' expects a valid migration protocol"),
]


@pytest.mark.parametrize(("uri", "reason"), REFUSED)
async def test_addresses_that_are_none(source: Party, uri: str, reason: str) -> None:
    with pytest.raises(OperationError) as caught:
        source.moves.migrate(uri)
    assert str(caught.value) == reason
    assert source.moves.describe() == {}


@pytest.mark.parametrize("uri", ["unix:/nowhere/here", "tcp:127.0.0.1:1", f"tcp:{'x' * 300}:1", "tcp:a..b:1"])
async def test_nobody_is_there(source: Party, uri: str) -> None:
    source.moves.migrate(uri)
    await until(lambda: source.status == "failed", timeout=20)
    assert str(source.moves.describe()["error-desc"]).startswith("Failed to connect to ")
    assert source.events == ["setup", "failed"]
    assert source.control.status == "running"


async def test_a_source_is_no_target_and_the_reverse(source: Party, target: Party, tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="'-incoming' was not specified on the command line"):
        await source.moves.await_guest("tcp:127.0.0.1:0")
    with pytest.raises(OperationError, match="Guest is waiting for an incoming migration"):
        target.moves.migrate("tcp:127.0.0.1:1")
    await target.moves.await_guest(f"unix:{tmp_path / 'move'}")
    with pytest.raises(OperationError, match="already been started"):
        await target.moves.await_guest("tcp:127.0.0.1:0")
    assert target.moves.describe() == {"socket-address": [{"type": "unix", "path": str(tmp_path / "move")}]}


async def test_what_is_refused_while_it_moves(source: Party, target: Party, tmp_path: Path) -> None:
    uri = f"unix:{tmp_path / 'move'}"
    await target.moves.await_guest(uri)
    source.moves.change_capabilities({"pause-before-switchover": True})
    source.moves.migrate(uri)
    await until(lambda: source.status == "pre-switchover")
    for refused in (
        lambda: source.moves.migrate(uri),
        lambda: source.moves.change_capabilities({"events": False}),
        lambda: source.moves.go_on("device"),
        source.control.resume,
    ):
        with pytest.raises(OperationError):
            refused()
    source.control.stop()
    source.moves.go_on("pre-switchover")
    await until(lambda: target.status == "completed")
    with pytest.raises(OperationError, match="paused due to previous migration"):
        source.moves.migrate(uri)
    assert not source.guest.running
    assert target.guest.running
    assert not (tmp_path / "move").exists()


@pytest.mark.parametrize("wanted", [True, False])
async def test_management_says_whether_a_guest_that_comes_runs(
    source: Party, target: Party, tmp_path: Path, *, wanted: bool
) -> None:
    uri = f"unix:{tmp_path / 'move'}"
    await target.moves.await_guest(uri)
    target.control.stop()
    if wanted:
        target.control.resume()
    assert target.control.status == "inmigrate"
    source.moves.migrate(uri)
    await until(lambda: source.status == "completed" and target.status == "completed")
    assert target.control.status == ("running" if wanted else "paused")


async def test_strangers_at_the_door_end_nothing(source: Party, target: Party, tmp_path: Path) -> None:
    path = tmp_path / "move"
    await target.moves.await_guest(f"unix:{path}")
    for words in (b"QEVM\0\0\0\3", stream.PREAMBLE + b"x" * 40, b""):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(words)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert target.control.status == "inmigrate"
    source.moves.migrate(f"unix:{path}")
    await until(lambda: target.status == "completed")
    assert target.events[-2:] == ["RESUME", "completed"]


async def test_a_source_that_ends_when_it_has_let_the_target_run_does_not_run_its_guest(
    source: Party, tmp_path: Path
) -> None:
    """It took its own end for the target's, ran the guest again until it was gone, and so did the target."""
    has_run = asyncio.Event()

    async def be_target(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = stream.FrameReader()
        writer.write(stream.PREAMBLE)
        while data := await reader.read(65536):
            for frame in frames.feed(data):
                match frame:
                    case stream.Hello():
                        writer.write(stream.encode_frame(stream.Welcome(stream.NEWEST)))
                    case stream.End():
                        writer.write(stream.encode_frame(stream.Loaded()))
                    case stream.Run():
                        has_run.set()  # and has not said so yet
        writer.close()

    path = tmp_path / "move"
    async with await asyncio.start_unix_server(be_target, path):
        source.moves.migrate(f"unix:{path}")
        await asyncio.wait_for(has_run.wait(), 10)
        await source.moves.close()
    assert not source.guest.running
    assert "RESUME" not in source.events


def test_each_pair_of_run_state_and_input_is_taken_or_refused() -> None:
    for state in RunState:
        for happened in RunInput:
            states = RunStates(state)
            if (state, happened) in RUN_TABLE:
                states.step(happened)
            else:
                with pytest.raises(OperationError):
                    states.step(happened)
                assert states.state is state
    assert RunStates(RunState.PRELAUNCH).will_run
