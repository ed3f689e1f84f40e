"""The guest's char devices and who has them.

Ports, USB, smartcard, webdav and the microphone are each one client's: the first that links the channel has it until
it leaves. Other clients are not told of the device meanwhile; once it is free it is announced to all of them, and again
the first has it. What a client had sent and the device had not taken when the client left is still delivered, before
anything of the next. Only USB is cut off: half a transfer of a device that is gone means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spicehop.channels.serving.pipe import (
    INCOMING_LIMIT,
    INCOMING_LIMIT_STANDING,
    INCOMING_MOST,
    WEBDAV_PORT,
    PieceQueue,
    ServerPipe,
)
from spicehop.channels.serving.smartcard import ServerSmartcard
from spicehop.errors import ProtocolError
from spicehop.guests.interface import CharDevice, GuestDevices
from spicehop.server.served import ChannelKey, ServedChannel
from spicehop.wire.constants import ChannelType


@dataclass(slots=True)
class Slot:
    """One device, its client, and what an earlier client left for it."""

    key: ChannelKey
    device: CharDevice
    owner: ServedChannel | None = None
    leftover: PieceQueue = field(default_factory=PieceQueue)
    leaving: bool = False
    """The device has not yet been told that its client is gone."""
    cut_short: bool = False
    """The device was left with bytes because the client's buffer was full."""

    @property
    def name(self) -> str:
        """What PORT_INIT says."""
        return WEBDAV_PORT if self.key[0] == ChannelType.WEBDAV else self.device.name

    @property
    def pipe(self) -> ServerPipe | None:
        """The machine of the owner's channel."""
        if self.owner is None:
            return None
        assert isinstance(self.owner.machine, ServerPipe)
        return self.owner.machine


@dataclass(slots=True)
class DeviceDesk:
    """Hands devices out, and carries bytes between them and their clients."""

    slots: dict[ChannelKey, Slot] = field(default_factory=dict)

    @classmethod
    def of(cls, devices: GuestDevices) -> DeviceDesk:
        """All devices but the agent."""
        desk = cls()
        for number, device in enumerate(devices.usbredir):
            desk._add(ChannelType.USBREDIR, number, device)
        for number, device in enumerate(devices.ports):
            desk._add(ChannelType.PORT, number, device)
        if devices.smartcard is not None:
            desk._add(ChannelType.SMARTCARD, 0, devices.smartcard)
        if devices.webdav is not None:
            desk._add(ChannelType.WEBDAV, 0, devices.webdav)
        return desk

    def _add(self, kind: int, number: int, device: CharDevice) -> None:
        self.slots[(kind, number)] = Slot((kind, number), device)

    def free(self) -> list[ChannelKey]:
        """Devices that a client could have now."""
        return [key for key, slot in self.slots.items() if slot.owner is None]

    def claim(self, key: ChannelKey, served: ServedChannel) -> None:
        """A client has linked the channel of a free device."""
        slot = self.slots[key]
        slot.owner = served
        pipe = slot.pipe
        assert pipe is not None
        pipe.begin(slot.name, opened=slot.device.opened)
        if slot.leaving:
            slot.leaving = False
            slot.device.client_changed(present=False)
        slot.device.client_changed(present=True)

    def resume(self, key: ChannelKey, served: ServedChannel) -> None:
        """A client that has had the device at another server goes on with it: neither of them is told anything."""
        slot = self.slots[key]
        slot.owner = served
        slot.leaving = False

    def release(self, key: ChannelKey, *, departed: bool = False) -> None:
        """The client has left the channel; with `departed` for another server, with all that the channel holds."""
        slot = self.slots[key]
        pipe = slot.pipe
        slot.owner = None
        if departed:
            return
        if pipe is not None and key[0] != ChannelType.USBREDIR:
            if isinstance(pipe, ServerSmartcard):
                pipe.reader_removed()
            slot.leftover.take_over(pipe.incoming)
        slot.leaving = True

    def left_behind(self, key: ChannelKey, data: bytes) -> None:
        """A client is gone that had the device, and has left this for it."""
        slot = self.slots.get(key)
        if slot is not None:
            slot.leftover.append(data)
            slot.leaving = True

    def pump(self, now: float, *, running: bool) -> bool:
        """Move bytes both ways as far as they go; True when the guest was given some."""
        gave = False
        for slot in self.slots.values():
            gave |= self._pump(slot, running=running)
        return gave

    @property
    def can_go_on(self) -> bool:
        """Whether there is room again for a device that had to be left with bytes."""
        return any(slot.cut_short and slot.pipe is not None and slot.pipe.wanted for slot in self.slots.values())

    def _pump(self, slot: Slot, *, running: bool) -> bool:
        gave = False
        while (piece := slot.leftover.first()) and slot.device.write(piece):
            slot.leftover.taken()
            gave = True
        if slot.leaving and not slot.leftover.size:
            slot.leaving = False
            slot.device.client_changed(present=False)
        pipe = slot.pipe
        if pipe is None or slot.owner is None:
            return gave
        while not slot.leftover.size and (piece := pipe.next_piece()) and slot.device.write(piece):
            pipe.piece_taken()
            gave = True
        self._read(slot, pipe)
        pipe.opened(opened=slot.device.opened)
        limit = INCOMING_LIMIT if running else INCOMING_LIMIT_STANDING
        slot.owner.held_up = pipe.bytes_held > limit
        if pipe.bytes_held > INCOMING_MOST:
            slot.owner.fail(f"{pipe.name}: the client has sent {pipe.bytes_held} bytes that the device does not take")
        return gave

    def _read(self, slot: Slot, pipe: ServerPipe) -> None:
        try:
            data = b"-"
            while data and pipe.wanted:
                data = slot.device.read(pipe.wanted)
                pipe.deliver(data)
            slot.cut_short = bool(data)
        except ProtocolError as error:
            assert slot.owner is not None
            slot.owner.fail(str(error))
