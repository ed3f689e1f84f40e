"""The guest's agent: its device on one side, the main channels of all clients on the other."""

from __future__ import annotations

from collections.abc import Mapping

from spicehop.channels.serving.agent import AgentHub
from spicehop.channels.serving.agent_routing import AgentFilter
from spicehop.channels.serving.main import ServerMain
from spicehop.guests.interface import CharDevice, Guest
from spicehop.migration.state import AgentStates
from spicehop.wire.agent_constants import CLIENT_TOKENS, MonitorsFlag
from spicehop.wire.constants import NotifySeverity

CUT_SHORT = "a part of what was sent to the guest's agent did not come in time: the rest of that message was dropped"
MAIN_BYTES = 64 * 1024
"""Bytes of the agent that are queued on a main channel; the rest waits in the hub."""
STUCK_SECONDS = 30.0
"""A client that takes nothing of the agent for so long, while others wait for it, has to go."""


class AgentDesk:
    """Moves the agent's bytes; a guest without an agent device has one that never opens."""

    def __init__(self, guest: Guest, rules: AgentFilter) -> None:
        self.hub = AgentHub(rules)
        self._guest = guest
        self._device: CharDevice | None = guest.devices.agent
        self._was_open = False
        self._epoch = 0
        """Counts how often an agent has come or gone."""
        self._knows: dict[int, tuple[int, bool]] = {}
        """By client: the epoch it has heard of last, and whether there was an agent."""
        self._cut_short = False
        self._full_since: dict[int, float] = {}
        self._names: dict[int, int] = {}
        """Connection ids by the clients' numbers, those that have left for another server among them."""
        self._coming: dict[int, int] = {}
        """Connection ids of the clients that are to come."""
        self._guest_left = False

    @property
    def tokens(self) -> int:
        """What MAIN_INIT says: slices a new client may send, 0 without an agent."""
        return CLIENT_TOKENS if self.hub.connected and not self.hub.trouble else 0

    def client_started(self, client: int, tokens: int) -> None:
        """A client opens the agent's stream."""
        if self.hub.client_started(client, tokens) and self._device is not None:
            self._device.client_changed(present=True)

    def client_left(self, client: int) -> None:
        """A client is gone."""
        self._full_since.pop(client, None)
        self._knows.pop(client, None)
        self._last_gone(self.hub.client_left(client))
        self.gave_up(client)

    def _last_gone(self, is_last: bool) -> None:
        if is_last and self._device is not None:
            self._device.client_changed(present=False)

    # -- clients that move ------------------------------------------------------------------------------------------

    def hand_out(self, client: int, main: ServerMain) -> None:
        """A client is about to leave for another server: give it all that it takes of what waits for it."""
        self.hub.flush_partial()
        while (message := self.hub.next_message(client)) is not None:
            main.send(message)

    def states(self, client: int, names: Mapping[int, int]) -> AgentStates:
        """What goes with a client that leaves; `names` are the clients' connection ids by their numbers."""
        self._names.update(names)
        return AgentStates(self.hub.client_state(client), self.hub.device_state(self._names))

    def client_departed(self, client: int) -> None:
        """A client has left for another server with all that is under way."""
        self._full_since.pop(client, None)
        self._knows.pop(client, None)
        self._guest_left = True
        self.hub.departed(client)

    def guest_came(self) -> None:
        """The guest has come here from another server: what is left of an earlier stay says nothing of it. Clients
        that are expected still are.
        """
        self._guest_left = False
        self._names.clear()
        self._was_open = False
        self._epoch += self.hub.connected
        self.hub.begin_anew()

    def expect(self, client: int, name: int = 0) -> None:
        """A client with this connection id will come from another server; call it before the guest runs here."""
        if self._guest_left:
            self.guest_came()
        self._coming[client] = name
        self.hub.expect(client)

    def gave_up(self, client: int, name: int = 0) -> None:
        """It will not come, or begins anew; `name` is its connection id, where it was not expected by that."""
        self._last_gone(self.hub.gave_up(client, name or self._coming.pop(client, 0)))

    def client_arrived(self, client: int, name: int, states: AgentStates) -> None:
        """A client has come from another server with what was under way there.

        When the agent has come or gone meanwhile, or the client comes too late, it hears so, and begins anew with it.
        `ProtocolError` when what it brings contradicts itself.
        """
        if self._device is not None:
            self._look(self._device)
        had_agent, has_agent = states.device.connected, self.hub.connected
        if had_agent and has_agent and self.hub.can_arrive(client, name):
            if not self.hub.resumed:
                self.hub.resume(states.device)
            else:
                self.hub.asked_later(name, states.device)
            self.hub.client_arrived(client, name, states.client)
            self._coming.pop(client, None)
            self._knows[client] = self._epoch, True
            return
        self.gave_up(client, name)
        self._knows[client] = self._epoch - (had_agent or has_agent), had_agent

    # -- the agent and its clients ----------------------------------------------------------------------------------

    def pump(self, now: float, mains: Mapping[int, ServerMain]) -> bool:
        """Move what can be moved; True when the guest was given something."""
        device = self._device
        if device is None:
            return False
        running = self._guest.running
        for client in mains:
            self._knows.setdefault(client, (self._epoch, self.hub.connected))
        if self._guest_left and running:
            self.guest_came()
        self._look(device)
        if self.hub.late(now, running=running):
            self._last_gone(self.hub.give_up())
        cut = self.hub.handle_timer(now) if self.hub.connected else None
        if cut is not None and cut in mains:
            mains[cut].notify(CUT_SHORT, now, NotifySeverity.WARN)
        gave = self._carry(device, now) if self.hub.connected else False
        self._tell(mains)
        while running and (event := self.hub.next_event()) is not None:
            use_position = event.message.flags & MonitorsFlag.USE_POSITION
            monitors = [
                (m.x if use_position else 0, m.y if use_position else 0, m.width, m.height)
                for m in event.message.monitors
                if m.width and m.height
            ]
            self._guest.want_monitors(monitors)
            gave = True
        for client, main in mains.items():
            while main.bytes_queued < MAIN_BYTES and (message := self.hub.next_message(client)) is not None:
                main.send(message)
        return gave

    def _carry(self, device: CharDevice, now: float) -> bool:
        """Bytes to the device and from it."""
        gave = self._write(device, now)
        data = b"-"
        while data and (wanted := self.hub.wanted):
            data = device.read(wanted)
            self.hub.device_data(data)
        self._cut_short = bool(data)
        if self.hub.trouble:
            self._changed(opened=False)
        return gave

    def can_go_on(self, mains: Mapping[int, ServerMain]) -> bool:
        """Whether there is room again for what had to wait."""
        if self._cut_short and self.hub.wanted:
            return True
        return any(main.bytes_queued < MAIN_BYTES and self.hub.has_message(client) for client, main in mains.items())

    def _look(self, device: CharDevice) -> None:
        if device.opened != self._was_open:
            self._was_open = device.opened
            self._changed(opened=device.opened)

    def _changed(self, *, opened: bool) -> None:
        self._epoch += 1
        if opened:
            self.hub.opened()
        else:
            self.hub.closed()

    def _tell(self, mains: Mapping[int, ServerMain]) -> None:
        """Each client hears of an agent that has come or gone, once; one that missed both hears both."""
        for client, main in mains.items():
            epoch, had_agent = self._knows.get(client, (self._epoch, self.hub.connected))
            if epoch == self._epoch:
                continue
            self._knows[client] = self._epoch, self.hub.connected
            if had_agent:
                main.agent_disconnected()
            if self.hub.connected:
                main.agent_connected(CLIENT_TOKENS)

    def _write(self, device: CharDevice, now: float) -> bool:
        gave = False
        while chunk := self.hub.next_chunk(now):
            if not device.write(chunk):
                break
            self.hub.chunk_taken()
            gave = True
        return gave

    def next_deadline(self) -> float | None:
        """When something is due."""
        return self.hub.next_deadline()

    def stuck_clients(self, now: float, others: int) -> list[int]:
        """Clients that hold the agent up for others."""
        full = self.hub.full_clients() if others > 1 else ()
        self._full_since = {client: self._full_since.get(client, now) for client in full}
        return [client for client, since in self._full_since.items() if now - since >= STUCK_SECONDS]
