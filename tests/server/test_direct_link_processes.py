"""The direct link between two `spicehop serve` processes, set up over their control sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from waiting import until, until_async

from spicehop.conductor import Options, migrate
from spicehop.conductor.qmp import QmpAddress, QmpPeer, QmpRefusal
from spicehop.demo.server_process import ServerProcess
from spicehop.migration.conducting_events import StepReported
from spicehop.migration.conducting_result import Outcome
from spicehop.trace import read


class Monitor:
    """One server with a control connection."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        folder.mkdir()
        self.process = ServerProcess(folder, arguments=("--size", "320x240", *arguments))

    async def __aenter__(self) -> Monitor:
        await self.process.__aenter__()
        self._peer = QmpPeer("server", QmpAddress(path=self.process.control))
        await self._peer.connect()
        return self

    async def __aexit__(self, *what: object) -> None:
        await self._peer.close()
        await self.process.__aexit__(None, None, None)

    async def __call__(self, command: str, **arguments: object) -> dict[str, object]:
        answer = await self._peer.execute(command, arguments)
        assert isinstance(answer, dict)
        return answer

    async def certificate(self) -> str:
        return str((await self("direct-link-certificate"))["certificate"])

    async def link(self) -> tuple[object, object]:
        facts = await self("query-direct-link")
        return facts["role"], facts["connected"]

    async def links(self, role: str, connected: bool) -> None:
        async def so() -> bool:
            return await self.link() == (role, connected)

        await until_async(so)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Monitor, Monitor]]:
    async with (
        asyncio.timeout(120),
        Monitor(tmp_path / "a") as source,
        Monitor(tmp_path / "b", "--incoming", "defer") as target,
    ):
        yield source, target


@pytest.mark.parametrize("way", ["unix", "tcp"])
async def test_two_processes_are_linked(pair: tuple[Monitor, Monitor], tmp_path: Path, way: str) -> None:
    """It stays longer than a silence may last; a target that is killed is noticed at once."""
    source, target = pair
    wanted: dict[str, str] = {"address": f"unix:{tmp_path / 'link'}"}
    other: dict[str, str] = {}
    if way == "tcp":
        wanted = {"address": "tcp:127.0.0.1:0", "certificate": await source.certificate()}
        other = {"certificate": await target.certificate()}
    address = (await target("direct-link-listen", **wanted))["address"]
    assert await source("direct-link-connect", address=address, **other) == {}
    assert await source.link() == ("source", True)
    await target.links("target", True)
    await asyncio.sleep(9)
    assert (await source.link(), await target.link()) == (("source", True), ("target", True))
    await source("direct-link-close")
    await target.links("target", False)
    await source("direct-link-connect", address=address, **other)
    target.process.kill()
    await source.links("none", False)
    # The system says "reset" when the one that was killed had not read everything.
    reasons = "the other server has closed the connection", "Connection reset by peer"
    assert (await source("query-direct-link"))["reason"] in reasons


async def test_a_certificate_that_is_not_the_one_is_refused(pair: tuple[Monitor, Monitor]) -> None:
    source, target = pair
    mine, theirs = await source.certificate(), await target.certificate()
    where = {"address": "tcp:127.0.0.1:0"}
    address = (await target("direct-link-listen", certificate=theirs, **where))["address"]
    with pytest.raises(QmpRefusal, match="perhaps it was given another certificate"):
        await source("direct-link-connect", address=address, certificate=theirs)
    with pytest.raises(QmpRefusal, match="has another certificate than the one that was given"):
        await source("direct-link-connect", address=address, certificate=mine)
    assert (await source.link(), await target.link()) == (("none", False), ("target", False))
    await target("direct-link-close")
    address = (await target("direct-link-listen", certificate=mine, **where))["address"]
    await source("direct-link-connect", address=address, certificate=theirs)
    assert await source.link() == ("source", True)
    assert await source("query-status") == await source("query-status")


async def test_a_server_that_ends_says_so(pair: tuple[Monitor, Monitor], tmp_path: Path) -> None:
    source, target = pair
    address = f"unix:{tmp_path / 'link'}"
    await target("direct-link-listen", address=address)
    await source("direct-link-connect", address=address)
    await target("quit")
    await source.links("none", False)
    assert (await source("query-direct-link"))["reason"] == "the server ends"
    assert not (tmp_path / "link").exists()


@pytest.mark.parametrize("place", ["unix", "tcp"])
async def test_the_conductor_links_them_for_the_time_of_a_migration(
    pair: tuple[Monitor, Monitor], tmp_path: Path, place: str
) -> None:
    source, target = pair
    wanted = f"unix:{tmp_path / 'link'}" if place == "unix" else "tcp:127.0.0.1"
    steps: list[object] = []
    result = await migrate(
        Options(source.process.control, target.process.control, direct_link=wanted), progress=steps.append
    )
    assert result.outcome is Outcome.MOVED
    assert any(isinstance(step, StepReported) and f"at {wanted}" in step.sentence for step in steps)
    for monitor, role in ((source, "source"), (target, "target")):
        expected = ["direct-link.listening"] * (role == "target") + ["direct-link.opened", "direct-link.ended"]
        trace = monitor.process.trace
        await until(
            lambda: (
                [record.event for record in read(trace) if record.event.startswith("direct-link.")] == expected  # noqa: B023
            )
        )
    assert await target.link() == ("none", False)
