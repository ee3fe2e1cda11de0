"""Which weights go to which optimiser, and that a run with both can be taken up."""

from __future__ import annotations

import pytest
import torch
from recipe_tiny import config, make_checkpoint, two_squares
from safetensors.torch import load_file

from gar_video.checkpoint import load_checkpoint
from gar_video.train.recipe import optimizers, parts, state
from gar_video.train.recipe.loop import train
from gar_video.train.recipe.report import read_metrics


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    make_checkpoint(folder / "gar")
    two_squares(folder / "data")
    return folder


@pytest.fixture
def squares_data(tiny):
    return [{"kind": "jsonl", "path": str(tiny / "data" / "data.jsonl"), "frames": [2], "cache": 8}]


@pytest.mark.parametrize(
    ("more", "to_muon", "not_to_muon"),
    [
        pytest.param(
            {},
            ["language_model.layers.0.self_attn.q_proj.weight", "layers.1.mlp.down_proj.weight",
             "blocks.0.attn.qkv.weight", "blocks.1.mlp.fc1.weight"],
            ["embed_tokens", "projector", "norm", "patch_embed", "mask_patch_embedding", "bias"],
            id="whole",
        ),
        pytest.param(
            {"method": "lora", "parts": ["language_model", "projector"]},
            ["layers.0.self_attn.q_proj.lora_A", "layers.1.mlp.down_proj.lora_B"],
            ["projector", "mask_patch_embedding"],
            id="adapters",
        ),
        pytest.param({"parts": ["projector"]}, [], ["projector"], id="no blocks"),
    ],
)  # fmt: skip
def test_matrices_inside_blocks_go_to_muon(tiny, squares_data, more, to_muon, not_to_muon):
    wanted = config(tiny / "gar", tiny / "out", squares_data, optimizer="muon", **more)
    model = load_checkpoint(tiny / "gar", device="cpu", dtype="float32").model
    parts.prepare(model, wanted, torch.float32)
    made = optimizers.build(model, wanted)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = [[names[id(p)] for p in group["params"]] for group in made.param_groups]
    given = [name for group in groups for name in group]
    assert sorted(given) == sorted(n for n, p in model.named_parameters() if p.requires_grad)
    muon = groups[0] if isinstance(made, optimizers.MuonBesideAdamW) else []
    assert bool(muon) == bool(to_muon)
    for piece in to_muon:
        assert any(piece in name for name in muon), piece
    for piece in not_to_muon:
        assert not any(piece in name for name in muon), piece
    peaks = [group["peak"] for group in made.param_groups]
    assert peaks == [wanted.muon_rate] * bool(muon) + [wanted.learning_rate] * (
        len(peaks) - bool(muon)
    )


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_slow_parts_are_given_a_tenth_of_the_rates(tiny, squares_data, optimizer):
    wanted = config(
        tiny / "gar", tiny / "out", squares_data, optimizer=optimizer, slow=["vision", "projector"]
    )
    model = load_checkpoint(tiny / "gar", device="cpu", dtype="float32").model
    parts.prepare(model, wanted, torch.float32)
    names = {id(p): name for name, p in model.named_parameters()}
    shares: dict[str | None, set[float]] = {}
    for group in optimizers.build(model, wanted).param_groups:
        for parameter in group["params"]:
            part = parts.part_of(names[id(parameter)])
            shares.setdefault(part, set()).add(group["peak"])
    fast = {wanted.learning_rate} | ({wanted.muon_rate} if optimizer == "muon" else set())
    assert shares["language_model"] == fast
    assert shares["vision"] == {rate * 0.1 for rate in fast}
    assert shares["projector"] == {wanted.learning_rate * 0.1}
    assert shares["mask_embedding"] == {wanted.learning_rate}


def test_muon_learns_and_goes_on_where_it_was(tiny, squares_data, tmp_path):
    more = {"steps": 20, "batch": 2, "optimizer": "muon", "muon_rate": 0.02, "save_every": 10}
    whole = train(config(tiny / "gar", tmp_path / "whole", squares_data, **more))
    lines = read_metrics(whole.metrics)
    assert lines[-1]["loss"] < 0.6 * lines[0]["loss"]
    tensors = load_file(state.checkpoints(tmp_path / "whole")[-1] / "optimizer.safetensors")
    kinds = {name.rpartition("|")[2] for name in tensors}
    assert kinds == {"momentum", "exp_avg", "exp_avg_sq", "step"}
    again = config(tiny / "gar", tmp_path / "again", squares_data, **more)

    class Enough(Exception):
        pass

    def stop(done, total):
        if done == 13:
            raise Enough

    with pytest.raises(Enough):
        train(again, progress=stop)
    resumed = train(again, resume=True)
    first, second = (load_file(run.model / "model.safetensors") for run in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
