"""Imports every module that registers messages; the registry does so by itself before it looks something up."""

from __future__ import annotations

from spicehop.wire import base, cursor, display, inputs, main, playback, record, smartcard, vmc

__all__ = ["base", "cursor", "display", "inputs", "main", "playback", "record", "smartcard", "vmc"]
