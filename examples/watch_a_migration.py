"""Stay connected to a guest and say when it moves, until the session ends, or Ctrl-C.

    python watch_a_migration.py spice://127.0.0.1:5900

Move it meanwhile, for example with: spicehop migrate SOURCE-QMP TARGET-QMP
"""

import asyncio
import sys

import spicehop
from spicehop.errors import SpicehopError
from spicehop.migration.commands import MigrationAborted, MigrationFinished, MigrationStarted, SessionEvent


def say(event: SessionEvent) -> None:
    match event:
        case MigrationStarted(target):
            print(f"about to move to {target}", flush=True)
        case MigrationAborted(reason):
            print(f"stays: {reason}", flush=True)
        case MigrationFinished(outcome):
            milliseconds = (outcome.finished - outcome.switched) * 1000
            print(f"moved to {outcome.target}: {outcome.scheme} {outcome.reason}".strip(), flush=True)
            print(f"{len(outcome.channels)} channels in {milliseconds:.1f} ms", flush=True)


async def main(url: str) -> None:
    async with spicehop.connect(url) as session:
        session.listeners.append(say)
        print(f"connected to {session.server}", flush=True)
        await session.wait_closed()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1]))
    except KeyboardInterrupt:
        pass
    except SpicehopError as error:
        sys.exit(str(error))
