"""How the conductor connects two servers, and what it leaves behind when that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from monitors import Pair

from spicehop.conductor import Options, direct_link, migrate
from spicehop.conductor.direct_link import COMMANDS, LinkSetup, link_address
from spicehop.conductor.qmp import QmpRefusal
from spicehop.errors import ConnectionLost, UsageError
from spicehop.migration import conducting
from spicehop.migration.conducting_events import FindingReported, StepReported
from spicehop.migration.conducting_result import Outcome


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("off", ""),
        ("unix:/run/link", "unix:/run/link"),
        ("tcp:b.example", "tcp:b.example:0"),
        ("tcp:b.example:4000", "tcp:b.example:4000"),
        ("tcp:[::1]", "tcp:[::1]:0"),
        ("tcp:[::1]:4000", "tcp:[::1]:4000"),
    ],
)
def test_places(text: str, address: str) -> None:
    assert link_address(text) == address


@pytest.mark.parametrize("text", ["", "on", "unix:", "tcp:", "tcp::1", "tcp:a:b", "tcp:a:70000", "tcp:a:1:2", "udp:a"])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(UsageError, match="is none of auto"):
        Options("a", "b", direct_link=text).plan()


class Server:
    """A monitor: its commands go to a chart that both share."""

    def __init__(self, name: str, chart: list[str], **answers: object) -> None:
        self.name = name
        self._chart = chart
        self._answers: dict[str, object] = {
            "query-commands": [{"name": name} for name in COMMANDS],
            "direct-link-certificate": {"certificate": f"PEM of the {name}"},
            "direct-link-listen": {"address": "tcp:h:4000"},
            **{command.replace("_", "-"): answer for command, answer in answers.items()},
        }

    async def execute(self, command: str, arguments: Mapping[str, object]) -> object:
        if command != "query-commands":
            words = [self.name, command.removeprefix("direct-link-"), *map(str, arguments.values())]
            self._chart.append(" ".join(words))
        answer = self._answers.get(command, {})
        if answer == "silence":
            await asyncio.sleep(60)
        if isinstance(answer, Exception):
            raise answer
        return answer


LISTENING = [
    "source close",
    "target close",
    "source certificate",
    "target listen tcp:h:0 PEM of the source",
]
CONNECTING = ["target certificate", "source connect tcp:h:4000 PEM of the target"]
CLOSING = ["source close", "target close"]


def setup(
    chart: list[str], address: str = "tcp:h:0", *, source: dict[str, object] | None = None, **target: object
) -> LinkSetup:
    return LinkSetup(Server("source", chart, **source or {}), Server("target", chart, **target), address)


async def test_certificates_are_exchanged_then_one_listens_and_one_connects() -> None:
    chart: list[str] = []
    link = setup(chart)
    assert await link.open() == ""
    assert link.place == "tcp:h:4000"
    assert chart == LISTENING + CONNECTING
    await link.close()
    await link.close()
    assert chart == LISTENING + CONNECTING + CLOSING


async def test_a_unix_socket_needs_no_certificate() -> None:
    chart: list[str] = []
    link = setup(chart, "unix:/x", direct_link_listen={"address": "unix:/x"})
    assert await link.open() == ""
    assert chart == ["source close", "target close", "target listen unix:/x", "source connect unix:/x"]


async def test_off_asks_nothing() -> None:
    chart: list[str] = []
    link = setup(chart, "")
    assert await link.open() == ""
    await link.close()
    assert chart == []


@pytest.mark.parametrize("commands", [[], [{"name": "quit"}], {}, [3]])
async def test_a_server_that_knows_nothing_of_it_is_left_alone(commands: object) -> None:
    chart: list[str] = []
    link = setup(chart, query_commands=commands)
    assert await link.open() == "the target knows nothing of it"
    await link.close()
    assert (link.place, chart) == ("", [])


@pytest.mark.parametrize(
    ("source", "target", "failure", "done"),
    [
        ({}, {"direct_link_listen": QmpRefusal("no")}, "no", LISTENING),
        ({"direct_link_connect": QmpRefusal("nobody there")}, {}, "nobody there", LISTENING + CONNECTING),
        ({"direct_link_connect": ConnectionLost("gone")}, {}, "gone", LISTENING + CONNECTING),
        ({}, {"direct_link_certificate": {}}, "the answer has no certificate", LISTENING + CONNECTING[:1]),
        ({"direct_link_connect": "silence"}, {}, "the servers did not answer within 0.2 s", LISTENING + CONNECTING),
    ],
)
async def test_a_failure_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
    source: dict[str, object],
    target: dict[str, object],
    failure: str,
    done: list[str],
) -> None:
    monkeypatch.setattr(direct_link, "OPEN_SECONDS", 0.2)
    chart: list[str] = []
    link = setup(chart, source=source, **target)
    assert await link.open() == failure
    assert (link.place, chart) == ("", done + CLOSING)


async def test_servers_that_do_not_close_hold_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_link, "CLOSE_SECONDS", 0.1)
    chart: list[str] = []
    link = setup(chart)
    await link.open()
    for peer in (link._source, link._target):
        assert isinstance(peer, Server)
        peer._answers["direct-link-close"] = "silence"
    async with asyncio.timeout(1):
        await link.close()


async def test_a_migration_of_qemus_goes_on_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conducting, "SETTLE_TIME", 0.05)
    pair = Pair(tmp_path)
    reports: list[object] = []
    options = Options(
        str(pair.source.path), str(pair.target.path), ticket="x", probe=False, seamless=True, direct_link="tcp:h"
    )
    async with pair, asyncio.timeout(10):
        result = await migrate(options, progress=reports.append)
    assert result.outcome is Outcome.MOVED
    (finding,) = [one.finding for one in reports if isinstance(one, FindingReported)]
    assert finding.code == "no-direct-link"
    assert "the source knows nothing of it" in finding.sentence
    assert "direct-link-close" not in pair.source.commands


async def test_the_link_is_there_before_clients_are_told_and_ends_after_the_migration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conducting, "SETTLE_TIME", 0.05)
    pair = Pair(tmp_path)
    for monitor in (pair.source, pair.target):
        monitor.answers["query-commands"] = [{"name": name} for name in COMMANDS]
        monitor.answers["direct-link-listen"] = {"address": "unix:/x"}
    reports: list[object] = []
    options = Options(
        str(pair.source.path), str(pair.target.path), ticket="x", probe=False, seamless=True, direct_link="unix:/x"
    )
    async with pair, asyncio.timeout(10):
        result = await migrate(options, progress=reports.append)
    assert result.outcome is Outcome.MOVED
    steps = [one.step for one in reports if isinstance(one, StepReported)]
    assert steps[0] == "direct-link"
    commands = pair.source.commands
    assert commands.index("direct-link-connect") < commands.index("client_migrate_info")
    assert pair.target.commands[-1] == "direct-link-close"
