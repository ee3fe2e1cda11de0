"""Groups: the cases that look at one clip with one set of objects, and so share its encoding."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gar_video.bench.case import Case, Regions
from gar_video.bench.settings import Settings
from gar_video.errors import GARVideoError


@dataclass(frozen=True, eq=False)
class Group:
    """Cases about one clip and one set of objects.

    Attributes:
        index: Position among the run's groups.
        cases: At least one; all have the same media, regions and numbers.
    """

    index: int
    cases: tuple[Case, ...]

    @property
    def first(self) -> Case:
        """The first case, which stands for what they share."""
        return self.cases[0]


def group_cases(cases: Sequence[Case], settings: Settings, *, video: bool) -> list[Group]:
    """Put cases together that look at the same, in order of first appearance.

    Args:
        cases: The cases, with masks swapped already if they are to be.
        settings: The run's settings.
        video: Whether the benchmark is about videos.
    """
    found: dict[tuple[Any, ...], list[Case]] = {}
    for case in cases:
        pointed = case.prompt_frame if video and settings.mode != "multi" else None
        key = (case.media, case.region_digests, case.first_number, pointed)
        found.setdefault(key, []).append(case)
    return [Group(index, tuple(together)) for index, together in enumerate(found.values())]


def shard_groups(groups: Sequence[Group], shard: str | None) -> list[Group]:
    """Return one part of the groups.

    Args:
        groups: All groups.
        shard: ``"i/n"``, i from 1 to n; None for all.

    Raises:
        GARVideoError: If it is not of that form.
    """
    if shard is None:
        return list(groups)
    part, _, parts = shard.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise GARVideoError(f"shard {shard!r}; expected i/n with i from 1 to n, such as 1/4")
    return list(groups[int(part) - 1 :: int(parts)])


def swap_masks(cases: Sequence[Case], seed: int | None) -> list[Case]:
    """Point every question at other objects than those it means.

    Several objects change places. A single one gives way to another object of the same clip, or,
    where there is none, of another clip, its masks taken frame for frame.

    Args:
        cases: All cases of the run.
        seed: Seed of the draw.

    Raises:
        GARVideoError: If there is nothing to swap with.
    """
    pool: dict[str, dict[str, Regions]] = {}
    for case in cases:
        for digest, regions in zip(case.region_digests, case.objects, strict=True):
            pool.setdefault(case.media, {})[digest] = regions
    return [_swapped(case, pool, seed or 0) for case in cases]


def _swapped(case: Case, pool: Mapping[str, Mapping[str, Regions]], seed: int) -> Case:
    if len(case.objects) > 1:
        turned = (*case.objects[1:], case.objects[0])
        if len(set(case.region_digests)) > 1:
            return replace(case, objects=turned)
    draw = random.Random(f"{seed} {case.key}")  # noqa: S311
    own = set(case.region_digests)
    near = [r for digest, r in sorted(pool[case.media].items()) if digest not in own]
    if near:
        return replace(case, objects=tuple(draw.choice(near) for _ in case.objects))
    far = [
        regions
        for media in sorted(pool)
        if media != case.media
        for digest, regions in sorted(pool[media].items())
        if digest not in own and any(mask is not None for mask in regions.values())
    ]
    if not far:
        raise GARVideoError(
            "swapping masks needs another object than the one asked about; there is only one"
        )
    objects = tuple(_moved(draw.choice(far), regions) for regions in case.objects)
    return replace(case, objects=objects)


def _moved(masks: Regions, frames: Regions) -> Regions:
    """Put one object's masks, in their order, on the frames of another's."""
    held = [masks[frame] for frame in sorted(masks) if masks[frame] is not None]
    return {frame: held[at % len(held)] for at, frame in enumerate(sorted(frames))}
