from __future__ import annotations

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from gar_video import GARVideoError, Tracks, TracksError, Video
from gar_video.lettering import font, label, wrap
from gar_video.visuals import (
    clearest_frames,
    contact_sheet,
    draw_objects,
    object_colors,
    write_annotated_video,
    write_contact_sheet,
    write_picture,
)


@pytest.fixture
def scene():
    """One gray 120x160 picture with two objects."""
    picture = np.full((120, 160, 3), 128, np.uint8)
    masks = np.zeros((2, 120, 160), bool)
    masks[0, 40:70, 20:60] = True
    masks[1, 60:100, 90:140] = True
    detections = sv.Detections(
        xyxy=np.array([[20, 40, 60, 70], [90, 60, 140, 100]], float),
        mask=masks,
        tracker_id=np.array([3, 8]),
    )
    return picture, detections, masks


def test_objects_are_drawn_in_their_colours(scene):
    picture, detections, masks = scene
    colors = object_colors([3, 8])
    before = picture.copy()
    drawn = draw_objects(picture, detections, colors)
    assert (picture == before).all()
    assert drawn.shape == picture.shape
    for object_id, mask in zip((3, 8), masks, strict=True):
        # The tint pulls gray towards the colour, channel by channel: red stays red.
        middle = drawn[tuple(np.argwhere(mask).mean(axis=0).astype(int))].astype(int) - 128
        wanted = np.array(colors[object_id]) - 128
        assert (np.sign(middle) == np.sign(wanted)).all()
        # The outline is smoothed, and yet nearer to the colour than the tint can be.
        off = np.abs(drawn[mask].astype(int) - colors[object_id]).sum(axis=1)
        assert off.min() < 0.5 * np.abs(middle + 128 - np.array(colors[object_id])).sum()
    far = np.ones((120, 160), bool)
    far[10:110, 10:150] = False
    assert (drawn[far] == picture[far]).all()


def test_ids_cover_no_object(scene):
    picture, detections, masks = scene
    without = draw_objects(picture, detections, object_colors([3, 8]))
    # Tags are the only thing drawn away from the objects, their outlines are 1 px wide.
    near = np.zeros((120, 160), bool)
    for mask in masks:
        y, x = np.nonzero(mask)
        near[y.min() - 2 : y.max() + 3, x.min() - 2 : x.max() + 3] = True
    tags = (without != picture).any(axis=2) & ~near
    assert tags.sum() > 100
    inside = without[masks[0]].reshape(-1, 3)
    assert not (inside == (255, 255, 255)).all(axis=1).any()  # no letter lies on the object


def test_id_of_an_object_that_fills_the_frame_stays_inside():
    picture = np.zeros((60, 80, 3), np.uint8)
    detections = sv.Detections(
        xyxy=np.array([[0, 0, 80, 60]], float),
        mask=np.ones((1, 60, 80), bool),
        tracker_id=np.array([12]),
    )
    drawn = draw_objects(picture, detections, {12: (230, 60, 60)})
    assert (drawn == 255).all(axis=2).any()


@pytest.mark.parametrize(
    "detections",
    [
        pytest.param(sv.Detections.empty(), id="nothing"),
        pytest.param(
            sv.Detections(xyxy=np.array([[2.0, 2, 20, 20]]), tracker_id=np.array([1])),
            id="boxes-only",
        ),
        pytest.param(
            sv.Detections(
                xyxy=np.array([[0.0, 0, 1, 1]]),
                mask=np.eye(32, dtype=bool)[None],
                tracker_id=np.array([1]),
            ),
            id="tiny",
        ),
    ],
)
def test_drawing_copes_with(detections):
    picture = np.full((32, 32, 3), 90, np.uint8)
    drawn = draw_objects(picture, detections, {1: (230, 60, 60)})
    assert drawn.shape == (32, 32, 3)
    assert (drawn != picture).any() == (len(detections) > 0)


@pytest.mark.parametrize(
    ("text", "width"),
    [
        pytest.param("a few words that need several lines to stand in", 90, id="words"),
        pytest.param("Donaudampfschifffahrtsgesellschaftskapitän", 60, id="one-long-word"),
        pytest.param("two\nparagraphs of words", 90, id="line-breaks"),
        pytest.param("", 50, id="nothing"),
        pytest.param("wide", 1, id="no-room"),
    ],
)
def test_wrapped_lines_fit_and_lose_nothing(text, width):
    lines = wrap(text, width, 14)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(font(14).getlength(line) <= width or len(line) <= 1 for line in lines)


def test_letters_are_drawn_and_can_be_told_apart():
    one, other = label("1", 20, (0, 0, 0)), label("7", 20, (0, 0, 0))
    assert one.shape[2] == 3
    assert (one == 255).any()
    assert one.shape != other.shape or (one != other).any()


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        pytest.param(1, 1, id="one"),
        pytest.param(5, 5, id="five"),
        pytest.param(40, 12, id="more-than-there-are"),
    ],
)
def test_clearest_frames_are_spread(squares, count, expected):
    video, tracks = squares
    frames = clearest_frames(tracks[2], count, video.resolution_wh)
    assert len(frames) == expected
    assert frames == sorted(set(frames))
    assert all(tracks[2].is_visible(frame) for frame in frames)


def test_clearest_frames_prefer_whole_and_large_views():
    masks = np.zeros((9, 40, 40), bool)
    masks[:, 10:14, 10:14] = True
    masks[4, 5:30, 5:30] = True  # large
    masks[8, 0:20, 0:40] = True  # larger, but cut by the frame's edge
    tracks = Tracks.from_masks({1: masks})
    assert clearest_frames(tracks[1], 1, (40, 40)) == [4]


def test_annotated_video_keeps_frames_and_times(squares, tmp_path):
    video, tracks = squares
    done = []
    write_annotated_video(
        tmp_path / "a.mp4", video, tracks, {1: "a red square"}, place="below",
        progress=lambda *x: done.append(x),
    )  # fmt: skip
    written = Video(tmp_path / "a.mp4")
    assert len(written) == len(video)
    assert np.allclose(written.times_s, video.times_s, atol=1e-4)
    assert written.width == video.width
    assert written.height > video.height
    assert done[-1] == (24, 24)
    gray = np.abs(written[12][: video.height].astype(int) - video[12].astype(int)).mean()
    assert 0.5 < gray < 30  # the picture, drawn on


def test_annotated_video_keeps_uneven_times(squares, tmp_path):
    video, tracks = squares

    class Uneven(Video):
        @property
        def times_s(self):
            return np.cumsum([0.0, *([0.04, 0.2] * 12)])[:24]

    uneven = Uneven(video.frames(range(24)))
    write_annotated_video(tmp_path / "a.mp4", uneven, tracks)
    assert np.allclose(Video(tmp_path / "a.mp4").times_s, uneven.times_s, atol=1e-3)


def test_odd_sizes_are_written(tmp_path):
    video = Video(np.full((3, 33, 51, 3), 200, np.uint8))
    tracks = Tracks.from_masks({1: np.ones((3, 33, 51), bool)})
    write_annotated_video(tmp_path / "a.mp4", video, tracks)
    assert Video(tmp_path / "a.mp4").resolution_wh == (52, 34)


def test_a_failed_video_leaves_nothing(squares, tmp_path):
    video, tracks = squares
    (tmp_path / "a.mp4").write_text("before")

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_annotated_video(tmp_path / "a.mp4", video, tracks, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_text() == "before"


def test_sheet_has_a_row_for_every_object(squares, tmp_path):
    video, tracks = squares
    words = {1: "A red square that moves to the right. " * 8}
    sheet = contact_sheet(video, tracks, words, views=3)
    plain = contact_sheet(video, tracks, views=3)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == plain.shape[1]
    assert len(sheet) > len(plain)  # the words are given the room they need
    for color in object_colors(tracks.object_ids).values():
        assert (sheet == color).all(axis=2).sum() > 100
    write_contact_sheet(tmp_path / "s.png", video, tracks, words)
    assert np.asarray(Image.open(tmp_path / "s.png")).shape[2] == 3


def test_sheet_of_an_object_never_seen(squares):
    video, _ = squares
    tracks = Tracks.from_masks({1: np.zeros((24, 64, 96), bool)}, allow_empty=True)
    assert contact_sheet(video, tracks).shape[2] == 3
    assert contact_sheet(video, Tracks([], (96, 64), 24)).shape[2] == 3


@pytest.mark.parametrize(
    ("make", "error"),
    [
        pytest.param(
            lambda v, t, d: write_annotated_video(d / "no" / "a.mp4", v, t),
            GARVideoError,
            id="no-folder",
        ),
        pytest.param(lambda v, t, d: write_picture(d, v[0]), GARVideoError, id="a-folder"),
        pytest.param(
            lambda v, t, d: contact_sheet(v, Tracks.from_masks({1: np.ones((24, 8, 8), bool)})),
            TracksError,
            id="tracks-of-another-size",
        ),
        pytest.param(
            lambda v, t, d: write_annotated_video(
                d / "a.mp4", v, Tracks.from_masks({1: np.ones((30, 64, 96), bool)})
            ),
            TracksError,
            id="tracks-of-another-length",
        ),
    ],
)
def test_what_cannot_be_drawn(squares, tmp_path, make, error):
    with pytest.raises(error):
        make(*squares, tmp_path)
    assert not list(tmp_path.iterdir())
