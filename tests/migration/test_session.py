"""A client session and its servers, as charts: the three schemes, and what may come in between."""

from __future__ import annotations

import pytest
from moves import ALL, NONE, OTHERS, begin, hand_over, opened, port_bytes, port_of, prepare, ready, restored
from scripted_server import CHANNELS, MAIN_BITS, SESSION_ID, Stage, key_of

from spicehop.errors import ConnectError, LinkError, StateError, UsageError
from spicehop.migration import commands as c
from spicehop.migration.client import ClientState
from spicehop.migration.commands import Address
from spicehop.migration.session import OPENING_DEADLINE
from spicehop.migration.travel import SWITCH_HOST_DEADLINE
from spicehop.wire import base, inputs, main, vmc
from spicehop.wire.constants import LinkResult, MainCap

# -- opening --------------------------------------------------------------------------------------------------------


def test_the_chart_of_an_opening() -> None:
    stage = Stage()
    source = stage.server("source")
    stage.session.start(stage.now)
    stage.run()
    stage.greet(source, ("display:0", "inputs:0"))
    assert stage.chart() == [
        "source > main:0    INIT",
        "main:0 > source    ATTACH_CHANNELS",
        "source > main:0    CHANNELS_LIST",
        "display:0 > source    INIT",
    ]
    assert stage.session.connection_id == SESSION_ID
    assert stage.told(c.SessionOpened)
    opened_channels = [event.key for event in stage.events if isinstance(event, c.ChannelOpened)]
    assert opened_channels == [key_of("display:0"), key_of("inputs:0")]


def test_the_other_channels_link_with_the_sessions_id() -> None:
    _, source, _ = opened()
    ids = {name: connection.message.connection_id for name, connection in source.connections.items()}
    assert ids == {"main:0": 0, **dict.fromkeys(CHANNELS, SESSION_ID)}


def test_a_session_starts_once() -> None:
    stage, _, _ = opened()
    with pytest.raises(StateError, match="started already"):
        stage.session.start(stage.now)


def test_a_later_list_adds_channels() -> None:
    stage, source, _ = opened()
    stage.list_channels(source, ["display:0", "usbredir:0"])
    assert source.open_channels == {*ALL, "usbredir:0"}
    assert [name for name, _ in stage.lost] == []


def test_channels_that_no_client_links_are_left_alone() -> None:
    """A second main would end the session that is there (dossier A.3); the tunnel has no messages any more."""
    stage, source, _ = opened()
    source.say("main:0", main.ChannelsList((main.ChannelId(1, 1), main.ChannelId(7, 0), main.ChannelId(99, 0))))
    assert source.open_channels == set(ALL)
    assert stage.ended is None


def test_a_list_before_init_is_refused() -> None:
    stage = Stage()
    source = stage.server("source")
    stage.session.start(stage.now)
    stage.run()
    stage.list_channels(source, ["display:0"])
    assert stage.ended is not None
    assert "before INIT" in str(stage.ended.error)


def test_init_without_a_session_id_is_refused() -> None:
    stage = Stage()
    source = stage.server("source")
    stage.session.start(stage.now)
    stage.run()
    source.say("main:0", main.Init(0, 1, 1, 1, 0, 10, 0, 0))
    assert stage.ended is not None
    assert "no session id" in str(stage.ended.error)


def test_more_channels_than_there_can_be_are_refused() -> None:
    stage, source, _ = opened()
    for first in range(0, 256, 128):
        keys = [main.ChannelId(kind, number) for kind in (9, 10) for number in range(first, first + 128)]
        if stage.ended is None:
            source.say("main:0", main.ChannelsList(tuple(keys)))
    assert stage.ended is not None
    assert "more than 256 channels" in str(stage.ended.error)


@pytest.mark.parametrize("silent_after", ["connection", "link", "init"])
def test_a_server_that_falls_silent_is_given_up(silent_after: str) -> None:
    stage = Stage()
    source = stage.server("source")
    if silent_after == "connection":
        source.silent.add("main:0")
    stage.session.start(stage.now)
    stage.run()
    if silent_after == "init":
        source.say("main:0", main.Init(SESSION_ID, 1, 1, 1, 0, 10, 0, 0))
    assert stage.session.next_deadline() is not None
    stage.advance(OPENING_DEADLINE + 1)
    assert stage.ended is not None
    assert isinstance(stage.ended.error, ConnectError)


@pytest.mark.parametrize(
    ("fault", "error", "sentence"),
    [
        (
            lambda server: setattr(server, "reachable", False),
            ConnectError,
            "no connection to source:1: connection refused",
        ),
        (lambda server: server.drops.add("main:0"), ConnectError, "before the link was complete"),
        (lambda server: server.refuses.update({"main:0": 7}), LinkError, "does not accept the password"),
    ],
)
def test_a_server_that_cannot_be_used_ends_the_session(fault, error: type[Exception], sentence: str) -> None:
    stage = Stage()
    fault(stage.server("source"))
    stage.session.start(stage.now)
    stage.run()
    assert stage.ended is not None
    assert isinstance(stage.ended.error, error)
    assert sentence in str(stage.ended.error)
    assert stage.session.next_deadline() is None


def test_the_end_is_the_end() -> None:
    stage, source, _ = opened()
    stage.session.channels[key_of("inputs:0")].key_down(0x1E)
    stage.run()
    stage.session.close(stage.now)
    stage.run()
    assert source.heard("inputs:0") == [inputs.KeyDown(0x1E), inputs.KeyUp(0x9E)]
    assert source.open_channels == set()
    assert stage.ended == c.SessionEnded(None)
    stage.session.close(stage.now)
    stage.advance(100)
    assert len(stage.told(c.SessionEnded)) == 1


def test_closing_sends_what_is_queued() -> None:
    stage, source, _ = opened()
    for number in range(200):
        port_of(stage).write(b"%03d" % number)
        stage.run()
    assert port_of(stage).bytes_queued > 0
    stage.session.close(stage.now)
    stage.run()
    assert port_bytes(source) == b"".join(b"%03d" % number for number in range(200))


# -- seamless -------------------------------------------------------------------------------------------------------


def test_the_chart_of_a_seamless_migration() -> None:
    stage, source, target = opened()
    source.say("main:0", begin())
    target.say("main:0", main.MigrateDstSeamlessAck())
    assert stage.chart() == [
        "source > main:0    MIGRATE_BEGIN_SEAMLESS",
        "main:0 > target    MIGRATE_DST_DO_SEAMLESS",
        "target > main:0    MIGRATE_DST_SEAMLESS_ACK",
        "main:0 > source    MIGRATE_CONNECTED_SEAMLESS",
    ]
    hand_over(source, "display:0", "port:1", "inputs:0")
    hand_over(source, "cursor:0", flags=0)
    assert stage.chart() == [
        *(
            line
            for name in ("display:0", "port:1", "inputs:0")
            for line in (
                f"source > {name}    MIGRATE",
                f"{name} > source    MIGRATE_FLUSH_MARK",
                f"source > {name}    MIGRATE_DATA",
                f"{name} > target    MIGRATE_DATA",
            )
        ),
        "source > cursor:0    MIGRATE",
    ]
    assert source.open_channels == set(ALL)
    hand_over(source, "main:0")
    assert stage.chart()[:4] == [
        "source > main:0    MIGRATE",
        "main:0 > source    MIGRATE_FLUSH_MARK",
        "source > main:0    MIGRATE_DATA",
        *[f"{name} leaves source" for name in ("display:0",)],
    ]
    assert source.open_channels == set()
    assert target.open_channels == set(ALL)
    (outcome,) = stage.outcomes
    assert (outcome.scheme, outcome.reason, outcome.source, outcome.target) == ("seamless", "", "source:1", "target:1")
    assert {one.channel: one.how for one in outcome.channels} == dict.fromkeys(ALL, "moved")
    assert stage.session.address == Address("target", 1)
    assert (stage.session.state, stage.session.generation) == (ClientState.SETTLED, 1)
    assert stage.session.next_deadline() is None


def test_the_target_gets_the_state_of_each_channel_and_nothing_before_it() -> None:
    _, source, target = ready()
    hand_over(source, "display:0", *OTHERS, "main:0")
    for name in ("main:0", "display:0", *OTHERS):
        assert target.heard(name)[-1] == base.MigrateData(b"state of " + name.encode())


def test_links_of_the_target_carry_the_sessions_id() -> None:
    _, _, target = ready()
    assert {connection.message.connection_id for connection in target.connections.values()} == {SESSION_ID}


def test_the_session_works_at_the_target() -> None:
    stage, source, target = ready()
    hand_over(source, "display:0", *OTHERS, "main:0")
    restored(target)
    target.say("main:0", base.Ping(1, 2))
    assert target.heard("main:0")[-1] == base.Pong(1, 2)
    port_of(stage).write(b"hello")
    stage.run()
    assert port_bytes(target) == b"hello"


@pytest.mark.parametrize("source_mini", [True, False])
@pytest.mark.parametrize("target_mini", [True, False])
def test_servers_with_different_headers(source_mini: bool, target_mini: bool) -> None:
    stage = Stage()
    source = stage.server("source", mini_header=source_mini)
    target = stage.server("target", mini_header=target_mini)
    stage.open(source)
    prepare(stage, source, target)
    source.say("port:1", base.Migrate(3))
    port_of(stage).write(b"queued before the swap")
    stage.run()
    source.say("port:1", base.MigrateData(b"state"))
    hand_over(source, "display:0", "inputs:0", "cursor:0", "main:0")
    assert target.heard_names("port:1") == ["MIGRATE_DATA", "DATA"]
    assert [outcome.scheme for outcome in stage.outcomes] == ["seamless"]


def test_what_the_target_said_while_its_channels_were_parked_is_heard_behind_the_swap() -> None:
    stage, source, target = ready()
    target.say("inputs:0", inputs.Init(2))
    target.say("port:1", vmc.VmcData(b"early"), base.Ping(9, 9))
    assert port_of(stage).bytes_delivered == 0
    hand_over(source, "inputs:0", "port:1")
    assert port_of(stage).bytes_delivered == 5
    assert target.heard_names("port:1") == ["MIGRATE_DATA", "PONG"]
    assert stage.session.inputs is not None
    assert stage.session.inputs.modifiers == 2


def test_what_the_target_says_around_its_answer_is_kept_for_the_main_channel() -> None:
    stage, source, target = opened()
    source.say("main:0", begin())
    target.say("main:0", base.Ping(1, 1), main.MigrateDstSeamlessAck(), base.Ping(2, 2))
    assert source.heard_names("main:0") == ["MIGRATE_CONNECTED_SEAMLESS"]
    hand_over(source, "display:0", *OTHERS, "main:0")
    pongs = [one.id for one in target.heard("main:0") if isinstance(one, base.Pong)]
    assert pongs == [1, 2]
    assert stage.outcomes[0].scheme == "seamless"


def test_an_answer_in_pieces() -> None:
    _, source, target = opened()
    source.say("main:0", begin())
    end = target.connections["main:0"].end
    assert end is not None
    for byte in end.say(base.Ping(1, 1), main.MigrateDstSeamlessAck()):
        target.say_raw("main:0", bytes([byte]))
    assert source.heard_names("main:0") == ["MIGRATE_CONNECTED_SEAMLESS"]


def test_main_goes_on_reading_while_the_target_is_linked() -> None:
    """spice-gtk parks its main channel here and answers nothing (dossier C2)."""
    _, source, target = opened()
    target.silent |= {"display:0"}
    source.say("main:0", begin())
    target.say("main:0", main.MigrateDstSeamlessAck())
    source.say("main:0", base.Ping(5, 6))
    assert source.heard("main:0") == [base.Pong(5, 6)]


def test_many_hops() -> None:
    stage, source, target = opened()
    for hop in range(6):
        here, there = (source, target) if hop % 2 == 0 else (target, source)
        prepare(stage, here, there)
        for one in ALL:
            here.heard(one)
            there.heard(one)
        hand_over(here, "display:0", *OTHERS, "main:0")
        restored(there)
        there.heard("main:0")
    assert [outcome.scheme for outcome in stage.outcomes] == ["seamless"] * 6
    assert stage.session.generation == 6
    assert len(stage.connections_of(source)) == 5
    assert stage.connections_of(target) == []


def test_port_bytes_across_a_hand_over_are_owned_once() -> None:
    stage, source, target = ready()
    port = port_of(stage)
    sent = b""
    for number, step in enumerate(["", "migrate", "", "data", ""]):
        if step == "migrate":
            source.say("port:1", base.Migrate(3))
        elif step == "data":
            source.say("port:1", base.MigrateData(b"state"))
        port.write(b"<%d>" % number)
        sent += b"<%d>" % number
        stage.run()
    assert port_bytes(source) == b"<0>"
    assert port_bytes(target) == b"<1><2><3><4>"
    assert (port.bytes_accepted, port.bytes_written) == (len(sent), len(sent))


def test_a_channel_that_appears_while_the_target_is_ready_is_linked_there_too() -> None:
    stage, source, target = ready()
    stage.list_channels(source, ["usbredir:0"])
    assert "usbredir:0" in source.open_channels
    assert "usbredir:0" in target.open_channels
    hand_over(source, "display:0", "usbredir:0", *OTHERS, "main:0")
    assert {one.channel: one.how for one in stage.outcomes[0].channels}["usbredir:0"] == "moved"


def test_a_channel_that_appears_while_channels_move_is_linked_at_the_target_afterwards() -> None:
    stage, source, target = ready()
    hand_over(source, "display:0")
    stage.list_channels(source, ["usbredir:0"])
    hand_over(source, *OTHERS, "main:0")
    assert "usbredir:0" not in target.open_channels
    restored(target)
    stage.advance(1)
    assert "usbredir:0" in target.open_channels


# -- semi-seamless --------------------------------------------------------------------------------------------------


def test_the_chart_of_a_semi_seamless_migration() -> None:
    stage, source, target = opened()
    source.say("main:0", begin(seamless=False))
    source.say("main:0", main.MigrateEnd())
    target.say("main:0", main.Init(SESSION_ID, 1, 1, 1, 0, 10, 0, 0))
    chart = stage.chart()
    assert [line for line in chart if "leaves" not in line] == [
        "source > main:0    MIGRATE_BEGIN",
        "main:0 > source    MIGRATE_CONNECTED",
        "source > main:0    MIGRATE_END",
        "main:0 > target    MIGRATE_END",
        "target > main:0    INIT",
        "display:0 > target    INIT",
    ]
    assert [line for line in chart if "leaves" in line] == [f"{name} leaves source" for name in ALL]
    assert source.open_channels == set()
    assert target.open_channels == set(ALL)
    (outcome,) = stage.outcomes
    assert (outcome.scheme, outcome.reason) == ("semi-seamless", "the source does not hand over state")
    assert {one.channel: one.how for one in outcome.channels} == dict.fromkeys(ALL, "restarted")
    assert [event.key for event in stage.told(c.ChannelOpened) if event.anew] == [key_of(name) for name in CHANNELS]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("refused", "the target refused to restore state"),
        ("not able", "the target cannot restore state"),
    ],
)
def test_a_target_that_does_not_restore_makes_it_semi_seamless(answer: str, reason: str) -> None:
    stage = Stage()
    source = stage.server("source")
    bits = MAIN_BITS if answer == "refused" else [bit for bit in MAIN_BITS if bit != MainCap.SEAMLESS_MIGRATE]
    target = stage.server("target", main_bits=bits)
    stage.open(source)
    source.say("main:0", begin())
    if answer == "refused":
        target.say("main:0", main.MigrateDstSeamlessNack())
    assert source.heard_names("main:0") == ["MIGRATE_CONNECTED"]
    source.say("main:0", main.MigrateEnd())
    target.say("main:0", main.Init(SESSION_ID, 1, 1, 1, 0, 10, 0, 0))
    assert [(outcome.scheme, outcome.reason) for outcome in stage.outcomes] == [("semi-seamless", reason)]


def test_channels_that_the_source_closes_after_migrate_end_are_not_lost() -> None:
    stage, source, target = ready(seamless=False)
    source.say("main:0", main.MigrateEnd())
    for name in CHANNELS:
        source.close(name)
    target.say("main:0", main.Init(SESSION_ID, 1, 1, 1, 0, 10, 0, 0))
    assert stage.lost == []
    assert target.open_channels == set(ALL)


def test_what_follows_migrate_end_in_one_piece_is_not_the_targets() -> None:
    """An INIT there would begin all channels at a target that has not answered."""
    stage, source, target = ready(seamless=False)
    source.say("main:0", main.MigrateEnd(), main.Init(SESSION_ID, 1, 1, 1, 0, 10, 0, 0))
    assert stage.session.state is ClientState.AWAITING_TARGET_INIT
    target.say("main:0", main.Init(SESSION_ID, 1, 1, 1, 0, 10, 0, 0))
    assert [outcome.scheme for outcome in stage.outcomes] == ["semi-seamless"]


# -- switch-host ----------------------------------------------------------------------------------------------------


def test_the_chart_of_a_switch_host() -> None:
    stage, source, target = opened()
    source.say("main:0", main.MigrateSwitchHost(1, NONE, b"target"))
    stage.greet(target)
    assert [line for line in stage.chart() if "leaves" not in line][:5] == [
        "source > main:0    MIGRATE_SWITCH_HOST",
        "target > main:0    INIT",
        "main:0 > target    ATTACH_CHANNELS",
        "target > main:0    CHANNELS_LIST",
        "display:0 > target    INIT",
    ]
    assert source.open_channels == set()
    assert target.open_channels == set(ALL)
    assert target.connections["main:0"].message.connection_id == 0
    (outcome,) = stage.outcomes
    assert (outcome.scheme, outcome.reason) == ("switch-host", "the source told the client to switch host")
    assert stage.session.address == Address("target", 1)


@pytest.mark.parametrize("state", ["linking", "seamless", "semi-seamless", "target lost", "switching"])
def test_switch_host_ends_a_pending_migration(state: str) -> None:
    """spice-gtk keeps the pending one (dossier C6.4, 14)."""
    stage, source, target = opened()
    third = stage.server("third")
    if state == "linking":
        source.say("main:0", begin())
    elif state == "target lost":
        target.reachable = False
        source.say("main:0", begin())
        assert source.heard_names("main:0") == ["MIGRATE_CONNECT_ERROR"]
    else:
        prepare(stage, source, target, seamless=state != "semi-seamless")
        if state == "switching":
            hand_over(source, "display:0", "port:1")
    source.say("main:0", main.MigrateSwitchHost(1, NONE, b"third"))
    assert stage.session.state is ClientState.SWITCHING_HOST
    stage.greet(third)
    assert stage.connections_of(source) == stage.connections_of(target) == []
    assert [outcome.scheme for outcome in stage.outcomes] == ["switch-host"]
    assert stage.session.address == Address("third", 1)


def test_channels_that_the_new_host_does_not_have_are_reported() -> None:
    stage, source, target = opened()
    source.say("main:0", main.MigrateSwitchHost(1, NONE, b"target"))
    stage.greet(target, ("display:0", "inputs:0"))
    assert stage.lost == [("cursor:0", False), ("port:1", False)]


def test_a_host_that_is_not_up_yet_is_tried_again() -> None:
    stage, source, target = opened()
    target.reachable = False
    source.say("main:0", main.MigrateSwitchHost(1, NONE, b"target"))
    stage.advance(5)
    assert stage.session.state is ClientState.SWITCHING_HOST
    target.reachable = True
    stage.advance(2)
    stage.greet(target)
    assert [outcome.scheme for outcome in stage.outcomes] == ["switch-host"]


def test_a_host_that_never_comes_up_ends_the_session_with_a_sentence() -> None:
    stage, source, target = opened()
    target.reachable = False
    source.say("main:0", main.MigrateSwitchHost(1, NONE, b"target"))
    stage.advance(SWITCH_HOST_DEADLINE + 1)
    assert stage.ended is not None
    assert isinstance(stage.ended.error, ConnectError)
    assert "target:1 cannot be used" in str(stage.ended.error)


def test_a_host_that_refuses_the_password_is_not_tried_again() -> None:
    stage, source, target = opened()
    target.refuses["main:0"] = LinkResult.PERMISSION_DENIED
    source.say("main:0", main.MigrateSwitchHost(1, NONE, b"target"))
    assert stage.ended is not None
    assert "does not accept the password" in str(stage.ended.error)


@pytest.mark.parametrize("silence", ["link", "init"])
def test_a_host_that_says_nothing_ends_the_session_with_a_sentence(silence: str) -> None:
    stage, source, target = opened()
    if silence == "link":
        target.silent.add("main:0")
    source.say("main:0", main.MigrateSwitchHost(1, NONE, b"target"))
    stage.advance(SWITCH_HOST_DEADLINE + 1)
    assert stage.ended is not None
    assert "target:1 cannot be used" in str(stage.ended.error)


def test_what_follows_switch_host_in_one_piece_is_not_the_new_hosts() -> None:
    stage, source, target = opened()
    init = main.Init(SESSION_ID, 1, 1, 1, 0, 10, 0, 0)
    source.say("main:0", main.MigrateSwitchHost(1, NONE, b"target"), init, main.MigrateBegin(1, NONE, b"third"))
    assert stage.session.state is ClientState.SWITCHING_HOST
    stage.greet(target)
    assert [outcome.scheme for outcome in stage.outcomes] == ["switch-host"]


def test_garbage_behind_switch_host_does_not_disturb_it() -> None:
    stage, source, target = opened()
    end = source.connections["main:0"].end
    assert end is not None
    switch = end.say(main.MigrateSwitchHost(1, NONE, b"target"))
    source.say_raw("main:0", switch + b"\x67\0\xff\xff\xff\x7f" + b"garbage")
    stage.greet(target)
    assert [outcome.scheme for outcome in stage.outcomes] == ["switch-host"]


# -- ports, hosts and schemes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [0, 65535])
def test_ports_0_and_65535_mean_none(port: int) -> None:
    stage, source, _ = opened()
    source.say("main:0", begin(port=port, tls_port=5999))
    assert [event.target for event in stage.told(c.MigrationStarted)] == [Address("target", 0, 5999)]
    source.say("main:0", begin(port=1, tls_port=port))
    assert stage.told(c.MigrationStarted)[-1].target == Address("target", 1, 0)


def test_a_target_without_a_host_is_answered_with_an_error() -> None:
    """An empty name would mean this machine."""
    stage, source, _ = opened()
    source.say("main:0", begin(b""))
    assert source.heard_names("main:0") == ["MIGRATE_CONNECT_ERROR"]
    assert stage.session.state is ClientState.TARGET_LOST


@pytest.mark.parametrize(
    ("mapping", "host", "wanted"),
    [
        ({}, b"target", Address("target", 1)),
        ({"inside": "outside"}, b"inside", Address("outside", 1)),
        ({"inside": "outside:77"}, b"inside", Address("outside", 77)),
        ({"inside:1": "outside:77", "inside": "elsewhere"}, b"inside", Address("outside", 77)),
        ({"inside:2": "outside:77"}, b"inside", Address("inside", 1)),
        ({"inside": "::1"}, b"inside", Address("::1", 1)),
        ({"inside": "[::1]:5"}, b"inside", Address("::1", 5)),
        ({"fe80::1": "outside"}, b"fe80::1", Address("outside", 1)),
        ({"[fe80::1]:1": "outside:9"}, b"fe80::1", Address("outside", 9)),
    ],
)
def test_hosts_are_mapped(mapping: dict[str, str], host: bytes, wanted: Address) -> None:
    for message in (begin(host), begin(host, seamless=False)):
        stage, source, _ = opened(map_host=mapping)
        source.say("main:0", message)
        assert [event.target for event in stage.told(c.MigrationStarted)] == [wanted]
    stage, source, _ = opened(map_host=mapping)
    there = stage.server(wanted.host, wanted.port)
    source.say("main:0", main.MigrateSwitchHost(1, NONE, host))
    assert stage.connections_of(there)


@pytest.mark.parametrize("bad", ["", ":5", "host:", "host:0", "host:70000", "host:name", "[::1", "[]:5", "a]b"])
def test_a_mapping_that_cannot_be_used_is_refused_at_once(bad: str) -> None:
    with pytest.raises(UsageError, match="neither HOST nor HOST:PORT"):
        Stage(map_host={"inside": bad})
    with pytest.raises(UsageError):
        Stage(map_host={bad: "outside"})


@pytest.mark.parametrize(
    ("schemes", "bits"),
    [(("seamless", "switch-host"), {3}), (("semi-seamless", "switch-host"), {0}), (("switch-host",), set())],
)
def test_schemes_that_are_withheld_are_not_announced_to_any_server(schemes: tuple[str, ...], bits: set[int]) -> None:
    stage, source, target = opened(schemes=schemes)
    source.say("main:0", begin(seamless="seamless" in schemes))
    for server in (source, target):
        assert server.connections["main:0"].message.capabilities.channel & {0, 3} == bits
    assert stage.ended is None


def test_a_seamless_begin_to_a_client_that_withholds_it_is_taken_as_semi_seamless() -> None:
    _, source, _ = opened(schemes=("semi-seamless", "switch-host"))
    source.say("main:0", begin())
    assert source.heard_names("main:0") == ["MIGRATE_CONNECTED"]
