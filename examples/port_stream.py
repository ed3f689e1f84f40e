"""Stream bytes through a port that sends them back, and compare.

    python port_stream.py spice://127.0.0.1:5900 org.example.echo.0

Ports are byte streams. What is written goes on across a migration: nothing is lost, nothing comes twice.
"""

import asyncio
import sys

import spicehop
from spicehop.client.ports import Port
from spicehop.errors import SpicehopError

DATA = b"".join(b"%07d\n" % number for number in range(25_000))


async def write(port: Port) -> None:
    for start in range(0, len(DATA), 4096):
        port.write(DATA[start : start + 4096])
        await port.drain()


async def main(url: str, name: str) -> None:
    async with spicehop.connect(url) as session:
        port = await session.port(name)
        writing = asyncio.create_task(write(port))
        back = b""
        while len(back) < len(DATA) and (piece := await port.read()):
            back += piece
        await writing
        print(f"{len(back)} bytes came back, {'the same' if back == DATA else 'not the same'}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 60))
    except (SpicehopError, TimeoutError) as error:
        sys.exit(str(error) or "the port did not send everything back")
