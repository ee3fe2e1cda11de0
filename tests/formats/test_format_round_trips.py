"""Every format that is written: what it can hold comes back equal, the rest is said."""

import logging
import re
import warnings

import format_samples as samples
import numpy as np
import pytest

from gar_video import formats
from gar_video.errors import TracksError
from gar_video.tracks import Tracks
from gar_video.tracks_builder import TracksBuilder

FOLDERS = {"davis", "mask_files", "mask_folders", "mots_png"}
SUFFIX = {"mot": ".txt", "mots": ".txt", "kitti_mots": ".txt"}


def never_visible() -> Tracks:
    builder = TracksBuilder(samples.WH, samples.T)
    builder.add_mask(1, 1, samples.blob(3, 3))
    builder.add_object(2)
    return builder.build()


def one_score() -> Tracks:
    builder = TracksBuilder(samples.WH, samples.T)
    for frame in (1, 3):
        builder.add_mask(frame, 6, samples.blob(3, 3), 0.3, "cat")
        builder.add_box(frame, 9, (1.1, 2.2, 3.3, 4.4), 0.7)
    return builder.build()


def kitti() -> Tracks:
    return samples.masks((2001, 1001), {2001: "pedestrian", 1001: "car"})


# What each format holds without loss: format -> name -> tracks.
HELD = {
    "json": {
        "masks": samples.masks,
        "boxes": lambda: samples.boxes(scores=True),
        "everything": samples.everything,
    },
    "mot": {
        "boxes": samples.boxes,
        "boxes_with_scores": lambda: samples.boxes(scores=True),
        "labels": lambda: samples.boxes(labels={12: "car", 5: "pedestrian"}),
        "ignored": lambda: samples.with_ignored(
            samples.boxes(labels={12: "car"}), samples.boxes(labels={5: "reflection"}).subset([5])
        ),
    },
    "mots": {
        "pedestrians": lambda: samples.masks((2001, 7), {2001: "pedestrian"}, (1, 2, 3, 6)),
        "other_classes": lambda: samples.masks((1, 2), {1: "class 33"}, (3, 6)),
        "ignored": lambda: samples.with_ignored(
            samples.masks((1, 2), frames=(3, 5)), samples.masks((10_000,), {10_000: "class 10"})
        ),
    },
    "kitti_mots": {
        "cars_and_pedestrians": kitti,
        "no_class": samples.masks,
    },
    "mots_png": {
        "cars_and_pedestrians": kitti,
        "no_class": samples.masks,
        "ignored": lambda: samples.with_ignored(
            kitti(), samples.with_label(samples.ignored(), 10_000, "class 10")
        ),
    },
    "coco_video": {
        "masks": lambda: samples.masks((5, 2), {5: "dog", 2: "object"}),
        "boxes": lambda: samples.boxes(scores=True, labels={12: "cat"}),
        "never_visible": never_visible,
        "ignored": lambda: samples.with_ignored(samples.masks(), samples.ignored()),
        "mixed": one_score,
    },
    "youtube_vis": {
        "masks": lambda: samples.masks((5, 2), {5: "dog", 2: "object"}),
        "boxes": lambda: samples.boxes(labels={12: "cat"}),
        "never_visible": never_visible,
        "ignored": lambda: samples.with_ignored(samples.masks(), samples.ignored()),
        "one_score": one_score,
    },
    "videorefer": {"masks": samples.masks, "never_visible": never_visible},
    "mevis": {"masks": lambda: samples.masks((30, 4)), "never_visible": never_visible},
    "davis": {
        "masks": lambda: samples.masks((1, 254)),
        "void": lambda: samples.with_ignored(samples.masks(), samples.ignored()),
    },
    "mask_files": {"masks": lambda: samples.masks((3, 40)), "id_0": lambda: samples.masks((0,))},
    "mask_folders": {"masks": lambda: samples.masks((3, 40)), "id_0": lambda: samples.masks((0,))},
}


def target(folder, name):
    return folder / ("tracks" + ("" if name in FOLDERS else SUFFIX.get(name, ".json")))


def test_every_writable_format_is_tested():
    assert set(HELD) == set(formats.names(writable=True))
    assert set(formats.names()) - set(HELD) == {
        "cvat",
        "label_studio",
        "supervision_json",
        "supervision_csv",
        "ultralytics",
    }


@pytest.mark.parametrize(
    ("name", "make"),
    [(name, make) for name, cases in HELD.items() for make in cases.values()],
    ids=[f"{name}-{case}" for name, cases in HELD.items() for case in cases],
)
def test_what_a_format_holds_comes_back_equal(name, make, tmp_path, caplog):
    tracks = make()
    path = target(tmp_path, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracks.save(path, name)
        with caplog.at_level(logging.INFO, "gar_video"):
            loaded = Tracks.load(path, samples.Clip())  # found by looking inside
    assert loaded == tracks
    assert loaded.source_format == name
    assert "read as" in caplog.text
    assert Tracks.load(path, samples.Clip(), name) == tracks
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


SAID = {
    "json": [],
    "mot": ["masks: their boxes", "scores beside ignored", "never visible: \\[90\\]", "labels"],
    "mots": ["boxes: they are drawn", "scores", "labels other", "overlapping", "never visible"],
    "kitti_mots": ["boxes: they are drawn", "scores", "labels other", "overlapping"],
    "mots_png": ["boxes: they are drawn", "scores", "labels other", "overlapping"],
    "coco_video": [],
    "youtube_vis": ["scores that change from frame to frame"],
    "videorefer": ["boxes: they are drawn", "labels", "scores", "ids: objects", "to be ignored"],
    "mevis": ["boxes: they are drawn", "labels", "scores", "to be ignored"],
    "davis": ["boxes: they are drawn", "labels", "scores", "never visible", "overlapping"],
    "mask_files": ["boxes: they are drawn", "labels", "scores", "never visible", "to be ignored"],
    "mask_folders": ["boxes: they are drawn", "labels", "scores", "never visible", "to be ignored"],
}


@pytest.mark.parametrize("name", HELD)
def test_what_a_format_cannot_hold_is_said_and_the_rest_is_stable(name, tmp_path):
    tracks = samples.everything()
    path = target(tmp_path, name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tracks.save(path, name)
    said = " ".join(str(one.message) for one in caught)
    assert len(caught) == bool(SAID[name])
    for what in SAID[name]:
        assert re.search(what, said), f"{what!r} is not said: {said}"
    first = Tracks.load(path, samples.Clip(), name)
    again = tmp_path / "again"
    again.mkdir()
    samples.quietly(first.save, target(again, name), name)
    assert Tracks.load(target(again, name), samples.Clip(), name) == first
    assert len(first) >= 2


def test_json_keeps_names_of_ids_and_open_length(tmp_path):
    builder = TracksBuilder(samples.WH)
    builder.add_box(4, "the <second>", (1, 2, 3, 4))
    tracks = builder.build()
    tracks.save(tmp_path / "a.json")
    loaded = Tracks.load(tmp_path / "a.json")
    assert loaded == tracks
    assert loaded.source_ids == {1: "the <second>"}
    assert loaded.num_frames == 5
    assert not loaded.num_frames_known
    assert Tracks.load(tmp_path / "a.json", samples.Clip()).num_frames == samples.T


@pytest.mark.parametrize(
    ("file", "expected"), [("a.json", "json"), ("a.txt", "mot"), ("folder", "davis")]
)
def test_format_is_chosen_by_the_name(tmp_path, file, expected):
    samples.quietly(samples.masks().save, tmp_path / file)
    assert Tracks.load(tmp_path / file, samples.Clip()).source_format == expected


def test_video_may_be_a_path(tmp_path, monkeypatch):
    import sys
    import types

    stub = types.ModuleType("gar_video.video")
    stub.Video = lambda path: samples.Clip(name=path)
    monkeypatch.setitem(sys.modules, "gar_video.video", stub)
    samples.boxes().save(tmp_path / "a.txt")
    assert Tracks.load(tmp_path / "a.txt", "clip.mp4") == samples.boxes()


def test_size_and_length_may_be_given_without_a_video(tmp_path):
    samples.boxes().save(tmp_path / "a.txt")
    loaded = Tracks.load(tmp_path / "a.txt", resolution_wh=samples.WH, num_frames=samples.T)
    assert loaded == samples.boxes()


# -- writing ---------------------------------------------------------------------------------------


def test_a_failed_save_leaves_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text("before")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gar_video.formats.native._entry", fail)
    with pytest.raises(TracksError, match="No space left on device"):
        samples.masks().save(tmp_path / "a.json")
    monkeypatch.setattr("gar_video.formats.davis.write_ids", fail)
    with pytest.raises(TracksError, match="cannot be written"):
        samples.masks().save(tmp_path / "folder", "davis")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "before"


def test_saved_files_have_usual_permissions(tmp_path):
    samples.masks().save(tmp_path / "a.json")
    samples.masks().save(tmp_path / "folder", "davis")
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "folder").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize(
    ("make", "name", "file", "message"),
    [
        (samples.masks, None, "a.xyz", "does not tell the format"),
        (samples.masks, "cvat", "a.xml", "can only be read"),
        (samples.masks, "nonsense", "a.json", "'nonsense' is unknown"),
        (samples.masks, "json", "no/such/a.json", "there is no folder"),
        (samples.masks, "json", ".", "is a folder"),
        (samples.masks, "davis", ".", "new or empty folder"),
        (lambda: samples.masks((255,)), "davis", "d", "object id 255 does not fit"),
        (lambda: samples.masks((0,)), "davis", "d", "object id 0 does not fit"),
        (lambda: samples.masks((70_000,)), "mots_png", "d", "renumber|collide|does not fit"),
        (lambda: samples.masks((0,)), "mots_png", "d", "object id 0 does not fit"),
        (lambda: samples.masks((1005, 5), {5: "car", 1005: "car"}), "mots_png", "d", "collide"),
    ],
)
def test_wrong_save_is_refused(tmp_path, make, name, file, message):
    (tmp_path / "occupied").touch()
    with pytest.raises(TracksError, match=message) as caught:
        make().save(tmp_path / file, name)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["occupied"]


# -- reading ---------------------------------------------------------------------------------------

JUNK = {
    "empty": b"",
    "blank": b"\n\n \n",
    "junk": bytes(range(256)) * 20,
    "text": b"these are not tracks\n",
    "json_of_nothing": b"{}",
    "json_list": b"[]",
    "json_number": b"17",
    "json_cut_off": b'{"format": "gar-video-tracks", "version": 1, "obj',
    "json_deep": b"[" * 100_000,
    "xml": b"<html></html>",
    "zip": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("content", JUNK.values(), ids=JUNK)
@pytest.mark.parametrize("suffix", [".json", ".txt", ".xml", ""])
def test_junk_is_refused_in_one_line(tmp_path, content, suffix):
    path = tmp_path / f"junk{suffix}"
    path.write_bytes(content)
    with pytest.raises(TracksError, match="junk") as caught:
        Tracks.load(path, samples.Clip())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", formats.names())
@pytest.mark.parametrize("content", JUNK.values(), ids=JUNK)
def test_junk_of_a_named_format_is_refused_in_one_line(tmp_path, name, content):
    path = tmp_path / "junk"
    path.write_bytes(content)
    if name == "supervision_json" and content == b"[]":  # a run that found nothing
        assert len(Tracks.load(path, samples.Clip(), name)) == 0
        return
    with pytest.raises(TracksError, match="junk") as caught:
        Tracks.load(path, samples.Clip(), name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["auto", *formats.names()])
def test_folder_without_tracks_is_refused(tmp_path, name):
    (tmp_path / "readme.md").write_text("hello")
    (tmp_path / "sub").mkdir()
    with pytest.raises(TracksError):
        Tracks.load(tmp_path, samples.Clip(), name)


def test_missing_file_unknown_format_and_contradiction(tmp_path):
    with pytest.raises(TracksError, match="does not exist"):
        Tracks.load(tmp_path / "none.json")
    samples.masks().save(tmp_path / "a.json")
    with pytest.raises(TracksError, match="'xyz' is unknown; expected 'auto' or one of"):
        Tracks.load(tmp_path / "a.json", format="xyz")
    with pytest.raises(TracksError, match="contradict the video"):
        Tracks.load(tmp_path / "a.json", samples.Clip(), num_frames=3)
    with pytest.raises(TracksError, match="whole pixels"):
        Tracks.load(tmp_path / "a.json", resolution_wh=(0, 5))


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (samples.Clip(width=50, height=50), "50x50|outside|like the frames"),
        (samples.Clip(num_frames=3), "video has 3|0 to 2"),
    ],
    ids=["size", "length"],
)
def test_tracks_of_another_video_are_refused(tmp_path, name, clip, message):
    if name == "mot" and "50x50" in message:
        pytest.skip("text of boxes says nothing of the frame's size")
    make = next(iter(HELD[name].values()))
    path = target(tmp_path, name)
    samples.quietly(make().save, path, name)
    with pytest.raises(TracksError, match=message) as caught:
        Tracks.load(path, clip, name)
    assert "\n" not in str(caught.value)


def test_a_json_file_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("gar_video.formats.source.MAX_JSON_BYTES", 100)
    samples.masks().save(tmp_path / "a.json")
    with pytest.raises(TracksError, match="JSON is read whole, up to"):
        Tracks.load(tmp_path / "a.json")


def test_rows_by_frame_are_in_order():
    from gar_video.formats.common import objects_of_frames, rows_by_frame

    tracks = samples.masks((5, 2))
    rows = [(frame, track.object_id) for frame, track in rows_by_frame(tracks)]
    expected = [(f, i) for f in range(samples.T) for i in (5, 2) if tracks[i].is_visible(f)]
    assert rows == expected
    grouped = {frame: [t.object_id for t in seen] for frame, seen in objects_of_frames(tracks)}
    assert list(grouped) == list(range(samples.T))
    assert grouped[3] == []
    assert np.all([len(grouped[f]) == tracks.visibility()[:, f].sum() for f in grouped])
