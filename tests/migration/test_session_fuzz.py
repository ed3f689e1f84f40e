"""A client session among servers that say anything at any time: it raises nothing and owns each byte once."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from moves import NONE, opened, port_of, prepare
from scripted_server import CHANNELS, SESSION_ID, WAITING, Server, Stage

from spicehop.migration import commands as c
from spicehop.migration.client import ClientState
from spicehop.wire import base, cursor, display, inputs, main, vmc
from spicehop.wire.constants import ChannelType
from spicehop.wire.layout import Message

NAMES = ("main:0", *CHANNELS)
BASE: list[Message] = [
    base.Migrate(0),
    base.Migrate(1),
    base.Migrate(3),
    base.MigrateData(b"state"),
    base.SetAck(1, 2),
    base.Ping(1, 1),
    base.WaitForChannels((base.WaitFor(ChannelType.CURSOR, 0, 3),)),
    base.WaitForChannels((base.WaitFor(ChannelType.MAIN, 0, 10**9),)),
    base.Disconnecting(0, 0),
]
OWN: dict[str, list[Message]] = {
    "main:0": [
        main.MigrateBegin(1, NONE, b"target"),
        main.MigrateBeginSeamless(1, NONE, b"target", b"", 1),
        main.MigrateBeginSeamless(1, NONE, b"source", b"", 1),
        main.MigrateBegin(0, NONE, b""),
        main.MigrateCancel(),
        main.MigrateEnd(),
        main.MigrateSwitchHost(1, NONE, b"target"),
        main.MigrateSwitchHost(1, NONE, b"source"),
        main.MigrateSwitchHost(1, NONE, b"nowhere"),
        main.MigrateDstSeamlessAck(),
        main.MigrateDstSeamlessNack(),
        main.Init(SESSION_ID, 1, 3, 1, 1, 10, 0, 0),
        main.Init(0, 1, 1, 1, 0, 10, 0, 0),
        main.ChannelsList((main.ChannelId(2, 0), main.ChannelId(10, 1), main.ChannelId(9, 0))),
        main.ChannelsList(()),
        main.MouseMode(3, 1),
        main.AgentConnectedTokens(10),
        main.AgentDisconnected(0),
        main.AgentData(b"\1\0\0\0\6\0\0\0" + bytes(12)),
        main.AgentToken(5),
        main.MultiMediaTime(1),
    ],
    "display:0": [display.Mark(), display.InvalAllPixmaps((base.WaitFor(ChannelType.CURSOR, 0, 5),))],
    "inputs:0": [inputs.Init(0), inputs.KeyModifiers(2), inputs.MouseMotionAck()],
    "cursor:0": [cursor.Hide()],
    "port:1": [vmc.VmcData(b"from the guest"), vmc.PortInit(b"p", 1), vmc.VmcCompressedData(1, 5, b"x")],
}
SERVERS = ("source", "target")


class Play:
    """One run: a stage, what is written to the port, and what must hold after every step."""

    def __init__(self) -> None:
        self.stage, self.source, self.target = opened()
        self.written = bytearray()
        self.blocked: set[int] = set()

    def server(self, name: str) -> Server:
        return self.source if name == "source" else self.target

    def write(self) -> None:
        data = b"<%d>" % len(self.written)
        port_of(self.stage).write(data)
        self.written += data
        self.stage.run()

    def type(self) -> None:
        keyboard = self.stage.session.inputs
        if keyboard is not None:
            keyboard.key_down(0x1E)
            keyboard.key_up(0x1E)
            keyboard.button_down(1)
            keyboard.move(3, 4, 1)
        self.stage.run()

    def say(self, server: str, channel: str, messages: list[Message]) -> None:
        there = self.server(server)
        if channel in there.connections and not there.connections[channel].closed:
            there.say(channel, *messages)

    def say_raw(self, server: str, channel: str, data: bytes) -> None:
        there = self.server(server)
        if channel in there.connections:
            there.say_raw(channel, data)

    def close(self, server: str, channel: str) -> None:
        there = self.server(server)
        if channel in there.connections:
            there.close(channel)

    def block(self, server: str, channel: str) -> None:
        there = self.server(server)
        if channel in there.connections:
            number = there.connections[channel].number
            change = (
                self.stage.session.writing_unblocked if number in self.blocked else self.stage.session.writing_blocked
            )
            self.blocked ^= {number}
            change(number)
            self.stage.run()

    def check(self) -> None:
        session = self.stage.session
        if session.state in WAITING:
            assert session.next_deadline() is not None
        if session.ended:
            assert session.next_deadline() is None
        port = port_of(self.stage)
        assert self.stage.port_sent == self.written[: port.bytes_written]
        assert port.bytes_accepted == len(self.written)
        received = [
            event.message
            for event in self.stage.told(c.MessageReceived)
            if event.key[0] == ChannelType.PORT and isinstance(event.message, vmc.VmcData)
        ]
        assert sum(len(message.data) for message in received) == port.bytes_delivered

    def rest(self) -> None:
        """When nobody says anything any more, the session comes to rest, and rests nowhere on the way."""
        for number in tuple(self.blocked):
            self.stage.session.writing_unblocked(number)
        self.stage.run()
        self.stage.advance(300)
        self.check()
        assert self.stage.session.state not in WAITING
        session = self.stage.session
        port = port_of(self.stage)
        if session.state is ClientState.SETTLED and port.connected:
            assert port.bytes_queued == 0
        ends = self.stage.told(c.SessionEnded)
        assert len(ends) == (1 if session.ended else 0)
        started = len(self.stage.told(c.MigrationStarted))
        finished = len(self.stage.aborted) + len(self.stage.outcomes)
        if session.state is ClientState.SETTLED:
            assert started <= finished


def messages_of(channel: str) -> st.SearchStrategy[list[Message]]:
    return st.lists(st.sampled_from([*BASE, *OWN[channel]]), min_size=1, max_size=4)


SAYING = st.sampled_from(NAMES).flatmap(
    lambda channel: st.tuples(st.just("say"), st.sampled_from(SERVERS), st.just(channel), messages_of(channel))
)
STEP = st.one_of(
    SAYING,
    SAYING,
    SAYING,
    st.tuples(st.just("write")),
    st.tuples(st.just("type")),
    st.tuples(st.just("advance"), st.sampled_from([0.05, 0.5, 3.0, 11.0, 31.0])),
    st.tuples(st.sampled_from(["close", "block"]), st.sampled_from(SERVERS), st.sampled_from(NAMES)),
    st.tuples(st.just("say_raw"), st.sampled_from(SERVERS), st.sampled_from(NAMES), st.binary(max_size=60)),
)
PREPARED = st.sampled_from(["settled", "seamless", "semi-seamless"])


@settings(max_examples=120, deadline=None)
@given(PREPARED, st.lists(STEP, max_size=25))
def test_whatever_servers_say(state: str, steps: list[tuple[object, ...]]) -> None:
    play = Play()
    if state != "settled":
        prepare(play.stage, play.source, play.target, seamless=state == "seamless")
    for name, *arguments in steps:
        act: Callable[..., None] = play.stage.advance if name == "advance" else getattr(play, str(name))
        act(*arguments)
        play.check()
    play.rest()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 12), st.binary(min_size=1, max_size=200)), max_size=12))
def test_arbitrary_bytes_on_any_connection(pieces: list[tuple[int, bytes]]) -> None:
    """From the link stage on: connections that exist, that do not, and that are gone."""
    stage = Stage()
    source = stage.server("source")
    source.silent.update(NAMES)
    stage.session.start(stage.now)
    stage.run()
    for number, data in pieces:
        stage.session.data_received(number, data, stage.now)
        stage.run()
    stage.advance(100)
    assert stage.ended is not None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_whole_migration_with_one_thing_wrong_at_any_place(data: st.DataObject) -> None:
    """Every message of a seamless migration in order, and somewhere among them one step that does not belong there."""
    play = Play()
    script: list[Callable[[], None]] = [
        lambda: play.say("source", "main:0", [main.MigrateBeginSeamless(1, NONE, b"target", b"", 1)]),
        lambda: play.say("target", "main:0", [main.MigrateDstSeamlessAck()]),
    ]
    for channel in data.draw(st.permutations(NAMES)):
        script.append(lambda channel=channel: play.say("source", channel, [base.Migrate(3)]))
        script.append(lambda channel=channel: play.say("source", channel, [base.MigrateData(b"state")]))
        script.append(play.write)
    name, *arguments = data.draw(STEP)
    wrong: Callable[..., None] = play.stage.advance if name == "advance" else getattr(play, str(name))
    script.insert(data.draw(st.integers(0, len(script))), lambda: wrong(*arguments))
    for step in script:
        step()
        play.check()
    play.rest()
