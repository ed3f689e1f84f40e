"""What a simulation of our own servers needs of one: a process that is managed, killed and looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from spicehop.simulator.loop import ProcessLoop
from spicehop.simulator.network import End, Network
from spicehop.trace import Trace

HOST = "127.0.0.1"
"""Where all servers are; they have ports of their own."""


@dataclass(frozen=True, slots=True)
class HostSetup:
    """How a server is started."""

    name: str
    address: tuple[str, int]
    """Where its clients connect."""
    network: Network
    trace: Trace
    incoming: bool = False
    """It waits for a guest."""
    seamless: bool = True
    accepts_unannounced: bool = False
    knows_source: bool = True
    """Whoever comes over the direct link has shown that it is the source."""
    offer_seconds: float = 0.5
    """How often the guest offers a text."""
    text_size: int = 3000
    net_test_bytes: int = 256_000
    """Size of the ping that measures a client's link: a few pieces of the network are enough."""
    works_until: float = float("inf")
    """After that the guest draws and offers nothing by itself."""
    changed: Callable[[], None] = lambda: None
    """Called at once when the guest has begun to run or stands still, and when something in the process has failed."""


class HostedPort(Protocol):
    """The guest's port, which sends back what it gets."""

    received: bytearray
    unsent: bytearray


class HostedAgent(Protocol):
    """The guest's agent: it asks for each text that is offered, and offers texts."""

    grabs: int
    """Offers of clients."""
    texts: int
    """Texts that came."""
    torn: int
    """Texts that came and were not what a client had offered."""
    empty: int
    """Answers without a text."""
    asked: int
    given: int
    """Texts that clients have asked for."""
    fault: str
    """What was wrong with the stream; empty when nothing was."""


class HostedGuest(Protocol):
    """What a guest knows of itself."""

    running: bool
    refuses: bool
    """It does not come from elsewhere: what is to be loaded cannot be used."""
    bloated: bool
    """It is larger than what is taken."""
    pressed: list[int]
    """Codes of presses in order."""
    held: dict[int, None]
    dropped: list[int]
    """Codes of presses that came while it stood still."""

    @property
    def port(self) -> HostedPort:
        """Its port."""

    @property
    def agent(self) -> HostedAgent:
        """Its agent."""


class Host(Protocol):
    """A server in its process."""

    name: str
    address: tuple[str, int]
    loop: ProcessLoop
    listeners: list[Callable[[str, Mapping[str, object]], None]]
    on_death: list[Callable[[str], None]]
    death: str

    @property
    def guest(self) -> HostedGuest:
        """Its guest, whether it is here or not."""

    @property
    def alive(self) -> bool:
        """Whether the process runs."""

    @property
    def runs(self) -> bool:
        """Whether the guest runs here."""

    def perform(self, command: str, arguments: Mapping[str, object], answered: Callable[[object], None]) -> None:
        """Do a control command; `answered` gets what it returns, or the error that refuses it."""

    def die(self, why: str) -> None:
        """The process ends at once."""

    def unfinished(self) -> list[str]:
        """What is still under way, in words; nothing when the server is at rest."""

    def failures(self) -> list[str]:
        """What has gone wrong in the process that has not shown so far; nothing when nothing has."""

    def kept(self) -> int:
        """Bytes that are kept for clients."""

    def coming(self) -> dict[int, str]:
        """By number of their sessions, clients that come from elsewhere, and how far they are."""

    def ends(self, kind: int) -> list[End]:
        """Its ends of the connections of that kind of channel."""


MakeHost = Callable[[HostSetup], Host]
"""Starts a server. The simulator knows no server: whoever runs it says what one is."""
