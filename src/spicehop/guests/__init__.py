"""What a server shows and feeds."""

from __future__ import annotations
