"""Has tshark's SPICE dissector read what we encode.

Each message travels in a conversation of its own, so that a message which the dissector gets wrong spoils no other. One
that the dissector knows well follows it, so that we see whether it kept its place. Header, link message, auth word,
ticket and result each have a TCP segment: the dissector mislabels the rest otherwise.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from pcap_writer import Capture, Conversation

from spicehop.wire import base, registry
from spicehop.wire.constants import TICKET_BYTES, AuthMechanism, ChannelType, CommonCap, Direction
from spicehop.wire.framing import encode_frame
from spicehop.wire.layout import Message
from spicehop.wire.link import HEADER_SIZE, Capabilities, LinkMessage, LinkReply

SERVER_PORT = 5900
FIRST_CLIENT_PORT = 20_000
CAPABILITIES = frozenset({CommonCap.PROTOCOL_AUTH_SELECTION, CommonCap.AUTH_SPICE})
FOLLOWERS: dict[Direction, Message] = {Direction.FROM_SERVER: base.SetAck(1, 2), Direction.FROM_CLIENT: base.Pong(1, 2)}
HEADER_FIELDS = ("spice.message_", "spice.serial")
_NAME = re.compile(r"Message type: (.*) \(\d+\)")


@dataclass(frozen=True)
class Reading:
    """What the dissector made of one message."""

    name: str
    """Its name for the message, for example `Server DRAW_COPY`; empty when it found none."""
    values: tuple[str, ...]
    """The body's fields as `field=value`, in its order, without the texts it adds."""
    complaints: tuple[str, ...]
    """What it found malformed or could not read."""
    kept_place: bool
    """Whether it named the message behind this one."""


def dissect(
    folder: Path, channel: ChannelType, messages: Iterable[tuple[Direction, Message]], *, mini_header: bool
) -> list[Reading]:
    """Have messages of a channel read, in one run of tshark."""
    capture = Capture()
    places = []
    for index, (direction, message) in enumerate(messages):
        talk = capture.conversation(client_port=FIRST_CLIENT_PORT + index, server_port=SERVER_PORT)
        link_stage(talk, channel, mini_header=mini_header)
        from_client = direction == Direction.FROM_CLIENT
        frames = []
        for serial, sent in enumerate((message, FOLLOWERS[direction]), 1):
            number = registry.number_of(sent, channel, direction)
            data = encode_frame(number, sent.encode(), mini_header=mini_header, serial=serial)
            frames.append(talk.send(data, from_client=from_client))
        places.append(frames)
    path = folder / f"{channel.name.lower()}.pcap"
    capture.write(path)
    packets = list(ElementTree.fromstring(tshark(path, "-T", "pdml")).iter("packet"))
    return [_reading(packets[frame - 1], packets[follower - 1]) for frame, follower in places]


def link_stage(talk: Conversation, channel: ChannelType, *, mini_header: bool) -> None:
    """Add the segments of the link stage to a conversation."""
    capabilities = Capabilities(CAPABILITIES | ({CommonCap.MINI_HEADER} if mini_header else set()), frozenset({0, 1}))
    connection_id = 0 if channel == ChannelType.MAIN else 77
    message = LinkMessage(connection_id, channel, 0, capabilities).encode()
    reply = LinkReply(0, b"public key", capabilities).encode()
    talk.send(message[:HEADER_SIZE], from_client=True)
    talk.send(message[HEADER_SIZE:], from_client=True)
    talk.send(reply[:HEADER_SIZE], from_client=False)
    talk.send(reply[HEADER_SIZE:], from_client=False)
    talk.send(AuthMechanism.SPICE.to_bytes(4, "little"), from_client=True)
    talk.send(bytes(range(TICKET_BYTES)), from_client=True)
    talk.send(bytes(4), from_client=False)


def tshark(path: Path, *options: str) -> bytes:
    """What tshark writes of a pcap file."""
    command = ["tshark", "-n", "-r", str(path), "-d", f"tcp.port=={SERVER_PORT},spice", *options]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


def _reading(packet: ElementTree.Element, follower: ElementTree.Element) -> Reading:
    name, values, complaints = "", [], []
    for protocol in packet.iter("proto"):
        if "malformed" in protocol.get("name", ""):
            complaints.append("malformed")
        if protocol.get("name") != "spice":
            continue
        for field in protocol.iter("field"):
            key, show = field.get("name", ""), field.get("show", "")
            if key == "" and (found := _NAME.match(show)):
                name = name or found[1]
            elif key == "_ws.expert.message":
                complaints.append(show)
            elif show and key.startswith("spice.") and not key.startswith(HEADER_FIELDS):
                values.append(f"{key.removeprefix('spice.')}={show}")
    kept_place = _name_in(follower) in ("Server SET_ACK", "Client PONG")
    return Reading(name, tuple(values), tuple(complaints), kept_place)


def _name_in(packet: ElementTree.Element) -> str:
    for field in packet.iter("field"):
        if not field.get("name") and (found := _NAME.match(field.get("show", ""))):
            return found[1]
    return ""
