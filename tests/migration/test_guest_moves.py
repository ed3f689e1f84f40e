"""A guest moves between two servers: what it becomes there, and where it is when something goes wrong."""

from __future__ import annotations

import numpy as np
import pytest
from guest_lab import KIND, GuestLab, Side
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.channels.machine import Machine
from spicehop.errors import ProtocolError, StateError
from spicehop.guests.demo import DemoGuest
from spicehop.migration.arrival import Arrival
from spicehop.migration.departure import Departure
from spicehop.migration.guest_moves import (
    CONFIRM_LIMIT,
    DONE_LEASE,
    RUN_LEASE,
    STALL_LIMIT,
    BytesReceived,
    CancelRequested,
    Connected,
    ConnectionEnded,
    ContinueRequested,
    LetGo,
    LetRunAgain,
    MoveCommand,
    MoveSettings,
    RunArrived,
    SendBytes,
    StateTaken,
    WritingPaused,
    WritingResumed,
)
from spicehop.migration.guest_pages import PageLedger, PageStore, end_of
from spicehop.migration.guest_tables import (
    ARRIVAL,
    ARRIVAL_OVER,
    DEPARTED,
    DEPARTURE,
    ArrivalInput,
    ArrivalState,
    DepartureInput,
    DepartureState,
)
from spicehop.wire import guest_stream as stream

SIZE = (320, 240)
SLOW = MoveSettings(max_bandwidth=1000, downtime_limit=0)
"""The guest changes all the time, so that this never comes to an end."""


def running_guest(log: list[str] | None = None) -> DemoGuest:
    guest = DemoGuest(*SIZE, log=None if log is None else log.append)
    guest.run(100.0)
    return guest


def lab(settings: MoveSettings | None = None, *, delay: float = 0.001) -> GuestLab:
    return GuestLab(running_guest(), DemoGuest(*SIZE), settings, delay=delay)


def moving(settings: MoveSettings | None = None, *, delay: float = 0.001) -> GuestLab:
    made = lab(settings, delay=delay)
    made.connect()
    return made


# -- the way there --------------------------------------------------------------------------------------------------


def test_statuses_are_those_of_qemu() -> None:
    way = moving()
    way.run()
    assert way.source.statuses == ["setup", "active", "completed"]
    assert way.target.statuses == ["active", "completed"]
    assert (way.source.guest.running, way.target.guest.running, way.source.gone) == (False, True, True)


def test_statuses_with_a_pause() -> None:
    way = moving(MoveSettings(pause_before_switchover=True))
    way.run(lambda: way.source.machine.state is DepartureState.PAUSED)
    assert not way.source.guest.running
    begin = way.now
    way.run(lambda: way.now > begin + 3 * STALL_LIMIT)
    assert way.source.machine.state is DepartureState.PAUSED, "management may take its time"
    way.feed(way.source, ContinueRequested())
    way.run()
    assert way.source.statuses == ["setup", "active", "pre-switchover", "device", "completed"]
    assert way.target.guest.running


def test_a_guest_that_stands_still_arrives_so() -> None:
    way = lab()
    way.source.guest.stop(100.0)
    way.connect()
    way.run()
    assert way.source.gone
    assert not way.target.guest.running


@given(st.lists(st.sampled_from([b"\x1e", b"\x9e", b"\x30", b"\xb0", b"\x2a", b"\xaa", b"\x39", b"\xb9"]), max_size=12))
@settings(max_examples=15, deadline=None)
def test_it_is_as_if_it_had_never_moved(keys: list[bytes]) -> None:
    """Pixels, port bytes, log and all the rest of its state, with input before and after the move."""
    logs: dict[str, list[str]] = {"moved": [], "stayed": []}
    half = len(keys) // 2
    way = GuestLab(running_guest(logs["moved"]), DemoGuest(*SIZE, log=logs["moved"].append))
    stayed = running_guest(logs["stayed"])
    echoes: dict[str, bytes] = {"moved": b"", "stayed": b""}

    def use(guest: DemoGuest, name: str, part: list[bytes], at: float) -> None:
        for scancode in part:
            guest.key(scancode)
        guest.devices.ports[0].write(bytes(part[0]) * 100 if part else b"?")
        guest.advance(at)
        echoes[name] += guest.devices.ports[0].read(40)

    use(way.source.guest, "moved", keys[:half], 100.0)
    use(stayed, "stayed", keys[:half], 100.0)
    stopped: list[float] = []

    def note(side: Side, command: MoveCommand) -> None:
        if isinstance(command, RunArrived):
            stopped.append(way.now)

    figures = way.source.machine
    way.before = note
    way.connect()
    while way.step():
        if not stopped and way.source.guest.running:
            stayed.advance(way.now)
    assert isinstance(figures, Departure)
    assert figures.figures.stopped is not None
    stayed.stop(figures.figures.stopped)
    stayed.run(stopped[0])
    for guest in (way.target.guest, stayed):
        guest.advance(way.now + 1)
    use(way.target.guest, "moved", keys[half:], way.now + 1)
    use(stayed, "stayed", keys[half:], way.now + 1)
    for guest in (way.target.guest, stayed):
        guest.stop(way.now + 2)
    assert np.array_equal(way.target.guest.displays[0].pixels, stayed.displays[0].pixels)
    assert logs["moved"] == logs["stayed"]
    assert echoes["moved"] == echoes["stayed"]


def test_most_of_the_state_goes_while_the_guest_runs() -> None:
    way = lab(MoveSettings(max_bandwidth=100_000))
    for device in way.source.guest.devices.usbredir:
        device.write(bytes(range(256)) * 200)
    way.connect()
    ahead: list[int] = []

    def note(side: Side, command: MoveCommand) -> None:
        if side is way.source and isinstance(command, SendBytes) and side.guest.running:
            ahead.append(len(command.data))

    way.before = note
    way.run()
    machine = way.source.machine
    assert isinstance(machine, Departure)
    assert way.target.guest.running
    assert sum(ahead) > machine.figures.transferred * 0.7 > 35_000
    assert way.now > 100.4, "it goes no faster than it may"


# -- cancelling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", range(40))
def test_it_can_be_cancelled_at_every_step(steps: int) -> None:
    way = moving(delay=0.01)
    for _ in range(steps):
        way.step()
    decided = way.source.machine.state in (DepartureState.STARTING, DepartureState.MOVED)
    way.feed(way.source, CancelRequested())
    way.run()
    assert way.source.guest.running is not decided
    assert way.target.guest.running is decided
    if not decided:
        assert way.source.statuses[-2:] == ["cancelling", "cancelled"]
        assert way.target.statuses[-1:] == ["failed"]


def test_a_slow_one_can_be_cancelled() -> None:
    way = moving(SLOW)
    way.run(lambda: way.now > 101)
    assert way.source.statuses[-1] == "active"
    way.feed(way.source, CancelRequested())
    way.run()
    assert way.source.guest.running


def test_a_slow_one_can_be_hurried() -> None:
    way = moving(SLOW)
    way.run(lambda: way.now > 101)
    assert way.source.statuses[-1] == "active"
    assert isinstance(way.source.machine, Departure)
    way.source.machine.settings = MoveSettings(max_bandwidth=0)
    way.run()
    assert way.target.guest.running


# -- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", range(40))
def test_the_target_may_be_killed_at_every_step(steps: int) -> None:
    """The guest then runs at the source, unless the target had said that it runs there."""
    way = moving(delay=0.01)
    for _ in range(steps):
        way.step()
    way.kill(way.target)
    way.run()
    assert way.source.guest.running is not way.source.gone
    assert way.source.statuses[-1] == ("completed" if way.source.gone else "failed")


@pytest.mark.parametrize("steps", range(40))
def test_the_source_may_be_killed_at_every_step(steps: int) -> None:
    way = moving(delay=0.01)
    for _ in range(steps):
        way.step()
    way.kill(way.source)
    way.run()
    arrived = way.target.machine.state is ArrivalState.ARRIVED
    assert way.target.guest.running is arrived


@pytest.mark.parametrize("steps", range(40))
def test_the_network_may_swallow_everything_from_every_step_on(steps: int) -> None:
    """Nobody is told anything. At most one guest runs at any time: the lab asserts it at each step."""
    way = moving(delay=0.01)
    for _ in range(steps):
        way.step()
    way.swallowed = True
    way._flight.clear()
    way.run()
    assert way.source.machine.over
    assert way.source.guest.running is not way.source.gone
    assert way.target.machine.over


def test_the_source_outwaits_the_leases() -> None:
    assert CONFIRM_LIMIT > (RUN_LEASE + DONE_LEASE) * 4 / 3


def test_a_target_that_talks_nonsense_after_run_is_outwaited() -> None:
    way = moving(delay=0.01)
    way.run(lambda: way.source.machine.state is DepartureState.STARTING)
    begin = way.now
    way.feed(way.source, BytesReceived(b"nonsense that is no frame"))
    assert not way.source.guest.running
    way.run()
    assert way.source.guest.running
    assert not way.target.guest.running
    assert way.now >= begin + CONFIRM_LIMIT - 0.1


def test_a_target_that_gives_up_counts_also_when_it_is_read_late() -> None:
    way = moving(delay=0.01)
    way.run(lambda: way.source.machine.state is DepartureState.STARTING)
    both = stream.encode_frame(stream.Running()) + stream.encode_frame(stream.failed("no DONE came"))
    way.feed(way.source, BytesReceived(both))
    assert way.source.guest.running


def test_a_run_that_comes_too_late_is_not_obeyed() -> None:
    way = moving(delay=0.01)
    way.run(lambda: way.target.machine.state is ArrivalState.LOADED)
    way.now += RUN_LEASE + 1
    way.feed(way.target, BytesReceived(stream.encode_frame(stream.Run())))
    assert not way.target.guest.running
    assert way.target.machine.state is ArrivalState.FAILED


def test_a_target_that_takes_nothing_is_given_up() -> None:
    way = moving(SLOW)
    way.run(lambda: way.now > 100.5)
    way.feed(way.source, WritingPaused())
    way.feed(way.source, WritingResumed())
    way.feed(way.source, WritingPaused())
    way.run()
    assert way.source.statuses[-1] == "failed"
    assert way.source.guest.running
    assert way.source.machine.error == "the target takes nothing any more"


def test_nobody_answers() -> None:
    way = lab()
    way.feed(way.source, ConnectionEnded("Failed to connect to 'x': Connection refused", closed=True))
    assert way.source.statuses == ["setup", "failed"]
    assert way.source.guest.running


def test_a_guest_of_another_size_is_taken_and_a_damaged_one_is_not() -> None:
    source = running_guest()
    way = GuestLab(source, DemoGuest(640, 480))
    way.connect()
    way.run()
    assert way.target.guest.displays[0].pixels.shape[:2] == (240, 320)
    arrival = Arrival(KIND, 0.0)
    arrival.feed(BytesReceived(stream.PREAMBLE + stream.encode_frame(stream.Hello(1, 1, KIND.encode()))), 0.0)
    arrival.feed(BytesReceived(stream.encode_frame(stream.Page(0, b"state"))), 0.0)
    arrival.feed(BytesReceived(stream.encode_frame(end_of(b"other", runs=True))), 0.0)
    assert arrival.error == "the guest's state is not what the source has sent"


# -- versions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("oldest", "newest", "kind", "reason"),
    [
        (2, 9, KIND, "the source speaks versions 2 to 9 of the stream, and this server 1 to 1"),
        (0, 0, KIND, "the source speaks versions 0 to 0 of the stream, and this server 1 to 1"),
        (1, 1, "other", "the guest is of the kind 'other', and here is one of 'demo'"),
        (1, 9, KIND, ""),
    ],
)
def test_versions_and_kinds_agree_or_a_reason_is_told(oldest: int, newest: int, kind: str, reason: str) -> None:
    arrival = Arrival(KIND, 0.0)
    hello = stream.encode_frame(stream.Hello(oldest, newest, kind.encode()))
    commands = arrival.feed(BytesReceived(stream.PREAMBLE + hello), 0.0)
    sent = stream.FrameReader().feed(b"".join(one.data for one in commands if isinstance(one, SendBytes)))
    assert arrival.error == reason
    assert isinstance(sent[0], stream.Failed if reason else stream.Welcome)
    if reason:
        way = lab()
        way.feed(way.source, Connected())
        way.feed(way.source, BytesReceived(stream.PREAMBLE + stream.encode_frame(sent[0])))
        assert way.source.machine.error == f"the target says: {reason}"


# -- tables and bad bytes -------------------------------------------------------------------------------------------


def test_each_pair_of_the_departure_is_taken_or_refused() -> None:
    for state in DepartureState:
        for happened in DepartureInput:
            machine = Machine("departure", DEPARTURE, state)
            if machine.takes(happened):
                machine.step(happened)
                assert state not in DEPARTED
            else:
                with pytest.raises(StateError):
                    machine.step(happened, from_peer=False)
    states = DepartureState
    for state in set(states) - DEPARTED - {states.STOPPING}:  # a guest is stopped within one call
        assert {(state, DepartureInput.REFUSED), (state, DepartureInput.CANCELLED)} <= DEPARTURE.keys()
    for state in set(states) - DEPARTED - {states.CONNECTING, states.DOUBTING}:  # nothing comes then
        assert (state, DepartureInput.FAULT) in DEPARTURE
    limited = {state for state, happened in DEPARTURE if happened is DepartureInput.TIME_UP}
    assert limited == {states.CONNECTING, states.GREETING, states.LOADING, states.STARTING, states.DOUBTING}


def test_each_pair_of_the_arrival_is_taken_or_refused() -> None:
    for state in ArrivalState:
        for happened in ArrivalInput:
            machine = Machine("arrival", ARRIVAL, state)
            if machine.takes(happened):
                machine.step(happened)
                assert state not in ARRIVAL_OVER
            else:
                with pytest.raises(ProtocolError):
                    machine.step(happened)


FRAMES = st.sampled_from(
    [
        stream.Hello(1, 1, KIND.encode()),
        stream.Welcome(1),
        stream.Failed(b"no"),
        stream.Page(0, b"x" * 4096),
        stream.Page(4096, b"y"),
        stream.Page(2**32 - 1, b"z"),
        end_of(b"x", runs=True),
        stream.Loaded(),
        stream.Run(),
        stream.Running(),
        stream.Done(),
        stream.Alive(),
    ]
)


@given(st.lists(FRAMES, max_size=20), st.binary(max_size=20))
@settings(max_examples=150, deadline=None)
def test_no_order_of_frames_raises_or_doubles_the_guest(frames: list[stream.Frame], noise: bytes) -> None:
    data = stream.PREAMBLE + b"".join(map(stream.encode_frame, frames)) + noise
    departure, arrival = Departure(KIND, MoveSettings(), 0.0), Arrival(KIND, 0.0)
    departure.feed(Connected(), 0.0)
    commands = [*departure.feed(BytesReceived(data), 0.0), *departure.feed(StateTaken(b"s"), 0.0)]
    assert not any(isinstance(command, LetGo) for command in commands), "it never stopped"
    assert not any(isinstance(command, LetRunAgain) for command in commands)
    arrived = arrival.feed(BytesReceived(data), 0.0)
    assert not any(isinstance(command, RunArrived) for command in arrived), "nothing was loaded"


@given(st.lists(st.binary(max_size=3 * stream.PAGE_BYTES), max_size=6))
@settings(max_examples=60, deadline=None)
def test_pages_make_the_last_state(states: list[bytes]) -> None:
    ledger, store = PageLedger(), PageStore()
    for state in states:
        for page in ledger.rest(state):
            store.take(page)
        assert store.complete(end_of(state, runs=True)) == state
        assert ledger.changed(state) == []


def test_pages_leave_no_hole_and_have_a_limit() -> None:
    store = PageStore(limit=10)
    for page in (stream.Page(1, b"x"), stream.Page(0, b"x" * 11)):
        with pytest.raises(ProtocolError):
            store.take(page)
    store.take(stream.Page(0, b"x" * 10))
    with pytest.raises(ProtocolError):
        store.complete(end_of(b"x" * 11, runs=True))
