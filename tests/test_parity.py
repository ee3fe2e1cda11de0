"""The published GAR code's answers, reproduced: ids, pixels, masks, logits, tokens."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from gar_video import GARVideo, masks
from gar_video.generation import GenerationSettings
from gar_video.prompt import DESCRIBE, RegionPrompt, RegionSlot, parse_question

MULTIPLE_CHOICE = """Question: What is the relationship between <0>, <1>, and <2>?
Options:
A. <0> is using <2> to point at <1>
B. <0> has already hit <1> with <2>
C. <0> is swinging <2> and is about to hit <1>
D. <0> is holding <2> while looking away from <1>
Answer with the correct option's letter directly."""

CASES = ["image_single", "image_multi", "video_single"]


def read_case(folder, name):
    """Return (prompt, question) of a case."""

    def picture(file):
        return cv2.cvtColor(cv2.imread(str(folder / "inputs" / file)), cv2.COLOR_BGR2RGB)

    def mask(file):
        return masks.encode(cv2.imread(str(folder / "inputs" / file), cv2.IMREAD_GRAYSCALE) > 0)

    if name == "image_single":
        slots = (RegionSlot(1, 1, (mask("image_single_mask1.png"),)),)
        return RegionPrompt(picture("image_single.png")[None], slots, True, True), DESCRIBE
    if name == "image_multi":
        slots = tuple(RegionSlot(i, i, (mask(f"image_multi_mask{i}.png"),)) for i in range(3))
        return RegionPrompt(picture("image_multi.png")[None], slots, True), MULTIPLE_CHOICE
    frames = np.stack([picture(f"video_0{t}.png") for t in range(4)])
    seen = tuple(mask(f"video_0{t}_mask.png") for t in range(4))
    return RegionPrompt(frames, (RegionSlot(0, 0, seen),), described=True), DESCRIBE


@pytest.fixture(scope="module")
def expected(parity_dir):
    return np.load(parity_dir / "expected.npz")


def answer(gar, prompt, question):
    """Return (inputs, suffix, tokens, first logits, last logits) of 16 greedy tokens."""
    inputs = gar.processor(prompt)
    suffix = gar.processor.question_ids(parse_question(question), prompt)
    with torch.inference_mode():
        cache = gar._decoder.prefill(gar.model.embed(inputs))
    logits = [gar._decoder.next_token_logits(cache, [suffix])[0]]
    settings = GenerationSettings(max_new_tokens=16)
    tokens = [step[0][1] for step in gar._decoder.steps(cache, [suffix], settings)]
    cache.rewind(inputs.input_ids.shape[1])
    logits.append(gar._decoder.next_token_logits(cache, [[*suffix, *tokens[:15]]])[0])
    return inputs, suffix, tokens, logits


@pytest.mark.parametrize("name", CASES)
def test_published_answers(name, gar, parity_dir, expected):
    prompt, question = read_case(parity_dir, name)
    inputs, suffix, tokens, logits = answer(gar, prompt, question)

    assert inputs.input_ids[0].tolist() + suffix == expected[f"{name}.input_ids"].tolist()
    assert float(inputs.pixel_values.double().sum()) == pytest.approx(
        float(expected[f"{name}.pixel_values_sum"]), abs=1e-3
    )
    assert int(inputs.mask_values.sum()) == int(expected[f"{name}.mask_sum"])
    assert np.abs(logits[0].numpy() - expected[f"{name}.first_logits"]).max() < 1e-3
    assert np.abs(logits[1].numpy() - expected[f"{name}.last_logits"]).max() < 1e-3
    assert tokens == expected[f"{name}.sequences"].tolist()


def test_frame_features(gar, parity_dir, expected):
    prompt, _ = read_case(parity_dir, "video_single")
    inputs = gar.processor(prompt)
    with torch.inference_mode():
        features = gar.model.encode_tiles(inputs.pixel_values, inputs.mask_values)
    difference = np.abs(features[0, :4].numpy() - expected["video_single.frame0_features"])
    assert difference.max() < 1e-4


@pytest.mark.parametrize("name", ["image_multi", "video_single"])
def test_wrong_replay_is_noticed(name, gar, parity_dir, expected, monkeypatch):
    """The parity case would fail under the other convention: the check can see the difference."""
    prompt, question = read_case(parity_dir, name)
    monkeypatch.setattr(gar.model.config, "replay_convention", "true")
    *_, logits = answer(gar, prompt, question)
    assert np.abs(logits[0].numpy() - expected[f"{name}.first_logits"]).max() > 1e-2


@pytest.mark.parametrize("shard_size", ["5GB", "500KB"], ids=["whole", "sharded"])
def test_saved_and_loaded_answers_the_same(shard_size, gar, parity_dir, tmp_path):
    from gar_video.checkpoint import save_checkpoint

    prompt, question = read_case(parity_dir, "video_single")
    folder = save_checkpoint(
        tmp_path / "again", gar.model, gar.processor.tokenizer, gar.processor.image_settings,
        max_shard_size=shard_size,
    )  # fmt: skip
    sharded = (folder / "model.safetensors.index.json").exists()
    assert sharded == (shard_size == "500KB")
    again = GARVideo.from_pretrained(folder, device="cpu")
    _, _, tokens, logits = answer(gar, prompt, question)
    _, _, tokens_again, logits_again = answer(again, prompt, question)
    assert tokens_again == tokens
    assert torch.equal(logits_again[0], logits[0])


def test_saved_in_the_published_format(gar, parity_dir, tmp_path):
    import json

    from safetensors import safe_open

    folder = gar.save_pretrained(tmp_path / "again")
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "GAR"
    assert config["mllm_config"]["model_type"] == "perception_lm"
    assert "auto_map" not in config

    def names(path):
        with safe_open(path, "pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118

    published = names(parity_dir / "checkpoint" / "model.safetensors")
    assert names(folder / "model.safetensors") == published


@pytest.mark.parametrize("name", CASES)
def test_published_answers_through_the_public_names(name, gar, parity_dir, expected):
    """The same 16 tokens from Video, Tracks, describe and ask; ids need not be slot numbers."""
    from gar_video import Tracks, Video

    prompt, question = read_case(parity_dir, name)
    ids = [17, 4, 8][: len(prompt.slots)]
    tracks = Tracks.from_masks(
        {
            object_id: np.stack([masks.decode(rle) for rle in slot.masks])
            for object_id, slot in zip(ids, prompt.slots, strict=True)
        }
    )
    video = Video(prompt.frames[0] if prompt.is_image else prompt.frames)
    if name == "image_multi":
        for number, object_id in enumerate(ids):
            question = question.replace(f"<{number}>", f"<#{object_id}>")
        answer = gar.ask(video, tracks, question.replace("<#", "<"), max_new_tokens=16)
    else:
        (answer,) = gar.describe(video, tracks, frames=len(video), max_new_tokens=16)
    assert list(answer.token_ids) == expected[f"{name}.sequences"].tolist()
    assert answer.objects == tuple(ids)
