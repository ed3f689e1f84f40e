"""Our server for `bench.desktop`, a process of its own: prints its port, does the work when told `go`, ends when told
`quit`. Its guest stands still before the work and after it; the last picture is left in a file.
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np

from bench.desktop_script import HEIGHT, WIDTH, Work, paced
from spicehop.guests.demo import DemoGuest
from spicehop.server import ServerOptions, SpiceServer


async def serve(seconds: float, last: str) -> None:
    """Serve one client."""
    guest = DemoGuest(WIDTH, HEIGHT, tone=False)
    async with SpiceServer(guest, ServerOptions(run_guest=False)) as server:
        print(server.port, flush=True)
        while (await asyncio.to_thread(sys.stdin.readline)).strip() == "go":
            server.run_guest()

            async def frame() -> None:
                server.wake()

            await paced(Work(guest, seconds), frame)
            server.stop_guest()
            np.save(last, guest.displays[0].pixels)
            print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]), sys.argv[2]))
