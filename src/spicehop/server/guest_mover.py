"""The connection on which a guest moves: carries out what a `Departure` or an `Arrival` wants."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, assert_never, cast

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
    RunArrived,
    SendBytes,
    StandStill,
    StateTaken,
    StatusChanged,
    StopGuest,
    TakeState,
    WritingPaused,
    WritingResumed,
)

CLOSE_SECONDS = 2.0
"""For the last words to go out."""


class GuestKeeper(Protocol):
    """What a mover needs of who has the guest."""

    def draft(self) -> bytes:
        """The guest's state as of now, while it runs; empty when that is not known."""

    def stand(self) -> tuple[bytes, bool]:
        """Stop the guest; its state, and whether it ran."""

    def let_run_again(self, *, ran: bool) -> None:
        """The guest stays."""

    def let_go(self) -> None:
        """The guest has moved."""

    def load(self, state: bytes) -> str:
        """Take a guest in, standing still; why it cannot be, or nothing."""

    def run_arrived(self, *, ran: bool) -> None:
        """The guest is here."""

    def stand_still(self) -> None:
        """The guest is here, and may be the source's all the same."""

    def status_changed(self, mover: GuestMover, status: str) -> None:
        """QMP's word for where it is."""


class GuestMover(asyncio.Protocol):
    """One connection with its machine."""

    def __init__(self, machine: Departure | Arrival, keeper: GuestKeeper, clock: Callable[[], float]) -> None:
        self.machine = machine
        self.status = "none"
        self.ended = asyncio.Event()
        """The machine has come to its end."""
        self._keeper = keeper
        self._clock = clock
        self._other = "target" if isinstance(machine, Departure) else "source"
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def feed(self, event: MoveEvent) -> None:
        """Something has happened."""
        self._carry_out(self.machine.feed(event, self._clock()))

    def begin(self) -> None:
        """Carry out what the machine wants before anything has happened."""
        self._time_passed()

    def close(self) -> None:
        """The server ends. Where the other server may run the guest all the same, it does not run here any more."""
        if not (self.machine.over or self._closing):
            self.feed(ConnectionEnded("the server ends"))
        if self._timer is not None:
            self._timer.cancel()

    # -- for the loop -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.machine.over:  # it was cancelled meanwhile
            self._transport.abort()
        elif isinstance(self.machine, Departure):
            self.feed(Connected())
        else:
            self._time_passed()

    def data_received(self, data: bytes) -> None:
        if not self._closing:
            self.feed(BytesReceived(data))

    def eof_received(self) -> bool:
        if not self._closing:
            self.feed(ConnectionEnded(f"the {self._other} has closed the connection", closed=True))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closing:
            # A reset comes from the other side's system, and only when its process has let go of the connection.
            closed = isinstance(exc, ConnectionResetError | BrokenPipeError)
            reason = str(exc) if exc is not None else f"the {self._other} has closed the connection"
            self.feed(ConnectionEnded(reason, closed=closed))
        self._transport = None

    def pause_writing(self) -> None:
        self.feed(WritingPaused())

    def resume_writing(self) -> None:
        self.feed(WritingResumed())

    # -- commands -----------------------------------------------------------------------------------------------------

    def _time_passed(self) -> None:
        self._timer = None
        self._carry_out(self.machine.handle_timer(self._clock()))

    def _carry_out(self, commands: tuple[MoveCommand, ...]) -> None:
        waiting = deque(commands)
        while waiting:
            answer = self._perform(waiting.popleft())
            if answer is not None:
                waiting.extendleft(reversed(self.machine.feed(answer, self._clock())))
        deadline = self.machine.next_deadline()
        if self._timer is not None and (deadline is None or deadline < self._due):
            self._timer.cancel()
            self._timer = None
        # A timer that is early only asks the machine again: most deadlines move on with each piece that comes.
        if deadline is not None and self._timer is None:
            self._due = deadline
            delay = max(0.0, deadline - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._time_passed)
        if self.machine.over:
            self.ended.set()

    def _perform(self, command: MoveCommand) -> MoveEvent | None:
        match command:
            case SendBytes(data):
                if self._transport is not None and not self._closing:
                    self._transport.write(data)
            case Disconnect():
                self._disconnect()
            case TakeState():
                return StateTaken(self._keeper.draft())
            case StopGuest():
                return GuestStood(*self._keeper.stand())
            case LetRunAgain(ran):
                self._keeper.let_run_again(ran=ran)
            case LetGo():
                self._keeper.let_go()
            case LoadGuest(state):
                return GuestLoaded(self._keeper.load(state))
            case RunArrived(ran):
                self._keeper.run_arrived(ran=ran)
            case StandStill():
                self._keeper.stand_still()
            case StatusChanged(status):
                self.status = status
                self._keeper.status_changed(self, status)
            case _:
                assert_never(command)
        return None

    def _disconnect(self) -> None:
        if self._transport is not None and not self._closing:
            self._transport.close()
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)
        self._closing = True
