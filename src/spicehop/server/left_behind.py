"""What clients that are gone have left for the guest, devices' bytes and input, and what the others hold down in it: it
moves with the guest, behind its state.

    state = with_leftovers(guest.save(), desk, gate, held_by(sessions))
    guest_state = take_leftovers(state, desk, gate, held_keys)      # at the target
"""

from __future__ import annotations

import logging

from spicehop.errors import ProtocolError, StateError
from spicehop.migration.state_layouts import MOST_WAITING, HeldPart, WaitingPart
from spicehop.server.devices import DeviceDesk
from spicehop.server.held_keys import Held, HeldKeys
from spicehop.server.input_gate import NOBODY, InputGate
from spicehop.wire import envelope
from spicehop.wire.envelope import Section

LEFTOVER = 64
"""The kind of a section: a device's bytes; without any the device has yet to hear that its client is gone."""
LEFT_INPUT = 65
"""The kind of a section: a `WaitingPart`."""
HELD = 66
"""The kind of a section: a `HeldPart`."""
MOST_BYTES = 48 * 1024 * 1024
"""Of all devices: more than `DeviceDesk` takes of a client for a guest that stands still, and what a guest's state may
have besides its own.
"""


def with_leftovers(state: bytes, desk: DeviceDesk, gate: InputGate, held: Held) -> bytes:
    """A guest's state with what waits for it, unless that is too much to move."""
    sections = [
        Section(LEFTOVER, 1, 1, slot.leftover.content(), *key, obligatory=True)
        for key, slot in desk.slots.items()
        if slot.leftover.size or slot.leaving
    ]
    if left := gate.left[-MOST_WAITING:]:
        # Not obligatory, nor is the next: where a target does not know it a key stays down, and no byte is lost.
        sections.append(Section(LEFT_INPUT, 1, 1, WaitingPart.of(left).encode()))
    if held:
        sections.append(Section(HELD, 1, 1, HeldPart.of(held).encode()))
    if not sections:
        return state
    try:
        return envelope.attach(state, envelope.encode(sections, limit=MOST_BYTES))
    except StateError:
        logging.getLogger(__name__).error("clients that are gone have left more for the guest's devices than can move")
        return state


def take_leftovers(data: bytes, desk: DeviceDesk, gate: InputGate, held: HeldKeys) -> bytes:
    """The guest's own state, when what came with it is where it belongs. `ProtocolError` for what is broken."""
    held.expect({})
    gate.drop(NOBODY)  # from an earlier stay of the guest
    found = envelope.find(data, limit=MOST_BYTES)
    if found is None:
        return data
    size = envelope.OVERHEAD + sum(envelope.SECTION_OVERHEAD + len(section.data) for section in found.sections)
    parts = envelope.sort(found, {LEFTOVER: 1, LEFT_INPUT: 1, HELD: 1})
    if found.refusal or parts.reason:
        raise ProtocolError(found.refusal or parts.reason)
    for section in parts.readable:
        if section.kind == LEFT_INPUT:
            gate.give(NOBODY, WaitingPart.decode(section.data).events())
            continue
        if section.kind == HELD:
            held.expect(HeldPart.decode(section.data).held())
            continue
        key = (section.channel, section.channel_id)
        if key not in desk.slots:
            raise ProtocolError("bytes have come for a device that is not there")
        desk.left_behind(key, section.data)
    return data[:-size]
