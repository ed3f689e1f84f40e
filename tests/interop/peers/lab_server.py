"""`spicehop`, with a guest that tests have changed; the arguments are those of `spicehop`. By the environment:

LAB_CLIPBOARD=N   the guest's agent offers a text of N bytes
LAB_CHUNK=N       and sends it in chunks of N bytes, 0 for one
LAB_AGENT=1       the guest's agent is a program, at the socket `agent` beside the control socket
LAB_SQUARE=X,Y,C  while it stands between two servers somebody paints a square of 64x64 pixels at X,Y in colour C

F11 takes the planet, an off-screen surface of the guest, to one of two places by turns; F12 opens and closes the menu,
which is another one, also in a frozen picture.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from spicehop.cli.app import main
from spicehop.guests.demo import DemoGuest
from spicehop.guests.demo.scene import Place, WindowKind
from spicehop.server import running

F11, F12 = b"\x57", b"\x58"
PLACES = (Place(WindowKind.PLANET, 320, 64), Place(WindowKind.PLANET, 448, 64))
"""Where the planet goes; whole tiles of the picture apart."""


class LabGuest(DemoGuest):
    """See the module."""

    def __init__(self, *size: int, **given: Any) -> None:
        for name, variable in (("clipboard_bytes", "LAB_CLIPBOARD"), ("agent_chunk", "LAB_CHUNK")):
            if variable in os.environ:
                given[name] = int(os.environ[variable])
        super().__init__(*size, **given)

    def key(self, scancodes: bytes) -> None:
        """Part of `Guest`."""
        super().key(scancodes)
        if self.running and scancodes in (F11, F12):
            desktop = self._desktop
            if scancodes == F12:
                desktop.toggle_menu()
            else:
                (planet,) = [place for place in desktop.places if place.kind == WindowKind.PLANET]
                desktop.places.remove(planet)
                desktop.places.append(PLACES[planet == PLACES[0]])
            scene = self._compositor.scene
            changed = replace(scene, windows=tuple(desktop.places), menu_open=int(desktop.menu_open))
            self._compositor.show(changed)

    def load(self, state: bytes) -> None:
        """Part of `Guest`."""
        super().load(state)
        if "LAB_SQUARE" in os.environ:
            x, y, colour = (int(part, 0) for part in os.environ["LAB_SQUARE"].split(","))
            assert self.put_square(x, y, colour)


running.DemoGuest = LabGuest  # type: ignore[misc]
if "LAB_AGENT" in os.environ:
    control = Path(sys.argv[sys.argv.index("--control") + 1])
    sys.argv += ["--agent-socket", str(control.with_name("agent"))]
main()
