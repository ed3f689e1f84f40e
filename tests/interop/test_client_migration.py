"""Our client at work in a guest that moves between real QEMUs: nothing of the session is lost, by the guest's account.

`SPICEHOP_REPEAT=20` makes the tests that repeat do it as often as docs/evidence.md says.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from migration_lab import Hop, Lab, repetitions

from spicehop.conductor import Options, migrate
from spicehop.demo.guest_image import GuestImage
from spicehop.demo.qemu import QemuOptions
from spicehop.migration.conducting_result import Outcome

pytestmark = pytest.mark.peers
Report = Callable[[str, object], None]


@pytest.fixture
async def lab(guest_image: GuestImage, tmp_path: Path) -> AsyncIterator[Lab]:
    async with Lab(guest_image, tmp_path) as lab:
        yield lab


@pytest.fixture
def report(record_property: Report) -> Report:
    """Shows a figure with `-s` and keeps it in the JUnit report."""

    def show(name: str, value: object) -> None:
        print(f"{name}: {value}")
        record_property(name, value)

    return show


def milliseconds(values: list[float]) -> str:
    """Least, middle and most."""
    ordered = sorted(values)
    return " / ".join(f"{1000 * value:.0f}" for value in (ordered[0], ordered[len(ordered) // 2], ordered[-1])) + " ms"


@pytest.mark.parametrize("vga", ["qxl-vga", "VGA"])
async def test_a_session_moves_again_and_again(lab: Lab, report: Report, vga: str) -> None:
    """Under load, by our conductor; the picture is compared where the guest is in the end."""
    source = await lab.boot(QemuOptions(vga=vga))
    session = await lab.connect(source)
    load = await lab.start_load(session)
    hops: list[Hop] = []
    for number in range(repetitions(3 if vga == "qxl-vga" else 1)):
        target = await lab.incoming(listens=False)
        result = await migrate(Options(str(source.qemu.qmp_paths[0]), str(target.qemu.qmp_paths[0])))
        assert result.outcome is Outcome.MOVED, result.sentence
        outcome = await session.wait_for_migration(10, count=number + 1)
        hops.append(await lab.record(source, target, outcome))
        await lab.quit(source)
        source = target
    account = await lab.settle(load)
    await lab.freeze(session)
    apart = await lab.pixels_apart(session)
    report("migrations", len(hops))
    report("schemes", [hop.outcome.scheme for hop in hops])
    report("VM stood still", milliseconds([hop.resumed - hop.stopped for hop in hops]))
    report("STOP to all channels swapped", milliseconds([hop.outcome.finished - hop.stopped for hop in hops]))
    for name, value in account.figures.items():
        report(name, value)
    report("pixels apart", apart)
    account.assert_only_keys_of_libspice()
    assert [hop.outcome.scheme for hop in hops] == ["seamless"] * len(hops)
    assert {hop.outcome.reason for hop in hops} == {""}
    assert {channel.how for hop in hops for channel in hop.outcome.channels} == {"moved"}
    assert session.lost_channels == {}
    assert not session.closed
    assert apart == 0
