"""The command `spicehop`: finds the command's module, runs it, and turns errors into one sentence and an exit code.

Only the module of the command that was named is imported, so that `spicehop --help` costs no numpy and no cryptography.
Each command is the function `command` of a module `spicehop.cli.<name>`, with _ for -; its parameters are Typer's.

Exit codes: 0 done; 1 tried and failed, or the reader of our output went away; 2 cannot be used as it was given;
130 interrupted. With `--json` a failure is also one object on standard output: `{"error": sentence, "exit_code": n}`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from spicehop import __version__
from spicehop.errors import SpicehopError

COMMANDS: dict[str, str] = {
    "demo": "Let a client work in a guest, count what arrives, and report.",
    "serve": "Show a guest to SPICE clients.",
    "connect": "Connect to a server and show what the session does.",
    "screenshot": "Save a picture of a server's screen.",
    "type": "Type a text into a server.",
    "migrate": "Move a virtual machine and its sessions from one QEMU to another.",
    "trace": "Show the timeline of a migration, and explain it.",
    "simulate": "Run migrations against model peers on a virtual clock, with faults.",
    "sasl-user": "Print a line for the file of serve --sasl-file.",
}
"""Command to its summary, in the order of the help."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell gives it."""


def build(chosen: str = "") -> typer.Typer:
    """The Typer application, with the code of the command `chosen` and only the summaries of the others."""
    app = typer.Typer(
        name="spicehop",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name, summary in COMMANDS.items():
        app.command(name, short_help=summary)(_function_of(name) if name == chosen else _elsewhere)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line. Returns the exit code; the console script hands it to the shell."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = next((word for word in words if not word.startswith("-")), "")
    try:
        code = _run(words, chosen)
    except KeyboardInterrupt:
        code = INTERRUPTED
    return _flush(code)


def _run(words: list[str], chosen: str) -> int:
    as_json = "--json" in words
    try:
        app = build(chosen)
        outcome = app(args=words or ["--help"], prog_name="spicehop", standalone_mode=False)
    except SpicehopError as error:
        return _fail(str(error), error.exit_code, as_json=as_json)
    except BrokenPipeError:
        return 1
    except OSError as error:
        return _fail(_os_sentence(error), 1, as_json=as_json)
    except Exception as error:
        # Typer's own errors have moved between modules, so they are known by what they can do.
        if type(error).__name__ == "Abort":
            return INTERRUPTED
        if not hasattr(error, "format_message"):
            raise
        sentence = _usage_sentence(error.format_message(), chosen if chosen in COMMANDS else "")
        return _fail(sentence, 2, as_json=as_json)
    if not words:
        return 2
    return outcome if isinstance(outcome, int) else 0


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spicehop {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """A SPICE remote desktop whose live sessions move between hosts."""


def _function_of(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = import_module(f"spicehop.cli.{name.replace('-', '_')}").command
    return function


def _elsewhere() -> None:
    """Stand for a command whose module is not needed for this command line."""


def _usage_sentence(message: str, chosen: str) -> str:
    sentence = " ".join(message.split()).rstrip(".")
    sentence = sentence[:1].lower() + sentence[1:]
    return f"{sentence}; see 'spicehop {chosen + ' ' if chosen else ''}--help'"


def _os_sentence(error: OSError) -> str:
    what = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {what}" if error.filename else what


def _fail(sentence: str, code: int, *, as_json: bool) -> int:
    one_line = " ".join(sentence.split())
    if as_json:
        import json

        print(json.dumps({"error": one_line, "exit_code": code}))
    print(f"spicehop: {one_line}", file=sys.stderr)
    return code


def _flush(code: int) -> int:
    """Write out what is buffered; a reader that has gone is no reason for a traceback at exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or 1
    return code


if __name__ == "__main__":
    sys.exit(main())
