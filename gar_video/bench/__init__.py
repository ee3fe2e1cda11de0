"""The benchmarks of the field: published files in, answers, scores and comparisons out.

``load`` reads a benchmark's files into cases, ``answer`` runs a model on them, ``judge`` has
descriptions judged, ``summarize`` counts; ``run`` does all of it in a resumable folder.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Public name -> module that holds it, loaded on first use: reading cases needs no torch.
_HOME = {
    "BENCHMARKS": "gar_video.bench.registry",
    "Case": "gar_video.bench.case",
    "Run": "gar_video.bench.store",
    "Settings": "gar_video.bench.settings",
    "compare": "gar_video.bench.compare",
    "compare_judges": "gar_video.bench.compare",
    "load": "gar_video.bench.registry",
    "merge": "gar_video.bench.merge",
    "run": "gar_video.bench.run",
    "score_answers": "gar_video.bench.run",
    "summarize": "gar_video.bench.summary",
    "write_report": "gar_video.bench.report",
}

__all__ = list(_HOME)

if TYPE_CHECKING:
    from gar_video.bench.case import Case as Case
    from gar_video.bench.compare import compare as compare
    from gar_video.bench.compare import compare_judges as compare_judges
    from gar_video.bench.merge import merge as merge
    from gar_video.bench.registry import BENCHMARKS as BENCHMARKS
    from gar_video.bench.registry import load as load
    from gar_video.bench.report import write_report as write_report
    from gar_video.bench.run import run as run
    from gar_video.bench.run import score_answers as score_answers
    from gar_video.bench.settings import Settings as Settings
    from gar_video.bench.store import Run as Run
    from gar_video.bench.summary import summarize as summarize


def __getattr__(name: str) -> Any:
    """Import a public name's module on first use."""
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'gar_video.bench' has no attribute {name!r}")
