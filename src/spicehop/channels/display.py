"""The display channel of a client: what it announces; the picture itself is made by `raster`."""

from __future__ import annotations

from spicehop.channels.channel import ChannelEvent, ClientChannel
from spicehop.wire import display
from spicehop.wire.constants import ChannelType, DisplayCap
from spicehop.wire.layout import Message

PIXMAP_CACHE_PIXELS = 20 * 1024 * 1024
"""80 MiB of 32-bit pixels, as spice-gtk announces (dossier B.2)."""
GLZ_WINDOW_PIXELS = 4 * 1024 * 1024
"""16 MiB of 32-bit pixels."""
SHARED_CACHES = 1
"""The caches that all displays of a session begin with."""


class DisplayChannel(ClientChannel):
    """Announces caches when it begins; a seamless target must not hear them again (dossier C2)."""

    def __init__(self, channel_id: int, preferred_compression: int | None = None) -> None:
        super().__init__(ChannelType.DISPLAY, channel_id)
        self.preferred_compression = preferred_compression

    def channel_capabilities(self) -> frozenset[int]:
        return frozenset(
            {
                DisplayCap.SIZED_STREAM,
                DisplayCap.MONITORS_CONFIG,
                DisplayCap.A8_SURFACE,
                DisplayCap.LZ4_COMPRESSION,
                DisplayCap.MULTI_CODEC,
                DisplayCap.CODEC_MJPEG,
            }
        )

    def handle(self, message: Message, events: list[ChannelEvent], now: float) -> None:
        if isinstance(message, display.InvalAllPixmaps):
            self.wait_for(message.channels, events, now, then=message)
        else:
            super().handle(message, events, now)

    def opening_messages(self, now: float) -> list[Message]:
        caches = self._caches()
        return [display.Init(caches, PIXMAP_CACHE_PIXELS, caches, GLZ_WINDOW_PIXELS), *self._preferences()]

    def swap_messages(self, now: float) -> list[Message]:
        """The preference is not in the migration data (dossier C5), so the target hears it again."""
        return self._preferences()

    def _caches(self) -> int:
        """Caches of its own for a display that begins anew.

        The server starts a GLZ dictionary whose number is new to it at image 0, and goes on with one that another
        display still uses, though images of it went to the connection that was lost: neither fits what is here.
        """
        begins_anew = self.bytes_received > 0
        return SHARED_CACHES + 1 + self.channel_id % 250 if begins_anew else SHARED_CACHES

    def _preferences(self) -> list[Message]:
        if self.preferred_compression is not None and DisplayCap.PREF_COMPRESSION in self.server.channel:
            return [display.PreferredCompression(self.preferred_compression)]
        return []
