"""Reads flows that other libraries trained from their state dicts."""

from pushforward.io.foreign.nflows import from_nflows
from pushforward.io.foreign.zuko import from_zuko

__all__ = ["from_nflows", "from_zuko"]
