"""The demo guest: Debian's kernel, busybox and our own `guestd`, as a kernel and an initial file system.

`scripts/install-peers` leaves the kernel and the drivers in the cache; what is built here is kept beside them under a
name made of the content of everything it is built from.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spicehop.errors import OperationError

SOURCES = Path(__file__).with_name("guest")
BUSYBOX = Path("/bin/busybox")
HOW_TO_GET = "run scripts/install-peers demo-qemu"
COMPILE = ("gcc", "-O2", "-static", "-std=gnu11", "-Wall", "-Wextra")


@dataclass(frozen=True, slots=True)
class GuestImage:
    """What QEMU boots: `-kernel` and `-initrd`."""

    kernel: Path
    initrd: Path


def default_cache() -> Path:
    """The folder of the guest's files: in `$SPICEHOP_CACHE`, else the checkout's `.cache`, else the user's cache."""
    named = os.environ.get("SPICEHOP_CACHE")
    if named:
        return Path(named) / "guest"
    checkout = Path(__file__).parents[3]
    if (checkout / "scripts" / "install-peers").exists():
        return checkout / ".cache" / "guest"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "spicehop" / "guest"


def build_guest(cache: Path | None = None, progress: Callable[[str], None] = lambda sentence: None) -> GuestImage:
    """The guest's image, built when it is not in the cache yet.

    `progress` hears one sentence for each slow step. Raises OperationError with what to install or what failed.
    """
    cache = default_cache() if cache is None else cache
    kernel = cache / "kernel"
    if not (kernel / "vmlinuz").exists() or not (kernel / "modules.order").exists():
        raise OperationError(f"the guest's kernel is not in {cache}: {HOW_TO_GET}")
    for program in ("gcc", "cpio", str(BUSYBOX)):
        if shutil.which(program) is None:
            raise OperationError(f"{program}, which the guest is made with, is missing: {HOW_TO_GET}")
    image = GuestImage(cache / f"vmlinux-{_digest(kernel)}", cache / f"initrd-{_digest(kernel)}")
    if not image.kernel.exists() or not image.initrd.exists():
        progress("building the guest")
        _write(image.kernel, _unpacked_kernel((kernel / "vmlinuz").read_bytes()))
        _write(image.initrd, _initial_files(kernel))
        for path in (*cache.glob("vmlinux-*"), *cache.glob("initrd-*")):
            if path not in (image.kernel, image.initrd):
                path.unlink(missing_ok=True)
    return image


def _digest(kernel: Path) -> str:
    """Names the content of everything that goes into the initial file system, and this module."""
    digest = hashlib.sha256()
    for path in (*sorted(SOURCES.iterdir()), kernel / "package", kernel / "modules.order", BUSYBOX, Path(__file__)):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _write(path: Path, content: bytes) -> None:
    """In one step, so that nobody sees half a file."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.rename(path)


def _unpacked_kernel(packed: bytes) -> bytes:
    """The ELF kernel inside a bzImage, which QEMU starts directly (PVH): unpacking it takes the emulated guest 3 s.

    Offsets are those of the x86 boot protocol: 0x1f1 setup_sects, 0x248 payload_offset, 0x24c payload_length.
    """
    start = (packed[0x1F1] + 1) * 512 + int.from_bytes(packed[0x248:0x24C], "little")
    payload = packed[start : start + int.from_bytes(packed[0x24C:0x250], "little")]
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
    except lzma.LZMAError:
        return packed  # packed in another way: QEMU starts this too


def _initial_files(kernel: Path) -> bytes:
    """The initial file system as a cpio archive, not compressed: QEMU copies it into the guest's memory at once."""
    with tempfile.TemporaryDirectory(prefix="spicehop-guest-") as name:
        root = Path(name) / "root"
        for folder in ("bin", "modules", "proc", "sys", "dev"):
            (root / folder).mkdir(parents=True)
        shutil.copy(BUSYBOX, root / "bin" / "busybox")
        shutil.copy(SOURCES / "init", root / "init")
        (root / "init").chmod(0o755)
        order = (kernel / "modules.order").read_text()
        for module in order.split():
            shutil.copy(kernel / "modules" / module, root / "modules" / module)
        (root / "modules" / "order").write_text(order)
        _run([*COMPILE, "-o", str(root / "guestd"), *map(str, sorted(SOURCES.glob("*.c")))], root)
        files = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
        return _run(["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet"], root, files.encode())


def _run(command: list[str], folder: Path, given: bytes = b"") -> bytes:
    done = subprocess.run(command, cwd=folder, input=given, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise OperationError(f"{command[0]} could not build the guest: {said[0] if said else 'no reason given'}")
    return done.stdout
