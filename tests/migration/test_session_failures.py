"""A client session when a migration does not go as planned: each ends as dossier C3 allows, or better."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moves import ALL, NONE, OTHERS, begin, hand_over, opened, port_bytes, port_of, prepare, ready, restored
from scripted_server import CHANNELS, SESSION_ID, WAITING, Server, Stage, key_of

from spicehop.errors import ConnectionLost
from spicehop.migration import commands as c
from spicehop.migration.client import ClientState
from spicehop.migration.commands import Address
from spicehop.migration.restoring import DELIVERED, RESTORE_ATTEMPTS, STABLE
from spicehop.migration.travel import INIT_DEADLINE, LINKING_DEADLINE, SWITCHING_DEADLINE
from spicehop.wire import base, display, inputs, main, vmc
from spicehop.wire.constants import LinkResult

INIT = main.Init(SESSION_ID, 1, 1, 1, 0, 10, 0, 0)
DISPLAY = key_of("display:0")


def works(stage: Stage, server: Server) -> None:
    """The session is at this server, with all its channels, and talks to it."""
    assert stage.session.state is ClientState.SETTLED
    assert stage.session.address == server.address
    assert server.open_channels == set(ALL)
    assert stage.session.next_deadline() is None
    server.heard("main:0")
    server.say("main:0", base.Ping(77, 7))
    assert server.heard("main:0")[-1] == base.Pong(77, 7)
    server.heard("port:1")
    port_of(stage).write(b"still here")
    stage.run()
    assert port_bytes(server) == b"still here"


# -- a second BEGIN -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["linking", "seamless", "semi-seamless", "target lost"])
def test_a_second_begin_replaces_the_first(state: str) -> None:
    """spice-gtk answers the second with an error and keeps the first (dossier C6.4, 14)."""
    stage, source, target = opened()
    third = stage.server("third")
    if state == "linking":
        source.say("main:0", begin())
    elif state == "target lost":
        target.refuses["main:0"] = LinkResult.PERMISSION_DENIED
        source.say("main:0", begin())
    else:
        prepare(stage, source, target, seamless=state == "seamless")
    source.heard("main:0")
    prepare(stage, source, third)
    assert stage.connections_of(target) == []
    assert len(stage.aborted) == 1
    hand_over(source, "display:0", *OTHERS, "main:0")
    restored(third)
    works(stage, third)


def test_a_begin_while_channels_move_waits_for_the_end_of_that() -> None:
    stage, source, target = ready()
    third = stage.server("third")
    hand_over(source, "main:0")
    target.say("main:0", begin(b"third"))
    assert stage.connections_of(third) == []
    hand_over(source, "display:0", *OTHERS)
    assert third.heard_names("main:0") == ["MIGRATE_DST_DO_SEAMLESS"]
    third.say("main:0", main.MigrateDstSeamlessAck())
    assert target.heard_names("main:0")[-1] == "MIGRATE_CONNECTED_SEAMLESS"
    hand_over(target, "display:0", *OTHERS, "main:0")
    restored(third)
    works(stage, third)
    assert [outcome.target for outcome in stage.outcomes] == ["target:1", "third:1"]


def test_a_begin_that_waits_can_be_cancelled_without_bringing_anything_back() -> None:
    stage, source, target = ready()
    third = stage.server("third")
    hand_over(source, "main:0")
    target.say("main:0", begin(b"third"))
    target.say("main:0", main.MigrateCancel())
    hand_over(source, "display:0", *OTHERS)
    assert stage.connections_of(third) == []
    restored(target)
    works(stage, target)


def test_a_begin_that_waited_is_forgotten_when_the_session_begins_anew() -> None:
    stage, source, target = ready()
    third = stage.server("third")
    hand_over(source, "main:0")
    target.say("main:0", begin(b"third"))
    target.die()
    target.reachable = True
    stage.advance(1)
    stage.greet(target)
    assert stage.connections_of(third) == []
    works(stage, target)


# -- CANCEL ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", ["settled", "linking", "linking others", "seamless", "semi-seamless", "target lost", "switching"]
)
def test_cancel_restores_the_address_and_the_session_goes_on(state: str) -> None:
    """spice-gtk keeps the target's address (dossier C6.4, 12)."""
    stage, source, target = opened()
    if state == "linking":
        target.silent.add("main:0")
        source.say("main:0", begin())
    elif state == "linking others":
        target.silent.add("port:1")
        source.say("main:0", begin())
        target.say("main:0", main.MigrateDstSeamlessAck())
    elif state == "target lost":
        target.drops.add("display:0")
        source.say("main:0", begin())
        target.say("main:0", main.MigrateDstSeamlessAck())
        assert source.heard_names("main:0") == ["MIGRATE_CONNECT_ERROR"]
    elif state != "settled":
        prepare(stage, source, target, seamless=state != "semi-seamless")
        if state == "switching":
            hand_over(source, "port:1")
            source.say("inputs:0", base.Migrate(3))
    source.say("main:0", main.MigrateCancel())
    assert stage.connections_of(target) == []
    works(stage, source)
    assert len(stage.aborted) == (0 if state == "settled" else 1)
    # and it can migrate afterwards, with a reason that is its own
    target.silent.clear()
    target.drops.clear()
    source.heard("main:0")
    prepare(stage, source, target)
    hand_over(source, "display:0", "cursor:0", "port:1", "inputs:0", "main:0")
    assert [(outcome.scheme, outcome.reason) for outcome in stage.outcomes] == [("seamless", "")]


def test_a_cancel_of_nothing_leaves_no_reason_behind() -> None:
    stage, source, target = opened()
    source.say("main:0", main.MigrateCancel())
    target.reachable = False
    source.say("main:0", begin())
    target.reachable = True
    source.say("main:0", main.MigrateEnd())
    stage.greet(target)
    assert "connection refused" in stage.outcomes[0].reason


def test_channels_come_back_with_all_bytes_owned_once() -> None:
    stage, source, target = ready()
    port = port_of(stage)
    port.write(b"one ")
    stage.run()
    source.say("port:1", base.Migrate(3))
    port.write(b"two ")
    stage.run()
    source.say("port:1", base.MigrateData(b"state"), vmc.VmcData(b"said behind the data"))
    port.write(b"three ")
    stage.run()
    assert (port_bytes(source), port_bytes(target)) == (b"one ", b"two three ")
    source.say("main:0", main.MigrateCancel())
    assert port.bytes_delivered == len("said behind the data")
    port.write(b"four")
    stage.run()
    assert port_bytes(source) == b"four"
    assert (port.bytes_accepted, port.bytes_written, port.bytes_queued) == (18, 18, 0)
    assert stage.lost == []
    works(stage, source)


def test_what_the_source_said_while_its_connection_was_kept_is_heard_when_the_channel_is_back() -> None:
    stage, source, target = ready()
    hand_over(source, "port:1")
    assert target.heard_names("port:1") == ["MIGRATE_DATA"]
    kept = source.connections["port:1"]
    assert not kept.reading
    assert kept.end is not None
    kept.send(kept.end.say(vmc.VmcData(b"kept")))
    assert port_of(stage).bytes_delivered == 0
    source.say("main:0", main.MigrateCancel())
    assert port_of(stage).bytes_delivered == 4
    works(stage, source)


def test_held_keys_and_releases_come_back_too() -> None:
    stage, source, target = ready()
    keyboard = stage.session.inputs
    assert keyboard is not None
    keyboard.key_down(0x1E)
    stage.run()
    hand_over(source, "inputs:0")
    keyboard.key_up(0x1E)
    stage.run()
    stage.advance(0.3)
    assert target.heard("inputs:0")[-1] == inputs.KeyUp(0x9E)
    source.heard("inputs:0")
    source.say("main:0", main.MigrateCancel())
    stage.advance(0.5)
    assert source.heard("inputs:0") == [inputs.KeyUp(0x9E)]


def test_a_channel_that_got_lost_at_the_target_comes_back_from_there() -> None:
    stage, source, target = ready()
    hand_over(source, "port:1", "inputs:0")
    target.close("port:1")
    assert stage.lost == [("port:1", False)]
    source.say("main:0", main.MigrateCancel())
    stage.advance(1)
    assert stage.session.lost == set()
    assert stage.told(c.ChannelOpened)[-1] == c.ChannelOpened(key_of("port:1"), anew=False)
    works(stage, source)


def test_keys_that_a_machine_swallowed_before_its_migration_failed_are_said_again() -> None:
    """It stood still at the source, and then went on there."""
    stage, source, _ = ready()
    keyboard = stage.session.inputs
    assert keyboard is not None
    keyboard.key_down(0x1E)
    keyboard.key_down(0x2A)
    stage.run()
    keyboard.key_up(0x1E)
    stage.advance(5)
    source.heard("inputs:0")
    source.say("main:0", main.MigrateCancel())
    stage.advance(1)
    assert source.heard("inputs:0") == [inputs.KeyDown(0x2A), inputs.KeyUp(0x9E)]


def test_a_display_that_the_target_drops_after_it_was_lost_anyway_changes_nothing() -> None:
    stage, source, target = ready()
    hand_over(source, "port:1")
    source.close("display:0")
    target.close("display:0")
    assert stage.session.state is ClientState.SWITCHING
    hand_over(source, "inputs:0", "cursor:0", "main:0")
    assert [outcome.scheme for outcome in stage.outcomes] == ["seamless"]
    assert stage.lost == [("display:0", False)]


def test_a_begin_and_a_cancel_of_the_source_while_channels_move_bring_them_back() -> None:
    stage, source, target = ready()
    third = stage.server("third")
    hand_over(source, "port:1")
    source.say("main:0", begin(b"third"), main.MigrateCancel())
    assert stage.connections_of(target) == stage.connections_of(third) == []
    works(stage, source)


def test_a_hand_over_that_crosses_its_cancel_is_ignored() -> None:
    """Channels are connections of their own: MIGRATE may still be under way when CANCEL comes."""
    stage, source, _ = ready()
    hand_over(source, "inputs:0")
    source.say("main:0", main.MigrateCancel())
    assert stage.session.state is ClientState.SETTLED
    source.say("port:1", base.Migrate(3))
    assert source.heard_names("port:1") == ["MIGRATE_FLUSH_MARK"]
    source.say("port:1", base.MigrateData(b"state"), vmc.VmcData(b"goes on"))
    source.say("display:0", base.Migrate(3), base.MigrateData(b"state"), display.Mark())
    source.say("cursor:0", base.Migrate(0), base.Ping(3, 3))
    assert source.heard_names("cursor:0") == ["PONG"]
    assert port_of(stage).bytes_delivered == 7
    assert stage.lost == []
    works(stage, source)


def test_a_hand_over_that_its_cancel_overtakes_is_ignored() -> None:
    """The source has told other channels to go, and main to stay, and main hears of it first."""
    stage, source, _ = ready()
    source.say("main:0", main.MigrateCancel())
    assert stage.session.state is ClientState.SETTLED
    source.say("port:1", base.Migrate(1), vmc.VmcData(b"goes on"))
    assert source.heard_names("port:1") == ["MIGRATE_FLUSH_MARK"]
    source.say("display:0", base.Migrate(1), display.Mark())
    assert port_of(stage).bytes_delivered == 7
    assert stage.lost == []
    works(stage, source)


def test_a_kept_connection_that_ends_before_cancel_is_linked_again() -> None:
    stage, source, _ = ready()
    hand_over(source, "port:1", "inputs:0")
    source.connections["port:1"].close()
    source.say("main:0", main.MigrateCancel())
    stage.advance(1)
    works(stage, source)


def test_channels_that_the_target_did_not_have_are_linked_again_after_a_cancel() -> None:
    stage, source, target = opened()
    target.refuses["port:1"] = LinkResult.CHANNEL_NOT_AVAILABLE
    prepare(stage, source, target)
    hand_over(source, "port:1", "inputs:0")
    assert stage.lost == [("port:1", False)]
    source.say("main:0", main.MigrateCancel())
    stage.advance(1)
    works(stage, source)


def test_a_cancel_of_the_target_changes_nothing_when_main_has_moved() -> None:
    stage, source, target = ready()
    hand_over(source, "main:0", "port:1")
    target.say("main:0", main.MigrateCancel())
    hand_over(source, "display:0", "inputs:0", "cursor:0")
    restored(target)
    works(stage, target)


# -- the target -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["main:0", "display:0", "inputs:0"])
@pytest.mark.parametrize("fault", ["refuses", "drops", "garbles"])
def test_a_target_without_what_matters_is_answered_with_an_error(name: str, fault: str) -> None:
    stage, source, target = opened()
    if fault == "refuses":
        target.refuses[name] = LinkResult.CHANNEL_NOT_AVAILABLE
    else:
        getattr(target, fault).add(name)
    source.say("main:0", begin())
    if name != "main:0":
        target.say("main:0", main.MigrateDstSeamlessAck())
    assert source.heard_names("main:0") == ["MIGRATE_CONNECT_ERROR"]
    assert stage.connections_of(target) == []
    assert stage.session.state is ClientState.TARGET_LOST
    assert source.open_channels == set(ALL)
    assert stage.session.next_deadline() is None
    source.say("main:0", main.MigrateCancel())
    works(stage, source)
    assert len(stage.aborted) == 1
    assert "cancelled" in stage.aborted[0]


@pytest.mark.parametrize("seamless", [True, False])
def test_a_missing_channel_does_not_stop_the_others_and_nothing_goes_to_a_wrong_one(seamless: bool) -> None:
    """spice-gtk swaps with the last channel of its list (dossier C6.4, 11)."""
    stage, source, target = opened()
    target.refuses["cursor:0"] = LinkResult.CHANNEL_NOT_AVAILABLE
    prepare(stage, source, target, seamless=seamless)
    port_of(stage).write(b"for the port")
    stage.run()
    assert port_bytes(source) == b"for the port"
    if seamless:
        hand_over(source, "cursor:0", flags=0)
        hand_over(source, "display:0", "port:1", "inputs:0", "main:0")
    else:
        source.say("main:0", main.MigrateEnd())
        target.say("main:0", INIT)
    assert stage.lost == [("cursor:0", False)]
    assert target.open_channels == {"main:0", "display:0", "inputs:0", "port:1"}
    (outcome,) = stage.outcomes
    how = {one.channel: one.how for one in outcome.channels}
    assert how.pop("cursor:0") == "lost"
    assert set(how.values()) == {"moved" if seamless else "restarted"}
    for name in target.open_channels:
        said = [one for one in target.heard(name) if isinstance(one, base.MigrateData)]
        assert said == ([base.MigrateData(b"state of " + name.encode())] if seamless else [])


@pytest.mark.parametrize("silent", ["main:0", "display:0", "cursor:0"])
def test_a_target_that_never_answers_is_given_up(silent: str) -> None:
    stage, source, target = opened()
    target.silent.add(silent)
    source.say("main:0", begin())
    if silent != "main:0":
        target.say("main:0", main.MigrateDstSeamlessAck())
    assert stage.session.next_deadline() is not None
    stage.advance(LINKING_DEADLINE + 1)
    said = source.heard_names("main:0")
    assert said == (["MIGRATE_CONNECTED_SEAMLESS"] if silent == "cursor:0" else ["MIGRATE_CONNECT_ERROR"])


def test_a_target_that_does_not_say_whether_it_restores_is_given_up() -> None:
    stage, source, target = opened()
    source.say("main:0", begin())
    stage.advance(LINKING_DEADLINE + 1)
    assert source.heard_names("main:0") == ["MIGRATE_CONNECT_ERROR"]
    source.say("main:0", main.MigrateEnd())
    assert stage.session.state is ClientState.SWITCHING_HOST
    stage.greet(target)
    assert stage.outcomes[0].reason == f"the target was not linked within {LINKING_DEADLINE:.0f} s"


def test_a_target_that_floods_the_main_channel_before_it_answers_is_given_up() -> None:
    stage, source, target = opened()
    source.say("main:0", begin())
    for _ in range(20):
        if stage.connections_of(target):
            target.say("main:0", main.AgentData(bytes(100_000)))
    assert source.heard_names("main:0") == ["MIGRATE_CONNECT_ERROR"]
    source.say("main:0", main.MigrateCancel())
    works(stage, source)


@pytest.mark.parametrize("name", ["main:0", "display:0"])
@pytest.mark.parametrize("seamless", [True, False])
def test_a_target_that_goes_after_connected_is_found_at_the_hand_over(name: str, seamless: bool) -> None:
    """The source is not told: it goes on, and the client connects anew to the target it named."""
    stage, source, target = ready(seamless=seamless)
    target.connections[name].close("reset by the peer")
    stage.run()
    assert stage.session.state is ClientState.TARGET_LOST
    assert stage.connections_of(target) == []
    assert source.open_channels == set(ALL)
    if seamless:
        source.say("main:0", base.Migrate(3))
    else:
        source.say("main:0", main.MigrateEnd())
    stage.greet(target)
    works(stage, target)
    assert [outcome.scheme for outcome in stage.outcomes] == ["switch-host"]
    assert f"{name} at target:1 ended" in stage.outcomes[0].reason


def test_a_target_that_goes_while_channels_move_is_tried_anew() -> None:
    stage, source, target = ready()
    hand_over(source, "port:1", "main:0")
    target.connections["main:0"].close("reset by the peer")
    stage.run()
    assert stage.session.state is ClientState.SWITCHING_HOST
    stage.greet(target)
    works(stage, target)
    assert "the target was lost" in stage.outcomes[0].reason


def test_a_target_that_is_gone_when_channels_have_moved_ends_the_session_with_a_sentence() -> None:
    stage, source, target = ready()
    hand_over(source, "display:0", *OTHERS, "main:0")
    target.die()
    assert stage.ended is not None
    assert isinstance(stage.ended.error, ConnectionLost)


def test_a_semi_seamless_target_that_says_nothing_is_connected_to_anew() -> None:
    stage, source, target = ready(seamless=False)
    source.say("main:0", main.MigrateEnd())
    stage.advance(INIT_DEADLINE + 0.1)
    assert stage.session.state is ClientState.SWITCHING_HOST
    stage.greet(target)
    works(stage, target)
    assert stage.outcomes[0].reason == f"the target did not open the session within {INIT_DEADLINE:.0f} s"


def test_a_semi_seamless_target_that_goes_before_init_is_connected_to_anew() -> None:
    stage, source, target = ready(seamless=False)
    source.say("main:0", main.MigrateEnd())
    target.connections["main:0"].close("reset by the peer")
    stage.run()
    stage.greet(target)
    works(stage, target)
    assert "the target was lost" in stage.outcomes[0].reason


# -- the source -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "scheme"),
    [
        ("settled", None),
        ("linking", "switch-host"),
        ("seamless", "switch-host"),
        ("semi-seamless", "semi-seamless"),
        ("target lost", "switch-host"),
        ("switching", "switch-host"),
        ("awaiting init", "semi-seamless"),
        ("switching host", "switch-host"),
    ],
)
def test_a_source_that_is_lost(state: str, scheme: str | None) -> None:
    stage, source, target = opened()
    match state:
        case "linking":
            target.silent.add("main:0")
            source.say("main:0", begin())
            target.silent.clear()
        case "seamless" | "switching":
            prepare(stage, source, target)
            if state == "switching":
                hand_over(source, "port:1", "inputs:0")
        case "semi-seamless" | "awaiting init":
            prepare(stage, source, target, seamless=False)
            if state == "awaiting init":
                source.say("main:0", main.MigrateEnd())
        case "target lost":
            target.drops.add("display:0")
            source.say("main:0", begin(seamless=False))
            target.drops.clear()
        case "switching host":
            source.say("main:0", main.MigrateSwitchHost(1, NONE, b"target"))
    source.die()
    if scheme is None:
        assert stage.ended is not None
        assert isinstance(stage.ended.error, ConnectionLost)
        return
    if stage.session.state is ClientState.SWITCHING_HOST:
        stage.greet(target)
    else:
        target.say("main:0", INIT)
    works(stage, target)
    (outcome,) = stage.outcomes
    assert outcome.scheme == scheme
    if state in ("linking", "seamless", "semi-seamless", "switching"):
        assert "the source was lost" in outcome.reason


@pytest.mark.parametrize("message", ["MIGRATE", "MIGRATE_END"])
@pytest.mark.parametrize("state", ["linking", "seamless", "semi-seamless", "target lost"])
def test_a_source_that_goes_on_in_another_way_than_prepared(message: str, state: str) -> None:
    if (message, state) in (("MIGRATE", "seamless"), ("MIGRATE_END", "semi-seamless")):
        return
    stage, source, target = opened()
    match state:
        case "linking":
            target.silent.add("main:0")
            source.say("main:0", begin())
            target.silent.clear()
        case "target lost":
            target.drops.add("display:0")
            source.say("main:0", begin(seamless=False))
            target.drops.clear()
        case _:
            prepare(stage, source, target, seamless=state == "seamless")
    if message == "MIGRATE":
        source.say("port:1", base.Migrate(3))
    else:
        source.say("main:0", main.MigrateEnd())
    assert stage.session.state is ClientState.SWITCHING_HOST
    stage.greet(target)
    works(stage, target)
    (outcome,) = stage.outcomes
    assert outcome.scheme == "switch-host"
    assert outcome.reason
    assert "MIGRATE_END" not in target.heard_names("main:0")


@pytest.mark.parametrize("name", ["port:1", "display:0"])
def test_migrate_without_a_target_costs_that_channels_connection_only(name: str) -> None:
    stage, source, _ = opened()
    source.say(name, base.Migrate(3))
    assert stage.lost == [(name, True)]
    stage.advance(2)
    works(stage, source)


def test_migrate_data_without_migrate_costs_that_channels_connection_only() -> None:
    stage, source, _ = opened()
    source.say("port:1", base.MigrateData(b"x"))
    stage.advance(2)
    works(stage, source)


def test_channels_that_the_source_never_hands_over_are_given_up() -> None:
    stage, source, target = ready()
    hand_over(source, "display:0", "inputs:0", "main:0")
    hand_over(source, "cursor:0", flags=0)
    source.say("port:1", base.Migrate(3))
    stage.advance(SWITCHING_DEADLINE + 0.1)
    assert stage.lost == [("port:1", False)]
    assert stage.connections_of(source) == []
    assert stage.session.state is ClientState.SETTLED
    (outcome,) = stage.outcomes
    assert (outcome.scheme, outcome.reason) == ("seamless", "lost on the way: port:1")
    assert target.open_channels == {"main:0", "display:0", "inputs:0", "cursor:0"}


def test_a_source_that_never_hands_main_over_is_left_for_the_target() -> None:
    stage, source, target = ready()
    hand_over(source, "display:0", "inputs:0", "port:1")
    stage.advance(SWITCHING_DEADLINE + 0.1)
    assert stage.session.state is ClientState.SWITCHING_HOST
    stage.greet(target)
    works(stage, target)


def test_a_target_that_migrates_what_it_has_just_got_costs_that_channel_only() -> None:
    stage, source, target = ready()
    hand_over(source, "port:1", "inputs:0")
    target.say("port:1", base.Migrate(3))
    hand_over(source, "display:0", "cursor:0", "main:0")
    assert stage.lost == [("port:1", False)]
    assert stage.outcomes[0].reason == "lost on the way: port:1"
    assert target.open_channels == {"main:0", "display:0", "inputs:0", "cursor:0"}


# -- channels that get lost -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["closed", "garbage", "silent"])
def test_a_lost_channel_is_linked_again(fault: str) -> None:
    stage, source, _ = opened()
    if fault == "garbage":
        source.say_raw("port:1", b"\xff" * 50)
    else:
        source.close("port:1")
    assert stage.lost == [("port:1", True)]
    port_of(stage).write(b"meanwhile")
    if fault == "silent":
        source.silent.add("port:1")
        stage.advance(5)
        source.silent.clear()
        stage.advance(10)
    stage.advance(1.5)
    assert port_bytes(source) == b"meanwhile"
    works(stage, source)


def test_a_channel_that_gets_lost_again_and_again_is_given_up_after_three_links() -> None:
    """Also when each link succeeds."""
    stage, source, _ = opened()
    for _ in range(RESTORE_ATTEMPTS):
        source.close("port:1")
        stage.advance(1.5)
        assert "port:1" in source.open_channels
    source.close("port:1")
    stage.advance(100)
    assert stage.lost == [("port:1", True)] * RESTORE_ATTEMPTS + [("port:1", False)]
    assert "port:1" not in source.open_channels
    assert stage.session.lost == {key_of("port:1")}
    assert stage.ended is None


def test_a_channel_that_lived_long_has_all_its_attempts_again() -> None:
    stage, source, _ = opened()
    for _ in range(3 * RESTORE_ATTEMPTS):
        source.close("port:1")
        stage.advance(STABLE + 5)
    works(stage, source)


def test_a_channel_that_the_server_does_not_have_any_more_is_given_up_at_once() -> None:
    stage, source, _ = opened()
    source.refuses["port:1"] = LinkResult.CHANNEL_NOT_AVAILABLE
    source.close("port:1")
    stage.advance(20)
    assert stage.lost == [("port:1", True), ("port:1", False)]


def test_a_channel_that_is_listed_while_it_is_being_restored_is_linked_once() -> None:
    stage, source, _ = opened()
    source.close("port:1")
    stage.list_channels(source, ["port:1"])
    stage.advance(5)
    assert len(stage.connections_of(source)) == len(ALL)
    works(stage, source)


@pytest.mark.parametrize("state", ["linking", "seamless", "semi-seamless"])
def test_a_channel_that_gets_lost_before_the_hand_over_is_linked_again_and_moves(state: str) -> None:
    stage, source, target = opened()
    if state == "linking":
        source.say("main:0", begin())
        source.close("port:1")
        stage.advance(1.5)
        target.say("main:0", main.MigrateDstSeamlessAck())
        assert source.heard_names("main:0") == ["MIGRATE_CONNECTED_SEAMLESS"]
    else:
        prepare(stage, source, target, seamless=state == "seamless")
        source.close("port:1")
        stage.advance(1.5)
    if state == "semi-seamless":
        source.say("main:0", main.MigrateEnd())
        target.say("main:0", INIT)
    else:
        hand_over(source, "display:0", *OTHERS, "main:0")
        restored(target)
    assert stage.lost == [("port:1", True)]
    works(stage, target)


def test_a_channel_without_a_connection_when_the_others_move_is_given_up_and_said_so() -> None:
    """The target waits for its state for ever: a new link would wait too, and a display's would abort a libspice."""
    stage, source, target = ready()
    source.close("port:1")
    hand_over(source, "display:0", "inputs:0", "cursor:0", "main:0")
    assert stage.lost == [("port:1", True), ("port:1", False)]
    (outcome,) = stage.outcomes
    assert outcome.reason == "lost on the way: port:1"
    assert "port:1" not in target.open_channels
    restored_others = [("main:0", main.MultiMediaTime(1)), ("display:0", display.Mark())]
    for name, message in restored_others:
        target.say(name, message)
    target.close("display:0")
    stage.advance(10 * DELIVERED)
    assert stage.lost[-1] == ("display:0", False)
    assert stage.ended is None


def test_a_display_that_gets_lost_before_the_target_has_its_state_is_not_linked_again() -> None:
    """Its INIT would abort a libspice target and the machine in it (dossier C2)."""
    stage, source, target = ready()
    hand_over(source, "display:0", *OTHERS, "main:0")
    target.close("display:0")
    stage.advance(DELIVERED * 2)
    assert stage.lost == [("display:0", False)]
    assert "display:0" not in target.open_channels


def test_a_channel_that_gets_lost_at_a_target_that_has_everything_is_linked_again() -> None:
    stage, source, target = ready()
    hand_over(source, "display:0", *OTHERS, "main:0")
    restored(target)
    target.close("display:0")
    stage.advance(1.5)
    works(stage, target)


def test_a_restored_channel_waits_until_the_target_has_everything() -> None:
    stage, source, target = ready()
    hand_over(source, "display:0", *OTHERS, "main:0")
    target.say("display:0", display.Mark())
    target.close("display:0")
    stage.advance(5)
    assert "display:0" not in target.open_channels
    stage.advance(DELIVERED)
    works(stage, target)


def test_the_next_server_owes_nothing_to_the_last() -> None:
    stage, source, target = ready()
    third = stage.server("third")
    source.close("port:1")
    hand_over(source, "display:0", "inputs:0", "cursor:0", "main:0")
    target.say("main:0", main.MigrateSwitchHost(1, NONE, b"third"))
    stage.greet(third)
    third.close("display:0")
    stage.advance(1.5)
    works(stage, third)


# -- waits between channels -----------------------------------------------------------------------------------------


def wait_for(name: str, serial: int) -> base.WaitForChannels:
    return base.WaitForChannels((base.WaitFor(*key_of(name), serial),))


def test_a_wait_is_over_when_the_other_channel_has_come_as_far() -> None:
    stage, source, _ = opened()
    source.say("display:0", wait_for("cursor:0", 2), display.Mark())
    assert not source.connections["display:0"].reading
    source.say("cursor:0", base.Ping(1, 0))
    assert not any(isinstance(event.message, display.Mark) for event in stage.told(c.MessageReceived))
    source.say("cursor:0", base.Ping(2, 0))
    assert any(isinstance(event.message, display.Mark) for event in stage.told(c.MessageReceived))
    assert source.connections["display:0"].reading


def test_thousands_of_waits_in_one_piece() -> None:
    """They must not be handled by recursion."""
    stage, source, _ = opened()
    source.say("cursor:0", base.Ping(1, 0))
    source.say("display:0", *[wait_for("cursor:0", 1)] * 5000, display.Mark())
    assert any(isinstance(event.message, display.Mark) for event in stage.told(c.MessageReceived))
    works(stage, source)


def test_a_wait_for_a_channel_that_is_lost_is_over() -> None:
    stage, source, _ = opened()
    source.say("display:0", wait_for("cursor:0", 1000), display.Mark())
    source.close("cursor:0")
    assert any(isinstance(event.message, display.Mark) for event in stage.told(c.MessageReceived))


@pytest.mark.parametrize("other", ["display:0", "cursor:0"])
def test_a_wait_that_is_never_over_costs_the_channel_and_not_the_session(other: str) -> None:
    stage, source, _ = opened()
    source.say("display:0", wait_for(other, 1000))
    stage.advance(12)
    assert stage.lost == [("display:0", True)]
    works(stage, source)


def test_a_wait_for_nothing_has_no_deadline() -> None:
    stage, source, _ = opened()
    source.say("display:0", base.WaitForChannels(()))
    stage.advance(30)
    assert stage.lost == []


@pytest.mark.parametrize(
    "state", ["linking", "seamless", "semi-seamless", "switching", "awaiting init", "switching host"]
)
def test_a_session_that_is_closed_in_the_middle_of_a_migration_is_over(state: str) -> None:
    stage, source, target = opened()
    match state:
        case "linking":
            target.silent.add("main:0")
            source.say("main:0", begin())
        case "switching host":
            target.reachable = False
            source.say("main:0", main.MigrateSwitchHost(1, NONE, b"target"))
        case _:
            prepare(stage, source, target, seamless=state in ("seamless", "switching"))
            if state == "switching":
                hand_over(source, "port:1")
            elif state == "awaiting init":
                source.say("main:0", main.MigrateEnd())
    stage.session.close(stage.now)
    stage.run()
    assert stage.session.next_deadline() is None
    stage.session.handle_timer(stage.now + 1000)
    stage.run()
    assert stage.connections_of(source) == stage.connections_of(target) == []
    assert [event.error for event in stage.told(c.SessionEnded)] == [None]


# -- the adapter ----------------------------------------------------------------------------------------------------


def test_a_blocked_connection_gets_nothing_and_wants_no_timer() -> None:
    stage, source, _ = opened()
    number = source.connections["port:1"].number
    stage.session.writing_blocked(number)
    for _ in range(200):
        port_of(stage).write(b"x")
        stage.run()
    assert source.heard("port:1") == []
    assert stage.session.next_deadline() is None
    stage.session.writing_unblocked(number)
    stage.run()
    assert port_bytes(source) == b"x" * 200


def test_the_flush_mark_goes_out_on_a_blocked_connection_too() -> None:
    stage, source, _ = ready()
    stage.session.writing_blocked(source.connections["port:1"].number)
    source.say("port:1", base.Migrate(3))
    assert source.heard_names("port:1") == ["MIGRATE_FLUSH_MARK"]


def test_reports_about_connections_that_are_gone_change_nothing() -> None:
    stage, source, target = ready()
    hand_over(source, "display:0", *OTHERS, "main:0")
    for number in range(1, 40):
        if number not in {one.number for one in stage.connections_of(target)}:
            stage.session.data_received(number, b"late", stage.now)
            stage.session.connection_lost(number, "late", stage.now)
            stage.session.connection_made(number, stage.now)
            stage.session.writing_blocked(number)
            stage.session.ticket_encrypted(number, b"t" * 128)
    stage.run()
    restored(target)
    works(stage, target)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["port:1", "display:0", "inputs:0", "cursor:0", "main:0"]), unique=True, min_size=5))
def test_channels_move_in_any_order(order: list[str]) -> None:
    stage, source, target = ready()
    hand_over(source, *order)
    assert stage.outcomes[0].scheme == "seamless"
    restored(target)
    works(stage, target)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["port:1", "display:0", "inputs:0", "cursor:0"]), unique=True),
    st.sampled_from([*CHANNELS, "none"]),
)
def test_a_cancel_after_any_number_of_channels(moved: list[str], half: str) -> None:
    stage, source, target = ready()
    hand_over(source, *moved)
    if half not in (*moved, "none"):
        source.say(half, base.Migrate(3))
    if stage.session.state in WAITING:
        assert stage.session.next_deadline() is not None
    source.say("main:0", main.MigrateCancel())
    assert stage.connections_of(target) == []
    works(stage, source)
    assert stage.session.address == Address("source", 1)
