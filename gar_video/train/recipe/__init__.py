"""The general recipe: trains or fine-tunes any GAR checkpoint from one YAML file.

``config`` says what is wanted, ``data`` makes examples of files and rendered clips, ``rows`` turns
them into token sequences through the checkpoint's own processor, ``loop`` trains, ``state`` keeps
and resumes runs, ``estimate`` calculates memory. ``train(config)`` does all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gar_video.train.recipe.config import TrainConfig
    from gar_video.train.recipe.estimate import estimate
    from gar_video.train.recipe.loop import train
    from gar_video.train.recipe.parts import attach_adapter

__all__ = ["TrainConfig", "attach_adapter", "estimate", "train"]

_HOMES = {
    "TrainConfig": "config",
    "attach_adapter": "parts",
    "estimate": "estimate",
    "train": "loop",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
