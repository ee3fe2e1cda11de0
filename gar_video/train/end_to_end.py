"""The whole way on rendered clips: click, masks, answers; and how true the demonstration is."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gar_video import GARVideo
from gar_video.demo import overlap, run_demo
from gar_video.synth.pointing import box_around, click_on
from gar_video.synth.questions import sample_questions
from gar_video.train.evaluate import FIRST_SEED, Tally, clips, show

if TYPE_CHECKING:
    from gar_video.trackers import Sam2Tracker


def end_to_end(
    gar: GARVideo,
    tracker: Sam2Tracker,
    count: int,
    *,
    pointing: str = "click",
    first_seed: int = FIRST_SEED,
    per_clip: int = 5,
) -> dict[str, Any]:
    """Ask the same questions with true masks and with those that the tracker makes of a click.

    Args:
        gar: Answers.
        tracker: Follows.
        count: Questions.
        pointing: ``"click"``, or ``"box"``.
        first_seed: Of the clips.
        per_clip: Questions a clip, at most.

    Returns:
        ``"table"``: accuracy either way; ``"ratio"``: of the two, with a 95 % interval from
        resampling clips; ``"j"``: mean overlap of the masks with the true ones.
    """
    tally, by_clip, shares = Tally(), [], []
    asked = 0
    for seed, clip in clips(first_seed, "basic"):
        rng = np.random.Generator(np.random.PCG64([23, seed]))
        point = click_on if pointing == "click" else box_around
        pointed = [point(clip.tracks[i]) for i in clip.tracks if len(clip.tracks[i])]
        tracks = tracker.track(clip.video, pointed)
        shares += [overlap(tracks[i], clip.tracks[i]) for i in tracks]
        right = [0, 0]
        for question in sample_questions(rng, clip.scene, clip.truth, n=per_clip):
            if not set(question.object_ids) <= set(tracks.object_ids):
                continue
            for n, (name, source) in enumerate((("true masks", clip.tracks), ("tracked", tracks))):
                choice = gar.choose(clip.video, source, question.text, question.options)
                good = choice.index == question.answer_index
                tally.add(good, name, f"{name}: {question.type}")
                right[n] += good
            asked += 1
            if asked == count:
                break
        by_clip.append(right)
        if asked == count:
            break
    return {
        "table": tally.table(),
        "ratio": _ratio(np.asarray(by_clip)),
        "j": round(float(np.mean(shares)), 4),
        "clips": len(by_clip),
    }


def _ratio(right: np.ndarray) -> dict[str, float]:
    """Return tracked over true, with a 95 % interval from resampled clips."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(right), size=(2000, len(right)))
    sums = right[drawn].sum(1)
    ratios = sums[:, 1] / np.maximum(sums[:, 0], 1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    true, tracked = right.sum(0)
    return {
        "ratio": round(float(tracked / max(true, 1)), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


def demo_truth(seeds: range, model: str = "nano", sam2: str = "nano") -> dict[str, Any]:
    """Run the demonstration on several seeds and count what is true.

    Returns:
        ``"seeds"`` of which all was true, ``"answers"`` true and asked, the longest ``"seconds"``,
        and per seed what was ``"wrong"``.
    """
    good, right, total, longest = 0, 0, 0, 0.0
    wrong: dict[int, list[str]] = {}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            shown = run_demo(
                Path(folder), seed=seed, model=model, sam2=sam2, device="cpu", say=lambda _: None
            )
        good += all(shown.right)
        right += sum(shown.right)
        total += len(shown.right)
        longest = max(longest, shown.seconds)
        false = zip(shown.answers, shown.right, strict=True)
        wrong[seed] = [str(answer) for answer, fits in false if not fits]
    return {
        "seeds": good, "of": len(seeds), "answers": [right, total],
        "seconds": round(longest, 1), "wrong": wrong,
    }  # fmt: skip


def main() -> None:
    """Score the whole way from the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--sam2", default="nano")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--pointing", choices=("click", "box"), default="click")
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--demos", type=int, default=0, help="demonstrations instead, so many")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.demos:
        print(json.dumps(demo_truth(range(args.demos), args.model, args.sam2), indent=1))
        return
    from gar_video.trackers import Sam2Tracker

    gar = GARVideo.from_pretrained(args.model, device="cpu")
    tracker = Sam2Tracker.from_pretrained(args.sam2, device="cpu")
    found = end_to_end(gar, tracker, args.count, pointing=args.pointing, first_seed=args.seed)
    print(show(found.pop("table")))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
