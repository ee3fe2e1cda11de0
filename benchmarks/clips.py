"""Many clips with one question each: together, one by one, and the published way one by one.

Every clip has frames of its own, so nothing of the encoding can be shared. Together means the way
of ``gar_video.batch``: prompts padded into one pass, and a row of each clip in every step.
"""

from __future__ import annotations

from typing import Any

from benchmarks import _clips, _published, _shapes
from benchmarks._results import BenchmarkError, Options, Result
from benchmarks._timing import paired
from benchmarks.questions import look_of, questions, synchronizer


def run(options: Options) -> Result:
    """Compare both of ours and the published way."""
    from gar_video.batch.together import ManyDecoder, Rows
    from gar_video.generation import GenerationSettings
    from gar_video.prompt import parse_question

    shape = _shapes.shape_for(options)
    count, frames, new = (2, 3, 4) if options.quick else (8, 4, 16)
    at_once = 4 if options.device == "cpu" else 32
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

    many = ManyDecoder(gar.model, gar.processor.stop_ids)

    def together() -> list[Any]:
        answers: list[Any] = []
        for first in range(0, count, at_once):
            part = slice(first, first + at_once)
            looked = [view.prompt() for view in views[part]]
            prompts = many.encode([gar.processor(prompt) for prompt in looked])
            suffixes = [
                gar.processor.question_ids(parse_question(question), prompt)
                for question, prompt in zip(asked[part], looked, strict=True)
            ]
            rows: Any = Rows(prompts, tuple(range(len(looked))))
            done = many.generate(rows, suffixes, GenerationSettings(max_new_tokens=new))
            answers += [one.token_ids for one in done]
        return answers

    def published() -> list[Any]:
        return [
            _published.answer(gar.model, gar.processor, view, question, max_new_tokens=new)
            for view, question in zip(views, asked, strict=True)
        ]

    cuda = options.device != "cpu"
    result = Result(
        "clips", "clips with one question each: ours together and one by one, the published way",
        "wall" if cuda else "process",
        {"shape": shape.name, "frames": frames, "objects": 2, "tokens an answer": new,
         "clips together": at_once},
    )  # fmt: skip
    timed = paired(
        {"together": together, "one by one": one_by_one, "published way": published},
        repeats=options.rounds(3), clock=result.clock, warm=1,
        synchronize=synchronizer(options.device),
    )  # fmt: skip
    outputs = list(timed.outputs.values())
    same = sum(a == b == c for a, b, c in zip(*outputs, strict=True))
    if not cuda and same != count:
        raise BenchmarkError(f"clips: {count - same} of {count} answers differ in tokens")
    result.add({"clips": count}, timed, **{"equal answers": f"{same} of {count}"})
    result.at_least(
        "clips together against the published way", 1.0, timed.ratios()["published way"]
    )
    return result
