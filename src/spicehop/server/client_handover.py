"""What becomes of a server's clients when its guest moves: they link the target first, and go there behind the guest.

Management names the place by `client_migrate_info`, before each migration; without it clients are left as they are. A
client that could link the target goes over to its links there (semi-seamless), any other one is told to connect anew
(switch-host; dossier C1.5, C1.6).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from spicehop.server.control_migration import ClientTarget
from spicehop.server.control_target import ControlEvent
from spicehop.server.listener import AcceptedStream
from spicehop.server.server import SpiceServer
from spicehop.server.session import ServedSession
from spicehop.wire.constants import LinkResult, MainCap
from spicehop.wire.layout import Message
from spicehop.wire.main import (
    MigrateBegin,
    MigrateCancel,
    MigrateConnected,
    MigrateConnectedSeamless,
    MigrateConnectError,
    MigrateEnd,
    MigrateSwitchHost,
)

CONNECT_SECONDS = 10.0
"""How long clients may take to link the target once the guest has moved, as with libspice-server (dossier C3)."""
LEAVE_SECONDS = 10.0
"""Clients that are still here then are sent away, as libspice-server does (dossier C3)."""


class ClientHandover:
    """Sends the clients after the guest, and tells SPICE_MIGRATE_COMPLETED when none is left."""

    def __init__(self, server: SpiceServer, tell: Callable[[ControlEvent], None]) -> None:
        self.target: ClientTarget | None = None
        """Where clients are sent; forgotten at the end of each migration, as QEMU does."""
        self.completed = False
        """Whether clients have ever been handed over: query-spice's `migrated`."""
        self._server = server
        self._tell = tell
        self._work: asyncio.Task[None] | None = None
        self._linking: set[ServedSession] = set()
        self._linked: set[ServedSession] = set()
        self._changed = asyncio.Event()
        server.migration_said = self._message_received

    def begin(self, target: ClientTarget) -> None:
        """Have the clients link the target."""
        self._call_back()
        self.target = target
        for session in self._server.sessions:
            main = session.main
            if main is None or session.arriving:
                continue
            if MainCap.SEMI_SEAMLESS_MIGRATE in main.peer.capabilities.channel:
                main.send(MigrateBegin(target.port, target.tls_port, target.host.encode(), target.subject.encode()))
                self._linking.add(session)
        self._server.wake()

    def guest_moved(self) -> None:
        """The guest lives on at the target."""
        target, self.target = self.target, None
        if target is None:
            return
        leaving = [session for session in self._server.sessions if session.main is not None and not session.arriving]
        if leaving:
            self._work = asyncio.get_running_loop().create_task(self._hand_over(leaving, target))
        else:
            self._complete()

    def guest_stays(self) -> None:
        """The migration has failed; clients forget the target."""
        self._call_back()

    async def close(self) -> None:
        """Wait for nobody any more."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    def _call_back(self) -> None:
        """Those that are still linking are called back when they say that they have linked."""
        self.target = None
        for session in self._linked:
            if session.main is not None:
                session.main.send(MigrateCancel())
        self._linking.clear()
        self._linked.clear()
        self._server.wake()

    def _message_received(self, session: ServedSession, message: Message) -> None:
        match message:
            case MigrateConnected() | MigrateConnectedSeamless():
                if session in self._linking:
                    self._linking.discard(session)
                    self._linked.add(session)
                elif session.main is not None:
                    session.main.send(MigrateCancel())
            case MigrateConnectError():
                self._linking.discard(session)
            case _:
                return
        self._changed.set()

    async def _hand_over(self, leaving: list[ServedSession], target: ClientTarget) -> None:
        def observe(what: str, stream: AcceptedStream, session: ServedSession | None) -> None:
            self._changed.set()

        self._server.observers.append(observe)
        try:
            await self._until(lambda: not any(one in self._linking for one in self._here(leaving)), CONNECT_SECONDS)
            for session in self._here(leaving):
                _send(session, target, linked=session in self._linked)
            self._linking.clear()
            self._linked.clear()
            self._server.wake()
            await self._until(lambda: not self._here(leaving), LEAVE_SECONDS)
        finally:
            self._server.observers.remove(observe)
        for session in self._here(leaving):
            session.end("the guest has moved", LinkResult.OK)
        self._complete()

    def _here(self, sessions: list[ServedSession]) -> list[ServedSession]:
        return [session for session in self._server.sessions if session in sessions]

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()

    def _complete(self) -> None:
        self.completed = True
        self._tell(ControlEvent("SPICE_MIGRATE_COMPLETED"))


def _send(session: ServedSession, target: ClientTarget, *, linked: bool) -> None:
    main = session.main
    if main is None:
        return
    if linked:
        main.send(MigrateEnd())
    else:
        subject = target.subject.encode()
        main.send(MigrateSwitchHost(target.port, target.tls_port, target.host.encode(), subject))
