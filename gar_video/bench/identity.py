"""What a run rests on, as digests: the questions, the clips, the weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gar_video.bench.case import Case
from gar_video.bench.looking import media_path

if TYPE_CHECKING:
    from torch import nn


def hash_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of files' contents, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def hash_media(cases: Sequence[Case], data: Path) -> str:
    """Return a digest of the names and sizes of the videos and pictures that are there."""
    digest = hashlib.sha256()
    for media in sorted({case.media for case in cases}):
        path = media_path(data, media)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                digest.update(f"{media}\0{file.name}\0{file.stat().st_size}\0".encode())
    return digest.hexdigest()


def hash_weights(model: nn.Module) -> str:
    """Return the SHA-256 of a model's weights as they lie in memory: names, types, bytes."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if not isinstance(value, torch.Tensor):
            continue
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\0".encode())
        plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(plain.numpy().data)
    return digest.hexdigest()


def missing_media(cases: Sequence[Case], data: Path) -> list[Case]:
    """Return the cases whose video or picture is not there."""
    there: dict[str, bool] = {}
    for case in cases:
        if case.media not in there:
            there[case.media] = media_path(data, case.media).exists()
    return [case for case in cases if not there[case.media]]


def code_version() -> str:
    """Return the package's version."""
    from gar_video import __version__

    return __version__


def describe_tracker(tracker: Any) -> dict[str, str]:
    """Return what tells a tracker from others: its class and, of a network, its weights."""
    network = getattr(tracker, "predictor", None)
    found = {"class": type(tracker).__name__}
    if network is not None and hasattr(network, "state_dict"):
        found["sha256"] = hash_weights(network)
        found["dtype"] = str(getattr(tracker, "dtype", "")).removeprefix("torch.")
    return found


def name_tracks(case: Case, data: Path, tracker: Any) -> str:
    """Return a name for a tracker's tracks: equal for equal masks, clips and trackers.

    Args:
        case: The case whose objects are followed.
        data: The benchmark's folder.
        tracker: What ``describe_tracker`` said of it.
    """
    rests_on = (case.region_digests, case.prompt_frame, hash_media([case], data), tracker)
    digest = hashlib.sha256(json.dumps(rests_on, sort_keys=True).encode())
    return f"{digest.hexdigest()[:32]}.json"
