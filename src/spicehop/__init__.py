"""spicehop: a SPICE remote desktop whose live sessions move between hosts."""

from __future__ import annotations

__version__ = "0.1.0"
