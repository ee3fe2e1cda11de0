"""K questions about one clip: ours against the published way, one question at a time from pixels.

The published way encodes the frames for every question, replays region by region in a loop,
prefills and decodes greedily. Ours encodes once and decodes the questions in batches. Both run on
the same weights and must give the same tokens.
"""

from __future__ import annotations

from typing import Any

from benchmarks import _clips, _published, _shapes
from benchmarks._results import BenchmarkError, Options, Result
from benchmarks._timing import paired

NEEDED = {1: 1.0, 5: 3.5, 20: 8.0, 50: 15.0}
ROUNDS = {1: 3, 5: 2, 20: 1, 50: 1}  # the long ones spread little
WORDS = (
    "What colour is <1>?", "Where does <1> go?", "Is <1> left of <2> at the end?",
    "What does <2> do while <1> moves to the right and back again?", "Describe what happens.",
    "How does <2> move?", "Which of <1> and <2> is faster?", "What shape is <2>?",
)  # fmt: skip


def questions(count: int) -> list[str]:
    """Return questions of different lengths about objects 1 and 2, in this order."""
    return [f"<1> and <2>: {WORDS[k % len(WORDS)]} ({k})" for k in range(count)]


def synchronizer(device: str) -> Any:
    """Return what waits for a device, or None for the CPU."""
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.synchronize


def look_of(gar: Any, video: Any, tracks: Any, frames: int, new: int) -> Any:
    """Return the view that ``ask_many`` takes for two objects."""
    from gar_video.generation import GenerationSettings
    from gar_video.prompt import parse_question

    return gar._look(
        video, tracks, (1, 2), parse_question(questions(1)[0]),
        GenerationSettings(max_new_tokens=new), frames, None,
    )  # fmt: skip


def run(options: Options) -> Result:
    """Compare at K = 1, 5, 20 and 50."""
    shape = _shapes.shape_for(options)
    counts = (1, 3) if options.quick else tuple(NEEDED)
    frames, new = (3, 4) if options.quick else (6, 24)
    video, tracks = _clips.clip(frames * 4, 2)
    gar = _shapes.gar_of(shape, options.device)
    view = look_of(gar, video, tracks, frames, new)

    def ours(asked: list[str]) -> list[tuple[int, ...]]:
        gar.forget()
        answers = gar.ask_many(video, tracks, asked, frames=frames, max_new_tokens=new)
        return [answer.token_ids for answer in answers]

    def published(asked: list[str]) -> list[tuple[int, ...]]:
        return [
            _published.answer(gar.model, gar.processor, view, question, max_new_tokens=new)
            for question in asked
        ]

    prefix = len(gar.processor(view.prompt()).input_ids[0])
    cuda = options.device != "cpu"
    result = Result(
        "questions", "K questions about one clip against the published way, one by one",
        "wall" if cuda else "process",
        {"shape": shape.name, "frames": frames, "objects": 2, "prompt tokens": prefix,
         "tokens an answer": new},
    )  # fmt: skip
    for count in counts:
        asked = questions(count)
        timed = paired(
            {"ours": lambda a=asked: ours(a), "published way": lambda a=asked: published(a)},
            repeats=options.rounds(ROUNDS.get(count, 1)), clock=result.clock,
            warm=int(count == 1), synchronize=synchronizer(options.device),
        )  # fmt: skip
        got, expected = timed.outputs["ours"], timed.outputs["published way"]
        equal = sum(a == b for a, b in zip(got, expected, strict=True))
        if not cuda and equal != count:
            raise BenchmarkError(f"questions: {count - equal} of {count} answers differ in tokens")
        result.add({"questions": count}, timed, **{"equal answers": f"{equal} of {count}"})
        if count in NEEDED:
            result.at_least(f"K = {count}", NEEDED[count], timed.ratios()["published way"])
    return result
