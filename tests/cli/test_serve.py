"""`spicehop serve` and `sasl-user`: each mistake's sentence as `docs/failures.md` has it, and what is printed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest
from certificates import Authority

from spicehop.channels.serving.sasl import Verifier
from spicehop.cli.app import main
from spicehop.cli.serve import command
from spicehop.server.control_commands import COMMANDS
from spicehop.server.settings import Settings

DOCUMENT = Path(__file__).parents[2] / "docs" / "failures.md"
OPEN = ["--disable-ticketing"]
DOOR = ["--port", "0"]
TLS = ["--tls-port", "0", "--cert", "server.crt", "--key", "server.key"]

MISTAKES: list[tuple[str, list[str], str, int]] = [
    ("no way in", [*OPEN],
     "clients need a way in: give --port, --tls-port or --unix", 2),
    ("nobody is said to come in", [*DOOR],
     "say who may come in: --ticket-file or --sasl-file, or --disable-ticketing for all who can connect", 2),
    ("two ways to come in", [*DOOR, *OPEN, "--ticket-file", "ticket"],
     "--ticket-file and --disable-ticketing exclude each other", 2),
    ("no such guest", [*DOOR, *OPEN, "--guest", "frob"], "--guest 'frob' is not one of demo", 2),
    ("a size that is none", [*DOOR, *OPEN, "--size", "big"],
     "--size 'big' is not of the form WIDTHxHEIGHT, such as 1024x768", 2),
    ("a size that the guest cannot have", [*DOOR, *OPEN, "--size", "5x5"],
     "the demo guest's screen can be 320x240 to 4096x2304 pixels, not 5x5", 2),
    ("no port number", ["--port", "65536", *OPEN],
     "--port 65536 is no port: give 1 to 65535, or 0 for any free one", 2),
    ("an address that is not this machine's", [*DOOR, *OPEN, "--listen", "192.0.2.1"],
     "the server cannot listen at 192.0.2.1:0: Cannot assign requested address", 1),
    ("TLS without a certificate", ["--tls-port", "0", *OPEN], "--tls-port needs --cert and --key", 2),
    ("a certificate without TLS", [*DOOR, *OPEN, "--cert", "server.crt"],
     "--cert is for --tls-port, which is not given", 2),
    ("a CA for nobody", [*TLS, *OPEN, "--ca", "ca.pem"],
     "--ca is for clients of --control at a TCP port, which is not given", 2),
    ("no certificate file", ["--tls-port", "0", *OPEN, "--cert", "absent", "--key", "server.key"],
     "the certificate absent cannot be read: No such file or directory", 1),
    ("no key file", ["--tls-port", "0", *OPEN, "--cert", "server.crt", "--key", "absent"],
     "the key absent cannot be read: No such file or directory", 1),
    ("a certificate that is none", ["--tls-port", "0", *OPEN, "--cert", "text", "--key", "server.key"],
     "text and server.key are no certificate and its key, in PEM and without a passphrase", 2),
    ("a key with a passphrase", ["--tls-port", "0", *OPEN, "--cert", "locked.crt", "--key", "locked.key"],
     "locked.crt and locked.key are no certificate and its key, in PEM and without a passphrase", 2),
    ("no such channel", [*TLS, *OPEN, "--tls-channel", "frob"],
     "--tls-channel 'frob' is not one of main, display, inputs, cursor, playback, record, smartcard, usbredir, port, "
     "webdav", 2),
    ("a TLS channel without TLS", [*DOOR, *OPEN, "--tls-channel", "main"], "--tls-channel needs --tls-port", 2),
    ("a channel that is both", [*TLS, *OPEN, "--tls-channel", "main", "--plaintext-channel", "main"],
     "the channel main is both in --tls-channel and in --plaintext-channel", 2),
    ("no ticket file", [*DOOR, "--ticket-file", "absent"],
     "the ticket file absent cannot be read: No such file or directory", 1),
    ("a ticket file that is not text", [*DOOR, "--ticket-file", "binary"], "the ticket file binary is not text", 2),
    ("a ticket that is too long", [*DOOR, "--ticket-file", "long"], "a ticket has 1 to 60 bytes", 2),
    ("SASL without TLS", [*DOOR, "--sasl-file", "users"],
     "--sasl-file needs --tls-port, for SASL is spoken over TLS only", 2),
    ("no SASL file", [*TLS, "--sasl-file", "absent"],
     "the SASL file absent cannot be read: No such file or directory", 1),
    ("a SASL file with a mistake", [*TLS, "--sasl-file", "text"],
     "the SASL file text, line 1: a verifier has the form SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY", 2),
    ("a control address that is none", [*DOOR, *OPEN, "--control", "tcp:here"],
     "--control 'tcp:here' is no address; give the path of a socket or HOST:PORT", 2),
    ("a guest to come from nowhere", [*DOOR, *OPEN, "--incoming", "defer"],
     "--incoming defer needs --control, where migrate-incoming says where the guest comes", 2),
    ("a guest to come by another way", [*DOOR, *OPEN, "--incoming", "frob:1"], "unknown migration protocol: frob:1", 1),
    ("a control port without certificates", [*DOOR, *OPEN, "--control", "127.0.0.1:0"],
     "--control at a TCP port needs --cert, --key and --ca, for clients prove themselves by certificates", 2),
    ("a CA that is none", [*TLS, *OPEN, "--control", "127.0.0.1:0", "--ca", "text"], "the CA text is not PEM", 2),
    ("a control socket in no folder", [*DOOR, *OPEN, "--control", "absent/socket"],
     "there can be no socket at absent/socket: No such file or directory", 1),
    ("a file where the control socket should be", [*DOOR, *OPEN, "--control", "text"],
     "text is there and is no socket; remove it, or name another path", 1),
    ("another server's socket", ["--unix", "taken", *OPEN],
     "another program listens at taken; name another path", 1),
    ("no such compression", [*DOOR, *OPEN, "--compression", "best"],
     "--compression 'best' is not one of auto, off, quic, glz, lz, lz4, jpeg", 2),
    ("no such policy", [*DOOR, *OPEN, "--multi-client", "many"],
     "--multi-client 'many' is not one of several, single", 2),
    ("seamless migration neither on nor off", [*DOOR, *OPEN, "--seamless-migration", "maybe"],
     "--seamless-migration 'maybe' is not one of on, off", 2),
    ("a trace in no folder", [*DOOR, *OPEN, "--trace", "absent/trace"],
     "absent is no folder, so the trace cannot be written there", 2),
    ("a log in no folder", [*DOOR, *OPEN, "--guest-log", "absent/log"],
     "absent is no folder, so the guest's log cannot be written there", 2),
    ("no settings file", ["--config", "absent"], "the settings absent cannot be read: No such file or directory", 1),
    ("settings that are not TOML", ["--config", "text"], "the settings text are not TOML: …", 2),
    ("settings that are not text", ["--config", "binary"], "the settings binary are not text", 2),
    ("a setting that there is not", ["--config", "frob.toml"],
     "the settings frob.toml have 'frob', which is no setting; see 'spicehop serve --help'", 2),
    ("a setting of another type", ["--config", "typed.toml"],
     "the settings typed.toml have port = '5900', which is not a whole number", 2),
]  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: Authority) -> Path:
    """A folder to work in, with files that are right and wrong."""
    for name, passphrase in (("server", None), ("locked", b"passphrase")):
        pair = authority.pair(name, passphrase)
        (tmp_path / f"{name}.crt").write_bytes(pair.certificate.read_bytes())
        (tmp_path / f"{name}.key").write_bytes(pair.key.read_bytes())
    (tmp_path / "ca.pem").write_bytes(authority.certificate.read_bytes())
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "ticket").write_text("secret\n")
    (tmp_path / "long").write_text("x" * 61)
    (tmp_path / "users").write_text(f"anna:{Verifier.of('secret', bytes(16), 4096)}\n")
    (tmp_path / "frob.toml").write_text("frob = 1\n")
    (tmp_path / "typed.toml").write_text("port = '5900'\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def taken(folder: Path) -> Iterator[None]:
    """A socket at `taken` on which somebody listens."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind("taken")
        other.listen()
        yield


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on standard error."""
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("spicehop: ")
    assert shown.err.count("\n") == 1
    return shown.err.removeprefix("spicehop: ").rstrip("\n")


def matches(sentence: str, pattern: str) -> bool:
    return sentence.startswith(pattern[:-1]) if pattern.endswith("…") else sentence == pattern


@pytest.mark.parametrize(("name", "words", "sentence", "code"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_mistakes(name: str, words: list[str], sentence: str, code: int, taken: None, capsys) -> None:
    assert main(["serve", *words]) == code
    found = said(capsys)
    assert matches(found, sentence), found
    assert f"| {name} | {sentence} | {code} |" in DOCUMENT.read_text(encoding="utf-8")


def test_a_port_in_use(capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", "--port", str(port), *OPEN]) == 1
    assert said(capsys) == f"the server cannot listen at 127.0.0.1:{port}: Address already in use"
    row = "| a port in use | the server cannot listen at HOST:PORT: Address already in use | 1 |"
    assert row in DOCUMENT.read_text(encoding="utf-8")


# -- settings ---------------------------------------------------------------------------------------------------------

FILE = """
port = 0
tls-port = 0
cert = "server.crt"
key = "server.key"
unix = "spice"
ticket-file = "ticket"
control = "control"
size = "800x600"
compression = "lz"
multi-client = "single"
tls-channel = ["main", "inputs"]
disable-copy-paste = true
"""


def test_flags_win_over_the_file(folder: Path) -> None:
    (folder / "etc").mkdir()
    (folder / "etc" / "serve.toml").write_text(FILE)
    settings = Settings.merged({"size": "640x480", "port": None, "unix": Path("other")}, Path("etc/serve.toml"))
    assert settings.dimensions() == (640, 480)
    assert settings.unix == Path("other"), "a flag's path is relative to the working directory"
    assert settings.ticket_file == Path("etc/ticket"), "a file's path is relative to the file"
    assert settings.control == "control"
    assert settings.tls_channel == ("main", "inputs")
    assert (settings.compression, settings.multi_client) == ("lz", "single")
    assert settings.disable_copy_paste is True


@pytest.mark.parametrize("flag", [{"disable_ticketing": True}, {"sasl_file": Path("users")}])
def test_a_flag_takes_the_place_of_the_files_authentication(folder: Path, flag: dict[str, object]) -> None:
    (folder / "serve.toml").write_text(FILE)
    settings = Settings.merged(flag, Path("serve.toml"))
    assert settings.ticket_file is None
    assert (settings.disable_ticketing, settings.sasl_file) == (
        flag.get("disable_ticketing", False),
        flag.get("sasl_file"),
    )


def test_options_of_the_server(folder: Path) -> None:
    (folder / "serve.toml").write_text(FILE)
    options = Settings.merged({}, Path("serve.toml")).options()
    assert (options.port, options.tls_port, options.unix_path) == (0, 0, Path("spice"))
    assert options.password == "secret"
    assert options.tls is not None
    assert {kind.name: how.value for kind, how in options.security.items()} == {"MAIN": "tls", "INPUTS": "tls"}
    assert (options.several_clients, options.copy_paste, options.file_transfer) == (False, False, True)
    assert options.compression == "lz"


def test_each_setting_is_a_flag() -> None:
    flags = set(signature(command).parameters) - {"config", "as_json"}
    assert flags == {field.name for field in fields(Settings)}


def test_the_documents_example_is_right(folder: Path) -> None:
    text = DOCUMENT.with_name("serving.md").read_text(encoding="utf-8")
    example = text.partition("```toml\n")[2].partition("```")[0]
    (folder / "serve.toml").write_text(example)
    assert Settings.merged({}, Path("serve.toml")).tls_port == 5931


def test_the_document_lists_the_control_commands() -> None:
    text = DOCUMENT.with_name("serving.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall("`([^`]+)`", row)} == set(COMMANDS)


# -- the command ------------------------------------------------------------------------------------------------------


@contextmanager
def served(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process, and the line that it prints when it is ready."""
    line = [sys.executable, "-m", "spicehop", "serve", *words]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        limit = threading.Timer(60, process.kill)
        limit.start()
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            limit.cancel()
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_is_ready_and_ends_at_a_signal(number: signal.Signals) -> None:
    with served(*DOOR, *OPEN, "--control", "control", "--unix", "spice", "--guest-log", "log", "--json") as (one, line):
        ready = json.loads(line)
        assert ready == {
            "guest": "demo",
            "host": "127.0.0.1",
            "port": ready["port"],
            "tls_port": None,
            "unix": "spice",
            "control": "control",
            "pid": one.pid,
        }
        with socket.create_connection(("127.0.0.1", ready["port"])):
            pass
        assert {os.stat(name).st_mode & 0o777 for name in ("control", "spice")} == {0o600}
        one.send_signal(number)
        assert one.wait(20) == 0
        assert one.stderr is not None
        assert one.stderr.read() == ""
    assert not Path("control").exists()
    assert not Path("spice").exists()
    assert Path("log").exists()


def test_the_line_for_people() -> None:
    with served(*TLS, *DOOR, *OPEN) as (one, line):
        assert line.startswith("the demo guest is at 127.0.0.1:")
        assert line.endswith(f" with TLS; process {one.pid}\n")


def greeting(address: str, context: ssl.SSLContext) -> bytes:
    """What the control port says first."""
    host, _, port = address.rpartition(":")
    plain = socket.create_connection((host, int(port)), 10)
    with plain, context.wrap_socket(plain, server_hostname=host) as tls, suppress(ssl.SSLError):
        return tls.recv(1000)
    return b""


def test_control_over_tcp_takes_a_client_certificate(authority: Authority) -> None:
    context = ssl.create_default_context(cafile="ca.pem")
    control = ("--control", "127.0.0.1:0", "--ca", "ca.pem")
    with served(*TLS, *OPEN, *control, "--json") as (_, line):
        address = json.loads(line)["control"]
        assert greeting(address, context) == b""
        pair = authority.pair("operator")
        context.load_cert_chain(pair.certificate, pair.key)
        assert greeting(address, context).startswith(b'{"QMP": ')


def test_a_line_for_the_sasl_file(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPICEHOP_PASSWORD", "secret")
    assert main(["sasl-user", "anna"]) == 0
    name, _, verifier = capsys.readouterr().out.strip().partition(":")
    assert name == "anna"
    assert Verifier.parse(verifier).accepts("secret")
    assert main(["sasl-user", "anna", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["line"].startswith("anna:SCRAM-SHA-256$15000:")


USERS = [
    ("no password", ["anna"], "give the password with --password-file, or in $SPICEHOP_PASSWORD", 2),
    ("an empty password", ["anna", "--password-file", "empty"], "an empty text can be no password", 2),
    ("a name that cannot be", ["a:b", "--password-file", "ticket"],
     "'a:b' can be no user's name: it has no colon, is printable and does not begin with #", 2),
]  # fmt: skip


@pytest.mark.parametrize(("name", "words", "sentence", "code"), USERS, ids=[row[0] for row in USERS])
def test_mistakes_of_sasl_user(name: str, words: list[str], sentence: str, code: int, capsys, monkeypatch) -> None:
    monkeypatch.delenv("SPICEHOP_PASSWORD", raising=False)
    Path("empty").touch()
    assert main(["sasl-user", *words]) == code
    assert said(capsys) == sentence
    assert f"| {name} | {sentence} | {code} |" in DOCUMENT.read_text(encoding="utf-8")
