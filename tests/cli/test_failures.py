"""Each row of `docs/failures.md` on sessions, traces and the command line: the failure, its sentence, its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
from servers import GARBAGE, REFUSAL, free_port, serving, unknown_to_all

from spicehop.cli.app import main
from spicehop.migration import links

DOCUMENT = Path(__file__).parents[2] / "docs" / "failures.md"
SESSION_COMMANDS = [["connect"], ["screenshot", "OUT.png"], ["type", "hello"]]

Server = Callable[[], AbstractContextManager[str]]


@contextmanager
def over_tls(server: AbstractContextManager[str]) -> Iterator[str]:
    """A server without TLS, where the client expects it."""
    with server as address:
        yield f"spice+tls://{address}"


def at(address: str) -> Server:
    return lambda: nullcontext(address)


# What goes wrong, where, the sentence with HOST:PORT for the address, the exit code.
SESSIONS: list[tuple[str, Server, str, int]] = [
    ("nobody listens", lambda: nullcontext(f"127.0.0.1:{free_port()}"),
     "no connection to HOST:PORT: connection refused", 1),
    ("unknown host", at("no-such-host.invalid:5930"), "no connection to HOST:PORT: …", 1),
    ("something else answers", lambda: serving(GARBAGE), "this is not SPICE: it begins with b'HTTP'", 1),
    ("the server closes at once", lambda: serving(b""),
     "HOST:PORT closed the connection before the link was complete: …", 1),
    ("the server wants TLS", lambda: serving(REFUSAL), "the server wants TLS for this channel", 1),
    ("another protocol in the address", at("vnc://host:5900"),
     "'vnc://host:5900' is not a SPICE address: it must begin with spice://", 2),
    ("no port number", at("host:port"),
     "'spice://host:port' has no valid port: write spice://HOST:PORT with a port from 1 to 65535", 2),
    ("a password in the address", at("spice://me:secret@host:1"),
     "a password does not belong into the address; give it as the password", 2),
    ("a certificate of an unknown authority", unknown_to_all,
     "no connection to HOST:PORT: its certificate is not accepted: unable to get local issuer certificate", 1),
    ("no TLS at the TLS port", lambda: over_tls(serving(GARBAGE)),
     "no connection to HOST:PORT: TLS failed: wrong version number", 1),
    ("a TLS port that is none", at("spice://host?tls-port=0"),
     "'spice://host?tls-port=0' has no valid port: write spice://HOST:PORT with a port from 1 to 65535", 2),
]  # fmt: skip

FILES = [
    ("no password file", "connect", ["--password-file", "absent"],
     "the password file absent cannot be read: No such file or directory", 1),
    ("a password file that is not text", "connect", ["--password-file", "binary"],
     "the password file binary is not text", 2),
    ("no CA file", "connect", ["--ca-file", "absent"],
     "the CA file absent cannot be read: No such file or directory", 1),
    ("a CA file without a certificate", "connect", ["--ca-file", "text"],
     "the CA file text holds no certificate in PEM", 2),
    ("a certificate's subject without TLS", "connect", ["--host-subject", "CN=host"],
     "a host's subject is of its certificate, and the address names no TLS port", 2),
    ("a trace in no folder", "connect", ["--trace", "absent/trace"],
     "absent is no folder, so the trace cannot be written there", 2),
    ("a trace that is a folder", "connect", ["--trace", "."], ". is a folder; give a file name for the trace", 2),
    ("a map that is none", "connect", ["--map-host", "here"],
     "--map-host 'here' is not of the form FROM=TO, such as 10.0.0.2=gateway.example", 2),
    ("another picture format", "screenshot", ["picture.jpg"],
     "picture.jpg does not end in .png, the one format that is written", 2),
    ("a picture in no folder", "screenshot", ["absent/out.png"],
     "absent is no folder, so the picture cannot be written there", 2),
]  # fmt: skip

DEMOS = [
    ("a machine's option without a machine", ["--vga", "VGA"], "--vga is for the demo with --qemu"),
    ("too few moves", ["--migrations", "1"],
     "--migrations must be 2 or more: the guest draws in one half of them, and not in the other"),
    ("too few migrations", ["--qemu", "--migrations", "1"],
     "--migrations must be 2 or more: the guest draws in one half of them, and not in the other"),
    ("another display device", ["--qemu", "--vga", "cirrus"], "--vga 'cirrus' is not one of qxl-vga and VGA"),
    ("a file in place of a folder", ["--out", "text"], "--out text is a file; name a directory"),
]  # fmt: skip

TRACES = [
    ("no trace file", ["absent"], "absent cannot be read: No such file or directory", 1),
    ("a file that is no trace", ["text"],
     "text, line 1: this is not a line of JSON; is this a trace of spicehop?", 2),
    ("a line that is no record", ["mixed"],
     "mixed, line 2: there is no time in seconds under 't'; is this a trace of spicehop?", 2),
    ("a binary file", ["binary"], "binary, line 1 or later: this is not text; is this a trace of spicehop?", 2),
    ("an empty file", ["empty"], "empty, line 1: there is no record in this file; is this a trace of spicehop?", 2),
    ("an offset that is none", ["text", "--offset", "soon"],
     "--offset 'soon' is not of the form FILE=SECONDS, such as client.jsonl=-0.25", 2),
    ("an offset of another file", ["good", "--offset", "other=1"],
     "there is an offset for other, which is not among the files to read", 2),
]  # fmt: skip

COMMAND_LINE = [
    ("no such command", ["frob"], "no such command 'frob'; see 'spicehop --help'", 2),
    ("no such option", ["trace", "--frob"], "no such option: --frob; see 'spicehop trace --help'", 2),
    ("a missing argument", ["trace"], "missing argument 'FILE...'; see 'spicehop trace --help'", 2),
    ("no such fault", ["simulate", "--fault", "rain"], "no fault is called 'rain'; they are source killed, …", 2),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with files that are wrong in several ways."""
    good = '{"t":1.0,"party":"client","event":"x"}\n'
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "good").write_text(good)
    (tmp_path / "mixed").write_text(good + '{"t":"soon"}\n')
    (tmp_path / "empty").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on standard error."""
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("spicehop: ")
    assert shown.err.count("\n") == 1
    return shown.err.removeprefix("spicehop: ").rstrip("\n")


def matches(sentence: str, pattern: str) -> bool:
    """Whether the sentence is the pattern, whose … stands for words of the operating system."""
    return sentence.startswith(pattern[:-1]) if pattern.endswith("…") else sentence == pattern


def documented(name: str, sentence: str, code: int) -> bool:
    """Whether the document has this row."""
    return f"| {name} | {sentence} | {code} |" in DOCUMENT.read_text(encoding="utf-8").replace("\\|", "|")


@pytest.mark.parametrize("words", SESSION_COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize(("name", "server", "sentence", "code"), SESSIONS, ids=[row[0] for row in SESSIONS])
def test_a_session_that_cannot_be_opened(words, name: str, server: Server, sentence: str, code: int, capsys) -> None:
    with server() as address:
        assert main([words[0], address, *words[1:]]) == code
    expected = sentence.replace("HOST:PORT", address.rpartition("/")[2] if code == 1 else "HOST:PORT")
    assert matches(said(capsys), expected)
    assert not Path("OUT.png").exists()
    assert documented(name, sentence, code)


@pytest.mark.parametrize(("name", "command", "words", "sentence", "code"), FILES, ids=[row[0] for row in FILES])
def test_what_a_session_command_cannot_use(name: str, command: str, words, sentence: str, code: int, capsys) -> None:
    assert main([command, "127.0.0.1:1", *words]) == code
    assert said(capsys) == sentence
    assert documented(name, sentence, code)


@pytest.mark.parametrize(("name", "words", "sentence"), DEMOS, ids=[row[0] for row in DEMOS])
def test_what_a_demo_cannot_use(name: str, words: list[str], sentence: str, capsys) -> None:
    assert main(["demo", *words]) == 2
    assert said(capsys) == sentence
    assert documented(name, sentence, 2)


@pytest.mark.parametrize(("name", "words", "sentence", "code"), TRACES, ids=[row[0] for row in TRACES])
def test_what_is_no_trace(name: str, words, sentence: str, code: int, capsys) -> None:
    assert main(["trace", *words]) == code
    assert said(capsys) == sentence
    assert documented(name, sentence, code)


@pytest.mark.parametrize(("name", "words", "sentence", "code"), COMMAND_LINE, ids=[row[0] for row in COMMAND_LINE])
def test_what_is_no_command_line(name: str, words, sentence: str, code: int, capsys) -> None:
    assert main(words) == code
    assert matches(said(capsys), sentence)
    assert documented(name, sentence, code)


def test_a_silent_server_is_given_up(capsys, monkeypatch) -> None:
    monkeypatch.setattr(links, "LINK_DEADLINE", 0.2)
    with serving(None) as address:
        assert main(["connect", address]) == 1
    sentence = f"{address} did not answer within 10 s"
    assert said(capsys) == sentence
    assert documented("the server says nothing", sentence.replace(address, "HOST:PORT"), 1)


def test_with_json_the_failure_is_an_object_too(capsys) -> None:
    with serving(GARBAGE) as address:
        assert main(["connect", address, "--json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"error": shown.err.removeprefix("spicehop: ").rstrip(), "exit_code": 1}


OUT_OF_RANGE = [
    ("connect", ["--seconds", "soon"], "--seconds"),
    ("type", ["hello", "--rate", "0"], "--rate"),
]


@pytest.mark.parametrize(("command", "words", "option"), OUT_OF_RANGE)
def test_a_value_out_of_range_names_its_option(command: str, words: list[str], option: str, capsys) -> None:
    assert main([command, "127.0.0.1:1", *words]) == 2
    assert option in said(capsys)
