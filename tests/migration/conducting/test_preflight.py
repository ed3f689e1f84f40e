"""Each finding before a migration, as a table of cases; and what is read from QMP's answers."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.migration.conducting_census import Census, ChannelKey, sessions_of
from spicehop.migration.conducting_events import PeerFacts, Plan, SpiceAddress
from spicehop.migration.preflight import (
    PeerSurvey,
    Severity,
    client_address,
    examine,
    listening_uri,
    seamless_at,
    sending_uri,
    spice_options,
    survey_of,
)

MAIN = frozenset({ChannelKey(1, 0)})
ON = PeerFacts(command_line=("/usr/bin/qemu-system-x86_64", "-spice", "port=1,seamless-migration=on"))
OFF = PeerFacts(command_line=("qemu-system-x86_64", "-m", "1", "-spice", "port=1"))
UNKNOWN = PeerFacts()
PLAN = Plan(source=ON, target=OFF)
SOURCE = PeerSurvey(
    version=(7, 2, 22),
    status="running",
    spice=True,
    spice_host="192.0.2.1",
    spice_port=5900,
    auth="none",
    sessions={1: MAIN},
    machine="pc-i440fx-7.2",
)
TARGET = dataclasses.replace(SOURCE, status="inmigrate", sessions={})


def codes(plan: Plan = PLAN, source: PeerSurvey = SOURCE, target: PeerSurvey = TARGET) -> list[str]:
    return [f"{finding.severity.value} {finding.code}" for finding in examine(plan, source, target)]


def test_nothing_to_say() -> None:
    assert codes() == []


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"status": "inmigrate"}, "error source-incoming", "SOURCE and TARGET may be exchanged"),
        ({"status": "postmigrate"}, "error source-moved", "already moved away"),
        ({"migration_status": "active"}, "error source-busy", "already migrating (status 'active')"),
        ({"spice": False}, "error source-spice-off", "SPICE is off at the source"),
        ({"version": (8, 0, 0)}, "error versions", "QEMU 7.2.22 is older than the source's 8.0.0"),
        ({"machine": "q35"}, "error machine-types", "'q35' at the source, 'pc-i440fx-7.2' at the target"),
        ({"status": "paused"}, "warning source-not-running", "its state is 'paused'"),
        ({"sessions": {}}, "warning no-clients", "only the machine moves"),
        ({"sessions": {1: MAIN, 2: MAIN}}, "error several-clients", "its QEMU would abort"),
    ],
)
def test_findings_at_the_source(changes: dict[str, object], code: str, words: str) -> None:
    source = dataclasses.replace(SOURCE, **changes)  # type: ignore[arg-type]
    assert codes(source=source) == [code]
    assert words in examine(PLAN, source, TARGET)[0].sentence


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"status": "running"}, "error target-not-incoming", "start it with -incoming defer"),
        ({"spice": False}, "error target-spice-off", "SPICE is off at the target"),
        ({"spice_port": None}, "error target-without-port", "give an address with --spice"),
        ({"spice_host": "*"}, "error target-wildcard", "say with --spice HOST"),
        ({"spice_host": "::"}, "error target-wildcard", "say with --spice HOST"),
        ({"auth": "spice"}, "error ticket-missing", "--ticket-file"),
        ({"sessions": {3: MAIN}}, "warning target-has-clients", "will be disconnected"),
    ],
)
def test_findings_at_the_target(changes: dict[str, object], code: str, words: str) -> None:
    target = dataclasses.replace(TARGET, **changes)  # type: ignore[arg-type]
    assert codes(target=target) == [code]
    assert words in examine(PLAN, SOURCE, target)[0].sentence


def test_errors_come_first() -> None:
    findings = examine(PLAN, dataclasses.replace(SOURCE, sessions={}), dataclasses.replace(TARGET, auth="spice"))
    assert [finding.severity for finding in findings] == [Severity.ERROR, Severity.WARNING]


@pytest.mark.parametrize(
    "plan",
    [
        dataclasses.replace(PLAN, ticket="x"),
        dataclasses.replace(PLAN, ticket_is_set=True),
        dataclasses.replace(PLAN, target=PeerFacts(command_line=("qemu-kvm", "-spice", "password-secret=s"))),
    ],
)
def test_a_ticket_that_is_given_or_set(plan: Plan) -> None:
    # `kvm` and `qemu-kvm` are names of QEMU too
    assert codes(plan, target=dataclasses.replace(TARGET, auth="spice")) == []


def test_a_ticket_that_nobody_asks_for() -> None:
    assert codes(dataclasses.replace(PLAN, ticket="x")) == ["warning ticket-unused"]


@pytest.mark.parametrize(
    ("facts", "said", "expected"),
    [
        (ON, None, True),
        (OFF, None, False),
        (UNKNOWN, None, None),
        (UNKNOWN, True, True),
        (ON, False, False),
        (PeerFacts(command_line=("libvirtd",)), None, None),
        (PeerFacts(command_line=("qemu-system-x86_64", "-readconfig", "f")), None, None),
        (PeerFacts(command_line=("qemu-system-x86_64",)), None, None),
    ],
)
def test_whether_seamless_is_on(facts: PeerFacts, said: bool | None, expected: bool | None) -> None:
    assert seamless_at(Plan(source=facts, seamless=said)) is expected


def test_seamless_findings() -> None:
    assert codes(dataclasses.replace(PLAN, source=OFF)) == ["warning seamless-off"]
    assert codes(dataclasses.replace(PLAN, source=UNKNOWN)) == ["warning seamless-unknown"]
    two = dataclasses.replace(SOURCE, sessions={1: MAIN, 2: MAIN})
    assert codes(dataclasses.replace(PLAN, source=UNKNOWN), two) == ["error several-clients"]
    assert "or say --seamless off" in examine(dataclasses.replace(PLAN, source=UNKNOWN), two, TARGET)[0].sentence
    assert codes(dataclasses.replace(PLAN, source=OFF), two) == ["warning seamless-off"]


def test_options_of_spice_are_read_as_qemu_reads_them() -> None:
    line = ("qemu-system-x86_64", "-spice", "addr=a,,b,disable-ticketing", "-m", "5", "--spice", "port=7")
    assert spice_options(line) == {"addr": "a,b", "disable-ticketing": "on", "port": "7"}


@pytest.mark.parametrize(
    ("spice", "expected"),
    [
        (None, SpiceAddress("192.0.2.1", 5900, 5901)),
        (SpiceAddress("desk"), SpiceAddress("desk", 5900, 5901)),
        (SpiceAddress("desk", 7), SpiceAddress("desk", 7)),
        (SpiceAddress("desk", None, 8), SpiceAddress("desk", None, 8)),
    ],
)
def test_where_clients_are_sent(spice: SpiceAddress | None, expected: SpiceAddress) -> None:
    target = dataclasses.replace(TARGET, spice_tls_port=5901)
    assert client_address(dataclasses.replace(PLAN, spice=spice), target) == expected


LOCAL, REMOTE, OTHER = PeerFacts(), PeerFacts(host="192.0.2.7"), PeerFacts(host="2001:db8::1")


@pytest.mark.parametrize(
    ("source", "target", "uri", "expected"),
    [
        (LOCAL, LOCAL, "", "tcp:127.0.0.1:0"),
        (LOCAL, REMOTE, "", "tcp:192.0.2.7:0"),
        (REMOTE, OTHER, "", "tcp:[2001:db8::1]:0"),
        (REMOTE, LOCAL, "", ""),
        (REMOTE, LOCAL, "tcp:192.0.2.1:5", "tcp:192.0.2.1:5"),
    ],
)
def test_where_a_deferred_target_waits(source: PeerFacts, target: PeerFacts, uri: str, expected: str) -> None:
    plan = Plan(source=source, target=target, migration_uri=uri)
    assert listening_uri(plan) == expected
    has_error = "error no-migration-address" in codes(dataclasses.replace(plan, seamless=True))
    assert has_error is (not expected)


INET = {"type": "inet", "host": "127.0.0.1", "port": "9", "ipv4": True}
WILD4 = {"type": "inet", "host": "0.0.0.0", "port": "9", "ipv4": True}
WILD6 = {"type": "inet", "host": "::", "port": "8", "ipv6": True}
UNIX = {"type": "unix", "path": "/run/m"}


@pytest.mark.parametrize(
    ("source", "target", "uri", "addresses", "expected"),
    [
        (LOCAL, LOCAL, "", [INET], "tcp:127.0.0.1:9"),
        (LOCAL, LOCAL, "", [UNIX], "unix:/run/m"),
        (LOCAL, LOCAL, "", [WILD6, WILD4], "tcp:127.0.0.1:9"),
        (LOCAL, REMOTE, "", [WILD6, WILD4], "tcp:192.0.2.7:9"),
        (LOCAL, OTHER, "", [WILD6], "tcp:[2001:db8::1]:8"),
        (LOCAL, REMOTE, "", [INET], ""),
        (LOCAL, REMOTE, "", [UNIX], ""),
        (LOCAL, LOCAL, "", [], ""),
        (LOCAL, LOCAL, "unix:/run/x", [INET], "unix:/run/x"),
        (LOCAL, LOCAL, "tcp:127.0.0.1:0", [INET], "tcp:127.0.0.1:9"),
    ],
)
def test_where_the_machine_is_sent(
    source: PeerFacts, target: PeerFacts, uri: str, addresses: list[dict[str, object]], expected: str
) -> None:
    plan = Plan(source=source, target=target, migration_uri=uri, seamless=True)
    assert sending_uri(plan, addresses) == expected
    if addresses:
        waiting = dataclasses.replace(TARGET, addresses=tuple(addresses))
        assert ("error no-migration-address" in codes(plan, target=waiting)) is (not expected)


def test_a_survey_of_real_answers() -> None:
    survey = survey_of(
        {
            "query-version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"},
            "query-status": {"status": "inmigrate", "singlestep": False, "running": False},
            "query-spice": {"enabled": True, "auth": "none", "port": 6001, "host": "127.0.0.1", "channels": []},
            "query-migrate": {"socket-address": [INET]},
            "qom-get": "pc-i440fx-7.2-machine",
        }
    )
    assert survey == PeerSurvey(
        (7, 2, 22), "inmigrate", True, "127.0.0.1", 6001, None, "none", {}, "", (INET,), "pc-i440fx-7.2"
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
ANSWERS = ("query-version", "query-status", "query-spice", "query-migrate", "qom-get", "query-commands")


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(ANSWERS), json_values))
def test_any_answers_give_a_survey(answers: dict[str, object]) -> None:
    survey = survey_of(answers)
    examine(PLAN, survey, survey)


# -- the census ---------------------------------------------------------------------------------------------------


def entry(port: str, connection_id: int = 5, kind: int = 1) -> dict[str, object]:
    return {"host": "h", "port": port, "connection-id": connection_id, "channel-type": kind, "channel-id": 0}


def test_connection_ids_are_unsigned() -> None:
    # as in the golden capture: QMP shows -1776590155
    assert sessions_of([entry("1", -1776590155)]) == {2518377141: MAIN}


def test_a_census_follows_the_events() -> None:
    census = Census()
    census.event_received("SPICE_CONNECTED", {"client": {"host": "h", "port": "1"}}, 10.0)
    census.event_received("SPICE_INITIALIZED", {"client": entry("1")}, 10.25)
    census.event_received("SPICE_CONNECTED", {"client": {"host": "h", "port": "2"}}, 11.0)
    census.event_received("SPICE_DISCONNECTED", {"client": {"host": "h", "port": "2"}}, 11.5)
    assert census.sessions == {5: MAIN}
    assert census.longest_link == 0.25
    assert census.refused_links == 1
    census.event_received("SPICE_DISCONNECTED", {"client": {"host": "h", "port": "1"}}, 12.0)
    assert census.sessions == {}
    assert census.refused_links == 1


def test_an_answer_replaces_what_the_events_said() -> None:
    census = Census()
    census.event_received("SPICE_INITIALIZED", {"client": entry("1", 5)}, 0.0)
    census.answer_received({"channels": [entry("2", 6), entry("3", 6, kind=2)]})
    assert census.sessions == {6: frozenset({ChannelKey(1, 0), ChannelKey(2, 0)})}


def test_clients_without_an_address_are_told_apart() -> None:
    census = Census()
    census.answer_received({"channels": [entry("", 5, kind=1), entry("", 5, kind=2)]})
    assert len(census.sessions[5]) == 2
