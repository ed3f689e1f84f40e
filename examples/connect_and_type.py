"""Type a text into a guest.

    python connect_and_type.py spice://127.0.0.1:5900 "hello"

The password, where the server wants one, is in SPICEHOP_PASSWORD.
"""

import asyncio
import os
import sys

import spicehop
from spicehop.errors import SpicehopError


async def main(url: str, text: str) -> None:
    async with spicehop.connect(url, password=os.environ.get("SPICEHOP_PASSWORD")) as session:
        await session.keyboard.type(text)
        await session.keyboard.press("Enter")
        print(f"typed {len(text)} characters into {session.guest_name or session.server}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except SpicehopError as error:
        sys.exit(str(error))
