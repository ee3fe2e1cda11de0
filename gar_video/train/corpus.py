"""The words nano reads and writes: what its tokenizer is trained on."""

from __future__ import annotations

import re

import numpy as np

from gar_video.prompt import DESCRIBE
from gar_video.synth.answers import TABLES, forms
from gar_video.synth.appearance import COLORS, PATTERNS, SHAPES, SIZE_NAMES
from gar_video.synth.descriptions import PROMPTS
from gar_video.synth.options import act_names
from gar_video.synth.questions import WORDINGS
from gar_video.synth.truth import sample
from gar_video.train.asking import SHORT
from gar_video.train.tokenizer import SYSTEM

_FIXED = (
    "There are some objects I am curious about: ",
    "\nOptions:\nA. ",
    "\nB. ",
    "\nC. ",
    "\nD. ",
    "\nAnswer with the correct option's letter directly.",
    "Answer with the option's letter from the given choices directly.",
    "Question: ",
    SYSTEM,
    DESCRIBE,
    "\n\n",
    ": ",
    "system",
    "user",
    "assistant",
)


def corpus() -> list[str]:
    """Return texts in which every word of questions, answers and descriptions is frequent."""
    names = {"a": "", "b": "", "c": ""}
    texts = [text for wordings in (*WORDINGS.values(), *SHORT.values()) for text in wordings]
    texts += list(PROMPTS)
    pieces = [piece for text in texts for piece in re.split(r"\{\w+\}", text)]
    answers = [
        form for family in TABLES for key in TABLES[family] for form in forms(family, key, names)
    ]
    acts = act_names("full")
    answers += [form for a in acts for b in acts for form in forms("acts", f"{a}|{b}", names)]
    looks = [
        f"a {size} {color} {shape}" for size in SIZE_NAMES for color in COLORS for shape in SHAPES
    ]
    looks += [f" a {pattern} thing" for pattern in PATTERNS for _ in range(5)]
    looks += [f"This is an object. It is {word}." for word in (*COLORS, *SHAPES, *SIZE_NAMES)]
    told = []
    rng = np.random.Generator(np.random.PCG64(5))
    from gar_video.synth.descriptions import describe_object

    for seed in range(300):
        scene, truth = sample(2_000_000 + seed, "full" if seed % 3 == 0 else "basic")
        told += [describe_object(rng, truth, thing.object_id) for thing in scene.objects]
    lower = [piece.lower() for piece in pieces]
    return [*_FIXED * 30, *pieces * 3, *lower, *answers * 2, *looks, *told]
