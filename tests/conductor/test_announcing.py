"""The target is told which clients will come, where it knows what to do with that."""

from __future__ import annotations

from spicehop.conductor.announcing import Announcer, connection_ids
from spicehop.conductor.qmp import QmpRefusal


class Server:
    """Answers commands, and keeps what was announced."""

    def __init__(self, name: str, answers: dict[str, object]) -> None:
        self.name = name
        self.announced: list[object] = []
        self._answers = answers

    async def execute(self, command: str, arguments: dict[str, object]) -> object:
        if command == "announce-clients":
            self.announced.append(arguments["connection-ids"])
            return {}
        if command not in self._answers:
            raise QmpRefusal(f"the command {command} has not been found")
        return self._answers[command]


def channel(kind: int, number: object) -> dict[str, object]:
    return {"channel-type": kind, "channel-id": 0, "connection-id": number}


KNOWS = {"query-commands": [{"name": "announce-clients"}, {"name": "migrate"}]}
THERE = {"query-spice": {"channels": [channel(1, 7), channel(2, 7), channel(1, 9)]}}


async def test_who_is_there_is_announced_and_who_comes_later_too() -> None:
    target = Server("target", KNOWS)
    announcer = Announcer(Server("source", THERE), target)
    assert await announcer.begin() == ""
    await announcer.initialized({"client": channel(2, 11)})
    await announcer.initialized({"client": channel(1, 11)})
    await announcer.initialized({"client": channel(1, 9)})
    assert target.announced == [[7, 9], [7, 9, 11]]


async def test_a_target_that_knows_nothing_of_it_is_left_alone() -> None:
    target = Server("target", {"query-commands": [{"name": "migrate"}, 5]})
    announcer = Announcer(Server("source", {}), target)
    assert await announcer.begin() == ""
    await announcer.initialized({"client": channel(1, 11)})
    assert target.announced == []


async def test_a_refusal_is_told() -> None:
    assert "query-spice" in await Announcer(Server("source", {}), Server("target", KNOWS)).begin()


def test_odd_answers_announce_nobody() -> None:
    for odd in (None, [], {"channels": 5}, {"channels": [None, channel(1, "x"), channel(1, 0), channel(3, 5)]}):
        assert connection_ids(odd) == set()
