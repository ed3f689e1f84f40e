"""The client: an asyncio API for sessions with guests."""

from __future__ import annotations

from spicehop.client.session import Session, connect

__all__ = ["Session", "connect"]
