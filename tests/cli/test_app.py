"""The command line as a whole: help, cost of the help, exit codes, one sentence for each mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module

import pytest

from spicehop import __version__
from spicehop.cli import app
from spicehop.errors import LinkError, MigrationError, UsageError

HEAVY = ("numpy", "cryptography", "asyncio", "rich", "ssl", "PIL", "qemu", "spicehop.client", "spicehop.wire")


def run_command(*words: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "spicehop.cli.app", *words], capture_output=True, text=True, timeout=60, **options
    )


def test_help_names_every_command_and_loads_none_of_them() -> None:
    code = "import sys; from spicehop.cli.app import main; main(['--help']);print('LOADED', *sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    shown, _, loaded = done.stdout.partition("LOADED\n")
    for name in app.COMMANDS:
        assert f"  {name} " in shown
    modules = set(loaded.split())
    assert not modules.intersection(HEAVY)
    assert not {f"spicehop.cli.{name}" for name in app.COMMANDS} & modules


@pytest.mark.parametrize("name", app.COMMANDS)
def test_every_command_has_a_help(name: str, capsys) -> None:
    assert app.main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: spicehop {name}" in shown
    assert "--json" in shown


@pytest.mark.parametrize("name", app.COMMANDS)
def test_every_command_is_documented_where_it_is_written(name: str) -> None:
    assert import_module(f"spicehop.cli.{name.replace('-', '_')}").command.__doc__


def test_version(capsys) -> None:
    assert app.main(["--version"]) == 0
    assert capsys.readouterr().out == f"spicehop {__version__}\n"


def test_nothing_asked_shows_the_help(capsys) -> None:
    assert app.main([]) == 2
    assert "Commands:" in capsys.readouterr().out


MISTAKES = [
    (["frob"], "no such command"),
    (["--frob"], "no such option: --frob"),
    (["trace"], "missing argument 'FILE...'"),
    (["trace", "--frob", "x"], "no such option: --frob"),
    (["trace", "x", "--html"], "--html"),
    (["screenshot", "host:5930"], "missing argument"),
]


@pytest.mark.parametrize(("words", "sentence"), MISTAKES)
def test_a_mistake_on_the_command_line_is_one_sentence_and_exit_code_2(words, sentence: str, capsys) -> None:
    assert app.main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("spicehop: ")
    assert shown.err.count("\n") == 1
    assert sentence in shown.err


RAISED = [
    (UsageError("give a port"), 2, "give a port"),
    (LinkError("the password is wrong", 7), 1, "the password is wrong"),
    (MigrationError("it failed\nand went back"), 1, "it failed and went back"),
    (PermissionError(13, "Permission denied", "out.png"), 1, "out.png: Permission denied"),
    (KeyboardInterrupt(), 130, None),
    (BrokenPipeError(), 1, None),
]


@pytest.mark.parametrize(("error", "code", "sentence"), RAISED)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_errors_become_exit_codes(error, code: int, sentence, as_json: bool, capsys, monkeypatch) -> None:
    def command(as_json_wanted: bool = False) -> None:
        """Fail."""
        raise error

    import typer

    command.__annotations__["as_json_wanted"] = bool
    command.__defaults__ = (typer.Option(False, "--json"),)
    monkeypatch.setattr(app, "_function_of", lambda name: command)
    assert app.main(["trace", *(["--json"] if as_json else [])]) == code
    shown = capsys.readouterr()
    if sentence is None:
        assert (shown.out, shown.err) == ("", "")
        return
    assert shown.err == f"spicehop: {sentence}\n"
    if as_json:
        assert json.loads(shown.out) == {"error": sentence, "exit_code": code}
    else:
        assert shown.out == ""


def test_a_defect_is_not_hidden(monkeypatch) -> None:
    def command() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app, "_function_of", lambda name: command)
    with pytest.raises(ZeroDivisionError):
        app.main(["trace"])


def test_a_reader_that_goes_away_leaves_no_traceback(tmp_path) -> None:
    trace = tmp_path / "trace"
    trace.write_text('{"t":1.0,"party":"client","event":"x"}\n' * 20_000)
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "spicehop.cli.app", "trace", str(trace)],
            stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == ""


def test_the_console_script_runs_the_same(tmp_path) -> None:
    done = run_command("trace", str(tmp_path / "absent"), "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["exit_code"] == 1
    assert "Traceback" not in done.stderr
