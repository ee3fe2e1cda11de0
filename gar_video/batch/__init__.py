"""Footage of many cameras in, a table of answers out.

Where to begin: ``running`` has ``run``; ``footage`` and ``clock`` list recordings, ``tasks`` (with
``lines``) reads what is asked, ``planning`` makes units of work, ``state`` and ``batches`` keep
them; ``clips`` opens videos in watched children (``guarded``) and follows what moves
(``autotrack``) or what was pointed at (``prompted``); ``looking`` prepares what the model sees,
``answering`` and ``together`` run it; ``engine`` holds it all together, with a ``crew`` of threads
or of Ray's workers; ``results`` writes the tables, in which ``searching`` finds words;
``reporting`` shows a run as a page, ``redacting`` makes its pictures unrecognisable and
``forgetting`` removes what is too old.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

_HOME = {
    "Following": "settings",
    "Forgotten": "forgetting",
    "Hit": "searching",
    "Only": "searching",
    "Redactor": "redacting",
    "Reported": "reporting",
    "Settings": "settings",
    "Source": "running",
    "Summary": "running",
    "estimate": "estimate",
    "export": "results",
    "forget": "forgetting",
    "load_tasks": "tasks",
    "read_failures": "results",
    "read_rows": "results",
    "redact": "redacting",
    "retry_failed": "running",
    "run": "running",
    "search": "searching",
    "write_report": "reporting",
}

__all__ = list(_HOME)

if TYPE_CHECKING:
    from gar_video.batch.estimate import estimate as estimate
    from gar_video.batch.forgetting import Forgotten as Forgotten
    from gar_video.batch.forgetting import forget as forget
    from gar_video.batch.redacting import Redactor as Redactor
    from gar_video.batch.redacting import redact as redact
    from gar_video.batch.reporting import Reported as Reported
    from gar_video.batch.reporting import write_report as write_report
    from gar_video.batch.results import export as export
    from gar_video.batch.results import read_failures as read_failures
    from gar_video.batch.results import read_rows as read_rows
    from gar_video.batch.running import Source as Source
    from gar_video.batch.running import Summary as Summary
    from gar_video.batch.running import retry_failed as retry_failed
    from gar_video.batch.running import run as run
    from gar_video.batch.searching import Hit as Hit
    from gar_video.batch.searching import Only as Only
    from gar_video.batch.searching import search as search
    from gar_video.batch.settings import Following as Following
    from gar_video.batch.settings import Settings as Settings
    from gar_video.batch.tasks import load_tasks as load_tasks


def __getattr__(name: str) -> object:
    """Import a public name's module on first use."""
    if name in _HOME:
        value = getattr(importlib.import_module(f"gar_video.batch.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'gar_video.batch' has no attribute {name!r}")
