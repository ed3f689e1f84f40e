"""`spicehop sasl-user`: a line for the credentials file of `serve --sasl-file`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from spicehop.cli.arguments import PASSWORD_VARIABLE, password
from spicehop.errors import UsageError


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who logs in.")],
    password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"File whose first line is the password; - is standard input. Else ${PASSWORD_VARIABLE} is taken.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object, with the line in it.")] = False,
) -> None:
    """Print a line for the file of `serve --sasl-file`; it does not contain the password itself."""
    from spicehop.server.credentials import user_line

    secret = password(password_file)
    if secret is None:
        raise UsageError(f"give the password with --password-file, or in ${PASSWORD_VARIABLE}")
    line = user_line(name, secret)
    print(json.dumps({"line": line}) if as_json else line)
