"""Nano GAR, the small default checkpoint: ``python -m gar_video.train.nano --out FOLDER`` makes it.

Stages gate each other. ``vision`` teaches the parts before the decoder with heads that read
replayed regions; ``time`` teaches the decoder's lower half with heads that ask how far a region has
come; ``finding`` teaches the upper half, begun in closed form, to bring together what questions ask
for; ``answers`` trains the whole decoder on.
Everything can be stopped and taken up again.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from gar_video.checkpoint import save_checkpoint
from gar_video.model import GARModel
from gar_video.processor import GARProcessor
from gar_video.train.architecture import build_model
from gar_video.train.asking import RenderedAsker
from gar_video.train.copying import copy_facts, copy_times
from gar_video.train.fact_heads import FactHeads
from gar_video.train.guiding import MENTIONS, MentionHeads
from gar_video.train.language import Learner, Stage, draw_steps, train_stage
from gar_video.train.region_heads import RegionHeads
from gar_video.train.shipped import image_settings, nano_processor
from gar_video.train.vision import train_vision

#: How long the vision stage runs, and how many frames a step has.
VISION_SECONDS, VISION_FRAMES = 950.0, 64

_FRAMES = {0: 0.04, 1: 0.16, 2: 0.1, 4: 0.2, 6: 0.45, 8: 0.05}
_OBJECTS = {1: 0.22, 2: 0.46, 3: 0.27, 5: 0.025, 9: 0.025}
STAGES = (
    Stage(
        "time", 2400, frames={1: 0.15, 2: 0.2, 4: 0.3, 6: 0.35}, objects=_OBJECTS,
        full=0.05, tokens=4000, ask=False, region_weight=1.0, hold=0.5, floor=0.1,
    ),
    # What is known at regions stays as it is while questions learn to find it there.
    # At twice these rates the values that were computed in closed form do not outlast it.
    Stage(
        "finding", 5400, frames=_FRAMES, objects=_OBJECTS, full=0.04, tokens=3500,
        region_weight=0.0, fact_weight=0.4, guide_weight=0.6, frozen=MENTIONS,
        lr=(0.004, 7e-4), hold=0.35, floor=0.02,
    ),
    Stage(
        "answers", 3600, frames=_FRAMES, objects=_OBJECTS, full=0.04, tokens=3500,
        region_weight=0.3, fact_weight=0.4, guide_weight=0.3, letters=0.05,
        lr=(0.004, 6e-4), hold=0.1, floor=0.02,
    ),
)  # fmt: skip
#: Steps of clips that the first weights of the layers that find things are computed from.
COPIED_STEPS = 45


def train(
    folder: Path, *, seed: int = 1, threads: int = 1, speed: float = 1.0
) -> tuple[GARModel, GARProcessor]:
    """Train nano, or go on with what the folder holds.

    Args:
        folder: Where curves (``*.jsonl``) and states (``*.pt``) go.
        seed: Of weights and clips.
        threads: CPU threads of the model; drawing takes a process of its own.
        speed: Divides the stages' seconds; for trials.
    """
    torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    processor = nano_processor(folder / "tokenizer")
    model = build_model(processor.config, seed)
    train_vision(
        model, seconds=VISION_SECONDS / speed, seed=seed, folder=folder,
        frames_per_batch=VISION_FRAMES,
    )  # fmt: skip
    width = model.get_input_embeddings().weight.shape[1]
    learner = Learner(model, processor, RegionHeads(width), FactHeads(width), MentionHeads(width))
    for stage in STAGES:
        if stage.frozen and not (folder / f"{stage.name}.pt").is_file():
            asker = RenderedAsker(processor, per_clip=4)
            drawn = draw_steps((seed, 20), processor, stage, asker)
            steps = list(islice(drawn, max(1, round(COPIED_STEPS / speed))))
            copy_times(model, steps, processor.tokenizer)
            copy_facts(model, steps)
        train_stage(
            learner,
            replace(stage, seconds=stage.seconds / speed),
            RenderedAsker(processor, letters=stage.letters) if stage.ask else None,
            seed=seed + 10,
            folder=folder,
        )
    return model, processor


def ship(folder: Path, model: GARModel, processor: GARProcessor, num_frames: int = 6) -> Path:
    """Write the checkpoint with 16-bit weights; what else the folder holds (its card) stays."""
    cards = {path.name: path.read_bytes() for path in folder.glob("*.md")}
    model.config.num_frames = num_frames
    half = GARModel(model.config)
    half.load_state_dict(model.state_dict())
    save_checkpoint(folder, half.half().eval(), processor.tokenizer, image_settings())
    for name, data in cards.items():
        (folder / name).write_bytes(data)
    # The tokenizer's own settings must not name the folder they were read from.
    settings = folder / "tokenizer_config.json"
    kept = json.loads(settings.read_text())
    for key in ("name_or_path", "local_files_only", "is_local"):
        kept.pop(key, None)
    settings.write_text(json.dumps(kept, indent=1) + "\n")
    return folder


def main() -> None:
    """Make nano GAR from nothing."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--work", type=Path, help="curves and states; OUT-work by default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--speed", type=float, default=1.0, help="divide all durations")
    args = parser.parse_args()
    work = args.work or args.out.with_name(f"{args.out.name}-work")
    if shutil.disk_usage(args.out.parent if args.out.parent.is_dir() else Path()).free < 1e9:
        parser.error("less than 1 GB of disk is free")
    model, processor = train(work, seed=args.seed, threads=args.threads, speed=args.speed)
    print(f"wrote {ship(args.out, model, processor)}")


if __name__ == "__main__":
    main()
