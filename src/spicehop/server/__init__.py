"""The asyncio shell of a SPICE server."""

from __future__ import annotations
