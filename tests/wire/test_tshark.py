"""Wireshark's SPICE dissector as a judge of what we encode.

`tshark_readings.txt` holds, for one of each message, what the dissector read: its name for the message and the fields
that it shows. Each line was compared with the message in `samples.py`; `FAULTS` says where the dissector is wrong. It
knows no port and webdav channel; usbredir's messages, which are the same, stand for them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from dissector import Reading, dissect, link_stage, tshark
from pcap_writer import Capture
from samples import AGENT, COMMON, SAMPLES, Sample

from spicehop.wire import main, registry
from spicehop.wire.agent_constants import AgentCap
from spicehop.wire.agent_stream import encode_agent_message
from spicehop.wire.constants import ChannelType, Direction
from spicehop.wire.layout import Message

pytestmark = pytest.mark.peers

READINGS = Path(__file__).with_name("tshark_readings.txt")
SIDES = {Direction.FROM_SERVER: "server", Direction.FROM_CLIENT: "client"}
UNKNOWN_CHANNELS = {ChannelType.PORT, ChannelType.WEBDAV}
HARMLESS = "value irrelevant as bitmap address is 0"
NOT_READ = "(not read to the end)"
MALFORMED = "(called malformed)"
LOST = "(loses its place)"


def named(samples: list[Sample]) -> list[tuple[str, Direction, Message]]:
    return [(message.NAME, direction, message) for direction, message in samples]


AGENT_SLICES = [
    (
        message.NAME,
        direction,
        main.AgentData(encode_agent_message(message, capabilities=frozenset({AgentCap.CLIPBOARD_SELECTION}))),
    )
    for direction, message in AGENT
]
SETS = {
    "common": (ChannelType.MAIN, named(COMMON)),
    **{channel.name.lower(): (channel, named(samples)) for channel, samples in SAMPLES.items()},
    "agent": (ChannelType.MAIN, AGENT_SLICES),
}

FAULTS = {
    "RECT": "names the four numbers left, top, right, bottom; on the wire they are top, left, bottom, right",
    "main server INIT": "reads the session id in network byte order",
    "MIGRATE_": "takes the sizes and offsets of host and subject for text",
    "display server INVAL_LIST": "reads each id one byte too early",
    "display server DRAW_FILL brush_type=0": "calls a brush of type NONE malformed",
    "display server DRAW_TEXT": "knows of one brush only, and takes the other for the modes",
    "inputs client MOUSE_PRESS": "takes the button and the low byte of the mask for the mask",
    "inputs client MOUSE_RELEASE": "takes the button and the low byte of the mask for the mask",
    "usbredir": "has the names of client and server the wrong way round",
    "smartcard client DATA": "knows the name HEADER, which the protocol once had",
    "QUALITY_INDICATOR": "does not know the message",
    "agent server MOUSE_STATE": "reads the buttons as 16 bits",
}
"""Where the dissector is wrong, or differs from the dossier, in lines of `tshark_readings.txt`."""


def line(set_name: str, sample: tuple[str, Direction, Message], reading: Reading) -> str:
    """A reading as a line of the file."""
    name, direction, _ = sample
    remarks = []
    if any("not fully dissected" in complaint for complaint in reading.complaints):
        remarks.append(NOT_READ)
    if "malformed" in reading.complaints:
        remarks.append(MALFORMED)
    if not reading.kept_place:
        remarks.append(LOST)
    return " | ".join([f"{set_name} {SIDES[direction]} {name}", reading.name, *reading.values, *remarks])


@cache
def readings(set_name: str, *, mini_header: bool) -> tuple[Reading, ...]:
    channel, samples = SETS[set_name]
    with TemporaryDirectory() as folder:
        messages = [(direction, message) for _, direction, message in samples]
        return tuple(dissect(Path(folder), channel, messages, mini_header=mini_header))


def lines(set_name: str, *, mini_header: bool) -> list[str]:
    _, samples = SETS[set_name]
    found = readings(set_name, mini_header=mini_header)
    return [line(set_name, sample, reading) for sample, reading in zip(samples, found, strict=True)]


@pytest.mark.parametrize("mini_header", [True, False], ids=["mini", "full"])
@pytest.mark.parametrize("set_name", SETS)
def test_the_dissector_reads_what_we_encode(set_name: str, *, mini_header: bool) -> None:
    expected = [text for text in READINGS.read_text().splitlines() if text.startswith(set_name + " ")]
    found = lines(set_name, mini_header=mini_header)
    assert comparable(found, mini_header=mini_header) == comparable(expected, mini_header=mini_header)


def comparable(texts: list[str], *, mini_header: bool) -> list[str]:
    """Lines as they are with the mini header.

    With the full one there is no LIST, whose content is in the header's sub-message list then; and where the dissector
    goes on after a body that it has not read depends on chance.
    """
    if mini_header:
        return texts
    return [text.removesuffix(f" | {LOST}") for text in texts if " LIST |" not in text]


@pytest.mark.parametrize("mini_header", [True, False], ids=["mini", "full"])
def test_the_dissector_reads_the_link_stage(tmp_path: Path, *, mini_header: bool) -> None:
    capture = Capture()
    for channel in SAMPLES:
        link_stage(
            capture.conversation(client_port=40_000 + channel, server_port=5900), channel, mini_header=mini_header
        )
    capture.write(tmp_path / "link.pcap")
    fields = ["_ws.col.Info", "spice.channel_type", "spice.conn_id", "spice.common_cap_mini_header"]
    options = [option for field in fields for option in ("-e", field)]
    text = tshark(tmp_path / "link.pcap", "-T", "fields", "-E", "separator=;", *options).decode()
    mini = int(mini_header)
    expected = []
    for channel in SAMPLES:
        connection = "0x00000000" if channel == ChannelType.MAIN else "0x0000004d"
        expected += [
            "Client link message [TCP segment of a reassembled PDU];;;",
            f"Client link message;{channel.value};{connection};{mini}",
            "Server link message [TCP segment of a reassembled PDU];;;",
            f"Server link message;;;{mini}",
            "Client authentication method selection;;;",
            "Client ticket;;;",
            "Server ticket;;;",
        ]
    assert [told for told in text.splitlines() if "→" not in told] == expected


def test_one_of_each_message_is_read() -> None:
    read = {
        (channel, direction, registry.number_of(message, channel, direction))
        for channel, samples in SETS.values()
        for _, direction, message in samples
    }
    assert {
        (channel, direction, number)
        for channel, direction, number, _ in registry.registered()
        if channel not in UNKNOWN_CHANNELS and (channel or ChannelType.MAIN, direction, number) not in read
    } == set()


def test_what_is_called_malformed_is_explained() -> None:
    for text in READINGS.read_text().splitlines():
        if MALFORMED in text:
            assert any(all(word in text for word in fault.split(" ")) for fault in FAULTS), text
