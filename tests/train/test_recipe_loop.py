"""Runs: what they learn, how they end, and that they go on where they were left."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from recipe_tiny import as_video, config, make_checkpoint, two_squares
from safetensors.torch import load_file

from gar_video import GARVideo
from gar_video.prompt import RegionPrompt, RegionSlot
from gar_video.train.recipe import loop, parts, state
from gar_video.train.recipe.errors import TrainingError
from gar_video.train.recipe.loop import train
from gar_video.train.recipe.report import read_metrics
from gar_video.train.recipe.schedule import rate


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Models this small lose more by sharing work than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    make_checkpoint(folder / "gar")
    two_squares(folder / "data")
    return folder


@pytest.fixture
def squares_data(tiny):
    return [{"kind": "jsonl", "path": str(tiny / "data" / "data.jsonl"), "frames": [2], "cache": 8}]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


# ---------------------------------------------------------------- learning


def test_training_lowers_the_loss_and_gives_a_checkpoint(tiny, squares_data, tmp_path):
    steps = 40
    done = train(
        config(tiny / "gar", tmp_path / "run", squares_data, steps=steps, batch=2, plot=True)
    )
    lines = read_metrics(done.metrics)
    assert [line["step"] for line in lines] == list(range(1, steps + 1))
    first = sum(line["loss"] for line in lines[:5]) / 5
    last = sum(line["loss"] for line in lines[-5:]) / 5
    assert last < 0.5 * first
    gar = GARVideo.from_pretrained(done.model, device="cpu")
    video, tracks = as_video(0)
    answers = gar.ask_many(
        video, tracks, ["What color is <1>?", "What color is <2>?"], frames=2, max_new_tokens=8
    )
    # Forty steps teach what kind of word is an answer, not yet which.
    assert {answer.text for answer in answers} <= {"red", "blue"}
    assert (tmp_path / "run" / "loss.png").read_bytes().startswith(b"\x89PNG")
    names = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert not [name for name in names if name.endswith((".pt", ".bin", ".pkl", ".pth"))]


@pytest.mark.parametrize(
    ("chosen", "changed"),
    [
        pytest.param(["language_model"], "mllm.model.language_model.", id="language model"),
        pytest.param(["projector"], "mllm.model.multi_modal_projector.", id="projector"),
        pytest.param(["vision"], "mllm.model.vision_tower.", id="vision"),
        pytest.param(["mask_embedding"], "mask_patch_embedding.", id="mask embedding"),
    ],
)
def test_only_the_chosen_parts_change(tiny, squares_data, tmp_path, chosen, changed):
    done = train(config(tiny / "gar", tmp_path / "run", squares_data, steps=1, parts=chosen))
    before, after = weights(tiny / "gar"), weights(done.model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    prefixes = (changed, "mllm.lm_head.") if chosen == ["language_model"] else (changed,)
    assert moved
    assert all(name.startswith(prefixes) for name in moved)


def test_accumulated_batches_take_the_same_step_as_one(tiny, squares_data, tmp_path):
    one = train(config(tiny / "gar", tmp_path / "a", squares_data, steps=2, batch=4))
    many = train(config(tiny / "gar", tmp_path / "b", squares_data, steps=2, accumulate=4))
    first, second = weights(one.model), weights(many.model)
    start = weights(tiny / "gar")
    for name in first:
        moved = (first[name] - start[name]).abs().max()
        assert (first[name] - second[name]).abs().max() <= 0.02 * moved + 1e-6, name


def test_checkpointing_changes_nothing(tiny, squares_data, tmp_path):
    runs = [
        train(config(tiny / "gar", tmp_path / str(on), squares_data, steps=2, checkpointing=on))
        for on in (False, True)
    ]
    first, second = (weights(run.model) for run in runs)
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)


def test_bfloat16_trains_float32_weights(tiny, squares_data, tmp_path):
    run = loop.Run(
        config(
            tiny / "gar", tmp_path / "run", squares_data, precision="bfloat16", parts=["projector"]
        ),
        print,
    )
    run.begin(resume=False)
    run.take_step()
    kinds = {p.requires_grad: p.dtype for p in run.model.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    run.close()


def test_images_and_videos_in_one_run(tiny, squares_data, tmp_path):
    mixed = [*squares_data, {"kind": "rendered", "frames": [2], "photos": 0.5, "questions": 3}]
    done = train(
        config(tiny / "gar", tmp_path / "run", mixed, steps=3, batch=3, workers=2, tensorboard=True)
    )
    assert done.steps == 3
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))


# ---------------------------------------------------------------- adapters


@pytest.fixture
def adapted(tiny, squares_data, tmp_path):
    return train(
        config(
            tiny / "gar",
            tmp_path / "run",
            squares_data,
            steps=12,
            batch=2,
            learning_rate=1e-2,
            method="lora",
        )
    )


def test_merged_adapters_answer_as_unmerged_ones(tiny, adapted):
    video, tracks = as_video(0)
    questions = ["What color is <1>?", "Which way does <2> move?", "Describe <1> and <2>."]

    def answers(gar):
        return [a.text for a in gar.ask_many(video, tracks, questions, frames=2, max_new_tokens=12)]

    def logits(gar):
        frames = video.frames([0, 3])
        slots = tuple(
            RegionSlot(i, i - 1, tuple(tracks[i].rle(frame) for frame in (0, 3))) for i in (1, 2)
        )
        inputs = gar.processor(RegionPrompt(frames, slots))
        with torch.no_grad():
            return gar.model(inputs).logits

    base = GARVideo.from_pretrained(tiny / "gar", device="cpu")
    untouched = logits(base)
    beside = GARVideo.from_pretrained(tiny / "gar", device="cpu")
    parts.attach_adapter(beside.model, adapted.adapter)
    merged = GARVideo.from_pretrained(adapted.model, device="cpu")
    assert answers(merged) == answers(beside)
    assert torch.allclose(logits(merged), logits(beside), atol=1e-3)
    assert not torch.allclose(logits(merged), untouched, atol=0.1)
    settings = json.loads((adapted.adapter / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(tiny / "gar")


def test_every_adapter_learns_and_nothing_else_does(tiny, squares_data, tmp_path):
    run = loop.Run(
        config(tiny / "gar", tmp_path / "run", squares_data, method="lora", grad_norm=0), print
    )
    run.begin(resume=False)
    seen = {}
    own = run.engine.clip
    run.engine.clip = lambda p, most: (
        seen.update(
            {
                n: None if q.grad is None else q.grad.abs().max()
                for n, q in run.module.named_parameters()
                if q.requires_grad
            }
        )
        or own(p, most)
    )
    run.take_step()
    run.close()
    assert {n.rpartition(".lora_")[2].split(".")[0] for n in seen if "lora_" in n} == {"A", "B"}
    kinds = ("language_model", "vision_tower", "multi_modal_projector", "mask_patch_embedding")
    assert all(any(kind in name for name in seen) for kind in kinds)
    assert all(value is not None and value > 0 for name, value in seen.items() if "lora_B" in name)
    assert all("lora_" in name or "mask_patch_embedding" in name for name in seen)


def test_a_vocabulary_is_trained_whole_beside_adapters(tiny, squares_data, tmp_path):
    wanted = config(
        tiny / "gar", tmp_path / "run", squares_data, steps=3, learning_rate=1e-2, method="lora",
        parts=["language_model"], lora={"whole": ["vocabulary"]},
    )  # fmt: skip
    done = train(wanted)
    base = GARVideo.from_pretrained(tiny / "gar", device="cpu").model
    merged = GARVideo.from_pretrained(done.model, device="cpu").model
    beside = GARVideo.from_pretrained(tiny / "gar", device="cpu").model
    parts.attach_adapter(beside, done.adapter)
    for words in ("get_input_embeddings", "get_output_embeddings"):
        new = getattr(merged.mllm, words)().weight
        assert not torch.equal(new, getattr(base.mllm, words)().weight), words
        assert torch.equal(new, getattr(beside.mllm, words)().weight), words


# ---------------------------------------------------------------- going on

CHILD = """
import os, signal, sys, torch
torch.set_num_threads(int(sys.argv[2]))
from gar_video.train.recipe.config import load
from gar_video.train.recipe.loop import train

def progress(done, total):
    if done == 5:
        os.kill(os.getpid(), signal.SIGKILL)

train(load(sys.argv[1]), progress=progress)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "optimizer"), [("full", "adamw"), ("lora", "adamw"), ("full", "muon")]
)
def test_killed_and_resumed_gives_the_same_weights_bit_for_bit(
    tiny, squares_data, tmp_path, method, optimizer
):
    import yaml

    mixed = [*squares_data, {"kind": "rendered", "frames": [2], "questions": 3, "weight": 0.5}]
    more = {"steps": 8, "save_every": 3, "method": method, "lora": {"dropout": 0.1}, "batch": 2}
    more["optimizer"] = optimizer
    whole = train(config(tiny / "gar", tmp_path / "whole", mixed, **more))
    interrupted = config(tiny / "gar", tmp_path / "killed", mixed, **more)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(interrupted.to_dict()))
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), str(torch.get_num_threads())], check=False
    )
    assert child.returncode == -signal.SIGKILL
    assert [p.name for p in state.checkpoints(tmp_path / "killed")] == ["step-00000003"]
    done = train(interrupted, resume=True)
    assert same(weights(done.model), weights(whole.model))
    drop = ("seconds",)
    curves = [
        [{k: v for k, v in line.items() if k not in drop} for line in read_metrics(run.metrics)]
        for run in (whole, done)
    ]
    assert curves[0] == curves[1]


TOGETHER = """
import sys, torch
torch.set_num_threads(1)
from gar_video.train.recipe.config import load
from gar_video.train.recipe.loop import train
train(load(sys.argv[1]), resume=sys.argv[2] == "resume")
"""


def together(path: Path, resume: str, port: int) -> list[int]:
    """Run two processes that train together; returns their exit statuses."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(path), resume],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    return [child.wait(timeout=500) for child in children]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_two_processes_train_together_and_go_on(tiny, squares_data, tmp_path):
    import yaml

    wanted = config(tiny / "gar", tmp_path / "run", squares_data, steps=3, save_every=2)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(wanted.to_dict()))
    assert together(path, "anew", free_port()) == [0, 0]
    model = tmp_path / "run" / "model"
    first = weights(model)
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3]
    shutil.rmtree(model)
    shutil.rmtree(state.checkpoints(tmp_path / "run")[-1])
    assert together(path, "resume", free_port()) == [0, 0]
    assert same(weights(model), first)
    with pytest.raises(TrainingError, match="2 processes trained and now there are 1"):
        train(wanted, resume=True)


def test_asked_to_stop_it_saves_and_goes_on(tiny, squares_data, tmp_path):
    wanted = config(tiny / "gar", tmp_path / "run", squares_data, steps=5, save_every=50)

    def progress(done, total):
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    first = train(wanted, progress=progress)
    assert (first.stopped, first.steps, first.model) == (True, 2, None)
    second = train(wanted, resume=True)
    whole = train(dataclasses.replace(wanted, output=str(tmp_path / "whole")))
    assert same(weights(second.model), weights(whole.model))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"learning_rate": 1e-4}, "learning_rate was 0.002 and is 0.0001", id="rate"),
        pytest.param({"steps": 9}, "steps was 2 and is 9", id="steps"),
        pytest.param({"seed": 3}, "seed was 0 and is 3", id="seed"),
        pytest.param({"parts": ["projector"]}, "parts was", id="parts"),
    ],
)
def test_another_configuration_cannot_go_on(tiny, squares_data, tmp_path, change, words):
    train(config(tiny / "gar", tmp_path / "run", squares_data, steps=2))
    with pytest.raises(TrainingError, match=words):
        train(
            config(tiny / "gar", tmp_path / "run", squares_data, **{"steps": 2, **change}),
            resume=True,
        )


def test_a_run_is_not_overwritten_and_other_data_are_refused(tiny, squares_data, tmp_path):
    wanted = config(tiny / "gar", tmp_path / "run", squares_data, steps=2)
    train(wanted)
    with pytest.raises(TrainingError, match="holds a run already"):
        train(wanted)
    # What the weights do not depend on may change.
    assert train(dataclasses.replace(wanted, log_every=7), resume=True).steps == 2
    path = two_squares(tmp_path / "more", 4)
    other = [{**squares_data[0], "path": str(path)}]
    with pytest.raises(TrainingError, match=r"data\.0\.path was"):
        train(config(tiny / "gar", tmp_path / "run", other, steps=2), resume=True)


# ---------------------------------------------------------------- what goes wrong


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_one(
    tiny, squares_data, tmp_path, monkeypatch
):
    wanted = config(tiny / "gar", tmp_path / "run", squares_data, steps=6, save_every=2)
    run = loop.Run(wanted, print)
    run.begin(resume=False)
    for _ in range(3):
        run.take_step()
    before = {name: p.clone() for name, p in run.model.named_parameters()}
    own = run.wrapped.forward
    run.wrapped.forward = lambda batch: tuple(
        x * float("nan") if n == 0 else x for n, x in enumerate(own(batch))
    )
    with pytest.raises(TrainingError, match=r"loss is nan .* in step 4.*step-00000002"):
        run.take_step()
    assert all(torch.equal(before[name], p) for name, p in run.model.named_parameters())
    run.close()
    assert [p.name for p in state.checkpoints(tmp_path / "run")] == ["step-00000002"]
    assert train(wanted, resume=True).steps == 6


def test_a_full_disk_leaves_the_last_good_checkpoint_whole(
    tiny, squares_data, tmp_path, monkeypatch
):
    wanted = config(tiny / "gar", tmp_path / "run", squares_data, steps=4, save_every=2)
    own = state._write

    def full(path, tensors):
        if path.name == "optimizer.safetensors" and state.checkpoints(tmp_path / "run"):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        own(path, tensors)

    monkeypatch.setattr(state, "_write", full)
    with pytest.raises(
        TrainingError, match=r"step 4.*No space left.*last whole one is step-00000002"
    ):
        train(wanted)
    monkeypatch.undo()
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000002"]
    whole = train(dataclasses.replace(wanted, output=str(tmp_path / "whole")))
    assert same(weights(train(wanted, resume=True).model), weights(whole.model))


def test_unusable_samples_stop_the_run_at_the_limit(tiny, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"video": "gone.mp4", "questions": [{"question": "q", "answer": "a"}]}\n')
    bad = [{"kind": "jsonl", "path": str(path)}]
    with pytest.raises(
        TrainingError, match=r"4 samples could not be used.*max_skipped=3.*gone\.mp4"
    ):
        train(config(tiny / "gar", tmp_path / "run", bad, max_skipped=3))


def test_damaged_checkpoints_are_said_to_be(tiny, squares_data, tmp_path):
    wanted = config(tiny / "gar", tmp_path / "run", squares_data, steps=2)
    train(wanted)
    (last,) = state.checkpoints(tmp_path / "run")
    (last / "trained.safetensors").write_bytes(b"junk")
    with pytest.raises(TrainingError, match="is damaged"):
        train(wanted, resume=True)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.1), (9, 1.0), (10, 1.0), (55, 0.55), (99, 0.1 + 0.9 * 0.5 * (1 - 0.99939))],
)
def test_the_rate_warms_up_and_follows_a_cosine(step, expected):
    assert rate(step, 100, 0.1, "cosine", 0.1) == pytest.approx(expected, abs=1e-3)


def test_old_checkpoints_are_removed(tiny, squares_data, tmp_path):
    train(config(tiny / "gar", tmp_path / "run", squares_data, steps=4, save_every=1, keep=2))
    kept = [p.name for p in state.checkpoints(tmp_path / "run")]
    assert kept == ["step-00000003", "step-00000004"]
