"""`spicehop migrate` on the command line: each row of `docs/failures.md` that needs no QEMU, and the help."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from spicehop.cli.app import main
from spicehop.cli.migrate import Lines, LiveProgress, _print, byte_count
from spicehop.conductor import qmp
from spicehop.errors import UsageError
from spicehop.migration.conducting_events import FindingReported, ProgressReported, StepReported
from spicehop.migration.conducting_result import ChannelFate, Fate, Outcome, Result, SessionOutcome
from spicehop.migration.preflight import Finding, Severity

DOCUMENT = Path(__file__).parents[2] / "docs" / "failures.md"

ROWS = [
    (
        "no socket there",
        ["gone.sock", "b.sock"],
        1,
        "the source's QMP monitor at gone.sock does not answer: No such file or directory",
    ),
    (
        "nobody listens",
        ["127.0.0.1:1", "b.sock"],
        1,
        "the source's QMP monitor at 127.0.0.1:1 does not answer: Connection refused",
    ),
    ("no port number", ["host:99999", "b.sock"], 2, "'host:99999' names no port between 1 and 65535"),
    ("no address", ["", "b.sock"], 2, "'' is no QMP address; give HOST:PORT or the path of a socket"),
    (
        "wrong --spice",
        ["a.sock", "b.sock", "--spice", "host:port"],
        2,
        "--spice 'host:port' is not of the form HOST[:PORT[:TLSPORT]]",
    ),
    (
        "--uri without a socket",
        ["a.sock", "b.sock", "--uri", "exec:cat"],
        2,
        "--uri 'exec:cat' is no socket; give tcp:HOST:PORT or unix:PATH",
    ),
    (
        "wrong --max-bandwidth",
        ["a.sock", "b.sock", "--max-bandwidth", "fast"],
        2,
        "'fast' is no number of bytes; give one like 500000 or 32M",
    ),
    ("--timeout of nothing", ["a.sock", "b.sock", "--timeout", "0"], 2, "--timeout must be more than 0 seconds"),
    (
        "no ticket file",
        ["a.sock", "b.sock", "--ticket-file", "gone"],
        1,
        "the ticket file gone cannot be read: No such file or directory",
    ),
    (
        "ticket file that is not text",
        ["a.sock", "b.sock", "--ticket-file", "binary"],
        2,
        "the ticket file binary is not text",
    ),
    ("ticket that is too long", ["a.sock", "b.sock", "--ticket-file", "long"], 2, "a ticket has 1 to 60 bytes"),
    (
        "trace in no folder",
        ["a.sock", "b.sock", "--trace", "absent/t"],
        2,
        "absent is no folder, so the trace cannot be written there",
    ),
]


@pytest.mark.parametrize(("name", "words", "code", "sentence"), ROWS, ids=[row[0] for row in ROWS])
def test_what_the_command_line_gets_wrong(
    name: str,
    words: list[str],
    code: int,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "long").write_text("x" * 61)
    assert main(["migrate", *words]) == code
    assert capsys.readouterr().err == f"spicehop: {sentence}\n"
    assert f"| {name} | {sentence} | {code} |" in DOCUMENT.read_text().splitlines()


def test_a_monitor_that_does_not_greet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(qmp, "CONNECT_LIMIT", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind("a.sock")
        silent.listen()
        assert main(["migrate", "a.sock", "b.sock", "--json"]) == 1
    shown = capsys.readouterr()
    sentence = (
        "the source's QMP monitor at a.sock accepts connections but does not greet; another program may be using it"
    )
    assert json.loads(shown.out) == {"error": sentence, "exit_code": 1}
    assert f"| monitor in use | {sentence} | 1 |" in DOCUMENT.read_text().splitlines()


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("500000", 500000), ("32M", 32_000_000), ("2g", 2_000_000_000)])
def test_byte_counts(text: str, count: int) -> None:
    assert byte_count(text) == count


@pytest.mark.parametrize("text", ["", "-1", "1.5M", "1T", "M", "٣"])
def test_no_byte_counts(text: str) -> None:
    with pytest.raises(UsageError):
        byte_count(text)


def test_the_help_needs_no_qemu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "--help"]) == 0
    assert "--require-links" in capsys.readouterr().out


REPORTS = [
    StepReported("linking", "Sending 1 session."),
    FindingReported(Finding(Severity.WARNING, "no-clients", "No client is connected.")),
    FindingReported(Finding(Severity.ERROR, "versions", "It is older.")),
    ProgressReported("active", 10, 20, 100),
    StepReported("finished", "Done."),
]


def test_a_pipe_gets_only_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    for report in REPORTS:
        Lines(quiet=False).report(report)
        Lines(quiet=True).report(report)
    assert capsys.readouterr() == ("", "spicehop: warning: No client is connected.\n")


def test_a_terminal_gets_the_steps_too(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveProgress() as live:
        for report in REPORTS:
            live.report(report)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Sending 1 session." in shown.err
    assert "warning: No client is connected." in shown.err
    assert "It is older" not in shown.err  # errors and the end are in the result's sentence
    assert "Done." not in shown.err


def test_a_line_for_each_client_and_each_of_its_channels(capsys: pytest.CaptureFixture[str]) -> None:
    channels = {"main:0": ChannelFate.MOVED, "port:0": ChannelFate.LOST}
    sessions = (
        SessionOutcome(7, Fate.SEAMLESS, channels, "port:0 did not arrive", "direct", {"port:0": "the peer closed it"}),
        SessionOutcome(8, Fate.SEAMLESS, {}, carrier="client"),
        SessionOutcome(9, Fate.SEMI_SEAMLESS, {"main:0": ChannelFate.NEW}, "the client cannot"),
    )
    _print(Result(Outcome.MOVED_WITH_LOSS, "sessions-lost", "It moved.", sessions))
    shown = capsys.readouterr()
    assert shown.err == "spicehop: It moved.\n"
    assert shown.out.splitlines() == [
        "session 7: seamless, its state host to host (port:0 did not arrive)",
        "  main:0 moved",
        "  port:0 lost (the peer closed it)",
        "session 8: seamless, its state through the client",
        "session 9: semi-seamless (the client cannot)",
        "  main:0 new",
    ]
