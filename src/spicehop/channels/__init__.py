"""Sans-I/O channel machines: events in, bytes and events out; time is an argument."""

from __future__ import annotations
