"""What each channel is given to carry when a session's state goes through the client: a layout and an envelope.

A channel gets its state when its flush mark has come, for then nothing more of the client can change it. Channels that
a stock client carries no state for (cursor, playback, record), and what is too large for its own channel, ride with a
display, or else with the main channel, which goes last (dossier C1.4, C4, F).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

from spicehop.channels.serving.channel import ChannelState, ServerChannel
from spicehop.channels.serving.departing import DepartureStep
from spicehop.channels.serving.display import DisplayState
from spicehop.channels.serving.inputs import InputsState
from spicehop.channels.serving.main import MainState
from spicehop.channels.serving.pipe import PipeState
from spicehop.channels.serving.smartcard import SmartcardState
from spicehop.errors import StateError
from spicehop.migration import libspice_states as libspice
from spicehop.migration.state import MAIN, AgentStates, ChannelKey, ServingState, SessionState, sections
from spicehop.painting.state import ViewState
from spicehop.wire import envelope
from spicehop.wire.constants import ChannelType, MigrateFlag
from spicehop.wire.migration_data import INPUTS_LIMIT, LAYOUTS, SmartcardMigrationData, VmcMigrationData

WITH_STATE = MigrateFlag.NEED_FLUSH | MigrateFlag.NEED_DATA_TRANSFER
MOST_ENVELOPE = 2 * 1024 * 1024
"""Of one channel. `VIEW_BYTES` keeps it far below; input that was held and an agent's stream may need more."""
VIEW_BYTES = 192 * 1024
"""Of all views of a session in its envelopes; the rest is for the other channels."""


class StateSource(Protocol):
    """A session whose channels leave."""

    def machines(self) -> Mapping[ChannelKey, ServerChannel]:
        """Its channels, main included."""

    def channel_state(self, key: ChannelKey) -> ServingState:
        """The state of one channel."""

    def view_state(self, number: int) -> ViewState | None:
        """What the client has of the display of that channel; None when it has not begun. The same object as long as
        the client has said nothing that changes it.
        """

    def window(self, number: int, since: int) -> tuple[bytes, int]:
        """The GLZ window of that display's client as far as it is younger than the image `since`, and the id of the
        next image. Empty when there is none.
        """

    def agent_states(self) -> AgentStates:
        """The agent's stream."""


def flags_of(key: ChannelKey) -> int:
    """With which flags a channel leaves, as libspice-server's do (dossier C1.4)."""
    return WITH_STATE if key[0] in LAYOUTS else 0


class Carrier:
    """Tells the client to go, channel by channel, main last; how the state goes is the subclasses' business."""

    def __init__(self, source: StateSource, keys: set[ChannelKey]) -> None:
        self._source = source
        self._keys = keys
        """Channels that the client has linked at the target."""

    def begin(self) -> None:
        """MIGRATE on every channel but main."""

    def begin_main(self) -> None:
        """MIGRATE on main."""

    def progress(self) -> None:
        """Call after bytes were read or written."""

    @property
    def channels_handed(self) -> bool:
        """Whether all channels but main have gone."""
        leaving = self._leaving().items()
        return all(key == MAIN or machine.departure is DepartureStep.HANDED_OVER for key, machine in leaving)

    @property
    def main_handed(self) -> bool:
        """Whether main has gone."""
        main = self._source.machines().get(MAIN)
        return main is not None and main.departure is DepartureStep.HANDED_OVER

    def _leaving(self) -> dict[ChannelKey, ServerChannel]:
        return {key: machine for key, machine in self._source.machines().items() if key in self._keys}


class ThroughClient(Carrier):
    """Hands one session's channels over, each with its part of the state."""

    def __init__(self, source: StateSource, keys: set[ChannelKey]) -> None:
        super().__init__(source, keys)
        self._given: set[ChannelKey] = set()
        self._riding: dict[ChannelKey, ServingState] = {}
        displays = sorted(key for key in keys if key[0] == ChannelType.DISPLAY)
        self._carrier = displays[0] if displays else MAIN
        self._encoded: dict[int, tuple[ViewState, bytes]] | None = None
        """By display, its view when the channels were told to go."""

    def begin(self) -> None:
        for key, machine in self._leaving().items():
            if key != MAIN:
                machine.hold_back(flags_of(key))
                machine.migrate()

    def begin_main(self) -> None:
        main = self._source.machines().get(MAIN)
        if main is not None:
            main.hold_back(flags_of(MAIN))
            main.migrate()

    def progress(self) -> None:
        """Give their state to those whose turn it is."""
        leaving = self._leaving()
        if self._encoded is None and leaving and self._all_told(leaving):
            self._encoded = self._encode_views(leaving)
        for key, machine in leaving.items():
            if machine.departure is DepartureStep.FLUSHED and (key != self._carrier or self._may_carry(leaving)):
                self._given.add(key)
                machine.give_state(self._body(key))

    @staticmethod
    def _all_told(leaving: Mapping[ChannelKey, ServerChannel]) -> bool:
        waits = (DepartureStep.STAYING, DepartureStep.MIGRATE_QUEUED)
        return all(key == MAIN or machine.departure not in waits for key, machine in leaving.items())

    def _encode_views(self, leaving: Mapping[ChannelKey, ServerChannel]) -> dict[int, tuple[ViewState, bytes]]:
        """While the client takes its time to answer. Its last words may still change a view, which then is another."""
        views = {number: self._source.view_state(number) for kind, number in leaving if kind == ChannelType.DISPLAY}
        share = self._view_bytes
        return {number: (view, view.encode_within(share)) for number, view in views.items() if view is not None}

    @property
    def _view_bytes(self) -> int:
        return VIEW_BYTES // max(1, sum(kind == ChannelType.DISPLAY for kind, _ in self._keys))

    def _may_carry(self, leaving: Mapping[ChannelKey, ServerChannel]) -> bool:
        """The carrier goes when it is known what rides with it."""
        for key, machine in leaving.items():
            if key in (MAIN, self._carrier):
                continue
            if not flags_of(key) and machine.departure is not DepartureStep.HANDED_OVER:
                return False
            if key[0] == ChannelType.INPUTS and key not in self._given:
                return False
        return True

    def _body(self, key: ChannelKey) -> bytes:
        state = self._source.channel_state(key)
        match state:
            case MainState():
                agent = self._source.agent_states()
                queued = state.channel.queued
                layout = _layout(lambda: libspice.layout_of_main(agent.client, agent.device, queued=queued))
                lean = replace(agent, client=libspice.without_bytes(agent.client)) if layout else agent
                # Where the target is libspice the agent begins anew then.
                layout = layout or libspice.layout_of_main(None, None)
                handed = frozenset(self._leaving())
                return layout + _enveloped(SessionState(self._riders(key) | {key: state}, {}, lean, handed=handed))
            case DisplayState():
                view = self._source.view_state(key[1])
                layout = _layout(lambda: libspice.layout_of_display(state, view))
                views = {key[1]: view} if view is not None else {}
                before = (self._encoded or {}).get(key[1])
                known = {key[1]: before[1]} if before is not None and before[0] is view else None
                whole = SessionState(self._riders(key) | {key: state}, views)
                return layout + _enveloped(whole, self._view_bytes, known)
            case InputsState():
                layout = libspice.layout_of_inputs(state)
                body = layout + _enveloped(SessionState({key: state}))
                if len(body) <= INPUTS_LIMIT:
                    return body
                self._riding[key] = state
                return layout + envelope.encode([])
            case SmartcardState():
                if layout := _layout(lambda: libspice.layout_of_smartcard(state)):
                    return layout + _enveloped(SessionState({key: _lean(state)}))
                return libspice.layout_of_smartcard(_bare(state)) + _enveloped(SessionState({key: state}))
            case PipeState():
                if layout := _layout(lambda: libspice.layout_of_pipe(state)):
                    return layout + _enveloped(SessionState({key: _lean(state)}))
                bare = replace(_lean(state), channel=ChannelState())
                return libspice.layout_of_pipe(bare) + _enveloped(SessionState({key: state}))
            case _:
                raise StateError(f"a channel of kind {key[0]} carries no state")

    def _riders(self, carrier: ChannelKey) -> dict[ChannelKey, ServingState]:
        """What rides with a carrier: all that has no other way."""
        if carrier not in (self._carrier, MAIN):
            return {}
        riders = self._riding
        self._riding = {}
        for key, machine in self._leaving().items():
            if not flags_of(key) and key not in self._given and machine.departure is DepartureStep.HANDED_OVER:
                self._given.add(key)
                riders[key] = self._source.channel_state(key)
        return riders


def _layout(make: Callable[[], bytes]) -> bytes:
    """A layout; empty for what libspice's cannot hold, which only the envelope can. Without any libspice ends its
    process, so that one which says less takes its place.
    """
    try:
        return make()
    except StateError:
        return b""


def _enveloped(
    state: SessionState, view_bytes: int | None = None, encoded_views: Mapping[int, bytes] | None = None
) -> bytes:
    parts = sections(state, view_bytes=view_bytes, encoded_views=encoded_views)
    return envelope.encode(parts, limit=MOST_ENVELOPE)


Devices = TypeVar("Devices", PipeState, SmartcardState)


def _lean(state: Devices) -> Devices:
    """Without the bytes that the layout has already."""
    if isinstance(state, PipeState):
        return replace(state, incoming=b"")
    return replace(state, pipe=replace(state.pipe, incoming=b""), partial=b"")


def _bare(state: SmartcardState) -> SmartcardState:
    """What libspice can take in any case. What it lacks only the envelope has."""
    lean = _lean(state)
    return replace(lean, pipe=replace(lean.pipe, channel=ChannelState()))


def filled(restored: SessionState, key: ChannelKey, body: bytes) -> tuple[ServingState, AgentStates | None]:
    """A channel's state, and with main the agent's, as they came in an envelope, with the bytes that are in the layout
    before it. `ProtocolError` when they do not fit together.
    """
    state, agent = restored.channels[key], restored.agent if key == MAIN else None
    if body[:4] != LAYOUTS[key[0]].MAGIC:
        return state, agent
    match state:
        case MainState() if agent is not None and not libspice.has_agent(body):
            return state, agent
        case MainState() if agent is not None:
            return state, replace(agent, client=libspice.with_bytes(agent.client, body))
        case PipeState():
            incoming = bytes(VmcMigrationData.decode(body).device.write_data)
            return _with_incoming(state, state.incoming or incoming), None
        case SmartcardState():
            layout = SmartcardMigrationData.decode(body)
            pipe = _with_incoming(state.pipe, state.pipe.incoming or bytes(layout.device.write_data))
            return replace(state, pipe=pipe, partial=state.partial or bytes(layout.read_data)), None
        case _:
            return state, agent


def _with_incoming(state: PipeState, incoming: bytes) -> PipeState:
    return replace(state, incoming=incoming, bytes_accepted=state.bytes_delivered + len(incoming))
