"""The session commands against a real QEMU with a password."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from spicehop.demo.qemu import QemuOptions
from spicehop.demo.serial import read_serial

pytestmark = pytest.mark.peers
DOCUMENT = Path(__file__).parents[2] / "docs" / "failures.md"


async def spicehop(*words: str) -> tuple[int, str, str]:
    """Run the command; exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "spicehop.cli.app", *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_session_commands_work_with_the_right_password_only(start_qemu, tmp_path, monkeypatch) -> None:
    qemu = await start_qemu(QemuOptions(name="vm", ticket="right"))
    await qemu.wait_ready()
    address = f"spice://{qemu.spice_host}:{qemu.spice_port}"

    monkeypatch.setenv("SPICEHOP_PASSWORD", "wrong")
    code, out, err = await spicehop("connect", address)
    assert (code, out, err) == (1, "", "spicehop: the server does not accept the password\n")
    assert "| a wrong password | the server does not accept the password | 1 |" in DOCUMENT.read_text()

    secret = tmp_path / "password"
    secret.write_text("right\n")
    trace = tmp_path / "trace.jsonl"
    password = ("--password-file", str(secret))
    code, out, err = await spicehop("connect", address, *password, "--seconds", "1", "--json", "--trace", str(trace))
    assert (code, err) == (0, "")
    status = json.loads(out)
    assert status["server"] == f"{qemu.spice_host}:{qemu.spice_port}"
    assert {"main:0", "display:0", "inputs:0"} <= set(status["channels"])
    assert "right" not in trace.read_text()

    picture = tmp_path / "picture.png"
    code, out, err = await spicehop("screenshot", address, str(picture), *password, "--json")
    assert (code, err) == (0, "")
    with Image.open(picture) as image:
        shown = json.loads(out)
        assert image.size == (shown["width"], shown["height"])

    code, out, err = await spicehop("type", address, "typed", *password)
    assert (code, out, err) == (0, "", "")
    async with asyncio.timeout(20):
        while len(pressed := [key.code for key in read_serial([qemu.serial_path]).keys if key.value == 1]) < 5:
            await asyncio.sleep(0.1)
    assert pressed == [0x14, 0x15, 0x19, 0x12, 0x20]
