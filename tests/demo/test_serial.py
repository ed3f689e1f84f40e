"""The guest's serial log: joined over the hops, checked by its sequences."""

from __future__ import annotations

from pathlib import Path

from spicehop.demo.serial import KeyEvent, PortTotal, parse_serial, read_serial

BOOT = """\
ECHO 0 port present=1
KEYS 0 device n=0 name=AT_Translated_Set_2_keyboard
SCREEN 0 screen width=1024 height=768 driver=qxldrmfb
INIT 0 READY t=2.428554
KEYS 1 key n=0 code=30 value=1 t=2.441995
KEYS 2 key n=1 code=30 value=0 t=2.451461
ECHO 1 total bytes=65536 fnv=0a0b0c0d t=3.1
SCREEN 1 frozen frame=12 t=3.2
AGENT 0 clipboard-received bytes=5 fnv=4f9f2cab kind=1
"""


def test_lines_become_records() -> None:
    log = parse_serial(BOOT)
    assert log.faults == ()
    assert log.is_ready
    assert log.is_frozen
    assert log.keys == (KeyEvent(0, 30, 1, 2.441995), KeyEvent(1, 30, 0, 2.451461))
    assert log.port_totals == (PortTotal(65536, 0x0A0B0C0D, "total"),)
    assert [(text.received, text.size) for text in log.clipboard_texts] == [(True, 5)]
    assert log.of("SCREEN", "screen")[0].fields["driver"] == "qxldrmfb"


def test_a_line_cut_by_the_hop_is_whole_again(tmp_path: Path) -> None:
    for cut in range(len(BOOT)):
        (tmp_path / "source").write_text(BOOT[:cut])
        (tmp_path / "target").write_text(BOOT[cut:])
        log = read_serial([tmp_path / "source", tmp_path / "target", tmp_path / "not-yet"])
        assert log == parse_serial(BOOT)


def test_the_last_line_counts_when_it_is_finished() -> None:
    assert parse_serial("INIT 0 READY t=1.0").lines == ()
    assert parse_serial("INIT 0 READY t=1.0\r\n").is_ready


def test_what_is_missing_or_doubled_is_said() -> None:
    rows = BOOT.splitlines(keepends=True)
    assert parse_serial("".join(rows[:4] + rows[5:])).faults == ("KEYS lines 1 to 1 are missing",)
    assert parse_serial(BOOT + rows[5]).faults == ("KEYS line 2 came again",)
    assert parse_serial(BOOT + "noise\n").faults == ("an unreadable line: 'noise'",)


def test_the_kernel_may_complain_while_it_boots_and_not_later() -> None:
    complaint = "[    0.024000] ..MP-BIOS bug: 8254 timer not connected to IO-APIC\n"
    assert parse_serial(complaint + BOOT) == parse_serial(BOOT)
    assert len(parse_serial(BOOT + complaint).faults) == 1
    assert parse_serial("KEYS 0 fault events dropped\n").faults == ("the guest's KEYS reported: events dropped",)
