"""How fast bytes become typed messages, whether large payloads are copied, and what `spicehop --help` costs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench.timing import interleaved
from spicehop.wire import base, cursor, display, drawing, image, inputs, main, vmc
from spicehop.wire.constants import ChannelType, Direction
from spicehop.wire.display_constants import ImageType
from spicehop.wire.framing import MINI_HEADER, FrameReader
from spicehop.wire.geometry import Clip, Point, Point16, Rect
from spicehop.wire.layout import Message
from spicehop.wire.registry import decode, number_of

GOAL_MESSAGES = 300_000  # small messages a second
GOAL_HELP_SECONDS = 0.3  # of CPU
_PAYLOAD = 8 * 1024 * 1024  # bytes

_SERVER, _CLIENT = Direction.FROM_SERVER, Direction.FROM_CLIENT
_Wire = tuple[int, Direction, int, memoryview]

#: What a session at work mostly consists of: keys, motion, acknowledgements, pings, tokens, small port data.
SMALL: tuple[tuple[int, Direction, Message], ...] = (
    (ChannelType.INPUTS, _CLIENT, inputs.KeyDown(0x1E)),
    (ChannelType.INPUTS, _CLIENT, inputs.KeyUp(0x9E)),
    (ChannelType.INPUTS, _CLIENT, inputs.MouseMotion(3, -2, 0)),
    (ChannelType.INPUTS, _CLIENT, inputs.MousePosition(640, 480, 0, 0)),
    (ChannelType.INPUTS, _SERVER, inputs.MouseMotionAck()),
    (ChannelType.INPUTS, _SERVER, inputs.KeyModifiers(2)),
    (ChannelType.DISPLAY, _CLIENT, base.Ack()),
    (ChannelType.DISPLAY, _SERVER, base.SetAck(1, 20)),
    (ChannelType.DISPLAY, _SERVER, display.StreamDestroy(3)),
    (ChannelType.DISPLAY, _SERVER, display.InvalPalette(77)),
    (ChannelType.DISPLAY, _SERVER, display.SurfaceCreate(0, 1024, 768, 32, 1)),
    (ChannelType.CURSOR, _SERVER, cursor.Move(Point16(100, 200))),
    (ChannelType.MAIN, _SERVER, base.Ping(1, 2, b"")),
    (ChannelType.MAIN, _CLIENT, base.Pong(1, 2)),
    (ChannelType.MAIN, _SERVER, main.MultiMediaTime(1234)),
    (ChannelType.MAIN, _SERVER, main.AgentToken(1)),
    (ChannelType.PORT, _SERVER, vmc.VmcData(b"0123456789abcdef")),
    (ChannelType.PORT, _CLIENT, vmc.VmcData(b"0123456789abcdef")),
)


def _draw_copy(data: bytes) -> drawing.DrawCopy:
    return drawing.DrawCopy(
        base=drawing.DisplayBase(0, Rect(0, 0, 64, 64), Clip()),
        source=image.Image(
            image.ImageDescriptor(5, ImageType.QUIC, 0, 64, 64),
            image.Compressed(data),
        ),
        source_area=Rect(0, 0, 64, 64),
        rop=8,
        scale_mode=0,
        mask=drawing.QMask(0, Point(0, 0), None),
    )


@dataclass(frozen=True, slots=True)
class Result:
    """Messages a second; seconds; bytes."""

    small_messages: float  # registry.decode of SMALL, in turn
    framed_messages: float  # the same out of a byte stream, with FrameReader before it
    draw_messages: float  # DRAW_COPY with a small image
    large_message_seconds: float  # DRAW_COPY with 8 MiB of image
    large_message_bytes_copied: int  # what decoding it allocated at its peak
    help_cpu_seconds: float  # `spicehop --help`, user and system

    @property
    def goals_missed(self) -> list[str]:
        """A sentence for each figure that should be better."""
        missed = []
        if self.small_messages < GOAL_MESSAGES:
            missed.append(f"small messages: {self.small_messages:,.0f} a second, the goal is {GOAL_MESSAGES:,}")
        if self.large_message_bytes_copied > 65536:
            missed.append(f"a large payload is copied: {self.large_message_bytes_copied:,} bytes allocated")
        if self.help_cpu_seconds > GOAL_HELP_SECONDS:
            missed.append(f"spicehop --help: {self.help_cpu_seconds:.2f} s of CPU, the goal is {GOAL_HELP_SECONDS}")
        return missed


def _encoded(messages: Sequence[tuple[int, Direction, Message]], count: int) -> list[_Wire]:
    made: list[_Wire] = [
        (channel, direction, number_of(message, channel, direction), memoryview(message.encode()))
        for channel, direction, message in messages
    ]
    return (made * (count // len(made) + 1))[:count]


def measure(rounds: int = 15, count: int = 50_000) -> Result:
    """Measure everything; `count` messages a round."""
    small = _encoded(SMALL, count)
    draw = _encoded([(ChannelType.DISPLAY, _SERVER, _draw_copy(bytes(600)))], count // 10)
    large = _encoded([(ChannelType.DISPLAY, _SERVER, _draw_copy(bytes(_PAYLOAD)))], 1)
    pings = _encoded([item for item in SMALL if item[1] is _SERVER and item[0] == ChannelType.MAIN], count)
    stream = b"".join(MINI_HEADER.pack(number, len(body)) + body for _, _, number, body in pings)
    chunks = [stream[at : at + 65536] for at in range(0, len(stream), 65536)]

    def run(messages: list[_Wire]) -> None:
        for channel, direction, number, body in messages:
            decode(channel, direction, number, body)

    def run_stream() -> None:
        reader = FrameReader(mini_header=True)
        for chunk in chunks:
            for frame in reader.feed(chunk):
                decode(ChannelType.MAIN, _SERVER, frame.number, frame.body)

    timings = interleaved(
        {
            "small": lambda: run(small),
            "framed": run_stream,
            "draw": lambda: run(draw),
            "large": lambda: run(large),
        },
        rounds,
    )
    return Result(
        small_messages=len(small) / timings.seconds("small"),
        framed_messages=len(pings) / timings.seconds("framed"),
        draw_messages=len(draw) / timings.seconds("draw"),
        large_message_seconds=timings.seconds("large"),
        large_message_bytes_copied=_allocated(large),
        help_cpu_seconds=help_cpu_seconds(),
    )


def _allocated(messages: list[_Wire]) -> int:
    """Bytes that decoding allocates at its peak, and a check that the payload is a view of what came."""
    channel, direction, number, body = messages[0]
    tracemalloc.start()
    try:
        message = decode(channel, direction, number, body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(message, drawing.DrawCopy)
    assert message.source is not None
    payload = message.source.payload
    assert isinstance(payload, image.Compressed)
    if not isinstance(payload.data, memoryview) or payload.data.obj is not body.obj:
        return max(peak, _PAYLOAD)
    return peak


def help_cpu_seconds(runs: int = 5) -> float:
    """Median user and system time of `spicehop --help` in a process of its own."""
    command = [sys.executable, "-c", "from spicehop.cli.app import main; main()", "--help"]
    taken = []
    for _ in range(runs):
        before = os.times()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=60)
        after = os.times()
        taken.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return statistics.median(taken)


def table(result: Result) -> str:
    """The results as lines of text."""
    return "\n".join(
        (
            f"small messages to typed objects   {result.small_messages:>12,.0f} a second",
            f"the same out of a byte stream     {result.framed_messages:>12,.0f} a second",
            f"DRAW_COPY with a small image      {result.draw_messages:>12,.0f} a second",
            f"DRAW_COPY with 8 MiB of image     {result.large_message_seconds * 1e6:>12,.0f} us, "
            f"{result.large_message_bytes_copied:,} bytes allocated",
            f"spicehop --help                   {result.help_cpu_seconds:>12.2f} s of CPU",
        )
    )


def as_json(result: Result) -> dict[str, object]:
    """The results as plain data."""
    return asdict(result)
