"""The three experiments: what they compare, that they can be gone on with, and what they write."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "train"))
from recipe_tiny import make_checkpoint

from gar_video.checkpoint import load_checkpoint
from gar_video.cli import run as command
from gar_video.errors import GARVideoError
from gar_video.experiments import init, named, prompts, replay, report, training
from gar_video.experiments.folder import Folder, Settings
from gar_video.experiments.questions import Plan, check_kinds, draw, score
from gar_video.model import FeatureMap
from gar_video.processor import GARProcessor
from gar_video.synth.appearance import color_names


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("tiny") / "gar")


@pytest.fixture
def loaded(tiny):
    found = load_checkpoint(tiny, device="cpu", dtype="float32")
    return found.model, GARProcessor(
        found.model.config, found.tokenizer, found.image_settings
    )  # fmt: skip


PLAN = Plan(("color", "place start"), frames=2, side=56)


# ---------------------------------------------------------------- what is asked


def test_the_same_seed_draws_the_same_questions_another_one_others():
    first, again, other = (draw(PLAN, 6, seed) for seed in (1, 1, 2))
    texts = [[(q.text, q.options) for item in items for q in item.questions]
             for items in (first, again, other)]  # fmt: skip
    assert texts[0] == texts[1] != texts[2]
    assert all(
        np.array_equal(a.prompt.frames, b.prompt.frames) for a, b in zip(first, again, strict=True)
    )
    kinds = [q.kind for item in first for q in item.questions]
    assert sorted(kinds) == ["color"] * 3 + ["place start"] * 3


def test_scoring_is_right_where_the_most_likely_option_is_true(loaded):
    model, processor = loaded
    lines = score(model, processor, draw(PLAN, 4, 3))
    assert [line["needs_context"] for line in lines if line["kind"] == "color"] == [False] * 2
    assert [line["needs_context"] for line in lines if line["kind"] != "color"] == [True] * 2
    assert lines == score(model, processor, draw(PLAN, 4, 3))


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        pytest.param(["colour"], "unknown kind of question 'colour'", id="unknown"),
        pytest.param(["size"], "unknown kind of question 'size'", id="no options"),
        pytest.param(["where start"], "names 2 objects, but only 1 is prompted", id="two objects"),
    ],
)
def test_kinds_that_cannot_be_put_are_refused(kinds, words):
    with pytest.raises(GARVideoError, match=words):
        check_kinds(kinds, 1)


def test_named_questions_prompt_nothing_or_the_other_thing():
    rng = np.random.default_rng(0)
    nothing, elsewhere = named.draw_named(rng, 4, 2, "basic", 56)
    for bare, other in zip(nothing, elsewhere, strict=True):
        assert bare.prompt.slots == ()
        assert len(other.prompt.slots) == 1
        (question,) = bare.questions
        assert question is other.questions[0]
        assert question.object_ids == ()
        if question.kind == "named color":
            assert set(question.options) <= set(color_names("basic"))


# ---------------------------------------------------------------- replay


def test_a_crop_is_the_region_resized_to_a_tile():
    picture = torch.zeros(2, 1, 8, 8)
    picture[1, 0, 2:4, 4:8] = 1.0
    boxes = torch.tensor([[1, 4 / 8, 2 / 8, 8 / 8, 4 / 8], [0, 0.0, 0.0, 1.0, 1.0]])
    cuts = replay.cut(picture, boxes, (FeatureMap(0), FeatureMap(1)), 8)
    assert cuts.shape == (2, 1, 8, 8)
    assert cuts[0, 0, 1:-1, 1:].min() > 0.8
    assert cuts[1].max() == 0
    grid = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 1, 4, 4)
    whole = replay.cut(
        grid, torch.tensor([[0, 0, 0.6, 0.4, 1.0]]), (FeatureMap(0, rows=2, columns=2),), 4
    )
    assert torch.allclose(whole, torch.tensor(2.0))


def test_the_crop_arm_changes_region_tokens_only_and_leaves_the_model_as_it_was(loaded):
    model, processor = loaded
    (item, *_) = draw(PLAN, 2, 5)
    inputs = processor(item.prompt)
    with torch.no_grad():
        before = model.embed(inputs)
        with replay.cropped(model):
            crops = model.embed(inputs)
        after = model.embed(inputs)
    assert torch.equal(before, after)
    region = inputs.region_positions
    assert torch.equal(before[~region], crops[~region])
    assert not torch.allclose(before[region], crops[region], atol=1e-3)


def test_a_fresh_decoder_is_the_same_for_the_same_seed(tiny):
    models = [load_checkpoint(tiny, device="cpu", dtype="float32").model for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        training.restart_decoder(model, seed)
    first, same, other = (dict(m.named_parameters()) for m in models)
    old = dict(load_checkpoint(tiny, device="cpu", dtype="float32").model.named_parameters())
    for name in first:
        assert torch.equal(first[name], same[name])
        drawn = "language_model.layers" in name and first[name].ndim == 2
        assert torch.equal(first[name], other[name]) != drawn
        assert torch.equal(first[name], old[name]) != drawn


QUICK = {
    "seeds": 2, "questions": 10, "device": "cpu", "steps": 2,
    "assign": (("batch", "1"), ("save_every", "1")),
}  # fmt: skip


def test_replay_ends_in_table_plot_and_json_and_goes_on(tiny, tmp_path, monkeypatch):
    settings = Settings(str(tiny), tmp_path / "out", **QUICK)
    told = []
    result = replay.run(settings, progress=lambda done, whole: told.append((done, whole)))
    assert told[-1] == (8, 8)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert (tmp_path / "out" / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "table.md").read_text().strip() == result["table"]
    stored = json.loads((tmp_path / "out" / "result.json").read_text())
    assert stored["arms"].keys() == {"replay", "crop"}
    assert stored["arms"]["crop"]["share"]["needs context"]["n"] == 2
    assert stored["fresh decoder"] is False
    assert not list((tmp_path / "out" / "runs").glob("*/checkpoints"))
    # Nothing is made again but what is missing, and that comes out the same.
    (tmp_path / "out" / "parts" / "crop-1.json").unlink()
    made = []
    own = replay.train_arm
    monkeypatch.setattr(
        replay, "train_arm", lambda arm, *rest: made.append(arm.name) or own(arm, *rest)
    )
    again = replay.run(settings)
    assert made == ["crop"]
    assert again["table"] == result["table"]
    with pytest.raises(GARVideoError, match="steps was 2 and is 3"):
        replay.run(Settings(str(tiny), tmp_path / "out", **{**QUICK, "steps": 3}))


def test_an_arm_interrupted_goes_on_to_the_same_result(tiny, tmp_path):
    settings = Settings(str(tiny), tmp_path / "out", **{**QUICK, "steps": 4})
    data = {"kind": "rendered", "frames": [2], "objects": [1], "questions": 4, "photos": 0}
    fields = {"data": [data], "learning_rate": 1e-2}

    def look(model, processor):
        return {"sum": float(sum(p.detach().double().sum() for p in model.parameters()))}

    def go(name, tell=lambda done, total: None):
        config = training.recipe(settings, fields, tmp_path / name, 0)
        arm = training.Arm("random", init.random)
        return training.train_arm(arm, config, {0: look, 2: look, 4: look}, tell)

    whole = go("whole")

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go("again", stop)
    assert go("again")["looks"] == whole["looks"]


# ---------------------------------------------------------------- zero or random


def test_zero_is_zero_and_random_is_as_torch_draws(loaded):
    model, _ = loaded
    init.zero(model, 0)
    assert not model.mask_patch_embedding.weight.any()
    init.random(model, 3)
    drawn = model.mask_patch_embedding.weight.detach().clone()
    init.random(model, 3)
    assert torch.equal(drawn, model.mask_patch_embedding.weight)
    own = torch.nn.Conv2d(3, drawn.shape[0], drawn.shape[2:], bias=False).weight
    assert math.isclose(float(drawn.std()), float(own.std()), rel_tol=0.05)


def test_init_begins_with_the_base_and_sees_maskless_answers(tiny, tmp_path):
    result = init.run(Settings(str(tiny), tmp_path / "out", **{**QUICK, "seeds": 1}))
    arms = result["arms"]
    # Nothing is added by zeros, and nothing by anything where nothing is prompted.
    assert all(arms["zero"][name]["0"]["as the base"]["mean"] == 1 for name in init.SETS)
    assert arms["random"]["nothing prompted"]["0"]["as the base"]["mean"] == 1
    assert (tmp_path / "out" / "plot.png").is_file()
    assert "nothing prompted, step 0, % as the base" in result["table"]


# ---------------------------------------------------------------- more prompts


def test_the_same_crowd_is_asked_the_same_with_more_prompts():
    items = draw(Plan(("color",), 2, pointed=3, crowd=3, per_clip=1, side=56), 3, 0)
    for item in items:
        (asked,) = item.questions
        for count in (1, 2, 3):
            fewer = prompts.only(item, count, np.random.default_rng(count))
            ids = [slot.object_id for slot in fewer.prompt.slots]
            assert len(set(ids)) == count
            assert set(asked.object_ids) <= set(ids)
            assert [slot.number for slot in fewer.prompt.slots] == list(range(count))
            assert fewer.questions == item.questions


def test_the_command_runs_prompts_and_leaves_out_what_does_not_fit(tiny, tmp_path, capsys):
    out = tmp_path / "out"
    given = ["experiment", "prompts", "--model", str(tiny), "--out", str(out), "--device", "cpu",
             "--seeds", "1", "--questions", "4", "--counts", "1,3,9"]  # fmt: skip
    assert command(given) == 0
    told = capsys.readouterr().out
    assert str(out / "plot.png") in told
    # The tiny checkpoint has five prompts.
    assert json.loads((out / "result.json").read_text())["counts"] == [1, 3]
    assert command([*given[:-1], "3,1"]) == 2
    assert "expected rising numbers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        pytest.param(["--seeds", "0"], "--seeds 0; expected 1 or more", id="seeds"),
        pytest.param(["--by", "hand"], "expected text or letter", id="by"),
        pytest.param(["--set", "steps=3"], "the experiment sets steps itself", id="steps"),
        pytest.param(["--set", "batch"], "expected FIELD=VALUE", id="no value"),
        pytest.param(["--set", "bacth=1"], "did you mean 'batch'", id="misspelt"),
        pytest.param(["--model", "nowhere"], "no checkpoint folder at nowhere", id="model"),
    ],
)
def test_what_cannot_be_meant_is_one_line(tiny, tmp_path, capsys, more, words):
    given = ["--model", str(tiny), "--out", str(tmp_path / "out"), "--questions", "5", "--quiet"]
    assert command(["experiment", "init", *given, "--steps", "1", *more]) == 2
    told = capsys.readouterr().err.strip()
    assert words in told
    assert len(told.splitlines()) == 1


# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([0.5], (0.5, None, None), id="one"),
        pytest.param([0.4, 0.5, 0.6], (0.5, 0.5 - 0.24842, 0.5 + 0.24842), id="three"),
        pytest.param([0.9, 0.95, 1.0], (0.95, 0.82579, 1.0), id="drawn in"),
    ],
)
def test_intervals_of_means(values, expected):
    found = report.interval(values, (0.0, 1.0))
    for key, value in zip(("mean", "low", "high"), expected, strict=True):
        assert found[key] == (None if value is None else pytest.approx(value, abs=1e-4))


@pytest.mark.parametrize(
    ("right", "low", "high"),
    [
        pytest.param([8, 8, 8], 0.6268, 0.9049, id="seeds agree by chance"),
        pytest.param([2, 10, 6], 0.0, 1.0, id="seeds differ"),
        pytest.param([9], 0.5958, 0.9821, id="one seed"),
    ],
)
def test_intervals_of_shares_are_the_wider_of_two(right, low, high):
    found = report.share_of([[n < count for n in range(10)] for count in right])
    assert found["mean"] == pytest.approx(sum(right) / (10 * len(right)))
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=1e-3)


def test_a_folder_knows_its_weights(tiny, tmp_path):
    other = make_checkpoint(tmp_path / "other")
    model = load_checkpoint(other, device="cpu", dtype="float32").model
    init.zero(model, 0)
    model.save_pretrained(other)
    Folder("init", Settings(str(tiny), tmp_path / "out"), {})
    with pytest.raises(GARVideoError, match="weights was"):
        Folder("init", Settings(str(other), tmp_path / "out"), {})
