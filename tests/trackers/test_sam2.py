"""Sam2Tracker: equal to sam2's own predictor, flat in memory, clear about bad input."""

import os
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
import torch
from gar_video.trackers.sam2 import Sam2Tracker
from gar_video.trackers.sam2_build import build_predictor, import_sam2, instantiate
from gar_video.trackers.sam2_checkpoint import _recognise
from gar_video.trackers.sam2_config import (
    HUB_MODELS,
    load_config,
    nano_config,
    shipped_config,
)
from gar_video.trackers.sam2_frames import LazyImages
from gar_video.trackers.sam2_prompts import group_prompts
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gar_video.errors import Cancelled, CheckpointError, DeviceError, PromptError
from gar_video.video import Video
from gar_video.visual_prompts import Box, Mask, Points

WIDTH, HEIGHT, LENGTH = 160, 120, 24


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw(length=LENGTH):
    """A disc that crosses a striped ground and a square that rises."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    frames = np.empty((length, HEIGHT, WIDTH, 3), np.uint8)
    disc = np.empty((length, HEIGHT, WIDTH), bool)
    for t in range(length):
        frames[t] = np.stack([(x * 2) % 200, (y * 2) % 200, (x + y) % 200], axis=-1)
        disc[t] = (x - 30 - 4 * t % 100) ** 2 + (y - 50) ** 2 < 22**2
        frames[t][disc[t]] = (220, 40, 30)
        frames[t, 90 - 2 * t % 60 : 110 - 2 * t % 60, 120:140] = (20, 200, 240)
    return frames, disc


FRAMES, DISC = draw()
BOX = Box(0, (8, 28, 52, 72))
CASES = {
    "box": [BOX],
    "points with a negative": [Points(0, [(30, 50), (130, 100)], [1, 0])],
    "mask": [Mask(0, DISC[0])],
    "box and points together": [BOX, Points(0, [(30, 50), (60, 60)], [1, 0])],
    "two objects": [BOX, Points(0, [(130, 100)], object_id=7)],
    "refined on a later frame": [BOX, Points(9, [(66, 50), (20, 20)], [1, 0])],
    "both directions": [Box(11, (50, 28, 96, 72))],
    "both directions, prompted twice": [Points(8, [(62, 50)]), Mask(17, DISC[17])],
    "last frame": [Box(LENGTH - 1, (100, 28, 146, 72))],
    "object added midway": [BOX, Points(13, [(130, 70)], object_id=2)],
}


@pytest.fixture(scope="module")
def tracker():
    return Sam2Tracker.from_config(nano_config(64), seed=0, device="cpu")


@pytest.fixture(scope="module")
def official(tracker):
    """sam2's predictor, built by Hydra from the same file with its builder's own settings."""
    sam2_misc = import_sam2("sam2.utils.misc")
    from hydra.utils import instantiate as hydra_instantiate
    from omegaconf import OmegaConf

    config = OmegaConf.create(
        {
            **nano_config(64),
            "_target_": "sam2.sam2_video_predictor.SAM2VideoPredictor",
            "sam_mask_decoder_extra_args": {
                "dynamic_multimask_via_stability": True,
                "dynamic_multimask_stability_delta": 0.05,
                "dynamic_multimask_stability_thresh": 0.98,
                **nano_config(64)["sam_mask_decoder_extra_args"],
            },
            "binarize_mask_from_pts_for_mem_enc": True,
            "fill_hole_area": 8,
        }
    )
    import_sam2("sam2.sam2_video_predictor")
    predictor = hydra_instantiate(config, _recursive_=True).eval()
    predictor.load_state_dict(tracker.predictor.state_dict())
    assert sam2_misc is not None
    return predictor


def write_folder(folder, frames):
    """Frames without loss under the names that sam2 takes for JPEG."""
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:05d}.jpg", format="PNG")
    return str(folder)


def give(predictor, state, prompts):
    """Hand one object's prompts on one frame to sam2."""
    frame, object_id = prompts[0].frame, prompts[0].object_id
    if isinstance(prompts[0], Mask):
        return predictor.add_new_mask(state, frame, object_id, prompts[0].mask)
    box = next((np.float32(p.xyxy) for p in prompts if isinstance(p, Box)), None)
    points = next((p for p in prompts if isinstance(p, Points)), None)
    return predictor.add_new_points_or_box(
        state,
        frame,
        object_id,
        box=box,
        points=None if points is None else np.float32(points.xy),
        labels=None if points is None else np.int32(points.labels),
    )


def reference(predictor, path, prompts):
    """``{(frame, id): mask}`` of sam2's own calls, object by object."""
    masks = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it cannot fill holes here, and says so on every frame
        for object_id in {p.object_id for p in prompts}:
            own = [p for p in prompts if p.object_id == object_id]
            state = predictor.init_state(path)
            for frame in sorted({p.frame for p in own}):
                give(predictor, state, [p for p in own if p.frame == frame])
            for reverse in (False, True):
                for frame, _, logits in predictor.propagate_in_video(state, reverse=reverse):
                    masks[frame, object_id] = (logits[0, 0] > 0).numpy()
    return masks


def masks_of(tracks):
    empty = np.zeros(tracks.resolution_wh[::-1], bool)
    return {
        (frame, object_id): empty if (mask := tracks[object_id].mask(frame)) is None else mask
        for object_id in tracks
        for frame in range(tracks.num_frames)
    }


def masks_streamed(stream, object_ids):
    found = {}
    order = []
    for frame, detections in stream:
        order.append(frame)
        for object_id in object_ids:
            rows = np.flatnonzero(detections.tracker_id == object_id)
            found[frame, object_id] = (
                detections.mask[rows[0]] if len(rows) else np.zeros((HEIGHT, WIDTH), bool)
            )
    assert order == sorted(order)
    return found


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    different = [key for key in theirs if not np.array_equal(ours[key], theirs[key])]
    assert different == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("frames"), FRAMES)


@pytest.mark.parametrize("prompts", CASES.values(), ids=CASES.keys())
def test_masks_equal_sam2s_own(tracker, official, folder, prompts):
    theirs = reference(official, folder, prompts)
    cover = np.array([mask.mean() for mask in theirs.values()])
    assert 0.02 < cover.mean() < 0.98  # a model that says nothing would prove nothing
    assert cover.std() > 0.001
    video = Video(FRAMES)
    assert_equal(masks_of(tracker.track(video, prompts)), theirs)
    object_ids = {p.object_id for p in prompts}
    assert_equal(
        masks_streamed(tracker.stream(video, prompts, both_directions=True), object_ids), theirs
    )


def test_a_folder_is_read_as_sam2_reads_it(tracker, official, tmp_path):
    for number, frame in enumerate(FRAMES[:6]):
        Image.fromarray(frame).save(tmp_path / f"{number:05d}.jpg", quality=90)
    ours = tracker.track(Video(tmp_path), [BOX])
    assert_equal(masks_of(ours), reference(official, str(tmp_path), [BOX]))


@pytest.mark.parametrize("gop", [4, 250], ids=["short GOPs", "one GOP"])
def test_an_mp4_is_read_as_sam2_reads_it(tracker, official, tmp_path, gop):
    pytest.importorskip("decord")
    import av

    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=15, options={"g": str(gop), "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT + 24, "yuv420p"
        for frame in np.pad(FRAMES[:12], ((0, 0), (0, 24), (0, 0), (0, 0)), mode="edge"):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    prompts = [Box(5, (30, 28, 76, 72))]
    ours = masks_of(tracker.track(Video(path), prompts))
    assert_equal(ours, reference(official, str(path), prompts))


def test_a_long_mp4_is_not_given_to_decord(tmp_path, monkeypatch):
    """It would decode the whole clip ahead, and memory would grow with the clip."""
    pytest.importorskip("decord")
    import av

    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=15, options={"g": "4", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 160, 144, "yuv420p"
        for _ in range(12):
            picture = np.full((144, 160, 3), 90, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    names = []
    for limit in (12, 11):
        monkeypatch.setattr("gar_video.trackers.sam2_frames.DECORD_BYTES", limit * 3 * 64 * 64)
        names.append(type(LazyImages(Video(path), 64)._reader).__name__)
    assert names == ["_DecordReader", "_PillowReader"]


def test_a_correction_while_tracking_equals_sam2s_own(tracker, official, folder):
    click = Points(8, [(62, 50), (10, 100)], [1, 0])
    theirs = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = official.init_state(folder)
        give(official, state, [BOX])
        for frame, _, logits in official.propagate_in_video(state):
            theirs[frame, 1] = (logits[0, 0] > 0).numpy()
            if frame == 8:
                break
        _, _, logits = give(official, state, [click])
        theirs[8, 1] = (logits[0, 0] > 0).numpy()
        for frame, _, logits in official.propagate_in_video(state, start_frame_idx=9):
            theirs[frame, 1] = (logits[0, 0] > 0).numpy()
    ours = {}
    with tracker.session(Video(FRAMES)) as session:
        session.add([BOX])
        for frame, detections in session.propagate():
            if frame == 8:
                uncorrected = detections
                detections = session.add([click])[8]
            ours[frame, 1] = (
                detections.mask[0] if len(detections) else np.zeros((HEIGHT, WIDTH), bool)
            )
    assert_equal(ours, theirs)
    assert not np.array_equal(ours[8, 1], uncorrected.mask[0])


def test_an_object_added_while_streaming_equals_tracking_it_alone(tracker):
    second = Points(10, [(130, 80)], object_id=5)
    alone = masks_of(tracker.track(Video(FRAMES), [second]))
    with tracker.session(Video(FRAMES)) as session:
        session.add([BOX])
        seen = {}
        for frame, detections in session.propagate():
            if frame == 9:
                session.add([second])
            seen[frame] = detections
    assert all(5 not in seen[frame].tracker_id for frame in range(10))
    for frame in range(10, LENGTH):
        rows = np.flatnonzero(seen[frame].tracker_id == 5)
        mask = seen[frame].mask[rows[0]] if len(rows) else np.zeros((HEIGHT, WIDTH), bool)
        assert np.array_equal(mask, alone[frame, 5])


@given(first=st.integers(0, 9), second=st.integers(0, 9), start=st.integers(0, 4))
@settings(max_examples=8, deadline=None)
def test_a_window_gives_the_whole_clips_masks(tracker, first, second, start):
    prompts = [Box(first, (8, 28, 52, 72)), Points(second, [(130, 90)], object_id=2)]
    frames = FRAMES[:10]
    start = min(start, first, second)
    whole = masks_of(tracker.track(Video(frames), prompts))
    part = tracker.track(Video(frames), prompts, start_frame=start)
    for (frame, object_id), mask in whole.items():
        found = part[object_id].mask(frame)
        if frame < start:
            assert found is None
        else:
            assert np.array_equal(mask, np.zeros_like(mask) if found is None else found)


def test_memory_does_not_grow_with_the_clip(tracker):
    """Counts of what is held, which is what memory is made of."""
    kept = {}
    for length in (48, 96):
        video = Video(np.resize(FRAMES, (length, *FRAMES.shape[1:])))
        middle = length // 2
        prompts = [Box(middle, (8, 28, 52, 72)), Points(middle + 5, [(130, 90)], object_id=2)]
        with tracker.session(video) as session:
            session.add(prompts)
            counts = []
            for reverse in (False, True):
                for _ in session.propagate(reverse=reverse):
                    features = sum(
                        output["maskmem_features"] is not None
                        for outputs in session._outputs()
                        for output in outputs["non_cond_frame_outputs"].values()
                    )
                    tracked = sum(len(t) for t in session._state["frames_tracked_per_obj"].values())
                    counts.append(
                        (session.num_kept_outputs, features, tracked, session.num_held_frames)
                    )
            kept[length] = np.max(counts, axis=0)
            assert session.num_kept_outputs > 2
        assert session.num_kept_outputs == session.num_held_frames == 0
    outputs, features, tracked, _ = kept[48]
    assert np.array_equal(kept[48][:3], kept[96][:3])
    # Per object: the prompt, what the next frame can reach, and what the way back will.
    assert outputs <= 2 * (1 + 16 + 16)
    assert features <= 2 * (7 + 7)
    assert tracked <= 2


class CountingVideo(Video):
    reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)


@pytest.mark.parametrize("frame", [0, 12, LENGTH - 1])
def test_each_frame_is_decoded_about_once(tracker, frame):
    video = CountingVideo(FRAMES)
    tracker.track(video, [Box(frame, (8, 28, 52, 72))])
    assert video.reads <= LENGTH + 1


def test_backwards_frames_come_in_runs(monkeypatch):
    monkeypatch.setattr("gar_video.trackers.sam2_frames.CHUNK_BYTES", 8 * 3 * 64 * 64)
    video = CountingVideo(FRAMES)
    images = LazyImages(video, 64)
    forwards = [images[t].clone() for t in range(LENGTH)]
    images.backwards = True
    video.reads = 0
    held = []
    for t in reversed(range(LENGTH)):
        assert torch.equal(images[t], forwards[t])
        held.append(images.held)
    assert max(held) == 8
    assert video.reads == LENGTH - 1  # the last frame was still at hand
    assert forwards[0].shape == (3, 64, 64)
    assert forwards[0].dtype == torch.float32


def test_an_object_that_is_not_there_has_no_mask():
    tracker = Sam2Tracker.from_config(nano_config(64), seed=0, device="cpu")
    with torch.no_grad():
        tracker.predictor.sam_mask_decoder.pred_obj_score_head.layers[-1].weight.zero_()
        tracker.predictor.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(-2)
    tracks = tracker.track(Video(FRAMES[:6]), [Mask(1, DISC[1])])
    assert tracks[1].frames.tolist() == [1]  # the mask that was given, and nothing else
    for frame, detections in tracker.stream(Video(FRAMES[:6]), [Mask(1, DISC[1])]):
        assert len(detections) == (frame == 1)
        assert detections.mask.shape[1:] == (HEIGHT, WIDTH)


def test_confidence_is_the_presence_score():
    tracker = Sam2Tracker.from_config(nano_config(64), seed=0, device="cpu")
    with torch.no_grad():
        tracker.predictor.sam_mask_decoder.pred_obj_score_head.layers[-1].weight.zero_()
        tracker.predictor.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(2)
    tracks = tracker.track(Video(FRAMES[:3]), [BOX])
    assert tracks[1].score(2) == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)


PROMPT_ERRORS = {
    "none": ([], "no prompts"),
    "box outside": ([Box(0, (8, 28, 400, 72))], "outside the 160x120"),
    "point outside": ([Points(0, [(160, 5)])], "outside the 160x120"),
    "frame beyond": ([Box(LENGTH, (8, 28, 52, 72))], "frames 0 to 23"),
    "frame negative": ([Box(-1, (8, 28, 52, 72))], "frames 0 to 23"),
    "mask of another size": ([Mask(0, np.ones((5, 5), bool))], "5x5"),
    "two boxes": ([BOX, BOX], "2 boxes"),
    "two masks": ([Mask(0, DISC[0]), Mask(0, DISC[1])], "2 masks"),
    "mask and box": ([Mask(0, DISC[0]), BOX], "expected the mask alone"),
    "no prompt at all": (["1,2,3,4"], "expected Box, Points or Mask"),
}


@pytest.mark.parametrize(("prompts", "message"), PROMPT_ERRORS.values(), ids=PROMPT_ERRORS.keys())
def test_bad_prompts_are_refused(tracker, prompts, message):
    for call in (tracker.track, tracker.stream):
        with pytest.raises(PromptError, match=message) as caught:
            call(Video(FRAMES), prompts)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [(-1, None, "expected 0 <= start"), (5, 5, "expected 0 <="), (0, 99, "24"), (3, 9, "prompt")],
    ids=["negative", "empty", "beyond", "prompt outside"],
)
def test_bad_windows_are_refused(tracker, start, end, message):
    with pytest.raises(PromptError, match=message):
        tracker.track(Video(FRAMES), [BOX], start_frame=start, end_frame=end)


def test_a_session_without_prompts_says_so(tracker):
    with tracker.session(Video(FRAMES)) as session, pytest.raises(PromptError, match="call add"):
        next(session.propagate())


def test_points_of_one_object_go_together_and_a_box_comes_first():
    groups = group_prompts([Points(3, [(1, 1)]), Box(3, (0, 0, 5, 5)), BOX], 9, (WIDTH, HEIGHT))
    assert [[type(p).__name__ for p in group] for group in groups] == [["Box"], ["Box", "Points"]]


def test_progress_counts_every_frame(tracker):
    calls = []
    prompts = [Box(4, (8, 28, 52, 72)), Points(6, [(130, 90)], object_id=2)]
    tracker.track(Video(FRAMES[:9]), prompts, progress=lambda *call: calls.append(call))
    assert calls == [(n, 5 + 6) for n in range(1, 12)]


@pytest.mark.parametrize("after", [0, 3, 9], ids=["at once", "midway", "on the way back"])
def test_cancel_stops(tracker, after):
    asked = []

    def cancel():
        asked.append(1)
        return len(asked) > after

    with pytest.raises(Cancelled, match="cancelled at frame"):
        tracker.track(Video(FRAMES[:12]), [Box(6, (8, 28, 52, 72))], cancel=cancel)
    assert len(asked) == after + 1


def test_a_cancelled_session_holds_nothing(tracker):
    session = tracker.session(Video(FRAMES), cancel=lambda: True)
    session.add([BOX])
    with pytest.raises(Cancelled):
        next(session.propagate())
    assert session.num_kept_outputs == session.num_held_frames == 0


# -- checkpoints -----------------------------------------------------------------------------------


def test_saved_and_loaded_gives_equal_masks(tracker, tmp_path):
    tracker.save_pretrained(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.yaml",
        "model.safetensors",
    ]
    loaded = Sam2Tracker.from_pretrained(tmp_path / "model", device="cpu")
    video = Video(FRAMES[:6])
    assert_equal(masks_of(loaded.track(video, [BOX])), masks_of(tracker.track(video, [BOX])))


def test_half_is_half_the_size_and_loads_to_float32(tracker, tmp_path):
    tracker.save_pretrained(tmp_path / "full")
    tracker.save_pretrained(tmp_path / "half", half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = Sam2Tracker.from_pretrained(tmp_path / "half", device="cpu")
    assert {p.dtype for p in loaded.predictor.parameters()} == {torch.float32}
    assert len(loaded.track(Video(FRAMES[:3]), [BOX])) == 1


def test_sam2s_own_file_beside_its_config(tracker, tmp_path):
    tracker.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"model": tracker.predictor.state_dict()}, tmp_path / "sam2.pt")
    for name in (tmp_path, tmp_path / "sam2.pt"):
        loaded = Sam2Tracker.from_pretrained(name, device="cpu").predictor.state_dict()
        for key, value in tracker.predictor.state_dict().items():
            assert torch.equal(loaded[key], value)


@pytest.mark.parametrize("yaml", sorted({yaml for yaml, _ in HUB_MODELS.values()}))
def test_the_size_of_sam2s_own_weights_is_recognised(yaml, tmp_path):
    config = shipped_config(yaml)
    trunk = config["image_encoder"]["trunk"]
    depth = sum(trunk.get("stages", (2, 3, 16, 3)))
    names = [f"image_encoder.trunk.blocks.{n}.norm1.weight" for n in range(depth)]
    weights = {name: torch.zeros(1) for name in [*names, "maskmem_tpos_enc"]}
    width = trunk.get("embed_dim", 96)
    weights["image_encoder.trunk.patch_embed.proj.weight"] = torch.zeros(width, 3, 7, 7)
    if config.get("no_obj_embed_spatial"):
        weights["no_obj_embed_spatial"] = torch.zeros(1, 64)
    assert _recognise(weights, tmp_path) == config


def test_the_model_is_the_documented_size():
    count = sum(p.numel() for p in build_predictor(nano_config()).parameters())
    assert 1.5e6 < count < 3e6


def _save(folder, weights):
    torch.save(weights, folder / "sam2.pt")
    return folder / "sam2.pt"


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def _broken(folder, tracker, how):
    """Make the checkpoint of a case and return what to load."""
    state = dict(tracker.predictor.state_dict())
    if how == "missing":
        return folder / "nowhere"
    if how == "empty folder":
        return folder
    if how == "junk":
        (folder / "sam2.pt").write_bytes(b"not a checkpoint at all" * 9)
        return folder / "sam2.pt"
    if how == "pickle":
        return _save(folder, {"model": {"a": Harmful()}})
    if how == "another model":
        return _save(folder, {"model": {"fc.weight": torch.zeros(2, 2)}})
    tracker.save_pretrained(folder)
    weights = folder / "model.safetensors"
    if how == "cut off":
        weights.write_bytes(weights.read_bytes()[:-5000])
        return folder
    if how == "no config":
        (folder / "config.yaml").unlink()
        return folder
    if how in ("harmful config", "interpolation", "no yaml", "no model"):
        text = (folder / "config.yaml").read_text()
        text = {
            "harmful config": text.replace("sam2.modeling.sam2_base.SAM2Base", "x").replace(
                "sam2.modeling.memory_encoder.Fuser", "os.getcwd"
            ),
            "interpolation": text.replace("image_size: 64", "image_size: ${oc.env:HOME}"),
            "no yaml": "model: [",
            "no model": "other: 1",
        }[how]
        (folder / "config.yaml").write_text(text)
        return folder
    weights.unlink()
    if how == "weights missing":
        del state["maskmem_tpos_enc"]
    elif how == "weights unexpected":
        state["more"] = torch.zeros(3)
    elif how == "weights misshapen":
        state["no_mem_embed"] = torch.zeros(3)
    _save(folder, {"model": state})
    return folder


CHECKPOINT_ERRORS = {
    "missing": "no SAM 2 checkpoint at",
    "empty folder": "has no config.yaml",
    "junk": "not a file of plain tensors",
    "pickle": "not a file of plain tensors",
    "another model": "not SAM 2 weights",
    "cut off": "cut off",
    "no config": "has no config.yaml",
    "harmful config": "os.getcwd.*not allowed",
    "interpolation": "interpolation",
    "no yaml": "not a YAML config",
    "no model": "no 'model' section",
    "weights missing": "1 weights are missing, such as maskmem_tpos_enc",
    "weights unexpected": "1 weights are unexpected, such as more",
    "weights misshapen": "1 weights are of another shape, such as no_mem_embed",
}


@pytest.mark.parametrize(("how", "message"), CHECKPOINT_ERRORS.items())
def test_bad_checkpoints_are_refused(tracker, tmp_path, monkeypatch, how, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    path = _broken(tmp_path / "model", tracker, how)
    with pytest.raises(CheckpointError, match=message) as caught:
        Sam2Tracker.from_pretrained(path, device="cpu")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "harm").exists()


def test_an_unreachable_hub_is_said_so(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def unreachable(**_):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    with pytest.raises(CheckpointError, match="the hub cannot be reached"):
        Sam2Tracker.from_pretrained("facebook/sam2.1-hiera-small", device="cpu")


def test_nano_is_there_or_said_to_be_missing():
    try:
        tracker = Sam2Tracker.from_pretrained("nano", device="cpu")
    except CheckpointError as error:
        assert "sam2-nano" in str(error)  # noqa: PT017
    else:
        assert len(tracker.track(Video(FRAMES[:2]), [BOX])) == 1


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.nn.functional.relu",
        "torch.nn.init.constant_",
        "sam2.build_sam.build_sam2",
        "torch.nn.NoSuchThing",
        "sam2.modeling.nowhere.X",
        "builtins.eval",
        7,
        "eval",
    ],
)
def test_a_config_builds_nothing_but_modules(target):
    with pytest.raises(CheckpointError, match="not allowed"):
        instantiate({"_target_": target})


def test_a_config_that_does_not_fit_is_refused():
    with pytest.raises(CheckpointError, match="cannot be built"):
        instantiate({"_target_": "torch.nn.Linear", "wrong": 1})


def test_the_shipped_configs_are_read():
    for yaml, _ in HUB_MODELS.values():
        assert shipped_config(yaml)["image_size"] == 1024
    with pytest.raises(CheckpointError, match="cannot read"):
        load_config("nowhere.yaml")


def test_saving_needs_a_config(tracker, tmp_path):
    bare = Sam2Tracker(tracker.predictor, device="cpu")
    with pytest.raises(CheckpointError, match="give config="):
        bare.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_without_cuda_is_said_so(tracker):
    with pytest.raises(DeviceError, match="CUDA"):
        Sam2Tracker.from_pretrained("nano", device="cuda")
    with pytest.raises(DeviceError, match="CUDA"):
        Sam2Tracker(tracker.predictor, device="cuda")


def test_random_weights_leave_the_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    weights = [
        Sam2Tracker.from_config(nano_config(64), seed=1, device="cpu").predictor.state_dict()
        for _ in range(2)
    ]
    assert torch.equal(torch.rand(3), expected)
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name])


# -- beside other users of Hydra -------------------------------------------------------------------

HYDRA_CASES = {
    "initialised before": """
        import hydra
        from hydra.core.global_hydra import GlobalHydra
        hydra.initialize_config_dir(folder, version_base="1.3")
        mine = GlobalHydra.instance().hydra
        load()
        assert GlobalHydra.instance().hydra is mine
        assert hydra.compose("theirs").answer == 42
    """,
    "initialised after, then sam2's own builder": """
        load()
        import hydra, importlib.util
        from hydra.core.global_hydra import GlobalHydra
        assert not GlobalHydra.instance().is_initialized()
        with hydra.initialize_config_dir(folder, version_base=None):
            assert hydra.compose("theirs").answer == 42
        load()
        assert importlib.util.find_spec("sam2") is not None
        assert not GlobalHydra.instance().is_initialized()
        from sam2.build_sam import compose
        import sam2.sam2_video_predictor, sam2.modeling.sam2_base
        assert compose("configs/sam2.1/sam2.1_hiera_t.yaml").model.image_size == 1024
        assert isinstance(load().predictor, sam2.sam2_video_predictor.SAM2VideoPredictor)
        assert sam2.modeling.sam2_base.SAM2Base
    """,
    "sam2's own builder before": """
        from sam2.build_sam import compose
        load()
        assert compose("configs/sam2.1/sam2.1_hiera_t.yaml").model.image_size == 1024
    """,
}


@pytest.mark.parametrize("script", HYDRA_CASES.values(), ids=HYDRA_CASES.keys())
def test_hydra_is_left_as_it_was(tmp_path, script):
    (tmp_path / "theirs.yaml").write_text("answer: 42\n")
    head = f"""
        folder = {str(tmp_path)!r}
        def load():
            from gar_video.trackers.sam2 import Sam2Tracker
            from gar_video.trackers.sam2_config import nano_config
            return Sam2Tracker.from_config(nano_config(64), device="cpu")
    """
    code = textwrap.dedent(head) + textwrap.dedent(script)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
