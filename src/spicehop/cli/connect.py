"""`spicehop connect`: open a session and show what it does, migrations included."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer

from spicehop.cli.session import CaFile, HostSubject, MapHost, PasswordFile, SessionOptions, TraceFile, Url, run

if TYPE_CHECKING:
    from spicehop.client import Session


def command(
    url: Url,
    password_file: PasswordFile = None,
    ca_file: CaFile = None,
    host_subject: HostSubject = None,
    trace: TraceFile = None,
    map_host: MapHost = None,
    seconds: Annotated[float | None, typer.Option(min=0.0, help="Disconnect after so long; else at Ctrl-C.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object at the end instead of lines.")] = False,
) -> None:
    """Connect to a server and show what the session does, until Ctrl-C.

    A line is printed for every change: channels, mouse mode, agent, migrations.
    """
    options = SessionOptions(url, password_file, tuple(map_host or ()), trace, ca_file, host_subject)
    watch = Watch(quiet=as_json)
    try:
        run(lambda: watch.session(options, seconds))
    except KeyboardInterrupt:
        if not watch.last:
            raise
    if as_json:
        typer.echo(json.dumps(watch.last, ensure_ascii=False))


class Watch:
    """Follows one session; `last` is what it was like when it was last looked at."""

    def __init__(self, *, quiet: bool) -> None:
        self.last: dict[str, object] = {}
        self._quiet = quiet
        self._said: dict[str, str] = {}

    async def session(self, options: SessionOptions, seconds: float | None) -> None:
        """Connect, and follow the session until it ends or `seconds` are over. Raises what ended it."""
        async with options.open() as session:
            session.listeners.append(lambda event: self._look(session))
            self._look(session)
            try:
                async with asyncio.timeout(seconds):
                    await session.wait_closed()
            except TimeoutError:
                pass

    def _look(self, session: Session) -> None:
        if session.closed:
            return
        self.last = status(session)
        if self._quiet:
            return
        for name, line in lines(session).items():
            if self._said.get(name) != line:
                self._said[name] = line
                print(line, flush=True)


def status(session: Session) -> dict[str, object]:
    """The session now, as JSON may hold it."""
    core = session.core
    return {
        "server": str(session.server),
        "tls": session.secure,
        "guest": session.guest_name,
        "connection_id": core.connection_id,
        "channels": sorted(channel.name for channel in core.channels.values() if channel.connected),
        "lost_channels": dict(session.lost_channels),
        "mouse_mode": mouse_mode(session),
        "agent": agent(session),
        "ports": sorted(session.ports),
        "migrating": session.migrating,
        "migrations": [
            {
                "scheme": outcome.scheme,
                "reason": outcome.reason,
                "source": outcome.source,
                "target": outcome.target,
                "seconds": round(outcome.finished - outcome.started, 3),
                "channels": {one.channel: one.how for one in outcome.channels},
            }
            for outcome in session.migrations
        ],
        "aborted_migrations": list(session.aborted_migrations),
        "notices": list(session.notices),
    }


def lines(session: Session) -> dict[str, str]:
    """The session now, in lines for people, by what they are about."""
    core = session.core
    shown = {
        "server": f"connected to {session.server}"
        + (" over TLS" if session.secure else "")
        + (f", {session.guest_name}" if session.guest_name else "")
    }
    channels = [channel.name for channel in core.channels.values() if channel.connected]
    shown["channels"] = f"channels: {', '.join(channels)}"
    shown["mouse"] = f"mouse mode: {mouse_mode(session)}"
    shown["agent"] = f"agent: {agent(session)}"
    for name, reason in session.lost_channels.items():
        shown[f"lost {name}"] = f"lost {name}: {reason}"
    if session.migrating and core.travel.target is not None:
        shown["migrating"] = f"migrating to {core.travel.target.address}"
    for number, outcome in enumerate(session.migrations, start=1):
        why = f" ({outcome.reason})" if outcome.reason else ""
        took = (outcome.finished - outcome.switched) * 1000
        shown[f"migration {number}"] = (
            f"migration {number}: {outcome.scheme}{why}, from {outcome.source} to {outcome.target}, "
            f"hand-over took {took:.0f} ms"
        )
    for number, reason in enumerate(session.aborted_migrations, start=1):
        shown[f"aborted {number}"] = f"a migration did not take place: {reason}"
    for number, notice in enumerate(session.notices, start=1):
        shown[f"notice {number}"] = f"the server says: {' '.join(notice.split())}"
    return shown


def mouse_mode(session: Session) -> str:
    """`client` or `server`: who moves the pointer."""
    from spicehop.wire.constants import MouseMode

    return "client" if session.core.main.mouse_mode == MouseMode.CLIENT else "server"


def agent(session: Session) -> str:
    """`connected` or `not connected`."""
    return "connected" if session.core.main.agent.connected else "not connected"
