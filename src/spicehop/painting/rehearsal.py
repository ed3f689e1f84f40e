"""Everything that is made at its first use: better made before a session comes from another server than while it waits.

Without this the first frame of the first session that a server takes over is 30 ms later on an ordinary machine.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from spicehop.codecs.bitmap import Pixels
from spicehop.codecs.glz_encoding import GlzDictionary
from spicehop.codecs.video import VideoEncoder
from spicehop.painting.images import SharedImages
from spicehop.painting.painter import Painter
from spicehop.painting.settings import PaintSettings
from spicehop.painting.state import ViewState
from spicehop.painting.view import ClientView
from spicehop.wire import display
from spicehop.wire.display_constants import VideoCodec

SIDE = 128


def rehearse(capabilities: Collection[int], settings: PaintSettings) -> None:
    """Paint two small frames for nobody, the second with a view that was saved and restored, and a frame of video."""
    first, second = _pictures()
    view = ClientView(frozenset(capabilities), display_id=0, displays=1)
    painter = Painter(view, settings, SharedImages())
    painter.client_message(display.Init(1, 1 << 20, 1, 1 << 20), 0.0)
    painter.paint(first, {}, (), 0.0, complete=False)
    window = view.glz.save() if view.glz is not None else None
    restored = ViewState.decode(view.state().encode())
    glz = None if window is None else GlzDictionary.restored(window)
    view = ClientView.restored(restored, frozenset(capabilities), glz=glz)
    Painter(view, settings, SharedImages()).paint(second, {}, (), 0.1, complete=False)
    VideoEncoder(VideoCodec.MJPEG, SIDE, SIDE, fps=25, bit_rate=8_000_000).encode(second[:, :SIDE], 0)


def _pictures() -> tuple[Pixels, Pixels]:
    """Half of it like a photo and half like a drawing; in the second one both are others."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    made = []
    for step in (3, 5):
        picture = np.zeros((SIDE, 2 * SIDE, 4), np.uint8)
        for plane in range(3):
            picture[:, :SIDE, plane] = (x * step + y * (plane + 2) + (x * y * step >> 5)) & 0xFF
        picture[:, SIDE:, 1] = np.where((x // step + y // 7) % 2, 0xFF, x & 0x30)
        made.append(picture)
    return made[0], made[1]
