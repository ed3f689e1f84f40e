"""Hold keys and press others meanwhile; move the pointer and click.

    python hold_a_key.py spice://127.0.0.1:5900

Held keys are released when the block ends, however it ends, and are carried over every migration.
"""

import asyncio
import sys

import spicehop
from spicehop.errors import SpicehopError


async def main(url: str) -> None:
    async with spicehop.connect(url) as session:
        with session.keyboard.hold("Ctrl", "Shift"):
            await session.keyboard.press("Right")
        session.mouse.move(40, 30)
        await session.mouse.click()
        how = "to" if session.mouse.absolute else "by"
        print(f"pressed Ctrl-Shift-Right, moved {how} 40, 30 and clicked")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1]))
    except SpicehopError as error:
        sys.exit(str(error))
