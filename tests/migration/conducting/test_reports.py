"""Two of our servers: the target is told who comes, and the source says what became of each client."""

from __future__ import annotations

import pytest
from conducting_stage import FIRST, LAUNCHED, PREPARED, SECOND, SOURCE, TARGET, Stage
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.migration.conducting_events import EventReceived, PeerFacts, Plan
from spicehop.migration.conducting_reports import LONGEST_REASON, MOST_CLIENTS, client_reports
from spicehop.migration.conducting_result import ChannelFate, Fate, Outcome, SessionOutcome
from spicehop.migration.conducting_table import State

PLAN = Plan(source=PeerFacts(command_line=("python", "spicehop", "serve")))
"""Whether seamless migration is on cannot be read from there."""
THIRD = 0x33333333
NAMES = ("main:0", "display:0", "inputs:0", "cursor:0")


def stage(*sessions: int, **client: object) -> Stage:
    """Two servers of ours; the source says of its clients that they moved seamlessly, or what `client` says."""
    made = Stage(PLAN, sessions=sessions or (FIRST,))
    for server in (made.source, made.target):
        server.commands = ("announce-clients", "migrate")
    moved = {"scheme": "seamless", "outcome": "moved", **client}
    made.handed_over = {"clients": [{"connection-id": one, **moved} for one in sessions or (FIRST,)]}
    return made


def announced(played: Stage) -> list[object]:
    return [one.arguments["connection-ids"] for one in played.executed if one.command == "announce-clients"]


def outcome(played: Stage) -> SessionOutcome:
    (found,) = played.run().sessions
    return found


# -- who comes --------------------------------------------------------------------------------------------------------


def test_a_target_of_ours_is_told_before_the_clients_are() -> None:
    played = stage(FIRST, SECOND)
    assert played.run().outcome is Outcome.MOVED
    told = [*PREPARED, "target announce-clients"]
    assert played.chart[: len(told) + 1] == [*told, "source client_migrate_info"]
    assert announced(played) == [[FIRST, SECOND], []]


def test_a_qemu_is_told_nothing() -> None:
    played = Stage()
    played.run()
    assert played.chart == [*LAUNCHED, "source quit"]


@pytest.mark.parametrize("state", [State.INFORMING, State.LINKING, State.PAUSING, State.LAUNCHING, State.MIGRATING])
def test_a_client_that_connects_while_the_migration_runs_is_announced_too(state: State) -> None:
    played = stage()
    played.run_until(state)
    played.link(THIRD, peer=SOURCE, after=0.0, took=0.0)
    played.link(THIRD, after=0.05)  # a source of ours sends newcomers too
    while len(announced(played)) < 2:
        assert played.step()
    assert announced(played) == [[FIRST], [FIRST, THIRD]]
    while played.result is None:
        assert played.step()
    assert announced(played) == [[FIRST], [FIRST, THIRD], []]


def test_a_client_that_connects_during_the_announcement_is_announced_too() -> None:
    played = stage()

    def come() -> None:
        played.on.pop("announce-clients")
        played.link(THIRD, peer=SOURCE, after=0.0, took=0.0)

    played.on["announce-clients"] = come
    played.run_until(State.INFORMING)
    assert announced(played) == [[FIRST], [FIRST, THIRD]]
    assert played.chart[-1] == "source client_migrate_info"


def test_nobody_is_expected_any_more_after_going_back() -> None:
    played = stage()
    played.on["client_migrate_info"] = lambda: played.cancel(after=0.2)
    assert played.run().outcome is Outcome.ROLLED_BACK
    assert announced(played) == [[FIRST], []]


def test_a_check_that_fails_announces_nobody() -> None:
    played = stage()
    played.probe_failure = "refused"
    assert played.run().outcome is Outcome.REFUSED
    assert announced(played) == []


def test_a_target_that_refuses_the_announcement_is_a_warning() -> None:
    played = stage()
    played.refused[TARGET, "announce-clients"] = "no"
    assert played.run().outcome is Outcome.MOVED
    assert played.findings == ["not-announced"]


def test_several_clients_can_leave_a_source_of_ours() -> None:
    played = stage(FIRST, SECOND)
    result = played.run()
    assert played.findings == []
    assert [session.fate for session in result.sessions] == [Fate.SEAMLESS] * 2


# -- what became of them ----------------------------------------------------------------------------------------------


def test_the_source_tells_the_scheme_and_the_way_of_the_state() -> None:
    found = outcome(stage(FIRST, carrier="direct", channels=[{"channel": "main-0", "outcome": "moved", "reason": ""}]))
    assert (found.fate, found.carrier, found.reason) == (Fate.SEAMLESS, "direct", "")
    assert found.channels == dict.fromkeys(NAMES, ChannelFate.MOVED)


def test_channels_that_begin_anew() -> None:
    channels = [{"channel": name.replace(":", "-"), "outcome": "new", "reason": ""} for name in NAMES]
    found = outcome(stage(FIRST, scheme="semi-seamless", reason="the client cannot", channels=channels))
    assert (found.fate, found.carrier, found.reason) == (Fate.SEMI_SEAMLESS, "", "the client cannot")
    assert found.channels == dict.fromkeys(NAMES, ChannelFate.NEW)


def test_a_channel_whose_state_did_not_come_is_lost() -> None:
    played = stage(FIRST, channels=[{"channel": "cursor-0", "outcome": "lost", "reason": "closed"}])
    result = played.run()
    (found,) = result.sessions
    assert result.outcome is Outcome.MOVED_WITH_LOSS
    assert (found.fate, found.reason) == (Fate.SEAMLESS, "cursor:0 did not arrive")
    assert (found.channels["cursor:0"], found.channel_reasons) == (ChannelFate.LOST, {"cursor:0": "closed"})
    assert result.as_json()["sessions"] == [
        {
            "connection_id": FIRST,
            "scheme": "seamless",
            "carrier": "",
            "reason": "cursor:0 did not arrive",
            "channels": {**dict.fromkeys(sorted(NAMES[1:3]), "moved"), "main:0": "moved", "cursor:0": "lost"},
            "channel_reasons": {"cursor:0": "closed"},
        }
    ]


def test_a_client_that_was_given_up_and_came_all_the_same() -> None:
    found = outcome(stage(FIRST, outcome="lost", reason="the client did not go in time"))
    assert (found.fate, found.reason) == (Fate.SAME_ID, "the source gave it up: the client did not go in time")


def test_a_client_that_was_told_to_connect_anew() -> None:
    played = stage(FIRST, scheme="switch-host", reason="the client could not link the target")
    played.on["client_migrate_info"] = lambda: None
    arrive = played.arrive
    played.arrive = lambda: (arrive(), played.link(THIRD, after=0.5))  # type: ignore[method-assign, assignment]
    found = outcome(played)
    assert (found.fate, found.reason) == (Fate.SWITCH_HOST, "the client could not link the target")
    assert set(found.channels.values()) == {ChannelFate.ANEW}


def test_a_client_that_is_nowhere_is_lost_whatever_the_source_says() -> None:
    played = stage(FIRST, reason="it said that it has left")
    arrive = played.arrive
    played.arrive = lambda: (arrive(), played.later(0.1, lambda: played.unlink(FIRST, peer=TARGET)))  # type: ignore[method-assign, assignment]
    found = outcome(played)
    assert (found.fate, found.reason) == (Fate.LOST, "it said that it has left")


def test_a_client_that_left_its_links_and_connected_anew() -> None:
    played = stage(FIRST)
    arrive = played.arrive

    def again() -> None:
        played.unlink(FIRST, peer=TARGET)
        played.link(THIRD)

    played.arrive = lambda: (arrive(), played.later(0.1, again))  # type: ignore[method-assign, assignment]
    found = outcome(played)
    assert found.fate is Fate.SWITCH_HOST
    assert found.reason.startswith("it left for its links at the target, and connected anew")


GOOD = {"connection-id": 5, "scheme": "seamless", "outcome": "moved"}


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"clients": None},
        {"clients": {}},
        {"clients": [None, 5, [], {}]},
        *({"clients": [{**GOOD, "connection-id": number}]} for number in (0, -1, 1 << 32, True, "5", 5.0, None)),
        *({"clients": [{**GOOD, "scheme": scheme}]} for scheme in ("none", "", "lost", None, 5, ["seamless"])),
        *({"clients": [{**GOOD, "outcome": outcome}]} for outcome in ("stayed", "", None, {})),
    ],
)
def test_what_is_odd_is_left_out(odd: dict[str, object]) -> None:
    assert client_reports(odd) == {}


def test_what_is_odd_costs_nothing_else() -> None:
    channels = [None, {"channel": 5}, {"channel": "port-0", "outcome": "x"}, {"channel": "port-1", "outcome": "new"}]
    odd = {**GOOD, "carrier": "pigeon", "reason": "red\x1b[31m" + "x" * 9999, "channels": channels}
    report = client_reports({"clients": [None, odd]})[5]
    assert (report.scheme, report.carrier, report.channels) == (Fate.SEAMLESS, "", {"port:1": ChannelFate.NEW})
    assert len(report.reason) == LONGEST_REASON
    assert report.reason.startswith("red [31m")


def test_no_more_clients_than_there_can_be() -> None:
    many = [{**GOOD, "connection-id": number} for number in range(1, MOST_CLIENTS + 100)]
    assert len(client_reports({"clients": many})) == MOST_CLIENTS


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["seamless", "moved", "lost"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*GOOD, "reason", "carrier", "channels", "channel"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(json_values)
def test_whatever_a_source_says_the_migration_ends(said: object) -> None:
    played = stage()
    played.handed_over = {"clients": [{**GOOD, "connection-id": FIRST, "channels": said}, said]}
    assert played.run().sentence.endswith(".")
    client_reports({"clients": said})


def test_an_event_before_the_clients_were_told_says_nothing() -> None:
    played = stage()
    played.begin()
    played.feed(EventReceived(SOURCE, "SPICE_MIGRATE_COMPLETED", {"clients": [{**GOOD, "connection-id": FIRST}]}))
    assert played.machine.memory.reports == {}
