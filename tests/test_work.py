"""The work of fixed cases, counted: a rise fails and says which figure, before and after.

Work is counted and not timed, so that it can be held against a table on any machine. After a
change that is meant to cost more (or less), write the table anew:
``GAR_VIDEO_WORK=write python -m pytest tests/test_work.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from gar_video import Box, Tracks, Video, generation, masks, regions, replay, tracks_builder
from gar_video.decoding.pyav_reader import PyavReader
from gar_video.shared_prefix import SharedPrefixBatch

TABLE = Path(__file__).parent / "data" / "work.json"
WRITE = os.environ.get("GAR_VIDEO_WORK") == "write"
# The counter's own formulas differ a little between versions of torch.
ALLOWANCE = {"floating-point operations": 0.005}
QUESTIONS = [f"What {word} <1> do near <2>?" for word in ("does", "did", "can", "will", "might")]
OPTIONS = ["it stays", "it goes to the right", "it leaves"]


class _Reads(TorchDispatchMode):
    """Counts numbers read out of tensors: round trips, where there is an accelerator."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def counting(monkeypatch, **places):
    """Count calls: figure to (owner, name) pairs; FLOPs and reads besides."""
    counts = Counter()
    with monkeypatch.context() as patch, FlopCounterMode(display=False) as flops, _Reads() as reads:
        for figure, owners in places.items():
            for owner, name in owners:
                own = getattr(owner, name)

                def counted(*args, _own=own, _figure=figure, **kwargs):
                    counts[_figure] += 1
                    return _own(*args, **kwargs)

                patch.setattr(owner, name, counted)
        yield counts
    counts["floating-point operations"] = flops.get_total_flops()
    counts["numbers read out of tensors"] = reads.count


def answering(gar, squares, monkeypatch, work):
    """Count what an answer costs from nothing, and the bytes it keeps."""
    places = {
        "language passes": [
            (gar.model.language_model, "forward"),
            (SharedPrefixBatch, "forward"),
            (generation, "_fill"),
        ],
        "vision passes": [(gar.model, "encode_tiles")],
        "RoI-Align calls": [(replay, "roi_align")],
        "reads of frames": [(squares[0], "frames")],
    }
    with counting(monkeypatch, **places) as counts:
        work(gar, *squares)
    kept = [encoded.cache for _, encoded in gar._prefixes._kept.values()]
    counts["bytes of keys and values"] = sum(cache.num_bytes for cache in kept)
    return counts


ANSWERS = {
    "describe an object": lambda gar, v, t: gar.describe(
        v, t, objects=[1], frames=4, max_new_tokens=3
    ),
    "ask about two objects": lambda gar, v, t: gar.ask(
        v, t, "Do <1> and <2> meet?", frames=4, max_new_tokens=3
    ),
    "five questions": lambda gar, v, t: gar.ask_many(v, t, QUESTIONS, frames=4, max_new_tokens=3),
    "choose by letter": lambda gar, v, t: gar.choose(
        v, t, "Where does <1> go?", OPTIONS, by="letter", frames=4
    ),
    "choose by text": lambda gar, v, t: gar.choose(
        v, t, "Where does <1> go?", OPTIONS, by="text", frames=4
    ),
}


def expect(case, counts):
    """Hold a case's figures against the table, or write them into it."""
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    if WRITE:
        table[case] = dict(sorted(counts.items()))
        TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return
    assert case in table, f"{case}: not in tests/data/work.json; write it, see this file's top"
    rises = compare(table[case], counts)
    assert not rises, f"{case}: {'; '.join(rises)}"


def compare(before, now):
    """Return what rose, as sentences."""
    return [
        f"{figure} rose from {before.get(figure, 0):,} to {value:,}"
        for figure, value in sorted(now.items())
        if value > before.get(figure, 0) * (1 + ALLOWANCE.get(figure, 0))
    ]


@pytest.mark.parametrize("case", ANSWERS)
def test_answering(case, gar, squares, monkeypatch):
    expect(case, answering(gar, squares, monkeypatch, ANSWERS[case]))


@pytest.fixture(scope="module")
def tracker():
    from gar_video.trackers.sam2 import Sam2Tracker
    from gar_video.trackers.sam2_config import nano_config

    return Sam2Tracker.from_config(nano_config(64), seed=0, device="cpu")


@pytest.mark.parametrize(
    ("mode", "count", "length"),
    [("exact", 1, 8), ("exact", 3, 5), ("fast", 3, 5), ("faster", 3, 5)],
)
def test_tracking(mode, count, length, tracker, monkeypatch):
    from gar_video.trackers import sam2_attention

    frames = np.random.default_rng(0).integers(0, 255, (length, 60, 80, 3), dtype=np.uint8)
    video = Video(frames)
    monkeypatch.setattr(tracker, "mode", mode)
    sam = tracker.predictor
    places = {
        "image encoder passes": [(sam, "forward_image")],
        "memory attention passes": [
            (sam.memory_attention, "forward"),
            (sam2_attention, "attend"),
        ],
        "mask decoder passes": [(sam.sam_mask_decoder, "forward")],
        "memory encoder passes": [(sam.memory_encoder, "forward")],
        "reads of frames": [(video._reader, "read")],
    }
    held = []
    with counting(monkeypatch, **places) as counts, tracker.session(video) as session:
        session.add([Box(0, (10 + 20 * k, 10, 28 + 20 * k, 40), k + 1) for k in range(count)])
        held = [memories(session) for _ in session.propagate()]
    counts["peak bytes of memories"] = max(held)
    expect(f"track {count} for {length} frames, {mode}", counts)


def memories(session):
    """Bytes of the outputs a session keeps, each storage counted once."""
    storages = {}
    for outputs in session._outputs():
        for output in (o for kind in outputs.values() for o in kind.values()):
            for value in output.values():
                for tensor in value if isinstance(value, list) else [value]:
                    if isinstance(tensor, torch.Tensor):
                        storage = tensor.untyped_storage()
                        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


@pytest.mark.parametrize(
    ("what", "indices"),
    [("in order", range(48)), ("8 of 48", range(0, 48, 6)), ("last", [47]), ("repeats", [5, 5, 4])],
)
def test_decoding(what, indices, tmp_path, monkeypatch):
    import av

    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=24, options={"g": "12", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for t in range(48):
            picture = np.full((48, 64, 3), 5 * t, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    places = {
        "packets decoded": [(PyavReader, "_feed")],
        "frames converted": [(PyavReader, "_convert")],
        "seeks": [(PyavReader, "_seek")],
    }
    with Video(path) as video, counting(monkeypatch, **places) as counts:
        video.frames(list(indices))
    expect(f"decode {what}", counts)


def test_runs_take_room_in_proportion():
    """A mask's code grows with its outline, and a track with its frames."""
    mask = np.zeros((40, 200, 300), bool)
    mask[:, 50:90, 60:120] = True
    sizes = [
        sum(value.nbytes for value in vars_of(Tracks.from_masks({1: mask[:count]})))
        for count in (10, 20, 40)
    ]
    expect("keep 40 masks", {"bytes of runs": sizes[-1]})
    assert sizes[2] - sizes[1] <= 2 * (sizes[1] - sizes[0]) + 64


def vars_of(tracks):
    """Arrays that the only track holds."""
    columns = tracks[tracks.object_ids[0]]._columns
    names = getattr(columns, "__slots__", None) or vars(columns)
    values = (getattr(columns, name) for name in names)
    return [value for value in values if isinstance(value, np.ndarray)]


@pytest.mark.parametrize("suffix", ["json", "txt"])
def test_files_of_tracks(suffix, tmp_path, monkeypatch):
    """Codes of a file are checked in batches, and none is counted, deflated or inflated alone."""
    masks_of = np.zeros((300, 20, 30), bool)
    masks_of[:, 3:9, 5:14] = True
    path, format = tmp_path / f"tracks.{suffix}", {"json": "json", "txt": "mots"}[suffix]
    Tracks.from_masks({1: masks_of, 2: masks_of}).save(path, format)
    places = {
        "batches of codes": [(tracks_builder, "measure")],
        "masks one by one": [(tracks_builder.TracksBuilder, "add_mask")],
        "runs written": [(regions, "pack")],
        "runs read": [(masks, "unpack"), (regions, "unpack")],
        "codes inflated": [(regions.zlib, "decompress")],
    }
    with counting(monkeypatch, **places) as counts:
        Tracks.load(path).save(tmp_path / "again.json")
    expect(f"load 600 masks as {format} and save them", counts)


def test_a_rise_is_named():
    before = {"floating-point operations": 1000, "language passes": 4, "RoI-Align calls": 1}
    now = {"floating-point operations": 1004, "language passes": 6, "RoI-Align calls": 1}
    assert compare(before, now) == ["language passes rose from 4 to 6"]
    now = {"floating-point operations": 1400, "language passes": 3, "RoI-Align calls": 0}
    assert compare(before, now) == ["floating-point operations rose from 1,000 to 1,400"]
    assert compare(before, {"new figure": 1}) == ["new figure rose from 0 to 1"]
