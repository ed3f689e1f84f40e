"""What the displays of a session show."""

from __future__ import annotations

from collections.abc import Iterable

from spicehop.migration.commands import ChannelKey
from spicehop.wire.layout import Message


class Screenshot:
    pass


class Picture:
    """The canvases of all displays; stays across migrations."""

    def __init__(self) -> None:
        self.changes = 0

    def begun(self, channels: Iterable[ChannelKey]) -> bool:
        return True

    def screenshot(self, display: int) -> Screenshot:
        return Screenshot()

    def channel_opened(self, channel_id: int) -> None: ...
    def message_received(self, channel_id: int, message: Message) -> None: ...
    def cursor_message(self, message: Message) -> None: ...
    def session_restarted(self) -> None: ...
