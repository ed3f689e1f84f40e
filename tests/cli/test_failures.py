"""Each row of `docs/failures.md` on sessions, traces and the command line: the failure, its sentence, its exit code."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
from servers import GARBAGE, REFUSAL, free_port, serving

from spicehop.cli.app import main
from spicehop.migration import links

SESSION_COMMANDS = [["connect"], ["screenshot", "OUT.png"], ["type", "hello"]]


def command_line(words: list[str], address: str) -> list[str]:
    return [words[0], address, *words[1:]]


ROWS = [
    ("nobody listens", lambda: nullcontext(f"127.0.0.1:{free_port()}"), 1, "no connection to 127.0.0.1:"),
    ("unknown host", lambda: nullcontext("no-such-host.invalid:5930"), 1, "no connection to no-such-host.invalid:5930"),
    ("garbage server", lambda: serving(GARBAGE), 1, "this is not SPICE: it begins with b'HTTP'"),
    ("server that closes", lambda: serving(b""), 1, "closed the connection before the link was complete"),
    ("server that wants TLS", lambda: serving(REFUSAL), 1, "the server wants TLS for this channel"),
    ("no address", lambda: nullcontext("vnc://host:5900"), 2, "is not a SPICE address"),
    ("no port number", lambda: nullcontext("host:port"), 2, "has no valid port"),
    ("password in the address", lambda: nullcontext("spice://me:secret@host:1"), 2, "does not belong into the address"),
]


@pytest.mark.parametrize("words", SESSION_COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize(("server", "code", "sentence"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_session_that_cannot_be_opened(
    words, server, code: int, sentence: str, capsys, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with server() as address:
        assert main(command_line(words, address)) == code
    shown = capsys.readouterr()
    assert shown.err.startswith("spicehop: ")
    assert sentence in shown.err
    assert shown.err.count("\n") == 1
    assert "secret" not in shown.err
    assert not (tmp_path / "OUT.png").exists()


def test_a_silent_server_is_given_up(capsys, monkeypatch) -> None:
    monkeypatch.setattr(links, "LINK_DEADLINE", 0.2)
    with serving(None) as address:
        assert main(["connect", address]) == 1
    assert f"spicehop: {address} did not answer within" in capsys.readouterr().err


def test_with_json_the_failure_is_an_object_too(capsys) -> None:
    with serving(GARBAGE) as address:
        assert main(["connect", address, "--json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"error": shown.err.removeprefix("spicehop: ").rstrip(), "exit_code": 1}


FILES = [
    ("connect", ["--password-file", "absent"], 1, "the password file absent cannot be read: No such file or directory"),
    ("connect", ["--password-file", "binary"], 2, "the password file binary is not text"),
    ("connect", ["--trace", "absent/trace"], 2, "absent is no folder"),
    ("connect", ["--trace", "."], 2, ". is a folder"),
    ("connect", ["--map-host", "here"], 2, "is not of the form FROM=TO"),
    ("connect", ["--seconds", "soon"], 2, "--seconds"),
    ("screenshot", ["picture.jpg"], 2, "does not end in .png"),
    ("screenshot", ["absent/out.png"], 2, "absent is no folder"),
    ("type", ["hello", "--rate", "0"], 2, "--rate"),
]


@pytest.mark.parametrize(("name", "words", "code", "sentence"), FILES)
def test_what_cannot_be_used(
    name: str, words: list[str], code: int, sentence: str, capsys, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("binary").write_bytes(b"\xff\xfe\x00")
    assert main([name, "127.0.0.1:1", *words]) == code
    shown = capsys.readouterr()
    assert sentence in shown.err
    assert shown.err.count("\n") == 1
