from __future__ import annotations

import numpy as np
import pytest

from gar_video import Tracks
from gar_video.callouts import Callouts
from gar_video.captions import Captions
from gar_video.lettering import CALLOUT_LINES, callout, object_colors

FPS = 15
WORDS = "A medium white circle that moves to the right, goes behind another thing and then stops."


def crowd(ways, frames=60, wh=(640, 448), size=60, absent=()):
    """Objects that go straight between two places: id -> ((x, y), (x, y))."""
    masks = {i: np.zeros((frames, wh[1], wh[0]), bool) for i in ways}
    for i, (start, end) in ways.items():
        for frame in range(frames):
            if (i, frame) in absent:
                continue
            share = frame / (frames - 1)
            x, y = (round(a + (b - a) * share) for a, b in zip(start, end, strict=True))
            masks[i][frame, max(y, 0) : y + size, max(x, 0) : x + size] = True
    return Tracks.from_masks(masks, allow_empty=True)


FIVE = {
    1: ((20, 20), (500, 20)), 2: ((500, 120), (20, 120)), 3: ((300, 350), (300, 60)),
    4: ((40, 300), (560, 300)), 5: ((560, 380), (400, 200)),
}  # fmt: skip


def stepped(tracks, captions, size=None):
    times = np.arange(tracks.num_frames) / FPS
    words = Callouts(tracks, captions, times, object_colors(tracks.object_ids), size)
    for frame in range(tracks.num_frames):
        words.step(frame)
        yield frame, words, words.rectangles()


def always(tracks, text=WORDS):
    return Captions.always(dict.fromkeys(tracks, text))


def test_words_of_five_stay_readable():
    """In the frame, never on each other, hardly ever on an object, and mostly still."""
    tracks = crowd(FIVE)
    before, moves, shown, covered = {}, 0, 0, 0.0
    for frame, words, places in stepped(tracks, always(tracks)):
        assert not words.crowded_out
        assert set(places) == {1, 2, 3, 4, 5}
        taken = np.zeros((448, 640), int)
        for i, (x, y, wide, high) in places.items():
            assert x >= 0
            assert y >= 0
            assert x + wide <= 640
            assert y + high <= 448
            taken[y : y + high, x : x + wide] += 1
            covered += sum(
                tracks.masks(frame, [k])[0][y : y + high, x : x + wide].mean() for k in tracks
            )
            shown += 1
            moves += i in before and before[i] != (x, y)
        assert taken.max() == 1
        before = {i: place[:2] for i, place in places.items()}
    assert covered / shown < 0.03
    assert moves / (shown / FPS) < 1.0  # moves a second of each


def test_words_of_a_still_object_never_move():
    tracks = crowd({1: ((100, 100), (100, 100))})
    places = {tuple(rectangles[1]) for _, _, rectangles in stepped(tracks, always(tracks))}
    assert len(places) == 1


def test_words_outlast_a_flicker_and_go_with_their_object():
    gone = {(1, 10), (1, 11)} | {(1, frame) for frame in range(30, 60)}
    tracks = crowd({1: ((100, 100), (140, 100))}, absent=gone)
    shown = [1 in places for _, _, places in stepped(tracks, always(tracks))]
    assert all(shown[:30])
    assert not any(shown[38:])


def test_other_words_take_the_same_place():
    tracks = crowd({1: ((100, 100), (100, 100))})
    captions = Captions({1: ((0.0, 2.0, "moves left"), (2.0, 9.0, "waits there"))}, {})
    places = [rectangles[1][:2] for _, _, rectangles in stepped(tracks, captions)]
    assert len(set(places)) == 1


def test_what_finds_no_room_is_said():
    ways = {i: ((20 * i, 10 * i), (20 * i, 10 * i)) for i in range(1, 30)}
    tracks = crowd(ways, frames=3, wh=(200, 150), size=10)
    *_, (_, words, places) = stepped(tracks, always(tracks))
    assert 0 < len(places) < 29
    assert words.crowded_out
    taken = np.zeros((150, 200), int)
    for x, y, wide, high in places.values():
        taken[y : y + high, x : x + wide] += 1
    assert (taken > 1).mean() < 0.02


def test_words_are_drawn_with_a_line_to_their_object():
    tracks = crowd({1: ((300, 200), (300, 200))}, frames=2)
    colors = object_colors([1])
    *_, (frame, words, places) = stepped(tracks, always(tracks))
    picture = np.full((448, 640, 3), 90, np.uint8)
    words.draw(picture, frame)
    x, y, wide, high = places[1]
    assert picture[y : y + high, x : x + wide].mean() > 150  # paper
    outside = picture.copy()
    outside[y : y + high, x : x + wide] = 90
    assert (outside == colors[1]).all(axis=2).sum() > 3  # the line, in the object's colour
    ends = words._line(1, words._placed[1], frame)
    assert tracks[1].mask(frame)[ends[1][1], ends[1][0]]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param("waits", 1, id="one"),
        pytest.param(" ".join(["words"] * 200), CALLOUT_LINES, id="cut"),
        pytest.param("a\nb", 2, id="two-answers"),
        pytest.param("x" * 300, CALLOUT_LINES, id="one-long-word"),
    ],
)
def test_words_have_so_many_lines(text, lines):
    picture = callout("12", text, 150, 14, (230, 60, 60))
    assert picture.shape[2] == 4
    assert picture.shape[0] == round(14 * 1.25) * lines + 4
    assert picture.shape[1] < 150 + 60
