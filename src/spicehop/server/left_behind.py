"""What clients that are gone have left for the guest's devices: it moves with the guest, behind its state.

    state = with_leftovers(guest.save(), desk)
    guest_state = take_leftovers(state, desk)       # at the target
"""

from __future__ import annotations

import logging

from spicehop.errors import ProtocolError, StateError
from spicehop.server.devices import DeviceDesk
from spicehop.wire import envelope
from spicehop.wire.envelope import Section

LEFTOVER = 64
"""The kind of a section: a device's bytes; without any the device has yet to hear that its client is gone."""
MOST_BYTES = 16 * 1024 * 1024
"""Of all devices. `DeviceDesk` holds a client up long before, but for a guest that stands still."""


def with_leftovers(state: bytes, desk: DeviceDesk) -> bytes:
    """A guest's state with what waits for its devices, unless that is too much to move."""
    sections = [
        Section(LEFTOVER, 1, 1, slot.leftover.content(), *key, obligatory=True)
        for key, slot in desk.slots.items()
        if slot.leftover.size or slot.leaving
    ]
    if not sections:
        return state
    try:
        return envelope.attach(state, envelope.encode(sections, limit=MOST_BYTES))
    except StateError:
        logging.getLogger(__name__).error("clients that are gone have left more for the guest's devices than can move")
        return state


def take_leftovers(data: bytes, desk: DeviceDesk) -> bytes:
    """The guest's own state, when the devices have been given what came with it. `ProtocolError` for what is broken."""
    found = envelope.find(data, limit=MOST_BYTES)
    if found is None:
        return data
    size = envelope.OVERHEAD + sum(envelope.SECTION_OVERHEAD + len(section.data) for section in found.sections)
    parts = envelope.sort(found, {LEFTOVER: 1})
    if found.refusal or parts.reason:
        raise ProtocolError(found.refusal or parts.reason)
    for section in parts.readable:
        slot = desk.slots.get((section.channel, section.channel_id))
        if slot is None:
            raise ProtocolError("bytes have come for a device that is not there")
        slot.leftover.append(section.data)
        slot.leaving = True
    return data[:-size]
