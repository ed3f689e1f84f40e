"""The envelope: our own container of migration data, sections with kind, version, length and whether they are sealed.

Between two spicehop servers it follows a channel's libspice layout in MIGRATE_DATA, which libspice ignores (dossier F),
or goes alone over the direct link. It is found from the end, by its trailer:

    body = attach(layout, encode(sections))
    envelope = find(body)
    parts = sort(envelope, {Kind.MAIN: 1, ...})     # what can be read here, what is kept, what is refused and why

Every section says which version it has and the oldest reader that can make use of it, and whether the session can go on
without it. So a newer source and an older target agree on what both know, and the reverse: later versions of a section
append fields, or name a newer oldest reader. An envelope comes through a client: nothing in it is believed.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spicehop.errors import ProtocolError, StateError
from spicehop.wire.layout import Data

MAGIC = b"SHEV"
FORMAT = 1
"""Version of the container."""
OLDEST_READER = 1
"""A reader of this version of the container can read what is written here."""
MAX_SECTIONS = 1024
MAX_BYTES = 256 * 1024
"""Through the client, of all channels of a session together; host to host the caller gives another limit."""
_HEAD = struct.Struct("<4sHHHHI")  # magic, format, oldest reader, sections, nothing, length
_SECTION = struct.Struct("<HHHBBBBHI")  # kind, version, oldest reader, flags, channel, channel id, nothing, 0, length
_TRAILER = struct.Struct("<I4s")  # length of the envelope without the trailer, magic
_SEALED = 1
_OBLIGATORY = 2
OVERHEAD = _HEAD.size + _TRAILER.size
"""Bytes of an envelope without sections."""
SECTION_OVERHEAD = _SECTION.size


@dataclass(frozen=True, slots=True)
class Section:
    """One piece of state."""

    kind: int
    version: int
    oldest_reader: int
    """Who knows this version of the kind, or a later one, can make use of it."""
    data: bytes
    channel: int = 0
    """`ChannelType`, 0 for what belongs to the whole session."""
    channel_id: int = 0
    sealed: bool = False
    """`data` is encrypted, for the target alone."""
    obligatory: bool = False
    """A session that goes on without it has lost bytes; else something is only sent again."""

    @property
    def key(self) -> tuple[int, int, int]:
        """There is one section with each key."""
        return self.kind, self.channel, self.channel_id


@dataclass(frozen=True, slots=True)
class Envelope:
    """What came: its sections, or the reason for which the whole cannot be read here."""

    sections: tuple[Section, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Sorted:
    """What a server makes of an envelope."""

    readable: tuple[Section, ...]
    kept: tuple[tuple[Section, str], ...]
    """What is not understood and not needed, with the reason."""
    refused: tuple[tuple[Section, str], ...]
    """What is not understood and cannot be done without: with any, the session must move another way."""

    @property
    def reason(self) -> str:
        """Why the session cannot go on with this; empty when it can."""
        return "; ".join(reason for _, reason in self.refused)


def encode(sections: Sequence[Section], *, limit: int = MAX_BYTES) -> bytes:
    """The envelope with its trailer. `StateError` when it would have more than `limit` bytes, or a key twice."""
    if len(sections) > MAX_SECTIONS or len({section.key for section in sections}) < len(sections):
        raise StateError("an envelope has a section twice, or too many")
    size = OVERHEAD + sum(SECTION_OVERHEAD + len(section.data) for section in sections)
    if size > limit:
        raise StateError(f"an envelope of {size} bytes is larger than {limit}")
    inside = size - _TRAILER.size
    parts = [_HEAD.pack(MAGIC, FORMAT, OLDEST_READER, len(sections), 0, inside)]
    for section in sections:
        parts += _section_head(section), section.data
    parts.append(_TRAILER.pack(inside, MAGIC))
    return b"".join(parts)


def attach(layout: bytes, envelope: bytes) -> bytes:
    """The body of MIGRATE_DATA: what libspice reads, and behind it the envelope."""
    return layout + envelope


def find(body: Data, *, limit: int = MAX_BYTES) -> Envelope | None:
    """The envelope at the end of a body; None when there is none. `ProtocolError` for one that is broken."""
    view = memoryview(body)
    if len(view) < OVERHEAD:
        return None
    inside, magic = _TRAILER.unpack_from(view, len(view) - _TRAILER.size)
    begin = len(view) - _TRAILER.size - inside
    if magic != MAGIC or begin < 0 or bytes(view[begin : begin + 4]) != MAGIC:
        return None
    return decode(view[begin:], limit=limit)


def decode(data: Data, *, limit: int = MAX_BYTES) -> Envelope:
    """What `encode` was given; `ProtocolError` for anything else.

    An envelope that only newer readers can read has a `refusal` and no sections.
    """
    view = memoryview(data)
    if not OVERHEAD <= len(view) <= limit:
        raise ProtocolError(f"an envelope cannot have {len(view)} bytes here")
    magic, version, oldest, count, nothing, inside = _HEAD.unpack_from(view)
    trailer = _TRAILER.unpack_from(view, len(view) - _TRAILER.size)
    if magic != MAGIC or inside != len(view) - _TRAILER.size or trailer != (inside, MAGIC):
        raise ProtocolError("these bytes are no envelope")
    if oldest > version:
        raise ProtocolError("an envelope contradicts itself")
    if oldest > FORMAT:
        return Envelope((), f"the envelope has format {version}, and this server reads up to {FORMAT}")
    if nothing or count > MAX_SECTIONS:
        raise ProtocolError("an envelope has too many sections")
    sections: list[Section] = []
    at = _HEAD.size
    for _ in range(count):
        section, at = _read_section(view, at, inside)
        sections.append(section)
    if at != inside:
        raise ProtocolError("an envelope holds more than its sections")
    if len({section.key for section in sections}) < len(sections):
        raise ProtocolError("an envelope has a section twice")
    return Envelope(tuple(sections))


def sort(envelope: Envelope, known: Mapping[int, int], *, opened: bool = False) -> Sorted:
    """What can be read by who knows these kinds, each up to a version; `opened` when sealed sections were opened."""
    readable: list[Section] = []
    kept: list[tuple[Section, str]] = []
    refused: list[tuple[Section, str]] = []
    for section in envelope.sections:
        reason = _why_not(section, known, opened=opened)
        if not reason:
            readable.append(section)
        elif section.obligatory:
            refused.append((section, reason))
        else:
            kept.append((section, reason))
    return Sorted(tuple(readable), tuple(kept), tuple(refused))


def _why_not(section: Section, known: Mapping[int, int], *, opened: bool) -> str:
    newest = known.get(section.kind)
    if newest is None:
        return f"state of kind {section.kind} is not known here"
    if section.oldest_reader > newest:
        return f"state of kind {section.kind} has version {section.version}, and this server reads up to {newest}"
    if section.sealed and not opened:
        return f"state of kind {section.kind} is sealed, and there is no key for it here"
    return ""


def _section_head(section: Section) -> bytes:
    if section.oldest_reader > section.version:
        raise StateError("a section cannot need a newer reader than its version")
    flags = (_SEALED if section.sealed else 0) | (_OBLIGATORY if section.obligatory else 0)
    try:
        return _SECTION.pack(
            section.kind,
            section.version,
            section.oldest_reader,
            flags,
            section.channel,
            section.channel_id,
            0,
            0,
            len(section.data),
        )
    except struct.error as error:
        raise StateError(f"a section's numbers do not fit: {error}") from None


def _read_section(view: memoryview, at: int, end: int) -> tuple[Section, int]:
    if at + _SECTION.size > end:
        raise ProtocolError("an envelope ends within a section")
    kind, version, oldest, flags, channel, channel_id, nothing, zero, length = _SECTION.unpack_from(view, at)
    at += _SECTION.size
    if nothing or zero or flags & ~(_SEALED | _OBLIGATORY) or oldest > version:
        raise ProtocolError("an envelope has a section that cannot be")
    if at + length > end:
        raise ProtocolError("an envelope ends within a section")
    section = Section(
        kind,
        version,
        oldest,
        bytes(view[at : at + length]),
        channel,
        channel_id,
        sealed=bool(flags & _SEALED),
        obligatory=bool(flags & _OBLIGATORY),
    )
    return section, at + length
