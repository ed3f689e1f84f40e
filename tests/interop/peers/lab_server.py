"""`spicehop`, with a guest that tests have changed; the arguments are those of `spicehop`. By the environment:

LAB_CLIPBOARD=N   the guest's agent offers a text of N bytes
LAB_CHUNK=N       and sends it in chunks of N bytes, 0 for one
LAB_SQUARE=X,Y,C  while it stands between two servers somebody paints a square of 64x64 pixels at X,Y in colour C
"""

from __future__ import annotations

import os
from typing import Any

from spicehop.cli.app import main
from spicehop.guests.demo import DemoGuest
from spicehop.server import running


class LabGuest(DemoGuest):
    """See the module."""

    def __init__(self, *size: int, **given: Any) -> None:
        for name, variable in (("clipboard_bytes", "LAB_CLIPBOARD"), ("agent_chunk", "LAB_CHUNK")):
            if variable in os.environ:
                given[name] = int(os.environ[variable])
        super().__init__(*size, **given)

    def load(self, state: bytes) -> None:
        """Part of `Guest`."""
        super().load(state)
        if "LAB_SQUARE" in os.environ:
            x, y, colour = (int(part, 0) for part in os.environ["LAB_SQUARE"].split(","))
            assert self.put_square(x, y, colour)


running.DemoGuest = LabGuest  # type: ignore[misc]
main()
