"""See what a taught checkpoint has learned and what it has lost.

`python examples/teach/check.py runs/teach/model teach/test/data.jsonl` asks about clips that it has
not been taught on, and rendered questions of the old kinds before and after: the same ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from make_clips import NEW_MOTION, NEW_SHAPE

from gar_video.bench.score import wilson
from gar_video.train.recipe.check import Checked, check, difference


def line(name: str, answers: Sequence[Checked]) -> str:
    """Return a share with its 95 % interval, as a line of text."""
    right, count = sum(one.right for one in answers), len(answers)
    low, high = wilson(right, count) or (0.0, 1.0)
    share = 100 * right / max(count, 1)
    return f"{name:34s} {share:5.1f} [{100 * low:.1f}, {100 * high:.1f}]  n={count}"


def main(
    taught: str, path: str, base: str = "nano", clips: int = 100, old_clips: int = 150
) -> dict[str, float]:
    """Print figures; returns the shares of the new words and what the old questions lost."""
    new = {"kind": "jsonl", "path": path, "frames": [8], "questions": 7}
    answers = check(taught, new, clips)
    groups = {
        NEW_SHAPE: [one for one in answers if one.answer == NEW_SHAPE],
        NEW_MOTION: [one for one in answers if one.answer == NEW_MOTION],
        "shapes it knew": [x for x in answers if x.kind == "shape" and x.answer != NEW_SHAPE],
        "motions it knew": [x for x in answers if x.kind == "motion" and x.answer != NEW_MOTION],
        "colors": [one for one in answers if one.kind == "color"],
    }
    print(f"{taught}: right on unseen clips, % [95 % interval]")
    for name, group in groups.items():
        print(line(name, group))
    old = {"kind": "rendered", "frames": [6], "questions": 16, "choices": 0, "photos": 0}
    before, after = check(base, old, old_clips), check(taught, old, old_clips)
    print(line(f"old questions, {base}", before))
    print(line("old questions, taught", after))
    gain, low, high = difference(before, after)
    print(f"change: {100 * gain:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] points, paired")
    shares = {
        name: sum(one.right for one in group) / max(len(group), 1) for name, group in groups.items()
    }
    return {**shares, "lost": -gain}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("taught")
    parser.add_argument("data")
    parser.add_argument("--base", default="nano")
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--old-clips", type=int, default=150)
    args = parser.parse_args()
    main(args.taught, args.data, args.base, args.clips, args.old_clips)
