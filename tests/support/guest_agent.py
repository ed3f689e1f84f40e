"""The guest's agent, for tests: it speaks through a `ServerEnd` of the main channel."""

from __future__ import annotations

from collections.abc import Iterable

from server_end import ServerEnd

from spicehop.channels.agent import OWN_CAPABILITIES
from spicehop.wire import agent, main
from spicehop.wire.agent_constants import AgentCap
from spicehop.wire.agent_stream import AgentReader, encode_agent_message
from spicehop.wire.constants import AGENT_CHUNK_BYTES
from spicehop.wire.layout import Message

GUEST = frozenset({AgentCap.CLIPBOARD_BY_DEMAND, AgentCap.CLIPBOARD_SELECTION, AgentCap.MONITORS_CONFIG})
"""What the agent can do unless a test says otherwise."""


class Guest:
    """An agent behind a server: says agent messages and reads the client's."""

    def __init__(self, server: ServerEnd, capabilities: frozenset[int] = GUEST) -> None:
        self.server = server
        self.capabilities = capabilities
        self.common: frozenset[int] = frozenset()
        self.slices: list[bytes] = []
        self._reader = AgentReader()

    def says(self, *messages: agent.AgentMessage, size: int = AGENT_CHUNK_BYTES) -> bytes:
        """The server's bytes for these messages."""
        stream = b"".join(encode_agent_message(one, capabilities=self.common) for one in messages)
        return self.server.say(*[main.AgentData(stream[at : at + size]) for at in range(0, len(stream), size)])

    def hello(self, *, request: bool = True) -> bytes:
        """The server's bytes for the agent's capabilities; from then on both sides' count."""
        data = self.says(agent.AnnounceCapabilities.of(self.capabilities, request=request))
        self.common = self.capabilities & OWN_CAPABILITIES
        return data

    def hears(self, messages: Iterable[Message]) -> list[agent.AgentMessage]:
        """The agent messages that are complete with these messages of the client."""
        heard: list[agent.AgentMessage] = []
        for message in messages:
            if isinstance(message, main.AgentData):
                self.slices.append(bytes(message.data))
                frames = self._reader.feed(message.data)
                heard += [agent.decode(frame.type, frame.body, capabilities=self.common) for frame in frames]
        return heard
