"""How one channel of a server leaves for another server: MIGRATE, FLUSH_MARK, MIGRATE_DATA (dossier C1.4, F).

Nothing follows MIGRATE on a channel but MIGRATE_DATA. What is made for the client meanwhile is held back, and belongs
to the channel's state.
"""

from __future__ import annotations

from enum import Enum

from spicehop.errors import StateError


class DepartureStep(Enum):
    """Where a channel stands."""

    STAYING = "Staying"
    HOLDING_BACK = "HoldingBack"
    """Nothing new is written: the state is saved, and the word to go is not yet given."""
    MIGRATE_QUEUED = "MigrateQueued"
    AWAITING_FLUSH_MARK = "AwaitingFlushMark"
    FLUSHED = "Flushed"
    """The client sends nothing more here; its state is the next and last thing that it gets."""
    DATA_QUEUED = "DataQueued"
    HANDED_OVER = "HandedOver"


class DepartureInput(Enum):
    """What happened."""

    HELD_BACK = "held back"
    MIGRATE_QUEUED = "MIGRATE is to be written"
    WRITTEN_LAST = "written, and nothing more is due"
    WRITTEN_FLUSH = "written, and a flush mark is due"
    FLUSH_MARK = "FLUSH_MARK received, and data is due"
    FLUSH_MARK_LAST = "FLUSH_MARK received, and no data is due"
    DATA_GIVEN = "MIGRATE_DATA is to be written"
    CALLED_BACK = "called back"


def _table() -> dict[tuple[DepartureStep, DepartureInput], DepartureStep]:
    steps, inputs = DepartureStep, DepartureInput
    rows = {
        (steps.STAYING, inputs.HELD_BACK): steps.HOLDING_BACK,
        (steps.HOLDING_BACK, inputs.MIGRATE_QUEUED): steps.MIGRATE_QUEUED,
        (steps.MIGRATE_QUEUED, inputs.WRITTEN_LAST): steps.HANDED_OVER,
        (steps.MIGRATE_QUEUED, inputs.WRITTEN_FLUSH): steps.AWAITING_FLUSH_MARK,
        (steps.AWAITING_FLUSH_MARK, inputs.FLUSH_MARK): steps.FLUSHED,
        (steps.AWAITING_FLUSH_MARK, inputs.FLUSH_MARK_LAST): steps.HANDED_OVER,
        (steps.FLUSHED, inputs.DATA_GIVEN): steps.DATA_QUEUED,
        (steps.DATA_QUEUED, inputs.WRITTEN_LAST): steps.HANDED_OVER,
    }
    # Nothing is called back any more when state goes through the client: the guest is at the target then.
    for step in (one for one in steps if one not in (steps.FLUSHED, steps.DATA_QUEUED)):
        rows[step, inputs.CALLED_BACK] = steps.STAYING
    return rows


DEPARTURE_TABLE = _table()
"""What is absent cannot be now."""


def step_after(step: DepartureStep, happened: DepartureInput) -> DepartureStep:
    """The next step; `StateError` when that cannot happen now."""
    following = DEPARTURE_TABLE.get((step, happened))
    if following is None:
        raise StateError(f"a channel that is {step.value} cannot have {happened.value}")
    return following
