"""How often each answer is kept, so that all answers of a kind come out equally frequent."""

from __future__ import annotations

#: Level -> kind -> group of answers -> share of the cases to ask.
WEIGHTS: dict[str, dict[str, dict[str, float]]] = {"basic": {}, "full": {}}
