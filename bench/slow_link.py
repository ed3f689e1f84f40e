"""A link with a delay, as a process of its own: what a client pays for it is the time alone.

    python -m bench.slow_link PORT SECONDS     prints the port in front of PORT, and ends with its standard input
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "interop" / "peers"))

from relay import Relay  # type: ignore[import-not-found]
from virtual_screen import end  # type: ignore[import-not-found]

TRIES = 9


@asynccontextmanager
async def slow_link(port: int, one_way: float) -> AsyncIterator[int]:
    """The port in front of `port`, `one_way` seconds away from it; without a delay it is the same."""
    if not one_way:
        yield port
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.slow_link", str(port), str(one_way)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            front = int(await process.stdout.readline())
        yield front
    finally:
        process.stdin.close()
        await end(process)


async def measured(round_trip: float) -> float:
    """Seconds that a byte really takes there and back over such a link."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(64):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    found = []
    async with server, slow_link(server.sockets[0].getsockname()[1], round_trip / 2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(TRIES):
            began = time.monotonic()
            writer.write(b"x")
            await reader.readexactly(1)
            found.append(time.monotonic() - began)
        writer.close()
    return statistics.median(found)


async def _main(port: int, one_way: float) -> None:
    async with Relay(port, name="slow") as relay:
        relay.delay = one_way
        print(relay.port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench.slow_link", description="Delay a connection to a local port.")
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float, help="one way")
    given = parser.parse_args()
    asyncio.run(_main(given.port, given.seconds))
