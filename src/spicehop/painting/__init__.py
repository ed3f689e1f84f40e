"""Pixels to draw messages. Sans-I/O: a function of the frame, what has happened to it, and the client view."""

from __future__ import annotations
