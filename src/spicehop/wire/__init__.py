"""Bytes to typed messages and back. No I/O, no state but that of the stream readers."""

from __future__ import annotations
