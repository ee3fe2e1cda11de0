"""How good a small checkpoint is on rendered clips, asked as users ask it: through GARVideo."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch

from gar_video import GARVideo, Tracks, Video
from gar_video.bench.score import wilson
from gar_video.model import GARModel
from gar_video.synth.descriptions import describe, read
from gar_video.synth.kinds import KINDS
from gar_video.synth.questions import Question, answer_for, kind_names, sample_questions
from gar_video.synth.render import render
from gar_video.synth.truth import Truth, sample

#: Seeds of scenes that no training draws: training's come from other generators altogether.
FIRST_SEED = 900_000


class Tally:
    """Counts right answers by name."""

    def __init__(self) -> None:
        self.right: dict[str, int] = defaultdict(int)
        self.total: dict[str, int] = defaultdict(int)

    def add(self, right: bool, *names: str) -> None:
        """Count an answer under several names."""
        for name in names:
            self.right[name] += bool(right)
            self.total[name] += 1

    def table(self) -> dict[str, dict[str, Any]]:
        """Return share, 95 % Wilson interval and count per name."""
        rows = {}
        for name in sorted(self.total):
            count = self.total[name]
            low, high = wilson(self.right[name], count) or (0.0, 1.0)
            rows[name] = {
                "share": round(self.right[name] / count, 4),
                "low": round(low, 4),
                "high": round(high, 4),
                "n": count,
            }
        return rows


class RenderedClip:
    """A scene as a user has it: a video and tracks with true masks."""

    def __init__(self, seed: int, level: str, resolution_wh: tuple[int, int] = (256, 256)) -> None:
        width, height = resolution_wh
        self.scene, self.truth = sample(seed, level, aspect=width / height)
        frames, self.masks = render(self.scene, resolution_wh=resolution_wh)
        self.video = Video(frames, fps=self.scene.fps)
        self.tracks = self.with_masks(range(len(self.scene.objects)))

    def with_masks(self, places: Sequence[int]) -> Tracks:
        """Return tracks in which object ``i + 1`` has the masks of the thing at ``places[i]``."""
        masks = {i + 1: self.masks[k] for i, k in enumerate(places)}
        return Tracks.from_masks(masks, allow_empty=True)


def clips(first_seed: int, level: str) -> Iterator[tuple[int, RenderedClip]]:
    """Yield unseen clips, by seed."""
    seed = first_seed
    while True:
        yield seed, RenderedClip(seed, level, ((256, 256), (320, 240))[seed % 2])
        seed += 1


def choices(
    gar: GARVideo,
    count: int,
    *,
    level: str = "basic",
    split: str = "train",
    by: Sequence[Literal["letter", "text"]] = ("text",),
    generated: bool = False,
    frames: int | None = None,
    first_seed: int = FIRST_SEED,
    per_clip: int = 5,
) -> dict[str, Any]:
    """Ask multiple-choice questions of the five types.

    Args:
        gar: The checkpoint.
        count: Questions.
        level: ``"basic"`` or ``"full"``.
        split: Wordings that training used, or those kept out.
        by: How choices are scored.
        generated: Also generate the open answer and compare it with the accepted ones.
        frames: Frames looked at; the checkpoint's default if None.
        first_seed: Of the clips.
        per_clip: Questions a clip, at most; the five types in turn.
    """
    tallies = {name: Tally() for name in (*by, *(["generated"] if generated else []))}
    wrong: list[tuple[str, str, str, str]] = []
    asked = 0
    for seed, clip in clips(first_seed, level):
        rng = np.random.Generator(np.random.PCG64([23, seed]))
        for question in sample_questions(rng, clip.scene, clip.truth, n=per_clip, split=split):
            names = ("all", question.type, f"kind: {question.kind}")
            for how in by:
                choice = gar.choose(
                    clip.video, clip.tracks, question.text, question.options, by=how,
                    frames=frames,
                )  # fmt: skip
                right = choice.index == question.answer_index
                tallies[how].add(right, *names)
                if not right and how == by[0]:
                    said = question.options[choice.index] if choice.index is not None else "-"
                    wrong.append((question.kind, question.text, question.answer, said))
            if generated and KINDS[question.kind].open:
                answer = gar.ask(
                    clip.video, clip.tracks, question.text, frames=frames, max_new_tokens=24
                )
                tallies["generated"].add(_same(answer.text, question), *names)
            asked += 1
            if asked == count:
                tables = {name: tally.table() for name, tally in tallies.items()}
                return {"tables": tables, "wrong": wrong, "last_seed": seed}
    raise AssertionError


def _same(text: str, question: Question) -> bool:
    def plain(words: str) -> str:
        return words.strip().rstrip(".").lower()

    # The checkpoint names objects as it knows them; users see their ids.
    for number, object_id in enumerate(question.object_ids):
        text = text.replace(f"<Prompt{number}>", f"<{object_id}>")
    return plain(text) in {plain(form) for form in question.accepted}


_SWAPPED = ("color", "shape", "place start", "place end", "direction", "first", "last")


def mask_swap(
    gar: GARVideo, count: int, *, level: str = "basic", first_seed: int = FIRST_SEED
) -> dict[str, Any]:
    """Ask the same question with another thing's masks, where the answer then differs."""
    tally = Tally()
    for seed, clip in clips(first_seed, level):
        things = len(clip.scene.objects)
        if things < 2:
            continue
        rng = np.random.Generator(np.random.PCG64([29, seed]))
        kinds = [name for name in _SWAPPED if name in kind_names(level)]
        found = sample_questions(rng, clip.scene, clip.truth, kinds, balanced=False)
        for question in found:
            (object_id,) = question.object_ids
            other = int(rng.integers(things - 1))
            other += other >= object_id - 1
            key = answer_for(clip.truth, question, (other,))
            if key is None or key == question.key or key not in question.option_keys:
                continue
            places = list(range(things))
            places[object_id - 1], places[other] = other, object_id - 1
            tracks = clip.with_masks(places)
            choice = gar.choose(clip.video, tracks, question.text, question.options)
            right = choice.index == question.option_keys.index(key)
            tally.add(right, "all", f"kind: {question.kind}")
            if tally.total["all"] == count:
                return tally.table()
    raise AssertionError


def descriptions(
    gar: GARVideo, count: int, *, level: str = "basic", first_seed: int = FIRST_SEED
) -> dict[str, Any]:
    """Describe things and read the descriptions back."""
    tally, examples = Tally(), list[tuple[str, str]]()
    rng = np.random.default_rng(first_seed)
    for _, clip in clips(first_seed, level):
        for answer in gar.describe(clip.video, clip.tracks, max_new_tokens=48):
            (object_id,) = answer.objects
            truth = describe(rng, clip.truth, object_id)
            said = read(answer.text)
            tally.add(said.color == truth.facts.color, "color")
            tally.add(said.shape == truth.facts.shape, "shape")
            tally.add(said.size == truth.facts.size, "size")
            tally.add(said.acts == truth.facts.acts, "acts")
            tally.add(said.acts[:1] == truth.facts.acts[:1], "first act")
            if len(examples) < 12:
                examples.append((truth.text, answer.text))
            if tally.total["color"] == count:
                return {"table": tally.table(), "examples": examples}
    raise AssertionError


_PURE = {
    "red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0),
    "white": (255, 255, 255), "cyan": (0, 255, 255), "orange": (255, 165, 0),
}  # fmt: skip
_WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


def plain_clip(
    rng: np.random.Generator,
) -> tuple[Video, Tracks, dict[str, str]]:
    """Draw a thing that moves over a flat ground with a few lines of OpenCV, not our renderer."""
    width, height = int(rng.integers(160, 480)), int(rng.integers(160, 360))
    color, way = str(rng.choice(list(_PURE))), str(rng.choice(list(_WAYS)))
    shape = str(rng.choice(["circle", "square", "triangle"]))
    ground = int(rng.choice([0, 40, 80, 120]))
    size = int(min(width, height) * rng.uniform(0.08, 0.17))
    start = np.array([width, height]) / 2 - np.array(_WAYS[way]) * np.array([width, height]) * 0.25
    frames, masks = [], []
    for t in range(24):
        at = start + np.array(_WAYS[way]) * np.array([width, height]) * 0.5 * t / 23
        x, y = int(at[0]), int(at[1])
        frame = np.full((height, width, 3), ground, np.uint8)
        mask = np.zeros((height, width), np.uint8)
        corners = np.array([[x, y - size], [x - size, y + size], [x + size, y + size]], np.int32)
        for picture, value in ((frame, _PURE[color]), (mask, (1,))):
            if shape == "circle":
                cv2.circle(picture, (x, y), size, value, -1)
            elif shape == "square":
                cv2.rectangle(picture, (x - size, y - size), (x + size, y + size), value, -1)
            else:
                cv2.fillPoly(picture, [corners], value)
        frames.append(frame)
        masks.append(mask)
    truth = {"color": color, "shape": shape, "direction": way}
    return Video(np.stack(frames)), Tracks.from_masks({1: np.stack(masks) > 0}), truth


_ASKED = {
    "color": "What color is <1>?",
    "shape": "What shape is <1>?",
    "direction": "Which way does <1> move?",
}


def plain(gar: GARVideo, count: int, seed: int = 0) -> dict[str, Any]:
    """Ask about clips that the renderer did not draw."""
    rng, tally = np.random.default_rng(seed), Tally()
    for _ in range(count):
        video, tracks, truth = plain_clip(rng)
        answers = gar.ask_many(video, tracks, list(_ASKED.values()), max_new_tokens=12)
        for name, answer in zip(_ASKED, answers, strict=True):
            tally.add(truth[name] in answer.text.lower().split(), name, f"{name}: {truth[name]}")
    return tally.table()


@contextmanager
def without_mask_embedding(model: GARModel) -> Iterator[None]:
    """Take the mask embedding out of the vision tower."""
    weight = model.mask_patch_embedding.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.zero_()
    try:
        yield
    finally:
        with torch.no_grad():
            weight.copy_(kept)


@contextmanager
def without_replay(model: GARModel) -> Iterator[None]:
    """Put nothing where replayed features stand."""
    replay = model.replay
    model.replay = lambda *args: torch.zeros_like(replay(*args))  # type: ignore[method-assign]
    try:
        yield
    finally:
        del model.replay


@contextmanager
def blind(model: GARModel) -> Iterator[None]:
    """Show nothing: grey pictures, no masks, no replay."""
    encode = model.encode_tiles

    def see_nothing(
        pixel_values: torch.Tensor, mask_values: torch.Tensor | None = None
    ) -> torch.Tensor:
        return encode(torch.zeros_like(pixel_values), None)

    model.encode_tiles = see_nothing  # type: ignore[method-assign]
    try:
        with without_replay(model):
            yield
    finally:
        del model.encode_tiles


def report(gar: GARVideo, count: int, swaps: int, first_seed: int = FIRST_SEED) -> dict[str, Any]:
    """Return all figures of a checkpoint's card."""
    half = max(count // 2, 1)
    found: dict[str, Any] = {}
    by: tuple[Literal["letter", "text"], ...] = ("text", "letter")
    found["basic"] = choices(gar, count, by=by, generated=True, first_seed=first_seed)
    found["basic, kept-out wordings"] = choices(
        gar, half, split="heldout", first_seed=first_seed + 10_000
    )
    found["full"] = choices(gar, half, level="full", first_seed=first_seed + 20_000)
    found["mask swap"] = mask_swap(gar, swaps, first_seed=first_seed)
    found["plain clips"] = plain(gar, swaps)
    found["descriptions"] = descriptions(gar, swaps, first_seed=first_seed)
    for name, change in {
        "without mask embedding": without_mask_embedding,
        "without replay": without_replay,
        "blind": blind,
    }.items():
        with change(gar.model):
            gar.forget()
            found[name] = choices(gar, half, first_seed=first_seed)
            if name != "blind":
                found[f"mask swap {name}"] = mask_swap(gar, swaps // 2, first_seed=first_seed)
        gar.forget()
    return found


def show(table: dict[str, dict[str, Any]]) -> str:
    """Return a table as lines of text."""
    return "\n".join(
        f"  {name:28s} {row['share']:.3f}  [{row['low']:.3f}, {row['high']:.3f}]  n={row['n']}"
        for name, row in table.items()
    )


def main() -> None:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--only", choices=("text", "plain", "swap", "describe"), help="only this")
    parser.add_argument("--level", default="basic")
    parser.add_argument("--split", default="train")
    parser.add_argument("--frames", type=int)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    gar = GARVideo.from_pretrained(args.model, device="cpu")
    if args.only == "text":
        asked = choices(
            gar, args.count, level=args.level, split=args.split, frames=args.frames,
            first_seed=args.seed,
        )  # fmt: skip
        found: dict[str, Any] = {args.level: asked}
    elif args.only == "plain":
        found = {"plain clips": plain(gar, args.count)}
    elif args.only == "swap":
        found = {"mask swap": mask_swap(gar, args.count, level=args.level)}
    elif args.only == "describe":
        found = {"descriptions": descriptions(gar, args.count, level=args.level)}
        print(
            "\n".join(f"{truth}\n  -> {said}" for truth, said in found["descriptions"]["examples"])
        )
    else:
        found = report(gar, args.count, args.swaps, args.seed)
    for name, result in found.items():
        tables = result.get("tables") or {"": result.get("table", result)}
        for how, table in tables.items():
            print(f"{name} {how}\n{show(table)}")
    if args.out is not None:
        args.out.write_text(json.dumps(found, indent=1))


__all__ = ["Truth", "choices", "descriptions", "mask_swap", "report"]

if __name__ == "__main__":
    main()
