"""Makes the captures in tests/golden/display: `python tests/golden/make_display_goldens.py [NAME ...]`.

For each case one QEMU with the demo guest, a client behind the recording relay, and QEMU's own `screendump` once the
guest has stopped drawing. What is kept is what the server sent on the display channel after the link stage. Nothing of
it has been through our decoders; only the counts in index.json are ours, and the test compares them with what it reads.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import lzma
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qemu.qmp import QMPClient

from spicehop.client import Session, connect
from spicehop.demo.guest_image import GuestImage, build_guest
from spicehop.demo.qemu import HOST, QemuOptions, QemuProcess
from spicehop.demo.serial import read_serial
from spicehop.wire import display, registry
from spicehop.wire.constants import ChannelType, CommonCap, Direction
from spicehop.wire.display_constants import Compression, ImageType
from spicehop.wire.framing import FrameReader
from spicehop.wire.link import HEADER_SIZE, LinkMessage, LinkReply, decode_header

GOLDEN = Path(__file__).parent
sys.path.insert(0, str(GOLDEN.parent / "interop" / "peers"))

from relay import TO_CLIENT, TO_SERVER, Relay  # noqa: E402

FOLDER = GOLDEN / "display"
QUIET = 2.0
"""Seconds without a byte after which the server has nothing more to say; a video ends after one."""
LIMIT = 30.0


TILE: Mapping[str, int] = {"fps": 5, "tile": 48}
BAND: Mapping[str, int] = {"fps": 5, "band": 16}
VIDEO: Mapping[str, int] = {"fps": 25, "band": 24}

ZLIB: Mapping[str, str] = {"zlib-glz-wan-compression": "always"}
JPEG: Mapping[str, str] = {"jpeg-wan-compression": "always"}
ALL_VIDEO: Mapping[str, str] = {"streaming-video": "all"}


@dataclass(frozen=True, slots=True)
class Case:
    """One capture."""

    vga: str
    preferred: Compression | None
    """What the client asks for; None leaves the server's choice, which is AUTO_GLZ."""
    guest: Mapping[str, int]
    spice: Mapping[str, str] = field(default_factory=dict)
    frames: int = 6
    """Pictures after which the guest is told to stop."""


CASES = {
    "qxl-raw": Case("qxl-vga", Compression.OFF, TILE),
    "qxl-lz": Case("qxl-vga", Compression.LZ, BAND),
    "qxl-glz": Case("qxl-vga", Compression.GLZ, BAND),
    "qxl-quic": Case("qxl-vga", Compression.QUIC, TILE),
    "qxl-lz4": Case("qxl-vga", Compression.LZ4, BAND),
    "qxl-zlib_glz": Case("qxl-vga", Compression.GLZ, BAND, ZLIB),
    "qxl-jpeg": Case("qxl-vga", None, TILE, JPEG),
    "qxl-mjpeg": Case("qxl-vga", Compression.LZ, VIDEO, ALL_VIDEO, frames=32),
    "vga-auto": Case("VGA", None, TILE),
    "vga-mixed": Case("VGA", None, TILE, {**ZLIB, **JPEG}, frames=10),
}


async def capture(case: Case, image: GuestImage, folder: Path) -> tuple[bytes, bytes]:
    """The server's bytes on the display channel, and the picture that QEMU says it shows, as PNG."""
    options = QemuOptions(vga=case.vga, spice_options=case.spice, guest_options=case.guest)
    async with QemuProcess(image, options, folder) as vm, Relay(0, capture=folder) as relay:
        await vm.wait_ready()
        relay.target_port = vm.spice_port
        async with connect(f"spice://{HOST}:{relay.port}", preferred_compression=case.preferred) as session:
            await wait_for_pictures(session, case.frames)
            await session.keyboard.press("F7")
            await vm.wait_for(lambda: read_serial([vm.serial_path]).is_frozen, "stop drawing", LIMIT)
            await quiet(session)
            monitor = QMPClient("goldens")
            await monitor.connect(str(vm.qmp_paths[0]))
            await monitor.execute("screendump", {"filename": str(folder / "screen.png"), "format": "png"})
            await monitor.disconnect()
        await vm.wait_for(lambda: all(one.ended_at for one in relay.passages), "let go of the client", LIMIT)
        for passage in relay.passages:
            found = display_bytes(
                *((folder / f"relay-{passage.number}.{way}").read_bytes() for way in (TO_SERVER, TO_CLIENT))
            )
            if found is not None:
                return found, (folder / "screen.png").read_bytes()
    raise SystemExit("the client opened no display channel")


async def wait_for_pictures(session: Session, count: int) -> None:
    """Wait until the client has drawn so many times."""
    async with asyncio.timeout(LIMIT):
        for _ in range(count):
            await session.wait_for_change(LIMIT)


async def quiet(session: Session) -> None:
    """Wait until the server has nothing more to say."""
    async with asyncio.timeout(LIMIT):
        before = -1
        while before != session.display_bytes:
            before = session.display_bytes
            await asyncio.sleep(QUIET)


def display_bytes(to_server: bytes, to_client: bytes) -> bytes | None:
    """What follows the link stage of a display channel; None for another channel."""
    size = decode_header(to_server[:HEADER_SIZE]).size
    if LinkMessage.decode(to_server[HEADER_SIZE : HEADER_SIZE + size]).channel_type != ChannelType.DISPLAY:
        return None
    end = HEADER_SIZE + decode_header(to_client[:HEADER_SIZE]).size
    assert CommonCap.MINI_HEADER in LinkReply.decode(to_client[HEADER_SIZE:end]).capabilities.common
    assert to_client[end : end + 4] == bytes(4), "the link was refused"
    return to_client[end + 4 :]


def counts(data: bytes) -> tuple[dict[str, int], dict[str, int]]:
    """How many messages of each name there are, and how many images of each type."""
    messages: Counter[str] = Counter()
    images: Counter[str] = Counter()
    reader = FrameReader(mini_header=True)
    for frame in reader.feed(data):
        message = registry.decode(ChannelType.DISPLAY, Direction.FROM_SERVER, frame.number, frame.body)
        messages[message.NAME] += 1
        source = getattr(message, "source", None)
        if isinstance(source, display.Image):
            images[ImageType(source.descriptor.type).name] += 1
    assert reader.pending == 0, "the capture ends inside a message"
    return dict(sorted(messages.items())), dict(sorted(images.items()))


async def make(names: list[str]) -> None:
    index_path = FOLDER / "index.json"
    index = json.loads(index_path.read_text()) if index_path.exists() else {}
    image = build_guest()
    for name in names:
        case = CASES[name]
        with tempfile.TemporaryDirectory(prefix="goldens-") as folder:
            data, png = await capture(case, image, Path(folder))
        packed = lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
        (FOLDER / f"{name}.bin.xz").write_bytes(packed)
        (FOLDER / f"{name}.png").write_bytes(png)
        messages, images = counts(data)
        index[name] = {
            "vga": case.vga,
            "preferred": case.preferred.name if case.preferred is not None else None,
            "spice": dict(case.spice),
            "guest": dict(case.guest),
            "bytes": len(data),
            "messages": messages,
            "images": images,
        }
        print(f"{name}: {len(data)} bytes, packed {len(packed)}, picture {len(png)}, {images}", flush=True)
        index_path.write_text(json.dumps({key: index[key] for key in CASES if key in index}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Makes the captures in tests/golden/display.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}; all when none is given")
    asyncio.run(make(parser.parse_args().names or list(CASES)))
