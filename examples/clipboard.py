"""Share the clipboard with a guest that has an agent.

    python clipboard.py spice://127.0.0.1:5900 "text for the guest"    put a text there, wait until the guest has it
    python clipboard.py spice://127.0.0.1:5900                         wait for a text there, and show it

The guest fetches a text when something there pastes, many agents at once.
"""

import asyncio
import sys

import spicehop
from spicehop.errors import SpicehopError


async def main(url: str, text: str | None = None) -> None:
    async with spicehop.connect(url) as session:
        if text is not None:
            await session.clipboard.write(text)
            await session.clipboard.wait_fetched()
            print(f"the guest has fetched {len(text)} characters")
            return
        print("waiting for the guest's clipboard", flush=True)
        await session.clipboard.wait_for_text(timeout=60)
        text = await session.clipboard.read()
        print(f"{len(text)} characters: {text[:40]!r}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except SpicehopError as error:
        sys.exit(str(error))
