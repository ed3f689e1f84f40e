"""A network on the virtual clock: in order, re-segmented at random, with windows, stalls, cuts and refusals.

Each connection has two ends. What one end sends arrives at the other after the latency, in pieces of random size, while
the other end reads. An end that closes with unread bytes resets the connection, as TCP does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from spicehop.simulator.clock import VirtualClock

WINDOW = 65536
"""Bytes that may be under way or unread in one direction; more waits at the sender."""

NEVER = float("inf")
FIRST_FREE_PORT = 49152


class Reader(Protocol):
    """What an end needs of its owner."""

    def data_received(self, end: End, data: bytes) -> None:
        """Bytes have come."""

    def connection_lost(self, end: End, reason: str) -> None:
        """Nothing more comes, and nothing can be sent."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """How good the network is."""

    latency: float = 0.001
    """Seconds one way."""
    jitter: float = 0.001
    """Seconds at most on top of it."""
    smallest_piece: int = 1
    largest_piece: int = 20000


class End:
    """One side of a connection."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.connection = connection
        self.name = name
        self.owner: Reader | None = None
        self.peer: End = self
        self.closed = False
        self.reason = ""
        """Why it is closed, where the network has closed it."""
        self.reading = True
        self.on_writable: Callable[[], None] | None = None
        """Called when a full window has room again."""
        self._backlog = bytearray()
        self._ending = False
        self._under_way = 0
        self._pieces: deque[bytes] = deque()
        self._arrived: deque[bytes] = deque()
        self.unread = 0
        """Bytes that have come and were not read."""
        self._last_arrival = 0.0
        self._discarding = False

    @property
    def writable(self) -> bool:
        """Whether the window has room."""
        return len(self._backlog) < WINDOW

    @property
    def unsent(self) -> int:
        """Bytes that wait for room in the window."""
        return len(self._backlog)

    def send(self, data: bytes) -> None:
        """Send bytes; what the window has no room for waits here."""
        if not self.closed and not self._ending:
            self._backlog += data
            self._push()

    def finish(self) -> None:
        """Send what is written and then the end; drop what still comes."""
        if not self.closed:
            self._discarding = True
            self._forget_arrived()
            self.resume()
            self._ending = True
            self._push()

    def close(self) -> None:
        """Close now. What was sent still arrives, unless there are unread bytes: those make it a reset."""
        if self.closed:
            return
        if self._arrived or self.peer._under_way or self.peer._backlog:
            self.connection.reset(f"reset by the {self.name}", by=self)
            return
        self._ending = True
        self._push()
        self.closed = True

    def pause(self) -> None:
        """Read nothing for now."""
        self.reading = False

    def resume(self) -> None:
        """Read again."""
        self.reading = True
        self.connection.network.clock.after(0, self.deliver)

    def lose(self, reason: str) -> None:
        """The connection is gone; tell the owner."""
        if self.closed:
            return
        self.closed = True
        self.reason = reason
        self._forget_arrived()
        self._backlog.clear()
        if self.owner is not None:
            self.owner.connection_lost(self, reason)

    def _forget_arrived(self) -> None:
        self._arrived.clear()
        self.unread = 0

    def _push(self) -> None:
        network = self.connection.network
        backlog, peer = self._backlog, self.peer
        smallest, largest = network.conditions.smallest_piece, network.conditions.largest_piece
        while backlog and self._under_way + peer.unread < WINDOW:
            piece = smallest + int(network.random.random() * (largest - smallest + 1))
            data = bytes(backlog[:piece])
            del backlog[:piece]
            self._under_way += len(data)
            self._schedule(data)
        if self._ending and not self._backlog:
            self._ending = False
            self._schedule(b"")

    def _schedule(self, data: bytes) -> None:
        network = self.connection.network
        clock, conditions = network.clock, network.conditions
        wait = conditions.latency + network.random.random() * conditions.jitter
        self._last_arrival = arrival = max(self._last_arrival, clock.now + wait, self.connection.stalled_until)
        self._pieces.append(data)
        if arrival < NEVER:
            clock.at(arrival, self._arrive)

    def _arrive(self) -> None:
        network = self.connection.network
        if self.connection.gone:
            return
        if network.clock.now < self.connection.stalled_until:  # stalled while it was under way
            self._last_arrival = max(self._last_arrival, self.connection.stalled_until)
            if self._last_arrival < NEVER:
                network.clock.at(self.connection.stalled_until, self._arrive)
            return
        data = self._pieces.popleft()  # the oldest, whichever this appointment was made for
        self._under_way -= len(data)
        peer = self.peer
        if peer.closed and data:
            self.connection.reset(f"reset by the {peer.name}", by=peer)
            return
        if not (peer._discarding and data):
            peer._arrived.append(data)
            peer.unread += len(data)
        peer.deliver()
        if self._backlog:
            self._refresh()

    def _refresh(self) -> None:
        """There may be room in the window for what waits."""
        was_full = not self.writable
        self._push()
        if was_full and self.writable and self.on_writable is not None:
            self.on_writable()

    def deliver(self) -> None:
        """Hand on what has come, if somebody reads."""
        while self._arrived and self.reading and not self.closed and (self.owner is not None or self._discarding):
            data = self._arrived.popleft()
            self.unread -= len(data)
            if not data:
                self.connection.gone = self.peer.closed
                self.lose(f"closed by the {self.peer.name}")
                return
            if self.owner is not None and not self._discarding:
                self.owner.data_received(self, data)
            if self.peer._backlog:
                self.peer._refresh()


class Connection:
    """Two ends and what is between them."""

    def __init__(self, network: Network, near: str, far: str, number: int, address: tuple[str, int] = ("", 0)) -> None:
        self.network = network
        self.number = number
        self.address = address
        """To where it was made."""
        self.near, self.far = End(self, near), End(self, far)
        self.near.peer, self.far.peer = self.far, self.near
        self.gone = False
        self.stalled_until = 0.0

    def reset(self, reason: str, *, by: End | None = None) -> None:
        """End the connection now; what is under way is lost. Where nothing arrives any more, the other end learns of it
        when its network gives up.
        """
        self.gone = True
        for end in (self.near, self.far):
            if end is by:
                end.closed = True
            elif by is None or self.stalled_until < float("inf"):
                end.lose(reason)

    def die_silently(self, near_after: float, far_after: float) -> None:
        """Nothing arrives any more, and each end is told that the network gave up after so many seconds."""
        clock = self.network.clock
        self.stalled_until = NEVER
        clock.after(near_after, lambda: self.near.lose("the network gave up"))
        clock.after(far_after, lambda: self.far.lose("the network gave up"))

    def stall(self, seconds: float) -> None:
        """Nothing arrives for a while."""
        self.stalled_until = max(self.stalled_until, self.network.clock.now + seconds)


Acceptor = Callable[[End], None]


class Network:
    """Addresses, and the connections between them."""

    def __init__(self, clock: VirtualClock, random: Random, conditions: Conditions | None = None) -> None:
        self.clock = clock
        self.random = random
        self.conditions = conditions or Conditions()
        self.connections: list[Connection] = []
        self.refusing: set[tuple[str, int]] = set()
        """Addresses that answer nobody any more."""
        self.hanging: dict[tuple[str, int], float] = {}
        """By address until when nothing arrives on connections that are made to it."""
        self.silent: dict[tuple[str, int], float] = {}
        """By address until when connections to it are neither made nor refused."""
        self._listeners: dict[tuple[str, int], tuple[str, Acceptor]] = {}
        self._free_port = FIRST_FREE_PORT

    def free_port(self) -> int:
        """A port that nobody has."""
        self._free_port += 1
        return self._free_port

    def listen(self, address: tuple[str, int], name: str, accept: Acceptor) -> None:
        """Hand connections to `address` to `accept`."""
        self._listeners[address] = (name, accept)

    def stop_listening(self, address: tuple[str, int]) -> None:
        """Nobody answers there any more."""
        self._listeners.pop(address, None)

    def addresses_of(self, name: str) -> list[tuple[str, int]]:
        """Where somebody listens."""
        return [address for address, (who, _) in self._listeners.items() if who == name]

    def answers(self, address: tuple[str, int]) -> bool:
        """Whether somebody answers there."""
        return address in self._listeners and address not in self.refusing

    def connect(
        self, name: str, address: tuple[str, int], made: Callable[[End], None], failed: Callable[[str], None]
    ) -> None:
        """Open a connection; one round trip later one of the two is called."""

        def try_it() -> None:
            silent_until = self.silent.get(address, 0.0)
            if silent_until > self.clock.now:
                self.clock.at(silent_until, try_it)
                return
            if not self.answers(address):
                self.clock.after(self.conditions.latency, lambda: failed("connection refused"))
                return
            far, accept = self._listeners[address]
            connection = Connection(self, name, far, len(self.connections) + 1, address)
            self.connections.append(connection)
            connection.stalled_until = self.hanging.get(address, 0.0)
            accept(connection.far)
            self.clock.after(self.conditions.latency, lambda: come(connection.near))

        def come(near: End) -> None:
            made(near)
            near.deliver()  # who accepts may speak first

        self.clock.after(self.conditions.latency, try_it)
