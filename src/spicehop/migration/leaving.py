"""One client on its way from this server to the target, behind its guest: `leaving_table` at work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from spicehop.channels.serving.channel import ServerChannel
from spicehop.channels.serving.departing import DepartureStep
from spicehop.channels.serving.main import ServerMain
from spicehop.errors import StateError
from spicehop.migration.handing import Carrier, StateSource, ThroughClient
from spicehop.migration.handing_direct import HostToHost
from spicehop.migration.leaving_table import LEAVING_TABLE, LeavingAction, LeavingInput, LeavingState, Scheme
from spicehop.migration.state import MAIN, ChannelKey, prepare
from spicehop.wire.constants import MainCap, channel_name
from spicehop.wire.direct_link import Keys, LinkMessage
from spicehop.wire.layout import Message
from spicehop.wire.main import (
    MigrateBegin,
    MigrateBeginSeamless,
    MigrateCancel,
    MigrateConnected,
    MigrateConnectedSeamless,
    MigrateConnectError,
    MigrateEnd,
    MigrateSwitchHost,
)

LINK_SECONDS = 7.0
"""How long a client may take to link the target once the guest has moved."""
NOTICE_SECONDS = 0.25
"""How much longer than the client the target may take to say that the client is linked."""
LEAVE_SECONDS = 10.0
"""Everything is over so long after the guest has moved, as management expects of libspice-server (dossier C3)."""


@dataclass(frozen=True, slots=True)
class ClientTarget:
    """Where clients are sent; a port is 0 for none."""

    host: str
    port: int
    tls_port: int
    subject: str = ""


@dataclass(frozen=True, slots=True)
class ChannelOutcome:
    """What became of a channel: `moved`, `lost`, or `new` when it begins anew."""

    channel: str
    outcome: str
    reason: str = ""

    def as_json(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class ClientOutcome:
    """What became of a client: `moved`, `lost` or `stayed`."""

    connection_id: int
    scheme: Scheme
    outcome: str
    reason: str = ""
    carrier: str = ""
    """`client` or `direct`: the way its state went, when it was seamless."""
    channels: tuple[ChannelOutcome, ...] = ()

    def as_json(self) -> dict[str, object]:
        """As SPICE_MIGRATE_COMPLETED has it."""
        return {
            "connection-id": self.connection_id,
            "scheme": self.scheme.value,
            "outcome": self.outcome,
            "carrier": self.carrier,
            "reason": self.reason,
            "channels": [channel.as_json() for channel in self.channels],
        }


class LeavingClient(StateSource, Protocol):
    """The session that a `LeavingSession` sends on its way."""

    @property
    def connection_id(self) -> int:
        """What ties its channels together, here and there."""

    def stand_still(self) -> None:
        """Nothing new is made for the client from now on."""

    def go_on(self) -> None:
        """The client stays: go on where it stood still."""

    def send_away(self, reason: str) -> None:
        """Close its connections."""

    def read_again(self, key: ChannelKey, data: bytes) -> None:
        """What the client has said on a channel, and what was not read here before."""


class LeavingSession:
    """Tells one client where to go and when, and what became of that."""

    def __init__(
        self,
        client: LeavingClient,
        target: ClientTarget,
        *,
        seamless: bool,
        ahead: bool = True,
        offered: bool = False,
    ) -> None:
        """`offered` says that the target has been told of the client over a direct link."""
        self.state = LeavingState.UNLINKED
        self.scheme = Scheme.SWITCH_HOST
        self.reason = ""
        """Why the client moves in another way than it could, or is lost."""
        self.outcome: ClientOutcome | None = None
        """None while it is on its way."""
        self._client = client
        self._target = target
        self._deadline: float | None = None
        self.last_deadline = 0.0
        """When all is over, once the guest has moved."""
        self._keys = set(client.machines())
        """Channels that the client has: those that it links at the target."""
        self._carrier: Carrier = ThroughClient(client, self._keys)
        self._direct: HostToHost | None = None
        self._offered = offered
        self._lost: dict[ChannelKey, str] = {}
        self._steps: tuple[object, ...] = ()
        if ahead:
            self._begin(seamless=seamless)
        else:
            self.reason = "the client came too late to link ahead"

    def _begin(self, *, seamless: bool) -> None:
        target, main = self._target, self._main
        if main is None:
            self.reason = "the client has no main channel"
            return
        where = (target.port, target.tls_port, target.host.encode(), target.subject.encode())
        can = main.peer.capabilities.channel
        if seamless and MainCap.SEAMLESS_MIGRATE in can:
            main.send(MigrateBeginSeamless(*where))
        elif MainCap.SEMI_SEAMLESS_MIGRATE in can:
            self.reason = "the client cannot" if seamless else "management does not wait for clients"
            main.send(MigrateBegin(*where))
        else:
            self.reason = "the client cannot link ahead"
            return
        self.state = LeavingState.LINKING

    @property
    def over(self) -> bool:
        """Whether the client is gone, or stays for good."""
        return self.state in (LeavingState.GONE, LeavingState.STAYS)

    @property
    def _main(self) -> ServerMain | None:
        main = self._client.machines().get(MAIN)
        return main if isinstance(main, ServerMain) else None

    # -- what happens -----------------------------------------------------------------------------------------------

    def message_received(self, message: Message, now: float) -> bool:
        """What the client says of its links; False when that is not about them."""
        if isinstance(message, MigrateConnected | MigrateConnectedSeamless):
            self._note_channels()
        match message:
            case MigrateConnected():
                happened = LeavingInput.LINKED
            case MigrateConnectedSeamless():
                happened = LeavingInput.LINKED_SEAMLESS
                if self.state is LeavingState.LINKING_LATE and self._direct is not None:
                    happened = LeavingInput.LINKED_DIRECT
                elif self.state is LeavingState.LINKING_LATE and self._offered:
                    happened = LeavingInput.LINKED_UNSURE
                    self._deadline = now + NOTICE_SECONDS
            case MigrateConnectError():
                happened = LeavingInput.LINK_FAILED
                self.reason = "the client could not link the target"
            case _:
                return False
        if (self.state, happened) in LEAVING_TABLE:
            self._step(happened, now)
            if self.state is LeavingState.LINKED_SEAMLESS:
                prepare()
        return True

    def _note_channels(self) -> None:
        """A client that is told of the target while it still links its channels here has all of them there, too."""
        if self._client.machines().keys() - self._keys and self._carrier is not self._direct:
            self._keys |= self._client.machines().keys()
            self._carrier = ThroughClient(self._client, self._keys)

    @property
    def may_be_offered(self) -> bool:
        """Whether it helps to tell the target, over a direct link, which channels the client has."""
        states = LeavingState
        return self.state in (states.LINKING, states.LINKED_SEAMLESS, states.LINKING_LATE, states.LINKED_LATE)

    def linked_directly(self, say: Callable[[LinkMessage], None], keys: Keys, now: float) -> None:
        """The target has the client's links, and says so over the direct link: the state can go that way. `keys` are
        the channels; what is not all the client has here is an answer to an older offer.
        """
        if not self.may_be_offered or set(keys) != self._client.machines().keys():
            return
        self._keys = set(keys)
        if self._direct is None:
            self._direct = HostToHost(self._client, self._keys, self._client.connection_id, say)
            self._carrier = ThroughClient(self._client, self._keys)
        else:
            self._direct.goes_with(self._keys)
        self._direct.send_ahead()
        if self.state is LeavingState.LINKED_LATE:
            self._deadline = self.last_deadline
            self._step(LeavingInput.LINKED_DIRECT, now)

    def switched_over(self, now: float) -> None:
        """The guest stands still and will move, if nothing goes wrong."""
        if self._direct is not None and (self.state, LeavingInput.SWITCHED_OVER) in LEAVING_TABLE:
            self._step(LeavingInput.SWITCHED_OVER, now)

    def restored(self, now: float) -> None:
        """The target has restored the session."""
        if (self.state, LeavingInput.RESTORED) in LEAVING_TABLE:
            self._step(LeavingInput.RESTORED, now)

    def refused(self, reason: str, now: float) -> None:
        """The target says that it cannot restore the session."""
        if (self.state, LeavingInput.REFUSED) in LEAVING_TABLE:
            self._step(LeavingInput.REFUSED, now)
        self._offered = False
        self._direct = self.direct

    @property
    def direct(self) -> HostToHost | None:
        """What the session's state goes by, or has gone by, when that is the direct link."""
        return self._direct if self._carrier is self._direct else None

    def link_interrupted(self) -> None:
        """The direct link is gone, and there may be another one soon."""
        self._offered = False
        self._direct = self.direct

    def link_lost(self, reason: str, now: float, *, target_lives: bool = False) -> None:
        """The direct link is gone for good; `target_lives` when it is known that the target is still there."""
        self.link_interrupted()
        happened = LeavingInput.LINK_LOST_ALONE if target_lives else LeavingInput.LINK_LOST
        if (self.state, happened) not in LEAVING_TABLE:
            happened = LeavingInput.LINK_LOST
        if self._direct is not None and (self.state, happened) in LEAVING_TABLE:
            self.reason = reason
            self._step(happened, now)

    def came_late(self, key: ChannelKey, data: bytes, now: float) -> None:
        """The client has said something on a channel whose state is saved."""
        if self._direct is not None:
            self._direct.came_late(key, data)
            if self._direct.too_much:
                self.link_lost("the client has sent too much while it was on its way", now)

    def flushed(self, key: ChannelKey) -> None:
        """A channel's flush mark has come."""
        if self.direct is not None:
            self.direct.flushed(key)

    def guest_moved(self, now: float) -> None:
        """The guest lives on at the target."""
        self.last_deadline = now + LEAVE_SECONDS
        self._deadline = now + LINK_SECONDS
        happened = LeavingInput.GUEST_MOVED
        if self.state is LeavingState.LINKED_SEAMLESS and self._direct is not None:
            happened = LeavingInput.MOVED_DIRECT
            self._deadline = self.last_deadline
        elif self.state is LeavingState.LINKED_SEAMLESS and self._offered:
            happened = LeavingInput.MOVED_UNSURE
            self._deadline = now + NOTICE_SECONDS
        self._step(happened, now)

    def guest_stays(self, now: float) -> None:
        """The migration has failed."""
        if (self.state, LeavingInput.GUEST_STAYS) in LEAVING_TABLE:
            self._step(LeavingInput.GUEST_STAYS, now)

    def channel_gone(self, key: ChannelKey, machine: ServerChannel, reason: str, now: float) -> None:
        """A channel's connection has ended."""
        goes = self.state is LeavingState.GOING  # by closing its connections, in whatever order
        if machine.departure is not DepartureStep.HANDED_OVER and key in self._keys and not goes:
            self._lost[key] = reason
        if key == MAIN and not self.over:
            if self.state is not LeavingState.GOING:
                self.reason = reason
            self._step(LeavingInput.CLIENT_GONE, now)

    def progress(self, now: float) -> bool:
        """Call after bytes were read or written, until it is False; when it is True there may be more to write."""
        if self.state not in (LeavingState.HANDING_CHANNELS, LeavingState.HANDING_MAIN):
            return False
        before = self._steps
        self._carrier.progress()
        if self.state is LeavingState.HANDING_CHANNELS and self._carrier.channels_handed:
            self._step(LeavingInput.CHANNELS_HANDED, now)
        elif self.state is LeavingState.HANDING_MAIN and self._carrier.main_handed:
            self._step(LeavingInput.MAIN_HANDED, now)
        self._steps = (self.state, *(machine.departure for machine in self._client.machines().values()))
        return self._steps != before

    def next_deadline(self) -> float | None:
        """When time is up."""
        return None if self.over else self._deadline

    def handle_timer(self, now: float) -> None:
        """Call when `next_deadline` has passed."""
        deadline = self.next_deadline()
        if deadline is not None and now >= deadline and (self.state, LeavingInput.TIME_UP) in LEAVING_TABLE:
            self._step(LeavingInput.TIME_UP, now)

    # -- what is done -----------------------------------------------------------------------------------------------

    def _step(self, happened: LeavingInput, now: float) -> None:
        row = LEAVING_TABLE.get((self.state, happened))
        if row is None:
            raise StateError(f"a client that is {self.state.value} cannot have: {happened.value}")
        action, self.state = row
        self._act(action)
        if self.state in (LeavingState.HANDING_CHANNELS, LeavingState.GOING):
            self._deadline = self.last_deadline
        if self.state is LeavingState.STAYS:
            self._end("stayed")

    def _act(self, action: LeavingAction) -> None:
        main = self._main
        match action:
            case LeavingAction.HAND_CHANNELS:
                self.scheme = Scheme.SEAMLESS
                if self._carrier is not self._direct:
                    self._client.stand_still()
                self._carrier.begin()
            case LeavingAction.SEND_STATE if self._direct is not None:
                self._client.stand_still()
                self._carrier = self._direct
                self._direct.send_state(self._client.agent_states())
            case LeavingAction.TAKE_STATE_BACK:
                self._take_state_back("the state goes another way")
            case LeavingAction.TAKE_STATE_AND_HAND:
                self._take_state_back("the state goes another way")
                self._act(LeavingAction.HAND_CHANNELS)
            case LeavingAction.HAND_MAIN:
                self._carrier.begin_main()
            case LeavingAction.BEGIN_ANEW if main is not None:
                self.scheme = Scheme.SEMI_SEAMLESS
                self._client.stand_still()
                main.send(MigrateEnd())
            case LeavingAction.SWITCH:
                self._switch()
            case LeavingAction.TAKE_BACK_AND_SWITCH:
                self._take_back()
                self._switch()
            case LeavingAction.CANCEL if main is not None:
                main.send(MigrateCancel())
            case LeavingAction.TAKE_BACK:
                self._take_back()
            case LeavingAction.SEND_AWAY:
                handed = self.scheme is Scheme.SEAMLESS and self._carrier.main_handed
                self.reason = self.reason or "the client did not go in time"
                if not handed and self.direct is not None:
                    self.direct.take_back(self.reason)  # the target has its session, and lets go of its keys
                self._end("moved" if handed else "lost")
                self._client.send_away("the guest has moved")
            case LeavingAction.DEPARTED:
                self._end("moved")
            case LeavingAction.LOST:
                self._end("lost")
            case _:
                pass

    def _switch(self) -> None:
        target, main = self._target, self._main
        where = (target.port, target.tls_port, target.host.encode(), target.subject.encode())
        self._client.stand_still()
        if main is not None:
            main.send(MigrateSwitchHost(*where))

    def _take_state_back(self, reason: str) -> None:
        """Everything is as it was before the state went; what came meanwhile is read here."""
        for machine in self._client.machines().values():
            machine.call_back()
        late = self.direct.take_back(reason) if self.direct is not None else {}
        self._carrier = ThroughClient(self._client, self._keys)
        self._client.go_on()
        for key, data in late.items():
            self._client.read_again(key, data)

    def _take_back(self) -> None:
        self._take_state_back(self.reason or "the guest stays")
        if self._main is not None:
            self._main.send(MigrateCancel())

    def _end(self, outcome: str) -> None:
        channels = [self._channel_outcome(key, outcome) for key in sorted(self._keys)] if outcome != "stayed" else []
        scheme = Scheme.NONE if outcome == "stayed" else self.scheme
        carrier = ""
        if scheme is Scheme.SEAMLESS:
            carrier = "direct" if self._carrier is self._direct else "client"
        self.outcome = ClientOutcome(self._client.connection_id, scheme, outcome, self.reason, carrier, tuple(channels))

    def _channel_outcome(self, key: ChannelKey, outcome: str) -> ChannelOutcome:
        name = channel_name(*key).replace(":", "-")
        if outcome == "lost" or key in self._lost:
            return ChannelOutcome(name, "lost", self._lost.get(key, self.reason))
        return ChannelOutcome(name, "moved" if self.scheme is Scheme.SEAMLESS else "new")
