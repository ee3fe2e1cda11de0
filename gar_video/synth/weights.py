"""Shares of answers to ask; written by ``balance.measure``."""

from __future__ import annotations

WEIGHTS: dict[str, dict[str, dict[str, float]]] = {"basic": {}, "full": {}}
