"""The control session as a chart: what the client writes, what it reads."""

from __future__ import annotations

import json
from itertools import product

import pytest

from spicehop.channels.machine import Machine
from spicehop.errors import ProtocolError
from spicehop.server.control import (
    CONTROL_TABLE,
    CommandError,
    ControlInput,
    ControlRequest,
    ControlSession,
    ControlState,
    ControlVersion,
)

VERSION = ControlVersion(7, 2, 0, "test")


def said(session: ControlSession) -> list[dict[str, object]]:
    """The messages to write."""
    lines = session.drain().decode().split("\r\n")
    assert lines.pop() == ""
    return [json.loads(line) for line in lines]


def begun() -> ControlSession:
    """A session that has negotiated."""
    session = ControlSession(VERSION)
    session.feed(b'{"execute":"qmp_capabilities"}')
    assert session.next_request() is None
    session.drain()
    return session


def refused(reason: str, kind: str = "GenericError", **tag: object) -> dict[str, object]:
    return {**tag, "error": {"class": kind, "desc": reason}}


def test_the_greeting_comes_first_and_offers_nothing() -> None:
    version = {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": "test"}
    assert said(ControlSession(VERSION)) == [{"QMP": {"version": version, "capabilities": []}}]


def test_negotiation_comes_before_commands_and_once() -> None:
    session = ControlSession(VERSION)
    session.drain()
    session.feed(b'{"execute":"query-status","id":1}{"execute":"qmp_capabilities","id":2}{"execute":"qmp_capabilities"}')
    assert session.next_request() is None
    assert said(session) == [
        refused("Expecting capabilities negotiation with 'qmp_capabilities'", "CommandNotFound", id=1),
        {"return": {}, "id": 2},
        refused("Capabilities negotiation is already complete, command ignored", "CommandNotFound"),
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ('{"enable":["oob"]}', "Capability oob not available"),
        ('{"enable":"oob"}', "Invalid parameter type for 'enable', expected: array"),
        ('{"oob":true}', "Parameter 'oob' is unexpected"),
    ],
)
def test_what_is_not_offered_cannot_be_enabled(arguments: str, reason: str) -> None:
    session = ControlSession(VERSION)
    session.drain()
    session.feed(f'{{"execute":"qmp_capabilities","arguments":{arguments}}}'.encode())
    assert session.next_request() is None
    assert said(session) == [refused(reason)]
    assert session.state is ControlState.AWAITING_CAPABILITIES


def test_a_command_is_handed_over_and_its_id_comes_back() -> None:
    session = begun()
    session.feed(b'{"execute":"stop","id":{"any":["json",1]},"arguments":{"a":1}}')
    request = session.next_request()
    assert request == ControlRequest("stop", {"a": 1}, {"id": {"any": ["json", 1]}})
    assert session.next_request() is None
    session.answer(request, {"b": 2})
    session.refuse(request, CommandError("no", "DeviceNotFound"))
    assert said(session) == [
        {"return": {"b": 2}, "id": {"any": ["json", 1]}},
        refused("no", "DeviceNotFound", id={"any": ["json", 1]}),
    ]


MALFORMED = [
    ('{"execute":5}', refused("QMP input member 'execute' must be a string")),
    ('{"id":5}', refused("QMP input lacks member 'execute'", id=5)),
    ('{"execute":"stop","frob":1,"id":null}', refused("QMP input member 'frob' is unexpected", id=None)),
    ('{"exec-oob":"stop"}', refused("QMP input member 'exec-oob' is unexpected")),
    ('{"execute":"stop","arguments":[1]}', refused("QMP input member 'arguments' must be an object")),
    ('{"execute":"stop","arguments":null}', refused("QMP input member 'arguments' must be an object")),
    ("5", refused("QMP input must be a JSON object")),
    ("}", refused("JSON parse error, expecting value")),
]  # fmt: skip


@pytest.mark.parametrize(("line", "answer"), MALFORMED, ids=[case[0] for case in MALFORMED])
def test_what_is_malformed_is_answered_and_the_session_goes_on(line: str, answer: dict[str, object]) -> None:
    session = begun()
    session.feed(f'{line}\n{{"execute":"stop"}}'.encode())
    assert session.next_request() == ControlRequest("stop", {}, {})
    assert said(session) == [answer]


def test_a_huge_id_is_not_echoed() -> None:
    session = begun()
    session.feed(json.dumps({"execute": "stop", "id": "x" * 5000}).encode())
    assert session.next_request() is None
    assert said(session) == [refused("QMP input member 'id' is too long")]


def test_answers_do_not_pile_up() -> None:
    session = begun()
    session.feed(b"}\n" * 10_000)
    assert session.next_request() is None
    assert session.waiting, "there is more to look at once these are written"
    assert 64 * 1024 <= len(session.drain()) < 65 * 1024


def test_events_begin_with_the_negotiation() -> None:
    session = ControlSession(VERSION)
    session.drain()
    session.tell("STOP", None, 1.5)
    assert said(session) == []
    session = begun()
    session.tell("STOP", None, 1.9999999)
    session.tell("SHUTDOWN", {"guest": False}, 3.25)
    assert said(session) == [
        {"timestamp": {"seconds": 2, "microseconds": 0}, "event": "STOP"},
        {"timestamp": {"seconds": 3, "microseconds": 250_000}, "event": "SHUTDOWN", "data": {"guest": False}},
    ]


@pytest.mark.parametrize(("state", "happened"), list(product(ControlState, ControlInput)))
def test_every_pair_of_the_table(state: ControlState, happened: ControlInput) -> None:
    machine = Machine("control", CONTROL_TABLE, state)
    if (state, happened) in CONTROL_TABLE:
        assert machine.step(happened) is CONTROL_TABLE[state, happened][0]
        assert machine.state is ControlState.TAKING_COMMANDS
    else:
        with pytest.raises(ProtocolError):
            machine.step(happened)
