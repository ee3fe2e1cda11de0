from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from gar_video import CheckpointError, DeviceError, GARVideo
from gar_video.checkpoint import load_checkpoint, locate, read_config, save_checkpoint


@pytest.fixture
def folder(parity_dir, tmp_path):
    """A copy of the checkpoint, to be spoilt."""
    return shutil.copytree(parity_dir / "checkpoint", tmp_path / "checkpoint")


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def pickle_only(folder):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def truncate(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def sharded(folder, spoil):
    """Split the weights in two and spoil one."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    halves = [names[: len(names) // 2], names[len(names) // 2 :]]
    files = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for file, half in zip(files, halves, strict=True):
        save_file({n: weights[n] for n in half}, folder / file, metadata={"format": "pt"})
    index = {n: file for file, half in zip(files, halves, strict=True) for n in half}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index})
    )
    spoil(folder / files[1])


def outside_index(folder):
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"lm_head": "../elsewhere.safetensors"}})
    )


LM_HEAD = "mllm.lm_head.weight"
SPOILT = [
    pytest.param(lambda f: (f / "config.json").unlink(), "no config.json", id="no config"),
    pytest.param(lambda f: (f / "config.json").write_text("{"), "not valid JSON", id="config junk"),
    pytest.param(lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "not valid JSON", id="config binary"),
    pytest.param(lambda f: (f / "config.json").write_text("[1]"), "expected GAR", id="config list"),
    pytest.param(lambda f: edit_config(f, model_type="llama"), "type 'llama'; expected GAR", id="not GAR"),
    pytest.param(lambda f: edit_config(f, replay_convention="other"), "replay_convention", id="unknown replay"),
    pytest.param(lambda f: edit_config(f, choice_scoring=1), "choice_scoring", id="unknown scoring"),
    pytest.param(lambda f: edit_weights(f, lambda w: w.pop(LM_HEAD)), f"1 weights are missing .* {LM_HEAD}", id="missing weight"),
    pytest.param(lambda f: edit_weights(f, lambda w: w.update(extra=torch.ones(2))), "1 weights are unexpected .*extra", id="unexpected weight"),
    pytest.param(lambda f: edit_weights(f, lambda w: w.update({LM_HEAD: torch.ones(2, 2)})), "another shape", id="wrong shape"),
    pytest.param(lambda f: truncate(f / "model.safetensors"), "damaged or cut short", id="truncated"),
    pytest.param(lambda f: (f / "model.safetensors").write_bytes(b""), "damaged or cut short", id="empty weights"),
    pytest.param(lambda f: (f / "model.safetensors").unlink(), "no model.safetensors", id="no weights"),
    pytest.param(pickle_only, "pickle files only", id="pickle only"),
    pytest.param(lambda f: sharded(f, truncate), "damaged or cut short", id="truncated shard"),
    pytest.param(lambda f: sharded(f, lambda p: p.unlink()), "lacks 1 of 2 weight files", id="missing shard"),
    pytest.param(outside_index, "expected plain file names", id="index outside"),
    pytest.param(lambda f: (f / "model.safetensors.index.json").write_text("3"), "no usable index", id="index junk"),
    pytest.param(lambda f: (f / "tokenizer.json").unlink(), "no tokenizer.json", id="no tokenizer"),
    pytest.param(lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer .* damaged", id="tokenizer junk"),
    pytest.param(lambda f: (f / "preprocessor_config.json").unlink(), "no preprocessor_config", id="no image settings"),
    pytest.param(lambda f: (f / "preprocessor_config.json").write_text('{"tile_size": 224}'), "tiles of 224 px .* 448", id="other tile size"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "match"), SPOILT)
def test_spoilt_checkpoint(spoil, match, folder):
    spoil(folder)
    with pytest.raises(CheckpointError, match=match) as caught:
        GARVideo.from_pretrained(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_sharded_loads_equal(folder, gar):
    sharded(folder, lambda path: None)
    again = GARVideo.from_pretrained(folder, device="cpu")
    ours, theirs = gar.model.state_dict(), again.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        pytest.param("/nowhere/at/all", "no checkpoint folder", id="missing folder"),
        pytest.param("./missing", "no checkpoint folder", id="missing relative"),
        pytest.param("nonesuch", "no checkpoint folder", id="one word"),
        pytest.param("somebody/some-model", "hub cannot be reached", id="hub unreachable"),
        pytest.param("some body/mo del", "valid hub id", id="no hub id"),
    ],
)
def test_not_found(name, match):
    with pytest.raises(CheckpointError, match=match):
        locate(name)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "weights").write_text("x")
    with pytest.raises(CheckpointError, match="is a file"):
        locate(tmp_path / "weights")


def test_remote_code_is_never_run(folder):
    """The published config names code; a file of that name beside it must stay unread."""
    marker = folder / "ran"
    (folder / "modeling_gar.py").write_text(f"open({str(marker)!r}, 'w').close()")
    (folder / "configuration_gar.py").write_text(f"open({str(marker)!r}, 'w').close()")
    load_checkpoint(folder, device="cpu")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("device", "match"),
    [
        pytest.param("cuda", "no CUDA", id="cuda", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")),
        pytest.param("warp", "unknown device", id="unknown"),
    ],
)  # fmt: skip
def test_device_that_is_not_there(device, match, parity_dir):
    with pytest.raises(DeviceError, match=match):
        GARVideo.from_pretrained(parity_dir / "checkpoint", device=device)


def test_unknown_dtype(parity_dir):
    with pytest.raises(DeviceError, match="expected auto, float32, bfloat16, float16"):
        GARVideo.from_pretrained(parity_dir / "checkpoint", device="cpu", dtype="int7")


def test_bfloat16_answers(parity_dir, squares):
    half = GARVideo.from_pretrained(parity_dir / "checkpoint", device="cpu", dtype="bfloat16")
    video, tracks = squares
    answer = half.ask(video, tracks, "Does <1> meet <2>?", frames=2, max_new_tokens=3)
    assert half.model.dtype == torch.bfloat16
    assert answer.finish_reason in ("stop", "length")


def test_convention_and_scoring_are_written_and_read(gar, tmp_path, parity_dir):
    config = read_config(parity_dir / "checkpoint")
    assert (config.replay_convention, config.choice_scoring) == ("as_released", "letter")
    assert config.replay_spatial_scale == pytest.approx(1 / 28)
    config.replay_convention, config.choice_scoring, config.num_frames = "true", "text", 8
    config.save_pretrained(tmp_path)
    again = read_config(tmp_path)
    assert (again.replay_convention, again.choice_scoring) == ("true", "text")
    assert (again.replay_spatial_scale, again.num_frames) == (1.0, 8)
    assert (again.tile_size, again.grid_size, again.tokens_per_tile) == (448, 16, 256)


def test_saved_files_are_for_everybody_to_read(gar, tmp_path):
    folder = gar.save_pretrained(tmp_path / "again")
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_saving_over_other_files_is_refused(gar, tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(CheckpointError, match="holds other files"):
        gar.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


def test_saving_that_fails_leaves_the_old_one_whole(gar, folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(gar.processor.tokenizer), "save_pretrained", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(folder, gar.model, gar.processor.tokenizer, {"tile_size": 448})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


def test_plain_transformers_reads_the_inner_model(gar, tmp_path):
    """Without the prefix, the names are those of PerceptionLMForConditionalGeneration."""
    from transformers import PerceptionLMForConditionalGeneration

    folder = gar.save_pretrained(tmp_path / "again")
    weights = load_file(folder / "model.safetensors")
    inner = {k.removeprefix("mllm."): v for k, v in weights.items() if k.startswith("mllm.")}
    plain = PerceptionLMForConditionalGeneration(gar.model.config.mllm_config)
    assert not any(plain.load_state_dict(inner, strict=True))
