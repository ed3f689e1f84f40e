"""The demo guest: a small desktop that is drawn, fed and moved without any virtual machine."""

from __future__ import annotations

from spicehop.guests.demo.guest import DemoGuest

__all__ = ["DemoGuest"]
