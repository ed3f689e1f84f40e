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
        if isinstance(message, display.InvalAllPixmaps) and message.channels:
            self.wait_for(message.channels, events, now)
        super().handle(message, events, now)

    def opening_messages(self, now: float) -> list[Message]:
        return [display.Init(1, PIXMAP_CACHE_PIXELS, 1, GLZ_WINDOW_PIXELS), *self._preferences()]

    def swap_messages(self, now: float) -> list[Message]:
        """The preference is not in the migration data (dossier C5), so the target hears it again."""
        return self._preferences()

    def _preferences(self) -> list[Message]:
        if self.preferred_compression is not None and DisplayCap.PREF_COMPRESSION in self.server.channel:
            return [display.PreferredCompression(self.preferred_compression)]
        return []
