"""The target's side of a guest's migration, without I/O; one for each connection of a source.

Feed it events, carry out the commands in order, call `handle_timer` when `next_deadline` has come.
"""

from __future__ import annotations

from spicehop.channels.machine import Machine
from spicehop.errors import ProtocolError, StateError
from spicehop.migration.guest_moves import (
    DONE_LEASE,
    GREETING_LIMIT,
    LOAD_LIMIT,
    RUN_LEASE,
    STALL_LIMIT,
    BytesReceived,
    ConnectionEnded,
    Disconnect,
    GuestLoaded,
    LoadGuest,
    MoveCommand,
    MoveEvent,
    RunArrived,
    SendBytes,
    StandStill,
    StatusChanged,
    WritingPaused,
    WritingResumed,
)
from spicehop.migration.guest_pages import PageStore
from spicehop.migration.guest_tables import ARRIVAL, ARRIVAL_OVER, ArrivalAction, ArrivalInput, ArrivalState
from spicehop.wire import guest_stream as stream


class Arrival:
    """One guest's way in. It begins when a source has connected."""

    def __init__(self, guest: str, now: float) -> None:
        self.error = ""
        """Why it failed."""
        self._guest = guest
        self._machine = Machine("the guest's arrival", ARRIVAL, ArrivalState.GREETING)
        self._now = now
        self._limit: float | None = now + GREETING_LIMIT
        self._reader = stream.FrameReader()
        self._store = PageStore()
        self._ran = False
        self._commands: list[MoveCommand] = [SendBytes(stream.PREAMBLE)]

    @property
    def state(self) -> ArrivalState:
        """Where it stands."""
        return self._machine.state

    @property
    def over(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.state in ARRIVAL_OVER

    def feed(self, event: MoveEvent, now: float) -> tuple[MoveCommand, ...]:
        """What is to be done about it. After the end nothing is."""
        self._now = max(now, self._now)
        if not self.over:
            try:
                self._take(event)
            except ProtocolError as error:
                self._fail(ArrivalInput.FAULT, str(error))
        return self._drained()

    def next_deadline(self) -> float | None:
        """When `handle_timer` is to be called, if nothing happens before."""
        return self._limit

    def handle_timer(self, now: float) -> tuple[MoveCommand, ...]:
        """What is to be done because time has passed; calling it early does no harm."""
        self._now = max(now, self._now)
        if self._limit is not None and self._limit <= self._now:
            self._fail(ArrivalInput.TIME_UP, "the source did not go on in time")
        return self._drained()

    # -- events -----------------------------------------------------------------------------------------------------

    def _take(self, event: MoveEvent) -> None:
        match event:
            case BytesReceived(data):
                for frame in self._reader.feed(data):
                    if not self.over:
                        self._frame_received(frame)
            case ConnectionEnded(reason):
                self._fail(ArrivalInput.FAULT, reason)
            case GuestLoaded(failure):
                if failure:
                    self._fail(ArrivalInput.FAULT, failure)
                else:
                    self._step(ArrivalInput.LOADED)
            case WritingPaused() | WritingResumed():
                pass  # it says little
            case _:
                raise StateError(f"{type(event).__name__} does not happen to a guest that comes")

    def _frame_received(self, frame: stream.Frame) -> None:
        # RUN must come within its lease, however it was delayed on its way, and DONE too.
        if self.state in (ArrivalState.LOADED, ArrivalState.LEASED) and self._limit is not None:
            if self._limit <= self._now:
                self._fail(ArrivalInput.TIME_UP, "the source went on too late")
                return
        elif self.state is ArrivalState.RECEIVING:
            self._limit = self._now + STALL_LIMIT
        match frame:
            case stream.Hello():
                self._hello_received(frame)
            case stream.Page():
                self._step(ArrivalInput.PAGE)
                self._store.take(frame)
            case stream.End():
                self._step(ArrivalInput.END)
                self._ran = bool(frame.runs)
                self._commands.append(LoadGuest(self._store.complete(frame)))
            case stream.Run():
                self._step(ArrivalInput.RUN)
            case stream.Done():
                self._step(ArrivalInput.DONE)
            case stream.Failed():
                self._fail(ArrivalInput.FAULT, f"the source says: {stream.reason_of(frame)}")
            case stream.Alive():
                pass
            case _:
                raise ProtocolError(f"the source has sent {type(frame).__name__}, which only a target may")

    def _hello_received(self, hello: stream.Hello) -> None:
        if self.state is ArrivalState.GREETING:
            if hello.oldest > stream.NEWEST or hello.newest < stream.OLDEST:
                raise ProtocolError(
                    f"the source speaks versions {hello.oldest} to {hello.newest} of the stream, "
                    f"and this server {stream.OLDEST} to {stream.NEWEST}"
                )
            if bytes(hello.guest) != self._guest.encode()[:255]:
                named = bytes(hello.guest).decode(errors="replace")
                raise ProtocolError(f"the guest is of the kind {named!r}, and here is one of {self._guest!r}")
        self._version = min(hello.newest, stream.NEWEST)
        self._step(ArrivalInput.HELLO)

    def _fail(self, happened: ArrivalInput, reason: str) -> None:
        self.error = self.error or reason
        self._step(happened)

    # -- the table ----------------------------------------------------------------------------------------------------

    def _step(self, happened: ArrivalInput) -> None:
        _ACTIONS[self._machine.step(happened)](self)

    def _welcome(self) -> None:
        self._limit = self._now + STALL_LIMIT
        self._tell("active")
        self._send(stream.Welcome(self._version))

    def _store_page(self) -> None:
        """Done by who has the page."""

    def _load(self) -> None:
        self._limit = self._now + LOAD_LIMIT

    def _confirm(self) -> None:
        self._limit = self._now + RUN_LEASE
        self._store = PageStore()
        self._send(stream.Loaded())

    def _run(self) -> None:
        self._limit = self._now + DONE_LEASE
        self._send(stream.Running())  # first: the source tells its clients to go while the guest is set going here
        self._commands.append(RunArrived(self._ran))

    def _keep(self) -> None:
        self._limit = None
        self._tell("completed")
        self._commands.append(Disconnect())

    def _forget(self) -> None:
        self._limit = None
        self._store = PageStore()
        self._send(stream.failed(self.error))
        self._tell("failed")
        self._commands.append(Disconnect())

    def _stand_still(self) -> None:
        self._limit = None
        self._commands.append(StandStill())
        self._send(stream.failed(self.error))
        self._tell("failed")
        self._commands.append(Disconnect())

    def _send(self, frame: stream.Frame) -> None:
        self._commands.append(SendBytes(stream.encode_frame(frame)))

    def _tell(self, status: str) -> None:
        self._commands.append(StatusChanged(status))

    def _drained(self) -> tuple[MoveCommand, ...]:
        commands, self._commands = tuple(self._commands), []
        return commands


_ACTIONS = {
    ArrivalAction.WELCOME: Arrival._welcome,
    ArrivalAction.STORE: Arrival._store_page,
    ArrivalAction.LOAD: Arrival._load,
    ArrivalAction.CONFIRM: Arrival._confirm,
    ArrivalAction.RUN: Arrival._run,
    ArrivalAction.KEEP: Arrival._keep,
    ArrivalAction.FORGET: Arrival._forget,
    ArrivalAction.STAND_STILL: Arrival._stand_still,
}
