"""A session's state on its way from host to host, over the direct link (dossier F, "flag 1").

The state goes when the guest stands still. What the client says after that is passed on, up to its flush mark; what is
not yet written goes with the state. MIGRATE asks for no data then: a stock client goes over at once.
"""

from __future__ import annotations

from collections.abc import Callable

from spicehop.channels.serving.departing import DepartureStep
from spicehop.migration.handing import Carrier, StateSource
from spicehop.migration.state import MAIN, AgentStates, ChannelKey, SessionState, encode, sections
from spicehop.wire import direct_link as link
from spicehop.wire import envelope
from spicehop.wire.constants import ChannelType, MigrateFlag

MOST_LATE = 256 * 1024 * 1024
"""Bytes of a session that come after its state was saved; they are kept until the client is at the target."""


class HostToHost(Carrier):
    """Hands one session over; `say` sends a message to the target."""

    def __init__(
        self,
        source: StateSource,
        keys: set[ChannelKey],
        connection_id: int,
        say: Callable[[link.LinkMessage], None],
    ) -> None:
        super().__init__(source, keys)
        self._connection_id = connection_id
        self._say = say
        self._since: dict[int, int] = {}
        """By display: up to which image its window has gone ahead."""
        self._late: dict[ChannelKey, list[bytes]] = {}
        self._flushed: list[ChannelKey] = []
        self.late_bytes = 0

    def goes_with(self, keys: set[ChannelKey]) -> None:
        """The client has linked these channels at the target, and not those that were known."""
        self._keys = keys

    def send_ahead(self) -> None:
        """Send what is large and may go while the guest runs; what is new of it then goes with the rest."""
        windows = self._windows()
        if windows:
            whole = sections(SessionState({}, windows=windows))
            self._say(link.StateAhead(self._connection_id, envelope.encode(whole, limit=link.MAX_STATE)))

    def _windows(self) -> dict[int, bytes]:
        found = {}
        for kind, number in self._leaving():
            if kind == ChannelType.DISPLAY:
                data, self._since[number] = self._source.window(number, self._since.get(number, 0))
                found[number] = data
        return {number: data for number, data in found.items() if data}

    def send_state(self, agent: AgentStates) -> None:
        """Save the state of every channel, and send it."""
        leaving = self._leaving()
        for machine in leaving.values():
            machine.hold_back(MigrateFlag.NEED_FLUSH, at_once=True)
        views = {number: self._source.view_state(number) for kind, number in leaving if kind == ChannelType.DISPLAY}
        state = SessionState(
            {key: self._source.channel_state(key) for key in leaving},
            {number: view for number, view in views.items() if view is not None},
            agent,
            self._windows(),
        )
        self._say(link.SessionHanded(self._connection_id, encode(state, limit=link.MAX_STATE)))

    def begin(self) -> None:
        for key, machine in self._leaving().items():
            if key != MAIN:
                machine.migrate()

    def begin_main(self) -> None:
        main = self._source.machines().get(MAIN)
        if main is not None:
            main.migrate()

    def came_late(self, key: ChannelKey, data: bytes) -> None:
        """The client has said something on a channel whose state is saved."""
        self._late.setdefault(key, []).append(data)
        self.late_bytes += len(data)
        self._pass_on(key, data)

    def _pass_on(self, key: ChannelKey, data: bytes) -> None:
        for start in range(0, len(data), link.MAX_CLIENT_BYTES):
            piece = data[start : start + link.MAX_CLIENT_BYTES]
            self._say(link.LateBytes(self._connection_id, *key, piece))

    def flushed(self, key: ChannelKey) -> None:
        """The client says nothing more on a channel."""
        self._flushed.append(key)
        self._say(link.Flushed(self._connection_id, *key))

    def resume(self, say: Callable[[link.LinkMessage], None]) -> None:
        """There is another link in place of the one that was cut; nobody knows what of the last words has arrived."""
        self._say = say
        self._say(link.SessionResumed(self._connection_id))
        for key, pieces in self._late.items():
            for data in pieces:
                self._pass_on(key, data)
        for key in self._flushed:
            self._say(link.Flushed(self._connection_id, *key))

    def take_back(self, reason: str) -> dict[ChannelKey, bytes]:
        """The session stays: by channel, what the client has said meanwhile, to be read here after all."""
        self._say(link.SessionWithdrawn(self._connection_id, reason))
        late = {key: b"".join(pieces) for key, pieces in self._late.items()}
        self._late.clear()
        return late

    @property
    def too_much(self) -> bool:
        """Whether more came late than is kept."""
        return self.late_bytes > MOST_LATE

    @property
    def is_flushed(self) -> bool:
        """Whether the client says nothing more here."""
        return all(machine.departure is DepartureStep.HANDED_OVER for machine in self._leaving().values())
