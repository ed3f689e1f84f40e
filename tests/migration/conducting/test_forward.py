"""The conducting machine's way forward; each test reads as a chart of what was done."""

from __future__ import annotations

import dataclasses

import pytest
from conducting_stage import FIRST, LAUNCHED, PLAIN, PLAN, SECOND, SOURCE, TARGET, Stage, signed

from spicehop.migration import conducting
from spicehop.migration.conducting_events import (
    EventReceived,
    ProgressReported,
    SpiceAddress,
)
from spicehop.migration.conducting_result import ChannelFate, ClientStatement, Fate, Outcome, decided


def test_a_session_moves_and_the_source_is_ended_last() -> None:
    stage = Stage()
    result = stage.run()
    assert stage.chart == [*LAUNCHED, "source quit"]
    assert result.outcome is Outcome.MOVED
    assert result.sentence == "The machine runs at the target; 1 session is there too. The source has ended."
    (session,) = result.sessions
    assert (session.connection_id, session.fate) == (FIRST, Fate.SAME_ID)
    assert session.channels == dict.fromkeys(("main:0", "display:0", "inputs:0", "cursor:0"), ChannelFate.MOVED)
    assert result.source_ended
    assert result.as_json()["stopped_ms"] == pytest.approx(10)


def test_what_clients_and_qemus_are_told() -> None:
    plan = dataclasses.replace(
        PLAN,
        spice=SpiceAddress("desk.example", 6000),
        cert_subject="CN=desk",
        max_bandwidth=10**6,
        downtime_limit=50,
        ticket="secret",
    )
    stage = Stage(plan)
    stage.target.auth = "spice"
    stage.run()
    said = {(one.peer, one.command): one.arguments for one in stage.executed}
    assert said[SOURCE, "client_migrate_info"] == {
        "protocol": "spice",
        "hostname": "desk.example",
        "port": 6000,
        "tls-port": 0,
        "cert-subject": "CN=desk",
    }
    assert said[SOURCE, "migrate-set-parameters"] == {"max-bandwidth": 10**6, "downtime-limit": 50}
    assert said[TARGET, "set_password"] == {"protocol": "spice", "password": "secret"}
    assert said[TARGET, "migrate-incoming"] == {"uri": "tcp:127.0.0.1:0"}
    assert said[SOURCE, "migrate"] == {"uri": "tcp:127.0.0.1:4444"}
    capabilities = {one["capability"]: one["state"] for one in said[SOURCE, "migrate-set-capabilities"]["capabilities"]}
    assert capabilities["events"]
    assert capabilities["return-path"]
    order = [one.command for one in stage.executed]
    assert order.index("set_password") < order.index("client_migrate_info")
    assert "secret" not in repr(stage.executed) + repr(plan)


def test_the_pause_is_twice_the_longest_link() -> None:
    stage = Stage()
    stage.on["client_migrate_info"] = lambda: stage.link(FIRST, took=0.4)
    result = stage.run()
    assert result.timing.launched is not None
    assert result.timing.linked is not None
    assert result.timing.launched - result.timing.linked == pytest.approx(0.8)


def test_the_pause_is_100_ms_at_least_and_ends_with_the_servers_own_limit() -> None:
    quick, slow = Stage(), Stage()
    slow.on["client_migrate_info"] = lambda: slow.link(FIRST, took=8.0)
    quick_timing, slow_timing = quick.run().timing, slow.run().timing
    assert quick_timing.launched is not None
    assert quick_timing.linked is not None
    assert quick_timing.launched - quick_timing.linked == pytest.approx(0.1)
    assert slow_timing.launched is not None
    assert slow_timing.informed is not None
    assert slow_timing.launched - slow_timing.informed == pytest.approx(9.0)


def test_a_missed_event_is_made_up_for_by_asking() -> None:
    stage = Stage()
    stage.on["client_migrate_info"] = lambda: stage.target.connect(FIRST)
    assert stage.run().outcome is Outcome.MOVED


def test_semi_seamless_is_known_when_the_source_does_no_better() -> None:
    stage = Stage(dataclasses.replace(PLAN, source=PLAIN))
    result = stage.run()
    assert result.sessions[0].fate is Fate.SEMI_SEAMLESS
    assert result.sessions[0].reason == "seamless-migration is off at the source"
    assert "seamless-off" in stage.findings


def test_two_clients_move_when_seamless_is_off() -> None:
    stage = Stage(dataclasses.replace(PLAN, source=PLAIN), sessions=(FIRST, SECOND))
    result = stage.run()
    assert [session.connection_id for session in result.sessions] == [FIRST, SECOND]
    assert "2 sessions are there too" in result.sentence


def test_a_client_that_does_not_link_is_sent_anew() -> None:
    stage = Stage()
    stage.on["client_migrate_info"] = lambda: None
    stage.on["quit"] = lambda: stage.lose(SOURCE)
    arrive = stage.arrive
    stage.arrive = lambda: (arrive(), stage.link(0x77, after=2.0))  # type: ignore[method-assign, assignment]
    result = stage.run()
    assert "not-linked" in stage.findings
    assert result.outcome is Outcome.MOVED
    assert result.sessions[0].fate is Fate.SWITCH_HOST
    assert "not all linked" in result.sessions[0].reason
    assert set(result.sessions[0].channels.values()) == {ChannelFate.ANEW}


def test_a_client_that_links_late_is_said_to() -> None:
    stage = Stage(dataclasses.replace(PLAN, source=PLAIN))
    stage.on["client_migrate_info"] = lambda: stage.link(FIRST, after=9.5)
    (session,) = stage.run().sessions
    assert session.fate is Fate.SAME_ID
    assert session.reason.startswith("it linked to the target only when the machine was on its way")


def test_a_client_that_leaves_while_others_link_is_not_waited_for() -> None:
    stage = Stage(dataclasses.replace(PLAN, source=PLAIN), sessions=(FIRST, SECOND))
    stage.on["client_migrate_info"] = lambda: (stage.link(FIRST), stage.later(0.5, lambda: stage.unlink(SECOND)))
    result = stage.run()
    assert result.timing.launched is not None
    assert result.timing.launched - result.timing.began < 1
    assert {session.connection_id: session.fate for session in result.sessions} == {
        FIRST: Fate.SEMI_SEAMLESS,
        SECOND: Fate.LEFT,
    }


def test_without_clients_the_machine_moves_alone() -> None:
    stage = Stage(sessions=())
    result = stage.run()
    assert stage.chart == [*LAUNCHED, "source quit"]
    assert "no session was connected" in result.sentence
    assert stage.findings == ["no-clients"]


def test_keep_source_leaves_it() -> None:
    stage = Stage(dataclasses.replace(PLAN, keep_source=True))
    result = stage.run()
    assert stage.chart == LAUNCHED
    assert result.outcome is Outcome.MOVED
    assert not result.source_ended
    assert "The source is left as it is, stopped." in result.sentence


def test_a_target_started_with_minus_s_is_told_to_run() -> None:
    stage = Stage()
    arrive = stage.arrive

    def paused() -> None:
        arrive()
        stage.target.status = "paused"

    stage.arrive = paused  # type: ignore[method-assign]
    result = stage.run()
    assert stage.chart == [*LAUNCHED, "target cont", "source quit"]
    assert result.outcome is Outcome.MOVED


def test_progress_is_told_every_half_second() -> None:
    stage = Stage()
    ram = {"transferred": 5, "remaining": 7, "total": 12}
    stage.source.migration = {}
    stage.on["migrate"] = lambda: (
        stage.source.migration.update(status="active", ram=ram),
        stage.later(2.2, stage.arrive),
    )
    stage.run()
    assert stage.progress == [ProgressReported("active", 5, 7, 12)] * 4


def test_completion_is_also_noticed_by_asking() -> None:
    stage = Stage()

    def silently() -> None:
        stage.later(1.0, lambda: stage.source.migration.update(status="completed"))
        stage.later(1.0, lambda: setattr(stage.target, "status", "running"))
        stage.event(SOURCE, "SPICE_MIGRATE_COMPLETED", after=1.1)

    stage.on["migrate"] = silently
    assert stage.run().outcome is Outcome.MOVED


def test_no_spice_migrate_completed_but_the_sessions_are_there() -> None:
    stage = Stage()
    stage.on["migrate"] = lambda: (
        setattr(stage.target, "status", "running"),
        stage.event(SOURCE, "MIGRATION", after=1.0, status="completed"),
    )
    result = stage.run()
    assert result.outcome is Outcome.MOVED
    assert result.timing.handed_over is None
    assert result.timing.finished is not None
    assert result.timing.completed is not None
    assert result.timing.finished - result.timing.completed >= conducting.HANDOVER_LIMIT


def test_no_spice_migrate_completed_and_no_session_leaves_the_source() -> None:
    stage = Stage()
    stage.on["client_migrate_info"] = lambda: None
    stage.on["migrate"] = lambda: (
        setattr(stage.target, "status", "running"),
        stage.event(SOURCE, "MIGRATION", after=1.0, status="completed"),
    )
    result = stage.run()
    assert "source quit" not in stage.chart
    assert result.sentence == (
        "The machine runs at the target; 1 of 1 session is lost. The source never said that the sessions had left it. "
        "The source is left as it is, stopped; 'quit' ends it."
    )


def test_a_session_that_dies_after_the_switch_over_is_noticed() -> None:
    stage = Stage()
    arrive = stage.arrive
    stage.arrive = lambda: (arrive(), stage.later(0.7, lambda: stage.unlink(FIRST, peer=TARGET)))  # type: ignore[method-assign, assignment]
    result = stage.run()
    assert "source quit" not in stage.chart
    assert (result.outcome, result.code) == (Outcome.MOVED_WITH_LOSS, "sessions-lost")


def test_one_lost_channel_is_named() -> None:
    stage = Stage()
    arrive = stage.arrive

    def drop_cursor() -> None:
        port = next(port for port, link in stage.target.links.items() if link[1] == 4)
        client = stage.target.client(port)
        del stage.target.links[port]
        stage.feed(EventReceived(TARGET, "SPICE_DISCONNECTED", {"client": client}))

    stage.arrive = lambda: (arrive(), stage.later(0.1, drop_cursor))  # type: ignore[method-assign, assignment]
    result = stage.run()
    assert result.outcome is Outcome.MOVED_WITH_LOSS
    assert result.sessions[0].channels["cursor:0"] is ChannelFate.LOST
    assert result.sessions[0].reason.startswith("cursor:0 did not arrive")
    assert "1 session is there too, without 1 channel" in result.sentence


def test_a_slow_handover_is_said() -> None:
    stage = Stage()
    stage.on["migrate"] = lambda: (
        setattr(stage.target, "status", "running"),
        stage.event(SOURCE, "MIGRATION", after=1.0, status="completed"),
        stage.event(SOURCE, "SPICE_MIGRATE_COMPLETED", after=11.0),
    )
    assert "The source gave up waiting after 10 s" in stage.run().sentence


def test_a_machine_moved_by_somebody_else() -> None:
    stage = Stage()
    stage.on["client_migrate_info"] = lambda: stage.event(SOURCE, "MIGRATION", status="completed")
    result = stage.run()
    assert (result.outcome, result.code) == (Outcome.UNVERIFIED, "moved-by-others")


def test_the_clients_own_trace_decides_the_scheme() -> None:
    result = Stage().run()
    told = decided(result, [ClientStatement("migration.done", 5, detail={"scheme": "seamless"})])
    assert (told.sessions[0].fate, told.sessions[0].reason) == (Fate.SEAMLESS, "")
    told = decided(result, [ClientStatement("migration.done", detail={"scheme": "semi-seamless", "reason": "NACK"})])
    assert (told.sessions[0].fate, told.sessions[0].reason) == (Fate.SEMI_SEAMLESS, "NACK")
    assert decided(result, [ClientStatement("migration.begin")]) == result


def test_with_several_sessions_the_connection_id_tells_which() -> None:
    result = Stage(dataclasses.replace(PLAN, source=PLAIN), sessions=(FIRST, SECOND)).run()
    told = decided(result, [ClientStatement("migration.done", signed(SECOND), detail={"scheme": "switch-host"})])
    assert [session.fate for session in told.sessions] == [Fate.SEMI_SEAMLESS, Fate.SWITCH_HOST]
