"""Management that is no conductor, for one migration of a simulation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from spicehop.simulator.hosts import HOST, Host

if TYPE_CHECKING:
    from spicehop.simulator.moving import MovingWorld


class Chaperon:
    """It keeps the guest for a while before the switch-over, as libvirt may."""

    def __init__(self, world: MovingWorld, source: Host, target: Host) -> None:
        self.moved = False
        self.over = False
        self.outcome = ""
        self._world = world
        self._source = source
        self._target = target
        self._continued = False
        source.listeners.append(self._told)
        for host in (source, target):
            host.on_death.append(lambda why: self._end("a host is lost"))

    def start(self) -> None:
        """Prepare, tell the clients, migrate."""
        capabilities = [
            {"capability": name, "state": True} for name in ("events", "return-path", "pause-before-switchover")
        ]
        port = self._target.address[1] + 1000
        where = {"uri": f"tcp:{HOST}:{port}"}
        clients = {"protocol": "spice", "hostname": HOST, "port": self._target.address[1]}
        self._world.clock.after(120, lambda: self._end("too late"))
        self._do(
            (self._source, "migrate-set-capabilities", {"capabilities": capabilities}),
            (self._target, "migrate-set-capabilities", {"capabilities": capabilities[:1]}),
            (self._target, "migrate-incoming", where),
            (self._source, "client_migrate_info", clients),
            (self._source, "migrate", where),
        )

    def cancel(self) -> None:
        """Go back, if that can be."""
        if not self.over:
            self._do((self._source, "migrate_cancel", {}))

    def _do(self, *commands: tuple[Host, str, Mapping[str, object]]) -> None:
        if not commands or self.over:
            return
        (host, command, arguments), *rest = commands

        def answered(answer: object) -> None:
            if isinstance(answer, Exception):
                self._end(f"{command}: {answer}")
            else:
                pause = 0.3 if command == "client_migrate_info" else 0.001
                self._world.clock.after(pause, lambda: self._do(*rest))

        if host.alive:
            host.perform(command, arguments, answered)
        else:
            self._end("a host is lost")

    def _told(self, event: str, data: object) -> None:
        status = data.get("status") if isinstance(data, dict) else None
        if event == "MIGRATION" and status == "pre-switchover" and not self._continued:
            self._continued = True
            self._world.clock.after(self._world.journey.pause, self._continue)
        elif event == "MIGRATION" and status in ("failed", "cancelled"):
            self._end(f"migration {status}")
        elif event == "SPICE_MIGRATE_COMPLETED":
            self.moved = True
            self._end("moved")

    def _continue(self) -> None:
        self._do((self._source, "migrate-continue", {"state": "pre-switchover"}))

    def _end(self, outcome: str) -> None:
        if not self.over:
            self.over = True
            self.outcome = outcome
            if self.moved and self._source.alive:
                self._world.clock.after(1, lambda: self._source.die("ended by management"))
