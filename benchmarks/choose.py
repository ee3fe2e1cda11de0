"""Multiple choice by one forward pass: against the prefill alone, and against generating.

``choose`` reads the options' probabilities off one pass over the question on the encoded clip.
Published code generates the answer instead and reads a letter out of its text.
"""

from __future__ import annotations

from benchmarks import _clips, _published, _shapes
from benchmarks._results import Options, Result
from benchmarks._timing import paired
from benchmarks.questions import look_of, synchronizer

OPTIONS = ("it goes to the left", "it goes to the right", "it stays", "it leaves the picture")
QUESTION = "<1> and <2>: where does <1> go while <2> moves?"
NEW_TOKENS = 8  # a letter, its option's first words and the stop token


def run(options: Options) -> Result:
    """Compare the prefill alone, choosing by letter and by text, and generating."""
    from gar_video.prompt import multiple_choice

    shape = _shapes.shape_for(options)
    frames = 3 if options.quick else 6
    video, tracks = _clips.clip(frames * 4, 2)
    gar = _shapes.gar_of(shape, options.device)
    view = look_of(gar, video, tracks, frames, 1)
    asked = multiple_choice(QUESTION, OPTIONS)

    def choose(by: str) -> int | None:
        gar.forget()
        choice = gar.choose(video, tracks, QUESTION, OPTIONS, by=by, frames=frames)
        index: int | None = choice.index
        return index

    def prefill() -> int:
        return int(gar._prefixes.encode(view).cache.length)

    def generate() -> tuple[int, ...]:
        return _published.answer(gar.model, gar.processor, view, asked, max_new_tokens=NEW_TOKENS)

    cuda = options.device != "cpu"
    result = Result(
        "choose", "multiple choice by one forward pass against its prefill and generating",
        "wall" if cuda else "process",
        {"shape": shape.name, "frames": frames, "objects": 2, "options": len(OPTIONS),
         "prompt tokens": prefill(), "tokens generated": NEW_TOKENS},
    )  # fmt: skip
    timed = paired(
        {
            "prefill alone": prefill,
            "choose by letter": lambda: choose("letter"),
            "choose by text": lambda: choose("text"),
            "generating": generate,
        },
        repeats=options.rounds(5), clock=result.clock, synchronize=synchronizer(options.device),
    )  # fmt: skip
    result.add({"options": len(OPTIONS)}, timed)
    ratios = timed.ratios()
    for by in ("letter", "text"):
        result.at_most(f"choose by {by} against the prefill", 1.1, ratios[f"choose by {by}"])
    return result
