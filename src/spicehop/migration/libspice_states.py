"""The states of our channels in the layouts of libspice-server's MIGRATE_DATA, and back (dossier C4, C5, F).

    body = layout_of_pipe(pipe.state())                # what a target reads that may be libspice
    state = pipe_from(body)                            # what a source that was libspice has left

The layouts have no place for messages that were made for the client and not written: a server that leaves for libspice
writes them before MIGRATE. `StateError` is raised when one is left that would be missed. What libspice's data does not
say begins anew, as it does with libspice itself.

Serials: only display data has one. Other channels go on with 0, as libspice does: with mini headers no serial is on the
wire, with full ones stock clients only hold it against WAIT_FOR_CHANNELS, which speaks of display channels alone. The
main channel's data is in `libspice_agent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spicehop.channels.serving.channel import ChannelState, QueuedMessage
from spicehop.channels.serving.display import DisplayState
from spicehop.channels.serving.inputs import MOTIONS_PER_ACK, InputsState
from spicehop.channels.serving.pipe import INCOMING_MOST, PipeState
from spicehop.channels.serving.smartcard import DEVICE_HEADER, MAX_DATA, SmartcardState
from spicehop.errors import ProtocolError, StateError
from spicehop.migration.libspice_agent import (
    has_agent,
    layout_of_main,
    main_from,
    main_state,
    next_chunk,
    with_bytes,
    without_bytes,
)
from spicehop.painting.digests import Grid
from spicehop.painting.state import SurfaceState, ViewState, flags_of
from spicehop.painting.state import check as check_view
from spicehop.wire import base, display, inputs, registry, smartcard, vmc
from spicehop.wire.constants import ChannelType, Direction
from spicehop.wire.layout import Data, Message
from spicehop.wire.migration_data import (
    PIXMAP_CACHE_CLIENTS,
    VERSION,
    DeviceState,
    DisplayMigrationData,
    InputsMigrationData,
    LossyDisplayMigrationData,
    LossySurface,
    LossySurfaceList,
    SmartcardMigrationData,
    SurfaceList,
    VmcMigrationData,
    display_forms,
)

__all__ = [
    "DisplayLeft",
    "display_from",
    "display_left",
    "has_agent",
    "inputs_from",
    "layout_of_display",
    "layout_of_inputs",
    "layout_of_main",
    "layout_of_pipe",
    "layout_of_smartcard",
    "main_from",
    "main_state",
    "next_chunk",
    "pipe_from",
    "smartcard_from",
    "with_bytes",
    "without_bytes",
]

GLZ_ENCODERS = 4
"""As many as libspice's dictionaries have."""
MOST_GLZ_PIXELS = 2**25
"""libspice ends its process for a larger window."""
MOST_CACHE_PIXELS = 2**26
MOST_MOTIONS = 1024
"""Movements without an acknowledgement; stock clients stop at 8."""
UNLIMITED = 2**32 - 1
"""The tokens of devices without flow control."""
CARD_BUFFER = 282
"""Bytes of libspice's buffer for a card's message until it grows, and it grows only for a longer body."""
_MOST_SERIAL = 2**62


def _queued(state: ChannelState, kind: int) -> list[Message | registry.Unknown]:
    return [registry.decode(kind, Direction.FROM_SERVER, one.number, one.body) for one in state.queued]


# -- display --------------------------------------------------------------------------------------------------------


def layout_of_display(
    state: DisplayState,
    view: ViewState | None,
    *,
    jpeg: bool = False,
    low_bandwidth: bool = False,
    freezer: bool = True,
    cache_serials: Mapping[int, int] | None = None,
    glz_next_id: int | None = None,
) -> bytes:
    """The body of MIGRATE_DATA, which is to be the message after `state.channel` was asked for.

    `jpeg` says that the target compresses with JPEG. It reads the form of the list by that, so it must be known: with
    QEMU's `jpeg-wan-compression=auto` it is what `low_bandwidth` is. Of a client's display channels one is the
    `freezer`: its data has the target empty the image cache that they share. `cache_serials` are the other channels'
    serials up to which the client must have come before that, by display; `glz_next_id` is the largest of all of them,
    where there are several displays.

    The list says which surfaces the client has. Streams and palettes are not carried: libspice ends the ones and
    empties the others' cache.
    """
    if state.init is None:
        raise StateError("the client has not said what caches it has")
    for message in _queued(state.channel, ChannelType.DISPLAY):
        if not isinstance(message, base.Ping):
            raise StateError("a message of a display is queued: it must be written before the channel leaves")
    serials = cache_serials or {}
    fields: dict[str, Any] = {
        "message_serial": state.channel.serial,
        "low_bandwidth": int(low_bandwidth),
        "pixmap_cache_id": state.init.pixmap_cache_id,
        "pixmap_cache_size": state.init.pixmap_cache_size,
        "pixmap_cache_freezer": int(freezer),
        "pixmap_cache_clients": tuple([serials.get(number, 0) for number in range(PIXMAP_CACHE_CLIENTS)]),
        "glz_dictionary_id": state.init.glz_dictionary_id,
        # A server may use less of the client's window than there is.
        "glz_window_size": min(state.init.glz_window_size, MOST_GLZ_PIXELS),
        "glz_max_encoders": GLZ_ENCODERS,
        # glz-encoder-dict.c gives an image the "last" id and counts on, so it is the next one.
        "glz_last_image_id": (view.glz_next_id if view else 0) if glz_next_id is None else glz_next_id,
    }
    surfaces = sorted(view.surfaces, key=lambda one: one.surface_id) if view else []
    if jpeg:
        lossy = LossySurfaceList(tuple([_lossy_surface(one) for one in surfaces]))
        return LossyDisplayMigrationData(**fields, surfaces=lossy).encode()
    ids = SurfaceList(tuple([one.surface_id for one in surfaces]))
    return DisplayMigrationData(**fields, surfaces=ids).encode()


def _lossy_surface(state: SurfaceState) -> LossySurface:
    """The bounds of all that is lossy."""
    if not state.lossy:
        return LossySurface(state.surface_id, 0, 0, 0, 0)
    grid = Grid(state.width, state.height)
    flags = flags_of(state.lossy, grid)
    if not flags.any():
        return LossySurface(state.surface_id, 0, 0, 0, 0)
    rows, columns = np.flatnonzero(flags.any(axis=1)), np.flatnonzero(flags.any(axis=0))
    box = grid.area(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    return LossySurface(state.surface_id, *box)


@dataclass(frozen=True, slots=True)
class DisplayLeft:
    """What libspice has left of a display. Nothing is known of what the client shows, and of what its caches hold."""

    state: DisplayState
    view: ViewState
    """Cache sizes and GLZ ids; no surfaces, images, palettes and streams."""
    surfaces: tuple[int, ...]
    """The ids of those that the client has. Their sizes are not told."""
    low_bandwidth: bool
    freezer: bool
    """Whether this channel empties the image cache that the client's displays share."""
    cache_serials: tuple[int, ...]
    """Of each display, how far the client must have come before the image cache is emptied; 0 for any."""

    def first_messages(self) -> tuple[Message, ...]:
        """What the client must hear before anything is drawn; behind SET_ACK, where that is due."""
        own = self.view.display_id
        waits = [
            base.WaitFor(ChannelType.DISPLAY, number, serial)
            for number, serial in enumerate(self.cache_serials)
            if serial and number != own
        ]
        pixmaps = (display.InvalAllPixmaps(tuple(waits)),) if self.freezer else ()
        return *pixmaps, display.InvalAllPalettes()

    def view_with(self, sizes: Mapping[int, tuple[int, int]]) -> tuple[ViewState, tuple[int, ...]]:
        """The view with those surfaces whose width and height the server knows of its guest, their content unknown;
        and the ids of the others, which it has to destroy before it uses their ids again.
        """
        known = [SurfaceState(one, *sizes[one], b"", b"", b"") for one in self.surfaces if one in sizes]
        view = replace(self.view, surfaces=tuple(known))
        check_view(view)
        return view, tuple([one for one in self.surfaces if one not in sizes])


def display_from(body: Data, *, display_id: int = 0, displays: int = 1) -> tuple[DisplayState, ViewState]:
    """The channel's state, and a view that has no surfaces; `display_left` tells which the client has nevertheless."""
    left = display_left(body, display_id=display_id, displays=displays)
    return left.state, left.view


def display_left(body: Data, *, display_id: int = 0, displays: int = 1) -> DisplayLeft:
    """What goes on with a display of libspice: `ProtocolError` when the data contradicts itself.

    The next serial is the one after the data's own, which the client has counted.
    """
    forms = display_forms(body)
    if not forms:
        raise ProtocolError("the list of surfaces in a display's migration data has another size than it says")
    data = forms[0].decode(body)
    ids = tuple(data.surfaces.ids)
    if len(set(ids)) != len(ids):
        raise ProtocolError("a display's migration data has a surface twice")
    if data.pixmap_cache_size < 0 or data.glz_window_size > MOST_GLZ_PIXELS:
        raise ProtocolError("a display's migration data has impossible cache sizes")
    if max(data.message_serial, data.glz_last_image_id, *data.pixmap_cache_clients) >= _MOST_SERIAL:
        raise ProtocolError("a display's migration data has an impossible serial or id")
    init = display.Init(data.pixmap_cache_id, data.pixmap_cache_size, data.glz_dictionary_id, data.glz_window_size)
    view = ViewState(
        display_id=display_id,
        displays=displays,
        preferred_compression=0,
        preferred_codecs=(),
        refused_codecs=(),
        cache_pixels=min(data.pixmap_cache_size, MOST_CACHE_PIXELS),
        # The client's dictionary belongs to display 0 alone (`ClientView.glz`).
        glz_window=0 if display_id else data.glz_window_size,
        glz_next_id=0 if display_id or not data.glz_window_size else data.glz_last_image_id,
        streams_begun=0,
        surfaces=(),
        images=(),
        palettes=(),
        streams=(),
    )
    check_view(view)
    return DisplayLeft(
        DisplayState(ChannelState(data.message_serial), init),
        view,
        ids,
        bool(data.low_bandwidth),
        bool(data.pixmap_cache_freezer),
        tuple(data.pixmap_cache_clients),
    )


# -- inputs ---------------------------------------------------------------------------------------------------------


def layout_of_inputs(state: InputsState) -> bytes:
    """The body of MIGRATE_DATA. Acknowledgements that are not written are counted as movements: libspice gives them.

    Held keys, buttons, half a scan code and input that waits for the guest have no place in it (dossier C5).
    """
    acks = sum(isinstance(one, inputs.MouseMotionAck) for one in _queued(state.channel, ChannelType.INPUTS))
    return InputsMigrationData(state.motions + MOTIONS_PER_ACK * acks).encode()


def inputs_from(body: Data, *, locks: int = 0) -> InputsState:
    """What goes on with the inputs of libspice. `locks` are the guest's lock keys now: as libspice does, the client is
    told them, and gets the acknowledgements that are due. Which keys and buttons it holds is not known.
    """
    motions = InputsMigrationData.decode(body).motion_count
    if motions > MOST_MOTIONS:
        raise ProtocolError(f"{motions} movements have not been acknowledged")
    acks, motions = divmod(motions, MOTIONS_PER_ACK)
    first = (inputs.KeyModifiers(locks), *[inputs.MouseMotionAck()] * acks)
    queued = [
        QueuedMessage(registry.number_of(one, ChannelType.INPUTS, Direction.FROM_SERVER), one.encode()) for one in first
    ]
    return InputsState(ChannelState(queued=tuple(queued)), (), 0, motions, locks)


# -- pipes ----------------------------------------------------------------------------------------------------------


def layout_of_pipe(state: PipeState) -> bytes:
    """The body of MIGRATE_DATA of a port, usbredir or webdav channel: all that its device has not taken."""
    if any(isinstance(one, vmc.VmcData) for one in _queued(state.channel, ChannelType.PORT)):
        raise StateError("bytes of a device are queued: they must be written before the channel leaves")
    return VmcMigrationData(_device(state)).encode()


def pipe_from(body: Data) -> PipeState:
    """What goes on with a pipe of libspice, with all its bytes for the device.

    Whether the port is open is not told. It counts as closed, so that one that is open is told to be open once more.
    """
    return _pipe(VmcMigrationData.decode(body).device)


def layout_of_smartcard(state: SmartcardState) -> bytes:
    """The body of MIGRATE_DATA: all that the device has not taken, and its message that is not whole."""
    queued = _queued(state.pipe.channel, ChannelType.SMARTCARD)
    if any(isinstance(one, smartcard.SmartcardData) for one in queued):
        raise StateError("a message of the card's device is queued: it must be written before the channel leaves")
    if len(state.partial) > CARD_BUFFER and _length(state.partial) <= CARD_BUFFER:
        # smartcard.cpp:smartcard_read_buf_prepare does not grow for the header.
        raise StateError(f"libspice has no room for {len(state.partial)} bytes of a message of that length")
    return SmartcardMigrationData(_device(state.pipe), int(state.has_reader), state.partial).encode()


def smartcard_from(body: Data) -> SmartcardState:
    """What goes on with a smartcard channel of libspice. `ProtocolError` when the data contradicts itself."""
    data = SmartcardMigrationData.decode(body)
    partial = bytes(data.read_data)
    if not data.device.connected and (data.reader_added or partial):
        raise ProtocolError("a reader or a part of a message, and no card device")
    if data.reader_added > 1:
        raise ProtocolError(f"a flag of the card's reader is {data.reader_added}")
    if len(partial) >= DEVICE_HEADER.size:
        length = _length(partial)
        if length > MAX_DATA or len(partial) >= DEVICE_HEADER.size + length:
            raise ProtocolError(f"{len(partial)} bytes are no part of a card's message of {length}")
    return SmartcardState(_pipe(data.device), bool(data.reader_added), partial)


def _length(partial: bytes) -> int:
    return int(DEVICE_HEADER.unpack_from(partial)[2])


def _device(state: PipeState) -> DeviceState:
    """Without flow control. The bytes cost no tokens, as those of libspice's own pipes do."""
    return DeviceState(VERSION, 1, UNLIMITED, UNLIMITED, 0, state.incoming)


def _pipe(device: DeviceState) -> PipeState:
    incoming = bytes(device.write_data)
    if not device.connected and incoming:
        raise ProtocolError("there are bytes for a device that was not connected")
    if len(incoming) > INCOMING_MOST:
        raise ProtocolError(f"{len(incoming)} bytes wait for a device, more than {INCOMING_MOST}")
    return PipeState(ChannelState(), False, incoming, len(incoming), 0, 0)
