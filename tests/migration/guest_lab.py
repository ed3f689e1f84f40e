"""Two servers without I/O that move a guest between them: virtual time, a connection that can be delayed and cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from spicehop.errors import ProtocolError
from spicehop.guests.demo import DemoGuest
from spicehop.migration.arrival import Arrival
from spicehop.migration.departure import Departure
from spicehop.migration.guest_moves import (
    BytesReceived,
    Connected,
    ConnectionEnded,
    Disconnect,
    GuestLoaded,
    GuestStood,
    LetGo,
    LetRunAgain,
    LoadGuest,
    MoveCommand,
    MoveEvent,
    MoveSettings,
    RunArrived,
    SendBytes,
    StandStill,
    StateTaken,
    StatusChanged,
    StopGuest,
    TakeState,
)

KIND = "demo"


@dataclass
class Side:
    """One server."""

    machine: Departure | Arrival
    guest: DemoGuest
    statuses: list[str] = field(default_factory=list)
    gone: bool = False
    """The guest has left."""
    closed: bool = False
    """It has closed the connection."""
    dead: bool = False
    """Its process was killed."""


class GuestLab:
    """The source, the target and what lies between them.

    Each piece that is written arrives `delay` later; `run` goes on until nothing is due. After each step the invariant
    is checked: at most one guest runs.
    """

    def __init__(
        self, source: DemoGuest, target: DemoGuest, settings: MoveSettings | None = None, *, delay: float = 0.001
    ) -> None:
        self.now = 100.0
        self.delay = delay
        self.source = Side(Departure(KIND, settings or MoveSettings(), self.now), source)
        self.target = Side(Arrival(KIND, self.now), target)
        self.before: Callable[[Side, MoveCommand], None] = lambda side, command: None
        """Called before each command is carried out."""
        self.swallowed = False
        """Whether the network takes bytes and loses them."""
        self._flight: deque[tuple[float, Side, MoveEvent]] = deque()
        for side in (self.source, self.target):
            self._carry_out(side, side.machine.handle_timer(self.now))

    def connect(self) -> None:
        """The source reaches the target."""
        self.feed(self.source, Connected())

    def feed(self, side: Side, event: MoveEvent) -> None:
        """Something happens at one side."""
        if not side.dead:
            self._carry_out(side, side.machine.feed(event, self.now))

    def kill(self, side: Side) -> None:
        """The process ends at once; the other side's system says so."""
        side.dead = True
        if side.guest.running:
            side.guest.stop(self.now)
        if not self.swallowed:
            other = self._other(side)
            self._flight.append((self.now + self.delay, other, ConnectionEnded("the process was killed", closed=True)))

    def step(self) -> bool:
        """The next thing that is due; False when nothing is."""
        due = [entry[0] for entry in self._flight]
        for side in (self.source, self.target):
            deadline = side.machine.next_deadline()
            if deadline is not None and not side.dead:
                due.append(deadline)
        if not due:
            return False
        self.now = max(self.now, min(due))
        for side in (self.source, self.target):
            side.guest.advance(self.now)
        if self._flight and self._flight[0][0] <= self.now:
            _, side, event = self._flight.popleft()
            self.feed(side, event)
        else:
            for side in (self.source, self.target):
                if not side.dead:
                    self._carry_out(side, side.machine.handle_timer(self.now))
        assert not (self.source.guest.running and self.target.guest.running), "two guests run"
        return True

    def run(self, until: Callable[[], bool] = lambda: False, *, steps: int = 20_000) -> None:
        """Go on until nothing is due, or until something is so."""
        for _ in range(steps):
            if until() or not self.step():
                return
        raise AssertionError("it does not come to an end")

    def _other(self, side: Side) -> Side:
        return self.target if side is self.source else self.source

    def _carry_out(self, side: Side, commands: tuple[MoveCommand, ...]) -> None:
        waiting = deque(commands)
        while waiting:
            command = waiting.popleft()
            self.before(side, command)
            if side.dead:
                return
            answer = self._perform(side, command)
            if answer is not None:
                waiting.extendleft(reversed(side.machine.feed(answer, self.now)))

    def _perform(self, side: Side, command: MoveCommand) -> MoveEvent | None:
        guest = side.guest
        match command:
            case SendBytes(data):
                self._send(side, BytesReceived(data))
            case Disconnect():
                self._send(side, ConnectionEnded("the other side has closed the connection", closed=True))
                side.closed = True
            case TakeState():
                return StateTaken(guest.draft())
            case StopGuest():
                ran = guest.running
                guest.stop(self.now)
                return GuestStood(guest.save(), ran)
            case LetRunAgain(ran) | RunArrived(ran):
                if ran:
                    guest.run(self.now)
            case LetGo():
                side.gone = True
            case StandStill():
                guest.stop(self.now)
            case StatusChanged(status):
                side.statuses.append(status)
            case LoadGuest(state):
                try:
                    guest.load(state)
                except ProtocolError as error:
                    return GuestLoaded(str(error))
                return GuestLoaded()
        return None

    def _send(self, side: Side, event: MoveEvent) -> None:
        other = self._other(side)
        if not side.closed and not other.closed and not self.swallowed:
            self._flight.append((self.now + self.delay, other, event))
