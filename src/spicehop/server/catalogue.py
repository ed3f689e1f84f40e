"""Which channels a guest gives rise to, and the machine of each."""

from __future__ import annotations

from typing import TypeVar

from spicehop.channels.serving.channel import Peer, ServerChannel
from spicehop.channels.serving.cursor import CursorState, ServerCursor
from spicehop.channels.serving.display import DisplayState, ServerDisplay
from spicehop.channels.serving.inputs import InputsState, ServerInputs
from spicehop.channels.serving.main import MainState, ServerMain
from spicehop.channels.serving.pipe import PipeState, ServerPipe
from spicehop.channels.serving.playback import PlaybackState, ServerPlayback
from spicehop.channels.serving.record import RecordState, ServerRecord
from spicehop.channels.serving.smartcard import ServerSmartcard, SmartcardState
from spicehop.codecs.sound import can_decode, can_encode
from spicehop.errors import ProtocolError
from spicehop.guests.interface import Guest
from spicehop.migration.state import ServingState
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

State = TypeVar("State", bound=ServingState)


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

    def machine(
        self, kind: int, channel_id: int, peer: Peer, now: float, state: ServingState | None = None
    ) -> ServerChannel:
        """The machine for a client's channel, which begins, or goes on with a state. `ProtocolError` for a state of
        another kind of channel.
        """
        match kind:
            case ChannelType.MAIN:
                return ServerMain(peer, now, _of(MainState, state))
            case ChannelType.DISPLAY:
                return ServerDisplay(channel_id, peer, now, _of(DisplayState, state))
            case ChannelType.INPUTS:
                return ServerInputs(channel_id, peer, now, _of(InputsState, state))
            case ChannelType.CURSOR:
                return ServerCursor(channel_id, peer, now, _of(CursorState, state))
            case ChannelType.PLAYBACK:
                return ServerPlayback(channel_id, peer, now, _of(PlaybackState, state))
            case ChannelType.RECORD:
                opus = can_decode(AudioMode.OPUS)
                return ServerRecord(channel_id, peer, now, opus=opus, state=_of(RecordState, state))
            case ChannelType.SMARTCARD:
                return ServerSmartcard(channel_id, peer, now, _of(SmartcardState, state))
            case _:
                return ServerPipe(kind, channel_id, peer, now, _of(PipeState, state))


def _of(kind: type[State], state: ServingState | None) -> State | None:
    if state is not None and not isinstance(state, kind):
        raise ProtocolError(f"a {kind.__name__} was expected")
    return state
