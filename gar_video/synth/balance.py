"""How often each answer is kept, so that all answers of a kind come out equally frequent.

Scenes where a thing can always be seen are far more frequent than scenes where it hides; asked
evenly, "the whole time" would be a good guess without looking. The weights were measured with
``measure`` on seeds 2**39 and up; measure them again when scenes change.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from gar_video.synth.weights import WEIGHTS

__all__ = ["WEIGHTS", "measure"]

_ROUNDS = 60


def measure(level: str, seeds: range) -> dict[str, dict[str, float]]:
    """Find the weights of a level.

    Args:
        level: ``"basic"`` or ``"full"``.
        seeds: Seeds of the scenes to count answers in; a few thousand.

    Returns:
        Kind -> group -> share of the cases to ask, the rarest group's 1.
    """
    from gar_video.synth.questions import cases, kind_names
    from gar_video.synth.truth import sample

    scenes: dict[str, list[list[str]]] = defaultdict(list)
    members: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    names = list(dict.fromkeys(kind_names(level) + kind_names(level, choice=False)))
    for seed in seeds:
        rng = np.random.Generator(np.random.PCG64([17, seed]))
        found: dict[str, list[str]] = defaultdict(list)
        for case in cases(rng, sample(seed, level)[1], names):
            group = case.kind.group(case.key)
            members[case.kind.name][group].add(case.key)
            found[case.kind.name].append(group)
        for name, groups in found.items():
            scenes[name].append(groups)
    return {
        name: _even(scenes[name], {g: len(keys) for g, keys in members[name].items()})
        for name in names
        if len(members[name]) > 1
    }


def _even(scenes: list[list[str]], sizes: dict[str, int]) -> dict[str, float]:
    """Find weights under which every answer is chosen equally often, one case a scene."""
    weights = dict.fromkeys(sorted(sizes), 1.0)
    rng = np.random.Generator(np.random.PCG64(3))
    for step in range(_ROUNDS):
        chosen: Counter[str] = Counter()
        for groups in scenes:
            # Expected choice among the cases that are kept, estimated by a few draws.
            for _ in range(2):
                kept = [g for g in groups if rng.random() < weights[g]]
                if kept:
                    chosen[kept[int(rng.integers(len(kept)))]] += 1
        rate = {g: max(chosen[g], 1) / sizes[g] for g in weights}
        mean = float(np.exp(np.mean(np.log(list(rate.values())))))
        pace = 0.6 if step < 20 else 0.2
        weights = {g: w * (mean / rate[g]) ** pace for g, w in weights.items()}
        top = max(weights.values())
        weights = {g: w / top for g, w in weights.items()}
    return {g: round(w, 4) for g, w in weights.items()}
