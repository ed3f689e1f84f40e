"""The main channel of a client: the session's identity, its channels, mouse modes, and the agent's stream."""

from __future__ import annotations

from dataclasses import dataclass

from spicehop.channels.agent import Agent
from spicehop.channels.channel import ChannelEvent, ClientChannel, Received
from spicehop.errors import ProtocolError
from spicehop.wire import main
from spicehop.wire.constants import ChannelType, MainCap, MouseMode
from spicehop.wire.layout import Message

SEAMLESS, SEMI_SEAMLESS, SWITCH_HOST = "seamless", "semi-seamless", "switch-host"
SCHEMES = (SEAMLESS, SEMI_SEAMLESS, SWITCH_HOST)
"""The schemes of dossier C1, best first."""
MAX_CHANNELS = 256
"""Channels accepted in one CHANNELS_LIST."""


@dataclass(frozen=True, slots=True)
class LinkKnowledge:
    """What the user of a client knows of its link, for servers that go by it until they have measured."""

    round_trip: float
    """Seconds."""
    rate: float
    """Bytes a second towards the client."""

    def statement(self) -> main.LinkStatement:
        """As it is sent; what no field can hold becomes the nearest that it can."""
        trip, rate = round(self.round_trip * 1_000_000), round(self.rate)
        return main.LinkStatement(min(max(trip, 0), 2**32 - 1), min(max(rate, 0), 2**64 - 1))


class MainChannel(ClientChannel):
    """Knows the session id and who moves the mouse."""

    def __init__(self, schemes: tuple[str, ...] = SCHEMES) -> None:
        super().__init__(ChannelType.MAIN, 0)
        self.schemes = schemes
        self.session_id = 0
        self.agent = Agent()
        self.guest_name = ""
        self.link: LinkKnowledge | None = None
        """A server that wants to know hears it when the session begins."""
        self.mouse_mode: int = MouseMode.SERVER
        self.supported_mouse_modes: int = MouseMode.SERVER

    def channel_capabilities(self) -> frozenset[int]:
        bits = {MainCap.NAME_AND_UUID, MainCap.AGENT_CONNECTED_TOKENS}
        if SEMI_SEAMLESS in self.schemes:
            bits.add(MainCap.SEMI_SEAMLESS_MIGRATE)
        if SEAMLESS in self.schemes:
            bits.add(MainCap.SEAMLESS_MIGRATE)
        if self.link is not None:
            bits.add(MainCap.LINK_STATEMENT)
        return frozenset(bits)

    def handle(self, message: Message, events: list[ChannelEvent], now: float) -> None:
        match message:
            case main.Init():
                self.session_id = message.session_id
                self._mouse_modes(message.supported_mouse_modes, message.current_mouse_mode)
                if message.agent_connected:
                    self._agent_connected(message.agent_tokens)
                if self.link is not None and MainCap.LINK_STATEMENT in self.server.channel:
                    self.send(main.QualityIndicator(self.link.statement().encode()))
            case main.MouseMode():
                self._mouse_modes(message.supported, message.current)
            case main.AgentConnectedTokens():
                self._agent_connected(message.tokens)
            case main.AgentDisconnected():
                self.agent.disconnect()
            case main.AgentData():
                self.agent.data_received(message.data)
            case main.AgentToken():
                self.agent.tokens_received(message.tokens)
            case main.Name():
                self.guest_name = bytes(message.name).decode("utf-8", "replace")
            case main.ChannelsList() if len(message.channels) > MAX_CHANNELS:
                raise ProtocolError(f"a list of {len(message.channels)} channels is longer than {MAX_CHANNELS}")
            case _:
                pass
        events.append(Received(message))

    def _agent_connected(self, tokens: int) -> None:
        for message in self.agent.connect(tokens):
            self.send(message)

    def reset(self) -> None:
        super().reset()
        self.agent.disconnect()

    @property
    def waiting(self) -> bool:
        return bool(self._queue or self.agent.bytes_queued)

    def next_message(self, now: float) -> Message | None:
        return self.agent.next_message()

    def _mouse_modes(self, supported: int, current: int) -> None:
        """Ask for client mode wherever it is offered, as spice-gtk does: the pointer then has a position."""
        self.supported_mouse_modes, self.mouse_mode = supported, current
        request = main.MouseModeRequest(MouseMode.CLIENT)
        if supported & MouseMode.CLIENT and current != MouseMode.CLIENT and request not in self._queue:
            self.send(request)
