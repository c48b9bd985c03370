"""A gateway put together from its settings: who may ask, what judges, what is recorded, where it listens."""

from __future__ import annotations

from aimds.app.gateway import Gateway

__all__ = ["Gateway"]
