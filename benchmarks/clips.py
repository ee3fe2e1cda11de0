"""Many clips with one question each: ours against the published way, both one by one.

Every clip has frames of its own, so nothing of the encoding can be shared.
"""

from __future__ import annotations

from typing import Any

from benchmarks import _clips, _published, _shapes
from benchmarks._results import Options, Result
from benchmarks._timing import paired
from benchmarks.questions import look_of, questions, synchronizer


def run(options: Options) -> Result:
    """Compare ours and the published way."""
    shape = _shapes.shape_for(options)
    count, frames, new = (2, 3, 4) if options.quick else (6, 4, 16)
    if options.device != "cpu":
        count = 32
    gar = _shapes.gar_of(shape, options.device, keep=0)
    pairs = [_clips.clip(frames * 2 + k, 2) for k in range(count)]
    asked = questions(count)
    views = [look_of(gar, *pair, frames, new) for pair in pairs]

    def one_by_one() -> list[Any]:
        return [
            gar.ask(*pair, question, frames=frames, max_new_tokens=new).token_ids
            for pair, question in zip(pairs, asked, strict=True)
        ]

    def published() -> list[Any]:
        return [
            _published.answer(gar.model, gar.processor, view, question, max_new_tokens=new)
            for view, question in zip(views, asked, strict=True)
        ]

    cuda = options.device != "cpu"
    result = Result(
        "clips", "clips with one question each: ours against the published way, both one by one",
        "wall" if cuda else "process",
        {"shape": shape.name, "frames": frames, "objects": 2, "tokens an answer": new},
    )  # fmt: skip
    timed = paired(
        {"ours": one_by_one, "published way": published},
        repeats=options.rounds(2), clock=result.clock, warm=0,
        synchronize=synchronizer(options.device),
    )  # fmt: skip
    outputs = list(timed.outputs.values())
    result.add({"clips": count}, timed, **{"equal answers": outputs[0] == outputs[1]})
    result.notes.append(
        "clips are not batched with each other here: what is saved is the loop of replays and the "
        "copying of caches"
    )
    return result
