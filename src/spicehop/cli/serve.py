"""`spicehop serve`: show a guest to SPICE clients."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from spicehop.server.running import Ready


def command(
    guest: Annotated[str | None, typer.Option(metavar="NAME", help="What is shown: demo, the default.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="The guest's screen, 1024x768 by default.")
    ] = None,
    guest_log: Annotated[Path | None, typer.Option(metavar="FILE", help="Where the guest writes its log.")] = None,
    agent_socket: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Unix socket for spice-vdagentd, in place of the guest's agent.")
    ] = None,
    listen: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address to listen at, else 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(metavar="PORT", help="Port without TLS; 0 for any free one.")] = None,
    tls_port: Annotated[int | None, typer.Option(metavar="PORT", help="Port with TLS; 0 for any free one.")] = None,
    unix: Annotated[Path | None, typer.Option(metavar="PATH", help="Unix socket for clients.")] = None,
    cert: Annotated[Path | None, typer.Option(metavar="FILE", help="The server's certificate, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key, PEM.")] = None,
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CA of the certificates of clients of --control at a TCP port.")
    ] = None,
    ticket_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Clients need the ticket in this file's first line.")
    ] = None,
    sasl_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Clients log in by SASL as a user of this file, over TLS.")
    ] = None,
    disable_ticketing: Annotated[
        bool | None, typer.Option("--disable-ticketing", help="Let in everybody who can connect.")
    ] = None,
    tls_channel: Annotated[
        list[str] | None, typer.Option(metavar="CHANNEL", help="Only with TLS, such as main; may be repeated.")
    ] = None,
    plaintext_channel: Annotated[
        list[str] | None, typer.Option(metavar="CHANNEL", help="Only without TLS; may be repeated.")
    ] = None,
    control: Annotated[
        str | None, typer.Option(metavar="PATH", help="Socket that tools drive as QEMU's monitor: path or HOST:PORT.")
    ] = None,
    compression: Annotated[
        str | None, typer.Option(metavar="KIND", help="Images: auto, off, quic, glz, lz, lz4 or jpeg.")
    ] = None,
    multi_client: Annotated[
        str | None, typer.Option(metavar="POLICY", help="several at once, or single: each ends the one before.")
    ] = None,
    disable_copy_paste: Annotated[
        bool | None, typer.Option("--disable-copy-paste", help="Keep clipboards from the guest's agent.")
    ] = None,
    disable_file_transfer: Annotated[
        bool | None, typer.Option("--disable-file-transfer", help="Keep files from the guest's agent.")
    ] = None,
    incoming: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Wait for a guest at tcp:HOST:PORT or unix:PATH, or defer for --control."),
    ] = None,
    accept_unannounced_migration: Annotated[
        bool | None,
        typer.Option("--accept-unannounced-migration", help="Let clients link here that say they come with the guest."),
    ] = None,
    seamless_migration: Annotated[
        str | None,
        typer.Option(
            metavar="on|off",
            help="Whether clients take their state along: only where management waits for SPICE_MIGRATE_COMPLETED.",
        ),
    ] = None,
    trace: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what happens as JSON lines.")] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file with settings by these names; flags win.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object when ready instead of a line.")] = False,
) -> None:
    """Show a guest to SPICE clients until SIGTERM, Ctrl-C, or `quit` at the control socket.

    One line is printed when clients can come.
    """
    from spicehop.cli.arguments import writable
    from spicehop.server.running import serve
    from spicehop.server.settings import Settings

    flags: dict[str, object] = {
        "guest": guest,
        "size": size,
        "guest_log": guest_log,
        "agent_socket": agent_socket,
        "listen": listen,
        "port": port,
        "tls_port": tls_port,
        "unix": unix,
        "cert": cert,
        "key": key,
        "ca": ca,
        "ticket_file": ticket_file,
        "sasl_file": sasl_file,
        "disable_ticketing": disable_ticketing,
        "tls_channel": tuple(tls_channel) if tls_channel else None,
        "plaintext_channel": tuple(plaintext_channel) if plaintext_channel else None,
        "control": control,
        "compression": compression,
        "multi_client": multi_client,
        "disable_copy_paste": disable_copy_paste,
        "disable_file_transfer": disable_file_transfer,
        "incoming": incoming,
        "accept_unannounced_migration": accept_unannounced_migration,
        "seamless_migration": seamless_migration,
        "trace": trace,
    }

    def announce(ready: Ready) -> None:
        print(json.dumps(ready.as_json()) if as_json else ready, flush=True)

    settings = Settings.merged(flags, config)
    writable(settings.trace, "the trace")
    writable(settings.guest_log, "the guest's log")
    asyncio.run(serve(settings, announce))
