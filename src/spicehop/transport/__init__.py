"""Byte streams to servers."""

from __future__ import annotations
