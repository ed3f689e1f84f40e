"""One migration of a demo: conducted, waited for at the client, and measured there."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from spicehop.client.session import Session
from spicehop.conductor import Options
from spicehop.conductor.run import migrate
from spicehop.demo.load import FrameWatch
from spicehop.demo.report import Hop
from spicehop.demo.work import compare
from spicehop.errors import OperationError
from spicehop.migration.commands import MigrationOutcome
from spicehop.trace import MemorySink, Trace

REDRAW_SECONDS = 2.0
"""For so long after a switch display bytes count as redrawing."""


@dataclass(frozen=True, slots=True)
class Hopper:
    """What all migrations of a demo have in common."""

    session: Session
    frames: FrameWatch
    trace: Trace
    memory: MemorySink
    """Has the client's records."""

    async def hop(self, number: int, conduct: Options, monitor: str, pictures: Path, *, frozen: bool) -> Hop:
        """The migration `number` of the session, counted from 1. With `frozen` the guest draws nothing, and the picture
        is compared with the one of the target, whose QMP socket is `monitor`.
        """
        session = self.session
        redrawn = asyncio.create_task(_bytes_after_switch(session, number)) if frozen else None
        result = await migrate(conduct, trace=self.trace.for_party("conductor"))
        try:
            outcome = await session.wait_for_migration(15.0, count=number)
        except TimeoutError:
            raise OperationError(f"migration {number} did not reach the client: {result.sentence}") from None
        blackout = None
        if not frozen:
            await asyncio.sleep(1.0)
            blackout = self.frames.blackout(self._display_switch(outcome))
        equal = await compare(session, monitor, pictures) if frozen else None
        return Hop(
            number=number,
            scheme=outcome.scheme,
            reason=outcome.reason,
            frozen=frozen,
            blackout=blackout,
            redrawn_bytes=await redrawn if redrawn is not None else None,
            picture_equal=equal,
            seconds=outcome.finished - outcome.started,
            sessions=result.sessions,
        )

    def _display_switch(self, outcome: MigrationOutcome) -> float:
        """When the display went to the target, by the client's trace."""
        times = [
            record.time
            for record in self.memory.records
            if record.event in ("channel.swapped", "channel.restarted")
            and record.channel.startswith("display")
            and record.time >= outcome.started
        ]
        return times[0] if times else outcome.switched


async def _bytes_after_switch(session: Session, number: int) -> int:
    """Display bytes of the target in the first seconds after the switch."""
    outcome = await session.wait_for_migration(120.0, count=number)
    before = session.display_bytes_at_switch
    remaining = REDRAW_SECONDS - (time.monotonic() - outcome.switched)
    await asyncio.sleep(max(0.0, remaining))
    return session.display_bytes - before
