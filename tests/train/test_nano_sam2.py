"""Training of nano SAM 2: clips, losses that fall, runs that continue to the step."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("tensordict", reason="sam2's training package needs the extra 'train'")

from gar_video.errors import CheckpointError
from gar_video.train.sam2 import Sam2Training
from gar_video.train.sam2_batch import at_loss_size, batch_of, first_guess_j
from gar_video.train.sam2_data import drawn_clip, mixed_clip, rendered_clip
from gar_video.train.sam2_eval import evaluate, prompt_for, rendered_test_clip
from gar_video.train.sam2_grouping import Grouping
from gar_video.train.sam2_stages import Stage
from gar_video.train.sam2_start import training_model

SMALL = {"clips": 2, "image_size": 64, "lr": 1e-3, "lr_end": 5e-4, "max_objects": 2}
STAGES = (
    Stage(1, num_frames=1, encoder_only=True, **SMALL),
    Stage(2, num_frames=1, **SMALL),
    Stage(2, num_frames=3, corrected=1.0, singles=0.5, **{**SMALL, "image_size": 128}),
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("source", [drawn_clip, rendered_clip, mixed_clip])
@pytest.mark.parametrize("num_frames", [1, 4])
def test_clips_are_seeded_and_every_object_starts_visible(source, num_frames):
    for seed in range(6):
        frames, masks = source(seed, size=96, num_frames=num_frames)
        again = source(seed, size=96, num_frames=num_frames)
        assert np.array_equal(frames, again[0])
        assert np.array_equal(masks, again[1])
        assert frames.shape == (num_frames, 96, 96, 3)
        assert frames.dtype == np.uint8
        assert masks.dtype == bool
        assert masks.shape[::2] == (num_frames, 96)
        assert masks[0].any(axis=(1, 2)).all()
        assert masks.sum(axis=1).max() <= 1  # a pixel shows one object


def test_a_batch_knows_which_image_an_object_is_in():
    clips = [drawn_clip(seed, size=64, num_frames=3) for seed in (1, 2)]
    batch = batch_of(clips, 2, np.random.default_rng(0))
    assert batch.flat_img_batch.shape == (6, 3, 64, 64)
    count = sum(min(2, masks.shape[1]) for _, masks in clips)
    assert batch.masks.shape == (3, count, 64, 64)
    owner = batch.flat_obj_to_img_idx
    assert owner.shape == (3, count)
    assert owner[:, 0].tolist() == [0, 1, 2]
    assert owner[:, -1].tolist() == [3, 4, 5]


def test_j_is_one_for_the_truth_and_zero_for_its_opposite():
    truth = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    truth[0, :, :2] = True
    logits = truth[0].float()[:, None] * 20 - 10
    for sign, expected in ((1, 1.0), (-1, 0.0)):
        output = {
            "multistep_pred_multimasks_high_res": [sign * logits],
            "multistep_pred_ious": [torch.zeros(2, 1)],
        }
        assert first_guess_j([output], truth) == [expected]


def test_losses_see_the_share_of_each_larger_pixel():
    masks = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    masks[0, 0, :3] = True
    low = torch.where(masks[0, :, None, ::4, ::4], 5.0, -5.0)  # [O, M, 2, 2]
    outputs, truth = at_loss_size(
        [{"multistep_pred_multimasks": [low], "multistep_pred_ious": [0]}], masks
    )
    assert truth[0, 0, :, 0].tolist() == [1.0, 0.5, 0.0, 0.0]
    (high,) = outputs[0]["multistep_pred_multimasks_high_res"]
    assert high.shape == (1, 1, 4, 4)
    assert outputs[0]["multistep_pred_ious"] == [0]


def test_grouping_prefers_codes_that_follow_the_objects():
    torch.manual_seed(0)
    grouping = Grouping(8, pointer=4)
    masks = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    masks[0, 0, :8] = True
    follow = masks[0].float().expand(1, 16, 16, 16) * 4
    index = torch.zeros(1, 1, dtype=torch.long)
    good, none = grouping(follow, index, masks)
    bad, _ = grouping(follow.mT, index, masks)
    assert good < bad
    assert none == 0
    empty, pointing = grouping(follow, index, torch.zeros_like(masks), torch.zeros(1, 1, 4))
    assert float(empty) == float(follow[:0].sum())
    assert pointing == 0


def test_the_input_size_is_no_part_of_the_weights():
    shapes = [
        {name: value.shape for name, value in training_model(size).state_dict().items()}
        for size in (64, 128)
    ]
    assert shapes[0] == shapes[1]


def test_the_loss_falls(tmp_path):
    clips = [drawn_clip(seed, size=64, num_frames=1, max_objects=1) for seed in range(2)]
    run = Sam2Training(
        tmp_path,
        lambda seed, **_: clips[seed % 2],
        stages=[Stage(25, num_frames=1, corrected=0.0, **SMALL)],
    )
    losses = [run.step()["loss"] for _ in range(25)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_a_frozen_encoder_stays_and_the_rest_learns(tmp_path):
    run = Sam2Training(tmp_path, drawn_clip, stages=[Stage(2, num_frames=2, frozen=True, **SMALL)])
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.step()
    moved = {
        name.split(".")[0]
        for name, value in run.model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert "image_encoder" not in moved
    assert {"memory_attention", "memory_encoder", "sam_mask_decoder"} <= moved


def test_a_run_starts_from_anothers_weights(tmp_path):
    Sam2Training(tmp_path / "one", drawn_clip, stages=STAGES[:1], seed=4).save()
    run = Sam2Training(tmp_path / "two", drawn_clip, stages=STAGES[:1], seed=5)
    run.start_from(tmp_path / "one" / "checkpoint.safetensors")
    other = Sam2Training(tmp_path / "one", drawn_clip, stages=STAGES[:1], seed=4)
    assert run.state.step == 0
    for name, value in other.model.state_dict().items():
        assert torch.equal(value, run.model.state_dict()[name]), name


def test_a_run_continues_to_the_bit(tmp_path):
    whole = Sam2Training(tmp_path / "whole", drawn_clip, stages=STAGES, seed=4)
    whole.run()
    part = Sam2Training(tmp_path / "part", drawn_clip, stages=STAGES, seed=4)
    for stop_at in (1, 2, 4, 5):  # within stages, at their borders and across a change of size
        part = Sam2Training(tmp_path / "part", drawn_clip, stages=STAGES, seed=4)
        assert part.resume() == (stop_at > 1)
        part.run(stop=lambda part=part, stop_at=stop_at: part.state.step >= stop_at)
    assert part.state.step == whole.state.step == 5
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, part.model.state_dict()[name]), name
    for name, value in whole.averaged.items():
        assert torch.equal(value, part.averaged[name]), name
    lines = (tmp_path / "part" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert not list((tmp_path / "part").glob("*.partial"))


def test_another_runs_checkpoint_is_refused(tmp_path):
    Sam2Training(tmp_path, drawn_clip, stages=STAGES[:1], seed=4).save()
    with pytest.raises(CheckpointError, match="use another folder"):
        Sam2Training(tmp_path, drawn_clip, stages=STAGES[:1], seed=5).resume()
    (tmp_path / "checkpoint.safetensors").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        Sam2Training(tmp_path, drawn_clip, stages=STAGES[:1], seed=4).resume()


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(tmp_path):
    run = Sam2Training(tmp_path, drawn_clip, stages=STAGES[1:2])
    run.step()
    before = run.save().read_bytes()
    with torch.no_grad():
        run.model.image_encoder.trunk.pos_embed.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="step 1"):
        run.run()
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


# -- scoring ---------------------------------------------------------------------------------------


class Oracle:
    """Hands out known masks as a tracker would."""

    def __init__(self, masks):
        self.masks = masks

    def stream(self, video, prompts):
        import supervision as sv

        ids = [prompt.object_id for prompt in prompts]
        for t in range(len(video)):
            rows = [k for k in ids if self.masks[k - 1, t].any()]
            mask = np.array([self.masks[k - 1, t] for k in rows], bool)
            yield (
                t,
                sv.Detections(
                    xyxy=np.zeros((len(rows), 4)),
                    mask=mask.reshape(-1, *self.masks.shape[2:]),
                    tracker_id=np.array(rows, int),
                ),
            )


def two_squares():
    """Two squares side by side; the second is gone in the last two of six frames."""
    masks = np.zeros((2, 6, 40, 60), bool)
    masks[0, :, 5:20, 5:20] = True
    masks[1, :4, 5:20, 35:50] = True
    return np.zeros((6, 40, 60, 3), np.uint8), masks


def _swap(masks):
    swapped = masks.copy()
    swapped[:, 1:4] = masks[::-1, 1:4]
    return swapped


def _stay(masks):
    stayed = masks.copy()
    stayed[1, 4:] = masks[1, 0]
    return stayed


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda masks: masks, {"j": 1.0, "no_swap": 1.0, "gone": 1.0, "lost": 0.0}),
        (_swap, {"j": 0.2, "no_swap": 0.0, "gone": 1.0, "lost": 0.0}),
        (_stay, {"j": 1.0, "no_swap": 1.0, "gone": 0.0, "lost": 0.0}),
        (np.zeros_like, {"j": 0.0, "no_swap": 1.0, "gone": 1.0, "lost": 1.0}),
    ],
    ids=["truth", "swapped", "does not see it go", "sees nothing"],
)
def test_scores_say_what_happened(change, expected):
    frames, masks = two_squares()
    figures = evaluate(Oracle(change(masks)), [0], "box", source=lambda seed: (frames, masks))
    assert {name: figures[name][0] for name in expected} == expected


@pytest.mark.parametrize("kind", ["box", "click"])
def test_prompts_lie_on_their_object(kind):
    frames, masks = rendered_test_clip(3, height=96)
    k = int(masks[:, 0].sum(axis=(1, 2)).argmax())
    prompt = prompt_for(masks[k, 0], kind, 1)
    prompt.check(len(frames), frames.shape[2:0:-1])
    if kind == "click":
        x, y = prompt.xy[0]
        assert masks[k, 0, int(y), int(x)]
