"""Writes TCP conversations as a pcap file, each piece of data as a segment of its own."""

from __future__ import annotations

import struct
from pathlib import Path

ETHERNET = 1
_GLOBAL = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_IP = struct.Struct("!BBHHHBBH4s4s")
_TCP = struct.Struct("!HHIIBBHHH")
LARGEST_SEGMENT = 60_000
PUSH_ACK, SYN, SYN_ACK, ACK = 0x18, 0x02, 0x12, 0x10


class Capture:
    """Frames of any number of conversations, in the order in which they were sent."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def conversation(self, *, client_port: int, server_port: int) -> Conversation:
        """A new TCP connection, opened."""
        return Conversation(self, client_port=client_port, server_port=server_port)

    def write(self, path: Path) -> None:
        """Write everything as a pcap file."""
        parts = [_GLOBAL.pack(0xA1B2C3D4, 2, 4, 0, 0, 2 * LARGEST_SEGMENT, ETHERNET)]
        for number, frame in enumerate(self.frames):
            parts.append(_RECORD.pack(1, number, len(frame), len(frame)))
            parts.append(frame)
        path.write_bytes(b"".join(parts))


class Conversation:
    """One TCP connection from a client to a server port."""

    def __init__(self, capture: Capture, *, client_port: int, server_port: int) -> None:
        self._capture = capture
        self._ports = (client_port, server_port)
        self._sent = [1000, 2000]
        """Next sequence number of client and server."""
        self._segment(from_client=True, flags=SYN, data=b"")
        self._segment(from_client=False, flags=SYN_ACK, data=b"")
        self._segment(from_client=True, flags=ACK, data=b"")

    def send(self, data: bytes, *, from_client: bool) -> int:
        """Add a segment; its frame number in the file, as tshark counts."""
        if not 0 < len(data) <= LARGEST_SEGMENT:
            raise ValueError(f"{len(data)} bytes do not fit into one segment")
        self._segment(from_client=from_client, flags=PUSH_ACK, data=data)
        return len(self._capture.frames)

    def _segment(self, *, from_client: bool, flags: int, data: bytes) -> None:
        me, other = (0, 1) if from_client else (1, 0)
        acknowledged = 0 if flags == SYN else self._sent[other]
        ports = (self._ports[me], self._ports[other])
        tcp = _TCP.pack(*ports, self._sent[me], acknowledged, 5 << 4, flags, 65_535, 0, 0) + data
        self._sent[me] += len(data) + (1 if flags & SYN else 0)
        addresses = (bytes([127, 0, 0, 1 + me]), bytes([127, 0, 0, 1 + other]))
        identification = len(self._capture.frames) & 0xFFFF
        header = _IP.pack(0x45, 0, _IP.size + len(tcp), identification, 0, 64, 6, 0, *addresses)
        header = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
        self._capture.frames.append(bytes(12) + b"\x08\x00" + header + tcp)


def _checksum(header: bytes) -> int:
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
