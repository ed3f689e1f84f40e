"""A client on its way from a server: what it is told, in which order, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from spicehop.channels.serving.agent import AgentHub
from spicehop.channels.serving.channel import CameLate, Flushed, Peer, ServerChannel
from spicehop.channels.serving.departing import DEPARTURE_TABLE, DepartureInput, DepartureStep, step_after
from spicehop.channels.serving.inputs import ServerInputs
from spicehop.channels.serving.main import ServerMain
from spicehop.channels.serving.pipe import ServerPipe
from spicehop.errors import StateError
from spicehop.migration.arriving import ARRIVING_TABLE, ArrivingInput, ArrivingState, Here, StateCollector
from spicehop.migration.leaving import LEAVE_SECONDS, LINK_SECONDS, ClientTarget, LeavingSession
from spicehop.migration.leaving_table import LEAVING_TABLE, LeavingInput, LeavingState
from spicehop.migration.state import MAIN, AgentStates, ChannelKey, ServingState
from spicehop.painting.state import ViewState
from spicehop.wire import base, direct_link, main, registry, vmc
from spicehop.wire.constants import ChannelType, Direction, MainCap
from spicehop.wire.framing import FrameReader, encode_frame
from spicehop.wire.layout import Message
from spicehop.wire.link import Capabilities

INPUTS: ChannelKey = (ChannelType.INPUTS, 0)
PORT: ChannelKey = (ChannelType.PORT, 0)
OTHER_PORT: ChannelKey = (ChannelType.PORT, 1)
TARGET = ClientTarget("there", 5900, 0)
FLUSH = encode_frame(4, b"", mini_header=True)


class Client:
    """A client with three channels, and everything that it is sent."""

    def __init__(self, *capabilities: MainCap) -> None:
        peer = Peer(Capabilities(channel=frozenset(capabilities)), local=True)
        self.connection_id = 7
        self.channels: dict[ChannelKey, ServerChannel] = {
            MAIN: ServerMain(peer, 0.0),
            INPUTS: ServerInputs(0, peer, 0.0),
            PORT: ServerPipe(ChannelType.PORT, 0, peer, 0.0),
        }
        self.channels[MAIN].connection_id = 7  # type: ignore[attr-defined]
        self.standing = False
        self.sent_away = ""
        self.read: list[tuple[ChannelKey, bytes]] = []
        self._readers = {key: FrameReader(mini_header=True) for key in (*self.channels, OTHER_PORT)}

    def machines(self) -> Mapping[ChannelKey, ServerChannel]:
        return self.channels

    def channel_state(self, key: ChannelKey) -> ServingState:
        return self.channels[key].state()  # type: ignore[attr-defined, no-any-return]

    def view_state(self, number: int) -> ViewState | None:
        return None

    def window(self, number: int, since: int) -> tuple[bytes, int]:
        return b"", 0

    def agent_states(self) -> AgentStates:
        hub = AgentHub()
        return AgentStates(hub.client_state(1), hub.device_state())

    def stand_still(self) -> None:
        self.standing = True

    def go_on(self) -> None:
        self.standing = False

    def send_away(self, reason: str) -> None:
        self.sent_away = reason

    def read_again(self, key: ChannelKey, data: bytes) -> None:
        self.read.append((key, data))

    def hears(self, key: ChannelKey) -> list[Message]:
        """What has been written on a channel since the last time."""
        found: list[Message] = []
        for frame in self._readers[key].feed(b"".join(self.channels[key].drain(1.0))):
            message = registry.decode(key[0], Direction.FROM_SERVER, frame.number, frame.body)
            assert not isinstance(message, registry.Unknown)
            found.append(message)
        return found

    def says(self, key: ChannelKey, data: bytes) -> list[object]:
        return list(self.channels[key].feed(data, 1.0))


def leaving(*, seamless: bool = True, both: bool = True) -> tuple[Client, LeavingSession]:
    caps = (MainCap.SEMI_SEAMLESS_MIGRATE, MainCap.SEAMLESS_MIGRATE) if both else ()
    client = Client(*caps)
    return client, LeavingSession(client, TARGET, seamless=seamless)


def names(messages: list[Message]) -> list[str]:
    return [message.NAME for message in messages]


def test_through_the_client_main_goes_last_and_nothing_follows_migrate() -> None:
    client, session = leaving()
    assert names(client.hears(MAIN)) == ["MIGRATE_BEGIN_SEAMLESS"]
    session.message_received(main.MigrateConnectedSeamless(), 1.0)
    session.guest_moved(2.0)
    session.progress(2.0)
    client.says(PORT, encode_frame(101, b"held", mini_header=True))
    client.channels[PORT].send(vmc.VmcData(b"too late to be written here"))
    assert {key: names(client.hears(key)) for key in (INPUTS, PORT, MAIN)} == {
        INPUTS: ["MIGRATE"],
        PORT: ["MIGRATE"],
        MAIN: [],
    }
    assert client.says(INPUTS, FLUSH) == [Flushed()]
    session.progress(2.0)
    assert names(client.hears(INPUTS)) == ["MIGRATE_DATA"]
    assert client.hears(MAIN) == []
    client.says(PORT, FLUSH)
    session.progress(2.0)
    (data,) = client.hears(PORT)
    assert isinstance(data, base.MigrateData)
    (found,) = StateCollector().body_came(PORT, bytes(data.data), {MAIN, INPUTS, PORT}, Here(7))
    assert found.state.incoming == b"held"  # type: ignore[union-attr]
    assert [one.body for one in found.state.channel.queued] == [b"too late to be written here"]  # type: ignore[union-attr]
    session.progress(2.0)
    assert names(client.hears(MAIN)) == ["MIGRATE"]
    client.says(MAIN, FLUSH)
    session.progress(2.0)
    assert names(client.hears(MAIN)) == ["MIGRATE_DATA"]
    session.progress(2.0)
    session.channel_gone(MAIN, client.channels[MAIN], "closed", 2.1)
    assert session.outcome is not None
    assert (session.outcome.outcome, session.outcome.carrier) == ("moved", "client")


def test_a_channel_that_was_linked_here_after_the_client_was_told_of_the_target_goes_too() -> None:
    client, session = leaving()
    client.channels[OTHER_PORT] = ServerPipe(ChannelType.PORT, 1, client.channels[PORT].peer, 0.0)
    session.message_received(main.MigrateConnectedSeamless(), 1.0)
    session.guest_moved(2.0)
    session.progress(2.0)
    assert names(client.hears(OTHER_PORT)) == ["MIGRATE"]


def directly(client: Client, session: LeavingSession) -> list[direct_link.LinkMessage]:
    said: list[direct_link.LinkMessage] = []
    session.message_received(main.MigrateConnectedSeamless(), 1.0)
    session.linked_directly(said.append, tuple(client.channels), 1.0)
    session.switched_over(2.0)
    return said


def test_host_to_host_the_state_goes_ahead_and_late_bytes_follow() -> None:
    client, session = leaving()
    client.hears(MAIN)
    client.channels[PORT].send(vmc.VmcData(b"not written"))
    said = directly(client, session)
    assert [type(one).__name__ for one in said] == ["SessionHanded"]
    late = encode_frame(101, b"late", mini_header=True)
    assert client.says(PORT, late) == [CameLate(late)]
    session.came_late(PORT, late, 2.0)
    assert client.hears(PORT) == []
    session.guest_moved(3.0)
    assert client.hears(PORT) == []
    session.restored(3.0)
    assert names(client.hears(PORT)) == ["MIGRATE"]
    assert client.hears(MAIN) == []
    for key in (INPUTS, PORT):
        client.hears(key)
        assert client.says(key, FLUSH) == [Flushed()]
        session.flushed(key)
    session.progress(3.0)
    assert names(client.hears(MAIN)) == ["MIGRATE"]
    client.says(MAIN, FLUSH)
    session.flushed(MAIN)
    session.progress(3.0)
    assert [type(one).__name__ for one in said] == ["SessionHanded", "LateBytes", *["Flushed"] * 3]
    session.channel_gone(MAIN, client.channels[MAIN], "closed", 3.1)
    assert session.outcome is not None
    assert session.outcome.carrier == "direct"


@pytest.mark.parametrize("moved", [False, True])
def test_a_session_that_is_refused_goes_through_the_client(moved: bool) -> None:
    client, session = leaving()
    client.hears(MAIN)
    directly(client, session)
    late = encode_frame(101, b"late", mini_header=True)
    session.came_late(PORT, late, 2.0)
    if moved:
        session.guest_moved(3.0)
    session.refused("it is too new", 3.0)
    assert client.read == [(PORT, late)]
    if not moved:
        assert not client.standing
        session.guest_moved(3.0)
    assert (client.standing, names(client.hears(PORT))) == (True, ["MIGRATE"])


def test_a_cancelled_migration_takes_everything_back() -> None:
    client, session = leaving()
    client.hears(MAIN)
    client.channels[PORT].send(vmc.VmcData(b"not written"))
    said = directly(client, session)
    session.guest_stays(3.0)
    assert names(client.hears(PORT)) == ["DATA"]
    assert names(client.hears(MAIN)) == ["MIGRATE_CANCEL"]
    assert type(said[-1]).__name__ == "SessionWithdrawn"
    assert session.outcome is not None
    assert session.outcome.outcome == "stayed"


def test_who_cannot_link_in_time_is_told_to_connect_anew() -> None:
    client, session = leaving()
    client.hears(MAIN)
    session.guest_moved(1.0)
    assert session.next_deadline() == 1.0 + LINK_SECONDS
    session.handle_timer(1.0 + LINK_SECONDS)
    assert names(client.hears(MAIN)) == ["MIGRATE_SWITCH_HOST"]
    session.handle_timer(1.0 + LEAVE_SECONDS)
    assert client.sent_away
    assert session.over


def test_who_begins_anew_loses_no_channel_by_leaving() -> None:
    client, session = leaving(seamless=False)
    session.message_received(main.MigrateConnected(), 1.0)
    session.channel_gone(PORT, client.channels[PORT], "the peer closed it", 1.5)
    session.guest_moved(2.0)
    for key in (INPUTS, MAIN):
        session.channel_gone(key, client.channels[key], "the peer closed it", 2.1)
    assert session.outcome is not None
    found = {one.channel: (one.outcome, one.reason) for one in session.outcome.channels}
    assert found == {"main-0": ("new", ""), "inputs-0": ("new", ""), "port-0": ("lost", "the peer closed it")}


def test_a_stuck_client_is_sent_away_in_time() -> None:
    client, session = leaving()
    session.message_received(main.MigrateConnectedSeamless(), 1.0)
    session.guest_moved(2.0)
    session.handle_timer(2.0 + LEAVE_SECONDS)
    assert client.sent_away
    assert session.outcome is not None
    assert session.outcome.outcome == "lost"


@pytest.mark.parametrize(("seamless", "both", "told"), [(False, True, "MIGRATE_BEGIN"), (True, False, "")])
def test_what_a_client_is_told_first(seamless: bool, both: bool, told: str) -> None:
    client, session = leaving(seamless=seamless, both=both)
    assert names(client.hears(MAIN)) == ([told] if told else [])
    assert session.reason


@pytest.mark.parametrize("state", LeavingState)
@pytest.mark.parametrize("happened", LeavingInput)
def test_every_pair_of_the_leaving_table(state: LeavingState, happened: LeavingInput) -> None:
    row = LEAVING_TABLE.get((state, happened))
    if state in (LeavingState.GONE, LeavingState.STAYS):
        assert row is None or happened is LeavingInput.CLIENT_GONE
    elif happened is LeavingInput.CLIENT_GONE:
        assert row is not None
        assert row[1] is LeavingState.GONE
    if happened is LeavingInput.GUEST_MOVED and row is not None:
        assert row[1] not in (LeavingState.GONE, LeavingState.STAYS)


@pytest.mark.parametrize("state", ArrivingState)
@pytest.mark.parametrize("happened", ArrivingInput)
def test_every_pair_of_the_arriving_table(state: ArrivingState, happened: ArrivingInput) -> None:
    row = ARRIVING_TABLE.get((state, happened))
    if state in (ArrivingState.HERE, ArrivingState.ANEW, ArrivingState.FAILED):
        assert row is None
    if happened is ArrivingInput.TIME_UP and row is not None:
        assert row[1] is ArrivingState.FAILED


@pytest.mark.parametrize("step", DepartureStep)
@pytest.mark.parametrize("happened", DepartureInput)
def test_every_pair_of_the_departure_table(step: DepartureStep, happened: DepartureInput) -> None:
    if (step, happened) in DEPARTURE_TABLE:
        assert isinstance(step_after(step, happened), DepartureStep)
    else:
        with pytest.raises(StateError):
            step_after(step, happened)
