"""The conductor: adapters of the conducting machine (`spicehop.migration.conducting`). Today: QMP."""

from __future__ import annotations

from spicehop.conductor.run import Conductor, Options, migrate

__all__ = ["Conductor", "Options", "migrate"]
