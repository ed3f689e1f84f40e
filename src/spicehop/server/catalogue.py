"""Which channels a guest gives rise to, and the machine of each."""

from __future__ import annotations

from spicehop.channels.serving.channel import Peer, ServerChannel
from spicehop.channels.serving.cursor import ServerCursor
from spicehop.channels.serving.display import ServerDisplay
from spicehop.channels.serving.inputs import ServerInputs
from spicehop.channels.serving.main import ServerMain
from spicehop.channels.serving.pipe import ServerPipe
from spicehop.channels.serving.playback import ServerPlayback
from spicehop.channels.serving.record import ServerRecord
from spicehop.channels.serving.smartcard import ServerSmartcard
from spicehop.codecs.sound import can_decode, can_encode
from spicehop.guests.interface import Guest
from spicehop.server.served import ChannelKey
from spicehop.wire.constants import AudioMode, ChannelType, PlaybackCap, RecordCap

_CLASSES: dict[int, type[ServerChannel]] = {
    ChannelType.MAIN: ServerMain,
    ChannelType.DISPLAY: ServerDisplay,
    ChannelType.INPUTS: ServerInputs,
    ChannelType.CURSOR: ServerCursor,
    ChannelType.PLAYBACK: ServerPlayback,
    ChannelType.RECORD: ServerRecord,
    ChannelType.SMARTCARD: ServerSmartcard,
}


class Catalogue:
    """The channels of one guest."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def common(self) -> list[ChannelKey]:
        """Channels that every client can have; the main channel is not in the list of channels."""
        keys = [(int(ChannelType.DISPLAY), number) for number in range(len(self._guest.displays))]
        keys += [(ChannelType.INPUTS, 0), (ChannelType.CURSOR, 0)]
        if self._guest.sound_out is not None:
            keys.append((ChannelType.PLAYBACK, 0))
        return keys

    def capabilities(self, kind: int) -> frozenset[int]:
        """What the server announces for a kind of channel."""
        bits = _CLASSES.get(kind, ServerPipe).capabilities()
        if kind == ChannelType.PLAYBACK and can_encode(AudioMode.OPUS):
            return bits | {PlaybackCap.OPUS}
        if kind == ChannelType.RECORD and can_decode(AudioMode.OPUS):
            return bits | {RecordCap.OPUS}
        return bits

    def machine(self, kind: int, channel_id: int, peer: Peer, now: float) -> ServerChannel:
        """The machine for a client's channel."""
        match kind:
            case ChannelType.MAIN:
                return ServerMain(peer, now)
            case ChannelType.DISPLAY:
                return ServerDisplay(channel_id, peer, now)
            case ChannelType.INPUTS:
                return ServerInputs(channel_id, peer, now)
            case ChannelType.CURSOR:
                return ServerCursor(channel_id, peer, now)
            case ChannelType.PLAYBACK:
                return ServerPlayback(channel_id, peer, now)
            case ChannelType.RECORD:
                return ServerRecord(channel_id, peer, now, opus=can_decode(AudioMode.OPUS))
            case ChannelType.SMARTCARD:
                return ServerSmartcard(channel_id, peer, now)
            case _:
                return ServerPipe(kind, channel_id, peer, now)
