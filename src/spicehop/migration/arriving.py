"""One client on its way to this server: the target's part of a session's migration (dossier C1.3 to C1.5, C2.2).

The client links its channels here while it still works at the source, and gets nothing. Then it either brings each
channel's state (seamless), or says that it is here and begins anew (semi-seamless).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from spicehop.channels.serving.channel import ChannelState, QueuedMessage
from spicehop.channels.serving.cursor import CursorState
from spicehop.channels.serving.playback import PlaybackState
from spicehop.channels.serving.record import RecordState
from spicehop.errors import ProtocolError
from spicehop.migration import libspice_states as libspice
from spicehop.migration.handing import MOST_ENVELOPE, filled, flags_of
from spicehop.migration.state import MAIN, AgentStates, ChannelKey, Refusal, ServingState, SessionState, part
from spicehop.painting.state import ViewState
from spicehop.wire import cursor, display, envelope, registry
from spicehop.wire.constants import AudioMode, ChannelType, Direction
from spicehop.wire.layout import Message
from spicehop.wire.migration_data import VERSION

FOLLOW_SECONDS = 15.0
"""How long a client may take to come once its state is restored here."""
STATE_SECONDS = 10.0
"""How long the rest of a session's state may take once some of it is here."""


class ArrivingState(Enum):
    """Where a client stands that is to come."""

    LINKED = "AwaitingScheme"
    SEAMLESS = "AwaitingState"
    """It will bring its channels' state."""
    PARTLY_HERE = "AwaitingRestOfState"
    FOLLOWING = "AwaitingClient"
    """Its state came host to host and is restored; what it still says at the source is passed on here."""
    HERE = "Here"
    ANEW = "BegunAnew"
    FAILED = "Failed"


class ArrivingInput(Enum):
    """What happened."""

    SEAMLESS_ASKED = "MIGRATE_DST_DO_SEAMLESS received"
    UNKNOWN_ASKED = "MIGRATE_DST_DO_SEAMLESS of an unknown version received"
    CAME_ANEW = "MIGRATE_END received"
    STATE_CAME = "MIGRATE_DATA received, more is to come"
    ALL_CAME = "all state is here"
    STATE_HANDED = "SessionHanded received, and the guest is here"
    ALL_FLUSHED = "Flushed received for every channel"
    LINK_LOST = "the direct link is gone"
    WITHDRAWN = "SessionWithdrawn received"
    BROKEN = "state that cannot be used"
    TIME_UP = "time over"


class ArrivingAction(Enum):
    """What is done."""

    ACKNOWLEDGE = "MIGRATE_DST_SEAMLESS_ACK"
    REFUSE = "MIGRATE_DST_SEAMLESS_NACK"
    BEGIN_ANEW = "MAIN_INIT, and every channel begins"
    RESTORE = "restore what can be"
    RESTORE_ALL = "SessionRestored: every channel goes on, and waits for its client"
    ARRIVE = "restore what is left; the client is here"
    SEND_AWAY = "close the connections"


def _table() -> dict[tuple[ArrivingState, ArrivingInput], tuple[ArrivingAction, ArrivingState]]:
    states, inputs, actions = ArrivingState, ArrivingInput, ArrivingAction
    rows = {
        (states.LINKED, inputs.SEAMLESS_ASKED): (actions.ACKNOWLEDGE, states.SEAMLESS),
        (states.LINKED, inputs.UNKNOWN_ASKED): (actions.REFUSE, states.LINKED),
        (states.LINKED, inputs.CAME_ANEW): (actions.BEGIN_ANEW, states.ANEW),
        # A source whose client could not bring its state in time lets it begin anew.
        (states.SEAMLESS, inputs.CAME_ANEW): (actions.BEGIN_ANEW, states.ANEW),
    }
    for state in (states.SEAMLESS, states.PARTLY_HERE):
        rows[state, inputs.STATE_CAME] = (actions.RESTORE, states.PARTLY_HERE)
        rows[state, inputs.ALL_CAME] = (actions.ARRIVE, states.HERE)
        rows[state, inputs.BROKEN] = (actions.SEND_AWAY, states.FAILED)
    rows |= {
        (states.PARTLY_HERE, inputs.TIME_UP): (actions.SEND_AWAY, states.FAILED),
        (states.SEAMLESS, inputs.STATE_HANDED): (actions.RESTORE_ALL, states.FOLLOWING),
        (states.FOLLOWING, inputs.ALL_FLUSHED): (actions.ARRIVE, states.HERE),
        # The client may be on its way. What else it had said at the source will not come; where the source takes it
        # back it closes its connections here.
        (states.FOLLOWING, inputs.LINK_LOST): (actions.ARRIVE, states.HERE),
        (states.FOLLOWING, inputs.WITHDRAWN): (actions.SEND_AWAY, states.FAILED),
        (states.FOLLOWING, inputs.TIME_UP): (actions.SEND_AWAY, states.FAILED),
    }
    return rows


ARRIVING_TABLE = _table()
"""What is absent is an error of the client's, and ends its session."""


@dataclass(frozen=True, slots=True)
class RestoredChannel:
    """A channel that can go on here, and with what."""

    key: ChannelKey
    state: ServingState
    view: ViewState | None = None
    agent: AgentStates | None = None
    from_libspice: bool = False
    """Nothing is known but what libspice-server says; what the client shows and keeps is not."""
    first: tuple[Message, ...] = ()
    """What the client has to hear before anything else."""


@dataclass(frozen=True, slots=True)
class Here:
    """What of this server goes into a state where libspice tells nothing."""

    connection_id: int = 0
    locks: int = 0
    """The guest's `KeyboardModifier`s."""
    displays: int = 1


class StateCollector:
    """Gathers the state that a client's channels bring, in whatever order they come."""

    def __init__(self) -> None:
        self._bodies: dict[ChannelKey, bytes] = {}
        """Of channels that have brought something and do not go on yet."""
        self._parts: dict[ChannelKey, SessionState] = {}
        """By channel, what its state came in."""
        self._restored: set[ChannelKey] = set()
        self._handed: frozenset[ChannelKey] | None = None
        """All whose state comes, once that is known."""

    def body_came(self, key: ChannelKey, body: bytes, linked: set[ChannelKey], here: Here) -> list[RestoredChannel]:
        """The channels that can go on with that. `linked` are those that the client has here. `ProtocolError` when it
        cannot be used.
        """
        if key in self._bodies or key in self._restored:
            raise ProtocolError("a channel's state came twice")
        found = envelope.find(body, limit=MOST_ENVELOPE)
        if found is None:
            self._restored.add(key)
            return [_from_layout(key, body, here)]
        parts = part(found)
        if isinstance(parts, Refusal):
            raise ProtocolError(parts.reason)
        self._bodies[key] = body
        if parts.handed is not None:
            self._handed = parts.handed
        for other in parts.channels:
            if other not in self._restored:
                self._parts[other] = parts
        ready = [other for other in self._parts if other in linked and (other in self._bodies or not flags_of(other))]
        return [self._complete(other) for other in ready]

    def _complete(self, key: ChannelKey) -> RestoredChannel:
        parts, body = self._parts.pop(key), self._bodies.pop(key, b"")
        self._restored.add(key)
        if not body:
            return RestoredChannel(key, parts.channels[key])
        state, agent = filled(parts, key, body)
        view = parts.views.get(key[1]) if key[0] == ChannelType.DISPLAY else None
        return RestoredChannel(key, state, view, agent)

    def missing(self, linked: set[ChannelKey]) -> set[ChannelKey]:
        """Channels whose state is still to come."""
        handed = linked if self._handed is None else linked & self._handed
        return {key for key in handed if flags_of(key)} - self._restored

    def is_surplus(self, key: ChannelKey) -> bool:
        """Whether the client did not have a channel at the source that it has linked here."""
        return self._handed is not None and key not in self._handed


def _from_layout(key: ChannelKey, body: bytes, here: Here) -> RestoredChannel:
    match key[0]:
        case ChannelType.MAIN:
            client, device = libspice.main_from(body)
            state = libspice.main_state(here.connection_id)
            return RestoredChannel(key, state, None, AgentStates(client, device), from_libspice=True)
        case ChannelType.DISPLAY:
            left = libspice.display_left(body, display_id=key[1], displays=here.displays)
            # The primary is created anew: clients keep showing the one that they have, where it is as large.
            gone = [display.SurfaceDestroy(number) for number in left.surfaces if number]
            first = (*left.first_messages(), *gone)
            return RestoredChannel(key, left.state, left.view, from_libspice=True, first=first)
        case ChannelType.INPUTS:
            return RestoredChannel(key, libspice.inputs_from(body, locks=here.locks), from_libspice=True)
        case ChannelType.SMARTCARD:
            return RestoredChannel(key, libspice.smartcard_from(body), from_libspice=True)
        case ChannelType.USBREDIR | ChannelType.PORT | ChannelType.WEBDAV:
            return RestoredChannel(key, libspice.pipe_from(body), from_libspice=True)
        case _:
            raise ProtocolError("a channel brought state that has none")


def without_state(key: ChannelKey) -> RestoredChannel | None:
    """What a channel goes on with of which nothing is known, because libspice says nothing of it or the source's words
    could not be read. None for one that begins anew: spice-gtk takes a second INIT of the cursor for an error.
    """
    match key[0]:
        case ChannelType.CURSOR:
            known = cursor.InvalAll(), cursor.Hide()
            queued = [
                QueuedMessage(registry.number_of(one, ChannelType.CURSOR, Direction.FROM_SERVER), one.encode())
                for one in known
            ]
            return RestoredChannel(key, CursorState(ChannelState(queued=tuple(queued)), (0, 0, False, 0), ()))
        case ChannelType.PLAYBACK:
            return RestoredChannel(key, PlaybackState(ChannelState(), 0, None, (), False))
        case ChannelType.RECORD:
            return RestoredChannel(key, RecordState(ChannelState(), AudioMode.RAW, None))
        case _:
            return None


class ArrivingSession:
    """`ARRIVING_TABLE` at work for one client; the server does what the actions say."""

    def __init__(self) -> None:
        self.state = ArrivingState.LINKED
        self.collector = StateCollector()
        self.unflushed: set[ChannelKey] = set()
        """Channels on which the client may still say something at the source."""
        self._late: dict[ChannelKey, int] = {}
        """How many bytes have come of what it has said there since its state was saved."""
        self._again: dict[ChannelKey, int] = {}
        """How many of them are still to come for a second time, over another link."""
        self._deadline: float | None = None

    @property
    def seamless(self) -> bool:
        """Whether the channels' state is awaited."""
        return self.state in (ArrivingState.SEAMLESS, ArrivingState.PARTLY_HERE)

    @property
    def over(self) -> bool:
        """Whether the client is here, or will not come."""
        return self.state in (ArrivingState.HERE, ArrivingState.ANEW, ArrivingState.FAILED)

    def seamless_asked(self, source_version: int) -> ArrivingAction:
        """The client wants to bring state."""
        known = source_version <= VERSION
        return self._step(ArrivingInput.SEAMLESS_ASKED if known else ArrivingInput.UNKNOWN_ASKED)

    def came_anew(self) -> ArrivingAction:
        """The client is here without state."""
        return self._step(ArrivingInput.CAME_ANEW)

    def state_came(
        self, key: ChannelKey, body: bytes, linked: set[ChannelKey], now: float, here: Here | None = None
    ) -> tuple[ArrivingAction, list[RestoredChannel]]:
        """A channel has brought its state; with it these channels go on. `ProtocolError` when it cannot be used."""
        if not self.seamless:
            raise ProtocolError("a channel brought its state, and nobody has asked for it")
        try:
            ready = self.collector.body_came(key, body, linked, here or Here())
        except ProtocolError:
            self._step(ArrivingInput.BROKEN)
            raise
        if self._deadline is None:
            self._deadline = now + STATE_SECONDS
        missing = self.collector.missing(linked)
        return self._step(ArrivingInput.STATE_CAME if missing else ArrivingInput.ALL_CAME), ready

    def state_handed(self, state: SessionState, linked: set[ChannelKey], now: float) -> list[RestoredChannel]:
        """All of the session's state has come host to host, and the guest is here: what goes on. `ProtocolError` when
        it is not this client's.
        """
        if not state.channels.keys() <= linked:
            raise ProtocolError("the state has channels that the client has not linked")
        self._step(ArrivingInput.STATE_HANDED)
        self.unflushed = set(state.channels)
        self._deadline = now + FOLLOW_SECONDS
        return [
            RestoredChannel(
                key,
                one,
                state.views.get(key[1]) if key[0] == ChannelType.DISPLAY else None,
                state.agent if key == MAIN else None,
            )
            for key, one in sorted(state.channels.items())
        ]

    def came_late(self, key: ChannelKey, data: bytes) -> bytes:
        """The client has said something at the source; what of it has not been here before."""
        before = min(self._again.get(key, 0), len(data))
        if before:
            self._again[key] -= before
        self._late[key] = self._late.get(key, 0) + len(data) - before
        return data[before:]

    def resumed(self) -> None:
        """Another link has taken the place of one that was cut: all that came late comes again."""
        self._again = dict(self._late)

    @property
    def follows(self) -> bool:
        """Whether its state is here, and it may still say something at the source."""
        return self.state is ArrivingState.FOLLOWING

    @property
    def is_restored(self) -> bool:
        """Whether all of its state is here."""
        return self.state in (ArrivingState.FOLLOWING, ArrivingState.HERE)

    def flushed(self, key: ChannelKey) -> ArrivingAction | None:
        """The client says nothing more on a channel at the source."""
        self.unflushed.discard(key)
        if self.unflushed or self.state is not ArrivingState.FOLLOWING:
            return None
        return self._step(ArrivingInput.ALL_FLUSHED)

    def withdrawn(self) -> ArrivingAction | None:
        """The source takes the session back."""
        return self._step(ArrivingInput.WITHDRAWN) if self.state is ArrivingState.FOLLOWING else None

    def link_lost(self) -> ArrivingAction | None:
        """The direct link is gone for good."""
        self.unflushed.clear()
        return self._step(ArrivingInput.LINK_LOST) if self.state is ArrivingState.FOLLOWING else None

    def next_deadline(self) -> float | None:
        """When the rest of the state, or the client, must be here."""
        return self._deadline if self.state in (ArrivingState.PARTLY_HERE, ArrivingState.FOLLOWING) else None

    def handle_timer(self, now: float) -> ArrivingAction | None:
        """Call when `next_deadline` has passed."""
        deadline = self.next_deadline()
        return self._step(ArrivingInput.TIME_UP) if deadline is not None and now >= deadline else None

    def _step(self, happened: ArrivingInput) -> ArrivingAction:
        row = ARRIVING_TABLE.get((self.state, happened))
        if row is None:
            raise ProtocolError(f"a client that is {self.state.value} cannot have: {happened.value}")
        action, self.state = row
        return action
