"""Save what a guest shows, and count its colours.

    python screenshot.py spice://127.0.0.1:5900 picture.png

The ending of the file's name says which format it gets.
"""

import asyncio
import sys

import numpy as np

import spicehop
from spicehop.errors import SpicehopError


async def main(url: str, path: str) -> None:
    async with spicehop.connect(url) as session:
        picture = session.screenshot()
        picture.save(path)
        colours = len(np.unique(picture.rgb().reshape(-1, 3), axis=0))
        print(f"saved {picture.width} x {picture.height} pixels in {colours} colours to {path}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except SpicehopError as error:
        sys.exit(str(error))
