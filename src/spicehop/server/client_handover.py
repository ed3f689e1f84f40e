"""What becomes of a server's clients when its guest has moved: they are told where it is now (switch-host).

Management names the place by `client_migrate_info`, before each migration; without it clients are left as they are.
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
from spicehop.wire.constants import LinkResult
from spicehop.wire.main import MigrateSwitchHost

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

    def guest_moved(self) -> None:
        """The guest lives on at the target."""
        target, self.target = self.target, None
        if target is None:
            return
        leaving = [session for session in self._server.sessions if session.main is not None]
        for session in leaving:
            _send(session, target)
        self._server.wake()
        if leaving:
            self._work = asyncio.get_running_loop().create_task(self._await_leaving(leaving))
        else:
            self._complete()

    def guest_stays(self) -> None:
        """The migration has failed; clients were not told anything."""
        self.target = None

    async def close(self) -> None:
        """Wait for nobody any more."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def _await_leaving(self, leaving: list[ServedSession]) -> None:
        someone_left = asyncio.Event()

        def observe(what: str, stream: AcceptedStream, session: ServedSession | None) -> None:
            someone_left.set()

        self._server.observers.append(observe)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_SECONDS):
                    while any(session in leaving for session in self._server.sessions):
                        someone_left.clear()
                        await someone_left.wait()
        finally:
            self._server.observers.remove(observe)
        for session in tuple(self._server.sessions):
            if session in leaving:
                session.end("the guest has moved", LinkResult.OK)
        self._complete()

    def _complete(self) -> None:
        self.completed = True
        self._tell(ControlEvent("SPICE_MIGRATE_COMPLETED"))


def _send(session: ServedSession, target: ClientTarget) -> None:
    main = session.main
    assert main is not None
    subject = target.subject.encode()
    main.send(MigrateSwitchHost(target.port, target.tls_port, target.host.encode(), subject))
