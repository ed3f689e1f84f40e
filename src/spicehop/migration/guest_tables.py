"""How a guest leaves a server and arrives at another: two machines as tables.

At most one of the two guests runs at any time. The source stops its guest, sends the rest of its state, hears LOADED
and says RUN: from then on the target may let its guest run, but only for a short lease, until it has heard DONE. The
source lets go when it has heard RUNNING. When it does not hear that, it waits until the target's lease has certainly
ended (or the target has closed the connection, which it does only when its guest stands still) and then lets its own
guest run again.
"""

from __future__ import annotations

from enum import Enum


class DepartureState(Enum):
    """Where a guest that leaves stands."""

    CONNECTING = "Connecting"
    GREETING = "AwaitingWelcome"
    SENDING = "SendingAhead"
    """The guest runs, and its state goes ahead."""
    STOPPING = "StoppingGuest"
    PAUSED = "AwaitingContinue"
    """The guest stands still until management wants it to go on (pause-before-switchover)."""
    LOADING = "AwaitingLoaded"
    STARTING = "AwaitingRunning"
    DOUBTING = "OutwaitingLease"
    """Something is wrong with the way back, and the target may still run its guest."""
    MOVED = "Moved"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class DepartureInput(Enum):
    """What happened to it."""

    CONNECTED = "connected"
    WELCOMED = "WELCOME received"
    CONVERGED = "little enough is left to send"
    STOOD = "guest stopped"
    STOOD_TO_WAIT = "guest stopped, and management wants to be asked"
    CONTINUED = "continue requested"
    LOADED = "LOADED received"
    RUNNING = "RUNNING received"
    CANCELLED = "cancel requested"
    REFUSED = "target gone, or FAILED received"
    """The target's guest does not run."""
    FAULT = "fault on the way"
    TIME_UP = "time over"


class DepartureAction(Enum):
    """What is done."""

    GREET = "say HELLO"
    SEND_AHEAD = "send state while the guest runs"
    STOP = "stop the guest"
    PAUSE = "wait for management"
    SEND_REST = "send what is left, and END"
    LET_RUN = "say RUN"
    LET_GO = "say DONE, and the guest has moved"
    GIVE_UP = "end, and the guest runs on"
    GO_BACK = "end, and let the guest run again"
    CANCEL = "end as cancelled, and the guest runs on"
    CANCEL_AND_GO_BACK = "end as cancelled, and let the guest run again"
    OUTWAIT = "close, and wait until the target's lease is over"
    NOTE = "too late for that"


def _departure() -> dict[tuple[DepartureState, DepartureInput], tuple[DepartureAction, DepartureState]]:
    states, inputs, actions = DepartureState, DepartureInput, DepartureAction
    rows = {
        (states.CONNECTING, inputs.CONNECTED): (actions.GREET, states.GREETING),
        (states.GREETING, inputs.WELCOMED): (actions.SEND_AHEAD, states.SENDING),
        (states.SENDING, inputs.CONVERGED): (actions.STOP, states.STOPPING),
        (states.STOPPING, inputs.STOOD): (actions.SEND_REST, states.LOADING),
        (states.STOPPING, inputs.STOOD_TO_WAIT): (actions.PAUSE, states.PAUSED),
        (states.PAUSED, inputs.CONTINUED): (actions.SEND_REST, states.LOADING),
        (states.LOADING, inputs.LOADED): (actions.LET_RUN, states.STARTING),
        (states.STARTING, inputs.RUNNING): (actions.LET_GO, states.MOVED),
        (states.STARTING, inputs.REFUSED): (actions.GO_BACK, states.FAILED),
        (states.STARTING, inputs.TIME_UP): (actions.GO_BACK, states.FAILED),
        (states.STARTING, inputs.FAULT): (actions.OUTWAIT, states.DOUBTING),
        (states.STARTING, inputs.CANCELLED): (actions.NOTE, states.STARTING),
        (states.DOUBTING, inputs.REFUSED): (actions.GO_BACK, states.FAILED),
        (states.DOUBTING, inputs.TIME_UP): (actions.GO_BACK, states.FAILED),
        (states.DOUBTING, inputs.CANCELLED): (actions.NOTE, states.DOUBTING),
    }
    for state in (states.CONNECTING, states.GREETING, states.SENDING):
        rows[state, inputs.REFUSED] = (actions.GIVE_UP, states.FAILED)
        rows[state, inputs.CANCELLED] = (actions.CANCEL, states.CANCELLED)
    for state in (states.PAUSED, states.LOADING):
        rows[state, inputs.REFUSED] = (actions.GO_BACK, states.FAILED)
        rows[state, inputs.CANCELLED] = (actions.CANCEL_AND_GO_BACK, states.CANCELLED)
    # Sending has no limit while the target takes what is sent, and management may take its time. A guest is stopped
    # within one call.
    for state in (states.CONNECTING, states.GREETING):
        rows[state, inputs.TIME_UP] = (actions.GIVE_UP, states.FAILED)
    rows[states.LOADING, inputs.TIME_UP] = (actions.GO_BACK, states.FAILED)
    for state in (states.GREETING, states.SENDING):
        rows[state, inputs.FAULT] = (actions.GIVE_UP, states.FAILED)
    for state in (states.STOPPING, states.PAUSED, states.LOADING):
        rows[state, inputs.FAULT] = (actions.GO_BACK, states.FAILED)
    return rows


DEPARTURE = _departure()
"""What is absent is an error: of the target, when it said something, else of the caller."""
DEPARTED = frozenset({DepartureState.MOVED, DepartureState.FAILED, DepartureState.CANCELLED})


class ArrivalState(Enum):
    """Where a guest that comes stands."""

    GREETING = "AwaitingHello"
    RECEIVING = "ReceivingState"
    LOADING = "LoadingGuest"
    LOADED = "AwaitingRun"
    """The guest is here and stands still; it is still the source's."""
    LEASED = "AwaitingDone"
    """The guest may run, until the lease ends."""
    ARRIVED = "Arrived"
    FAILED = "Failed"
    """As if nothing had come."""
    DOUBTFUL = "Doubtful"
    """The guest is here and stands still; whether it is the source's, management has to say."""


class ArrivalInput(Enum):
    """What happened to it."""

    HELLO = "HELLO received"
    PAGE = "PAGE received"
    END = "END received"
    LOADED = "guest loaded"
    RUN = "RUN received"
    DONE = "DONE received"
    FAULT = "fault, or the source is gone"
    TIME_UP = "time over"


class ArrivalAction(Enum):
    """What is done."""

    WELCOME = "say WELCOME"
    STORE = "put the page in its place"
    LOAD = "load the guest"
    CONFIRM = "say LOADED"
    RUN = "let the guest run, and say RUNNING"
    KEEP = "the guest is here"
    FORGET = "say FAILED, and forget what came"
    STAND_STILL = "stop the guest and keep it"


def _arrival() -> dict[tuple[ArrivalState, ArrivalInput], tuple[ArrivalAction, ArrivalState]]:
    states, inputs, actions = ArrivalState, ArrivalInput, ArrivalAction
    rows = {
        (states.GREETING, inputs.HELLO): (actions.WELCOME, states.RECEIVING),
        (states.RECEIVING, inputs.PAGE): (actions.STORE, states.RECEIVING),
        (states.RECEIVING, inputs.END): (actions.LOAD, states.LOADING),
        (states.LOADING, inputs.LOADED): (actions.CONFIRM, states.LOADED),
        (states.LOADED, inputs.RUN): (actions.RUN, states.LEASED),
        (states.LEASED, inputs.DONE): (actions.KEEP, states.ARRIVED),
        (states.LEASED, inputs.FAULT): (actions.STAND_STILL, states.DOUBTFUL),
        (states.LEASED, inputs.TIME_UP): (actions.STAND_STILL, states.DOUBTFUL),
    }
    for state in (states.GREETING, states.RECEIVING, states.LOADING, states.LOADED):
        rows[state, inputs.FAULT] = (actions.FORGET, states.FAILED)
    for state in (states.GREETING, states.RECEIVING, states.LOADED):  # a guest is loaded within one call
        rows[state, inputs.TIME_UP] = (actions.FORGET, states.FAILED)
    return rows


ARRIVAL = _arrival()
"""What is absent is an error of the source."""
ARRIVAL_OVER = frozenset({ArrivalState.ARRIVED, ArrivalState.FAILED, ArrivalState.DOUBTFUL})
