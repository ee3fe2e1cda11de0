"""Which objects a question is about, and whether they are there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from gar_video.errors import PromptError
from gar_video.prompt import QuestionPart, mentioned_ids
from gar_video.tracks import Tracks


def all_ids(tracks: Tracks | None) -> tuple[int, ...]:
    """Return the ids of all objects; none without tracks."""
    return () if tracks is None else tracks.object_ids


def meant_objects(
    parts: Sequence[QuestionPart], tracks: Tracks | None, num_prompts: int, more_objects: bool
) -> tuple[int, ...]:
    """Return the ids a question is about: those it mentions, in order, or else all.

    Args:
        parts: The question.
        tracks: Where the objects are.
        num_prompts: How many objects the checkpoint has names for.
        more_objects: Allow more than that.

    Raises:
        PromptError: If an object is unknown, or there are more than the checkpoint has names for.
    """
    ids = mentioned_ids(parts)
    if not ids:
        ids = all_ids(tracks)
        if len(ids) > num_prompts and not more_objects:
            raise PromptError(
                f"the question mentions no object and there are {len(ids)}, more than the "
                f"checkpoint's {num_prompts} prompts; mention those that are meant, such as "
                f"<{ids[0]}>"
            )
    check_ids(tracks, ids)
    check_count(len(ids), num_prompts, more_objects)
    return ids


def check_ids(tracks: Tracks | None, ids: Sequence[int]) -> None:
    """Raise PromptError unless all ids are objects of the tracks, each named once."""
    if len(set(ids)) != len(ids):
        raise PromptError(f"an object id is repeated in {list(ids)}; expected each once")
    known = all_ids(tracks)
    for object_id in ids:
        if object_id not in known:
            shown = ", ".join(f"<{i}>" for i in known[:12]) or "none"
            more = f" and {len(known) - 12} more" if len(known) > 12 else ""
            raise PromptError(
                f"there is no object <{object_id}>; the objects here are {shown}{more}"
            )


def check_count(count: int, num_prompts: int, more_objects: bool) -> None:
    """Refuse more objects than the checkpoint has prompts, or warn where they are allowed."""
    if count <= num_prompts:
        return
    if not more_objects:
        raise PromptError(
            f"{count} objects in one question, but the checkpoint has {num_prompts} prompts; ask "
            "about fewer, or allow it with more_objects=True (--more-objects)"
        )
    warnings.warn(
        f"{count} objects with a checkpoint of {num_prompts} prompts: those beyond are named in "
        "plain text, which the model was not trained for",
        stacklevel=4,
    )
