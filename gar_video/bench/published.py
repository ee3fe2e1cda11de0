"""Published figures, to stand beside a run's own.

VideoRefer-BenchQ: the papers of VideoRefer (arXiv 2501.00599), PixelRefer (arXiv 2510.23603) and
Grasp Any Region (arXiv 2510.18876). GAR-Bench and DLC-Bench: the reference results in GAR's
repository, made with the released weights, and the paper's; the captions' overall figure is
counted from the two published ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from gar_video.bench.videorefer_q import TYPES


@dataclass(frozen=True)
class Published:
    """One published line.

    Attributes:
        model: Whose figures.
        overall: The headline figure; percent, except DLC-Bench, which is a mean score.
        per_type: By category, where they were published.
    """

    model: str
    overall: float
    per_type: dict[str, float]


def _q(model: str, *figures: float) -> Published:
    *types, overall = figures
    return Published(model, overall, dict(zip(TYPES, types, strict=False)))


def _details(model: str, positive: float, negative: float, overall: float) -> Published:
    return Published(model, overall, {"positive": positive, "negative": negative})


_VQA_TYPES = ("mirror", "color", "material", "texture/pattern", "shape", "ordering", "relation")

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "videorefer-q": (
        _q("GAR-8B, zero-shot", 72.0),
        _q("VideoRefer-7B", 75.4, 68.6, 59.3, 89.4, 78.1, 71.9),
        _q("GPT-4o", 62.3, 74.5, 66.0, 88.0, 73.7, 71.3),
        _q("PixelRefer-2B", 76.5),
        _q("PixelRefer-7B", 84.5, 76.9, 71.5, 89.5, 79.7, 79.4),
        _q("VideoRefer-VideoLLaMA3-7B", 88.1, 77.7, 70.2, 88.8, 79.8, 80.1),
    ),
    "gar-bench-vqa": (
        Published(
            "GAR-1B, released",
            47.9,
            dict(zip(_VQA_TYPES, (59.0, 49.3, 38.9, 58.6, 50.0, 20.3, 56.4), strict=True)),
        ),
        Published("GAR-8B, released", 57.8, {}),
        Published("GAR-1B, paper", 50.6, {}),
        Published("GAR-8B, paper", 59.9, {}),
        Published("GPT-4o", 53.5, {}),
    ),
    "gar-bench-cap": (
        Published("GAR-1B, released", 61.3, {"simple": 55.7, "detailed": 66.4}),
        Published("GAR-8B, released", 66.7, {"simple": 63.9, "detailed": 69.2}),
    ),
    "dlc-bench": (
        _details("GAR-1B, judge reads text", 0.489, 0.870, 0.679),
        _details("GAR-1B, judge sees", 0.662, 0.880, 0.771),
    ),
}
