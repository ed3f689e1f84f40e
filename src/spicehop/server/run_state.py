"""Whether the guest runs, in QEMU's run states: what `cont`, `stop` and a migration do in each."""

from __future__ import annotations

from enum import Enum

from spicehop.errors import OperationError


class RunState(Enum):
    """QMP's words."""

    PRELAUNCH = "prelaunch"
    """It has never run."""
    RUNNING = "running"
    PAUSED = "paused"
    INMIGRATE = "inmigrate"
    """It is to come from elsewhere."""
    FINISH_MIGRATE = "finish-migrate"
    """It stands still and is about to leave."""
    POSTMIGRATE = "postmigrate"
    """It lives on elsewhere."""


class RunInput(Enum):
    """What happened."""

    CONT = "management wants it to run"
    STOP = "management wants it to stand still"
    SWITCH_OVER = "its migration needs it to stand still"
    MOVED = "it has moved"
    STAYS_RUNNING = "it stays, and ran before"
    STAYS_STILL = "it stays, and stood before"
    CAME_RUNNING = "it has come and is to run"
    CAME_STILL = "it has come and is to stand still"
    IN_DOUBT = "it may be the source's"


class RunAction(Enum):
    """What is done with the guest."""

    NONE = "nothing"
    RUN = "let it run; RESUME"
    STOP = "let it stand still; STOP"
    WILL_RUN = "let it run when it has come"
    WILL_STAND = "let it stand still when it has come"


def _table() -> dict[tuple[RunState, RunInput], tuple[RunAction, RunState]]:
    states, inputs, actions = RunState, RunInput, RunAction
    rows = {
        (states.RUNNING, inputs.CONT): (actions.NONE, states.RUNNING),
        (states.INMIGRATE, inputs.CONT): (actions.WILL_RUN, states.INMIGRATE),
        (states.RUNNING, inputs.STOP): (actions.STOP, states.PAUSED),
        (states.INMIGRATE, inputs.STOP): (actions.WILL_STAND, states.INMIGRATE),
        (states.RUNNING, inputs.SWITCH_OVER): (actions.STOP, states.FINISH_MIGRATE),
        (states.FINISH_MIGRATE, inputs.MOVED): (actions.NONE, states.POSTMIGRATE),
        (states.FINISH_MIGRATE, inputs.STAYS_RUNNING): (actions.RUN, states.RUNNING),
        (states.FINISH_MIGRATE, inputs.STAYS_STILL): (actions.NONE, states.PAUSED),
        (states.INMIGRATE, inputs.CAME_RUNNING): (actions.RUN, states.RUNNING),
        (states.INMIGRATE, inputs.CAME_STILL): (actions.NONE, states.PAUSED),
        (states.RUNNING, inputs.IN_DOUBT): (actions.STOP, states.PAUSED),
    }
    for state in (states.PRELAUNCH, states.PAUSED, states.POSTMIGRATE):
        rows[state, inputs.CONT] = (actions.RUN, states.RUNNING)
        rows[state, inputs.IN_DOUBT] = (actions.NONE, state)
    for state in (states.PRELAUNCH, states.PAUSED):
        rows[state, inputs.SWITCH_OVER] = (actions.NONE, states.FINISH_MIGRATE)
    for state in (states.PRELAUNCH, states.PAUSED, states.POSTMIGRATE, states.FINISH_MIGRATE):
        rows[state, inputs.STOP] = (actions.NONE, state)
    return rows


RUN_TABLE = _table()
"""What is absent is refused."""


class RunStates:
    """The guest's run state. Who else starts and stops the guest is noticed by `notice`."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self.will_run = True
        """Whether a guest that comes is to run, if it ran."""

    def notice(self, *, running: bool) -> None:
        """The guest runs, or does not, whoever has wanted that."""
        if running:
            self.state = RunState.RUNNING
        elif self.state is RunState.RUNNING:
            self.state = RunState.PAUSED

    def step(self, happened: RunInput) -> RunAction:
        """Move on and return what is to be done with the guest; `OperationError` when that cannot be now."""
        row = RUN_TABLE.get((self.state, happened))
        if row is None:
            finishing = self.state is RunState.FINISH_MIGRATE
            raise OperationError(
                "Migration is not finalized yet"
                if finishing
                else f"the guest cannot do that in the state {self.state.value}"
            )
        action, self.state = row
        if action in (RunAction.WILL_RUN, RunAction.WILL_STAND):
            self.will_run = action is RunAction.WILL_RUN
        return action
