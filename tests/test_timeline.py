from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from gar_video import Cancelled, GARVideoError, PromptError, Tracks, TracksError, Video
from gar_video.generation import GenerationSettings
from gar_video.timeline import Event, Segment, Timeline, content, merge
from gar_video.timeline_making import sum_up

SHORT = {"frames": 2, "max_new_tokens": 6}


def segment(object_id, start, end, text="moves left", frames=()):
    return Segment(object_id, start, end, text, tuple(frames))


def test_windows_tell_who_is_there(gar, squares):
    video, tracks = squares  # 3 s; 2 leaves after 1.5 s, 3 comes at 2.25 s
    done = []
    made = gar.timeline(video, tracks, every_s=1.0, progress=lambda *x: done.append(x), **SHORT)
    assert made.object_ids == (1, 2, 3)
    spans = {i: [(s.start_s, s.end_s) for s in made.of(i).segments] for i in (1, 2, 3)}
    assert spans[1][0][0] == 0.0
    assert spans[1][-1][1] == 3.0
    assert spans[2][-1][1] == pytest.approx(1.5)
    assert spans[3][0][0] == pytest.approx(2.25)
    for one in made.segments:
        assert all(one.start_s <= video.times_s[frame] < one.end_s for frame in one.frames)
        assert all(tracks[one.object_id].is_visible(frame) for frame in one.frames)
    assert [(e.object_id, e.kind, round(e.time_s, 2)) for e in made.events] == [
        (2, "disappears", 1.38),
        (3, "appears", 2.25),
    ]
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert [summary.object_id for summary in made.summaries] == [1, 2, 3]


def test_words_are_those_of_a_description_of_the_window(gar, squares):
    video, tracks = squares
    (first, *_) = gar.timeline(video, tracks, every_s=1.0, objects=[1], **SHORT).segments
    (answer,) = gar.describe(video, tracks, objects=[1], time=(0.0, 1.0), **SHORT)
    assert (first.text, first.frames[:2]) == (answer.text, answer.frames)


def test_a_question_is_asked_of_each_object(gar, squares):
    video, tracks = squares
    made = gar.timeline(video, tracks, every_s=3.0, question="Where is <1>?", **SHORT)
    for one in made.segments:
        asked = gar.ask(
            video, tracks, f"Where is <{one.object_id}>?", time=(one.start_s, one.end_s), **SHORT
        )
        assert one.text == asked.text


@pytest.mark.parametrize(
    ("texts", "ends"),
    [
        pytest.param(["moves left", "Moves left."], [2.0], id="same"),
        pytest.param(
            ["A ring that moves left", "A ring. It moves left."], [2.0], id="same-content"
        ),
        pytest.param(["moves left", "moves right"], [1.0, 2.0], id="other"),
        pytest.param(["left, up", "up, left"], [1.0, 2.0], id="other-order"),
        pytest.param(["it", "that"], [1.0, 2.0], id="little-words-alone"),
    ],
)
def test_repeated_words_are_one_segment(texts, ends):
    made = merge([segment(1, 0.0, 1.0, texts[0]), segment(1, 1.0, 2.0, texts[1])], gap_s=0.5)
    assert [one.end_s for one in made] == ends
    assert made[0].text == texts[0]


def test_words_are_not_joined_over_an_absence_or_between_objects():
    apart = [segment(1, 0.0, 1.0), segment(1, 2.0, 3.0), segment(2, 0.0, 1.0), segment(2, 1.4, 3.0)]
    assert [(s.object_id, s.start_s) for s in merge(apart, gap_s=0.5)] == [(1, 0), (2, 0), (1, 2)]


def test_joined_segments_keep_their_frames():
    (one,) = merge([segment(1, 0, 1, frames=[0, 3]), segment(1, 1, 2, frames=[3, 7])], gap_s=0.5)
    assert one.frames == (0, 3, 7)
    assert content("A red ring, that stops.") == ("red", "ring", "stops")


@pytest.mark.parametrize(
    ("every", "count"),
    [
        pytest.param(1.0, 3, id="fits"),
        pytest.param(0.8, 4, id="rest-of-more-than-half"),
        pytest.param(1.3, 2, id="small-rest-joins"),
        pytest.param(100.0, 1, id="one"),
        pytest.param(0.125, 24, id="a-frame"),
    ],
)
def test_windows(every, count, gar, squares):
    from gar_video.timeline_making import _windows

    windows = _windows(squares[0], every, None)
    assert len(windows) == count
    assert [frame for window in windows for frame in window] == list(range(24))


@pytest.fixture
def told(monkeypatch):
    """Words at no cost, others in each window: what the model says is other tests' affair."""
    import gar_video.timeline_making as making

    monkeypatch.setattr(
        making,
        "_segment",
        lambda gar, plan, view, seen, pictures: segment(
            view.objects[0], *view.window_s, f"words {seen.start}", view.frames
        ),
    )


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(range(0, 24), [(0, 8), (8, 16), (16, 24)], id="always"),
        pytest.param(range(7, 24), [(7, 16), (16, 24)], id="glimpse-before"),
        pytest.param(range(0, 17), [(0, 8), (8, 17)], id="glimpse-after"),
        pytest.param(range(6, 24), [(6, 8), (8, 16), (16, 24)], id="a-quarter-is-a-window"),
        pytest.param(range(9, 10), [(9, 10)], id="nothing-but-a-glimpse"),
        pytest.param(range(7, 9), [(7, 8), (8, 9)], id="two-glimpses"),
    ],
)
def test_glimpses_belong_to_the_window_beside(gar, told, seen, expected):
    masks = np.zeros((24, 32, 32), bool)
    masks[seen.start : seen.stop, 4:20, 4:20] = True
    video = Video(np.zeros((24, 32, 32, 3), np.uint8), fps=8)
    made = gar.timeline(video, Tracks.from_masks({1: masks}), every_s=1.0, frames=1)
    assert [(s.start_s * 8, s.end_s * 8) for s in made.segments] == expected


def test_summaries_say_whose_words_they_are(gar, squares, told, monkeypatch):
    video, tracks = squares
    none = Tracks.from_masks(
        {1: np.zeros((24, 64, 96), bool), 2: tracks_masks(tracks)}, allow_empty=True
    )
    made = gar.timeline(video, none, every_s=1.0, **SHORT)
    assert [(s.object_id, s.by) for s in made.summaries] == [(1, "tracks"), (2, "model")]
    assert made.of(1).segments == ()
    monkeypatch.setattr(gar.model.config, "choice_scoring", "text")  # as nano's
    noted = gar.timeline(video, none, every_s=1.0, **SHORT)
    assert [s.by for s in noted.summaries] == ["tracks", "notes"]
    assert all(one.text.strip().rstrip(".") in noted.summaries[1].text for one in noted.segments)


def tracks_masks(tracks):
    return np.stack([tracks.masks(frame, [1])[0] for frame in range(24)])


def test_many_notes_are_summed_up_in_parts(gar, monkeypatch):
    import gar_video.timeline_making as making

    asked = []
    answer = making._answer_words
    monkeypatch.setattr(
        making, "_answer_words", lambda g, texts, s: asked.append(len(texts)) or answer(g, texts, s)
    )
    settings = GenerationSettings(max_new_tokens=8)
    assert isinstance(sum_up(gar, ["it waits"] * 3, settings), str)
    assert asked == [1]
    asked.clear()
    long = " ".join(["word"] * 200)
    monkeypatch.setattr(type(gar.processor), "context_length", 1500)
    sum_up(gar, [long] * 16, settings)
    assert len(asked) > 1
    assert asked[-1] == 1
    monkeypatch.setattr(type(gar.processor), "context_length", 600)
    with pytest.raises(PromptError, match="two notes"):
        sum_up(gar, [long] * 3, settings)


def test_text_alone_goes_to_the_model_as_its_template_says(gar):
    """One batch gives what the model gives to each text alone, without any cache."""
    import torch

    from gar_video.timeline_making import _answer_words, _opening

    texts = ["one note", "another note, a longer one"]
    settings = GenerationSettings(max_new_tokens=1)
    said = _answer_words(gar, texts, settings)
    for text, words in zip(texts, said, strict=True):
        ids = [
            *_opening(gar), *gar.processor.encode_plain(text),
            *gar.processor.encode_control(gar.processor.turns.to_assistant),
        ]  # fmt: skip
        with torch.inference_mode():
            embeds = gar.model.get_input_embeddings()(torch.tensor([ids]))
            best = gar.model.mllm(inputs_embeds=embeds, use_cache=False).logits[0, -1].argmax()
        assert words == gar.processor.decode([int(best)])


class Counted(Video):
    """A long video that is made as it is asked for, and counts."""

    def __init__(self, num_frames, fps=2):
        super().__init__(np.zeros((1, 96, 96, 3), np.uint8), fps=fps)
        self._space_evenly(num_frames)
        self.is_image = False
        self.asked: list[list[int]] = []

    def frames(self, indices):
        self.asked.append(list(indices))
        return np.full((len(indices), 96, 96, 3), 90, np.uint8)


def long_tracks(num_frames, count=3):
    mask = np.zeros((96, 96), bool)
    mask[8:20, 8:20] = True
    from gar_video import masks

    rle = dict(masks.encode(mask))
    return Tracks.from_rles(
        {i: dict.fromkeys(range(num_frames), rle) for i in range(1, count + 1)},
        (96, 96),
        num_frames,
    )


def test_an_hour_stays_under_a_fixed_memory(gar, told):
    """Frames are asked for once, forward, a window at a time; memory does not follow the length."""

    def run(seconds):
        video, tracks = Counted(seconds * 2), long_tracks(seconds * 2)
        tracemalloc.start()
        made = gar.timeline(video, tracks, every_s=10, frames=4, summary="notes")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return video, made, peak

    video, made, hour = run(3600)
    assert len(made.segments) == 3 * 360
    flat = [frame for batch in video.asked for frame in batch]
    assert flat == sorted(set(flat))  # each once, although three objects look, and never back
    assert max(map(len, video.asked)) == 4
    _, _, minutes = run(600)
    # Six times as long: the words and the times grow, no picture stays.
    assert hour - minutes < 10_000_000  # the frames looked at would be 40 MB
    assert hour < 14_000_000


def test_frames_held_at_once_are_bounded(gar, squares, monkeypatch):
    import gar_video.timeline_making as making

    video, tracks = squares
    held = []
    frames = Video.frames
    monkeypatch.setattr(
        Video, "frames", lambda v, asked: held.append(len(asked)) or frames(v, asked)
    )
    monkeypatch.setattr(making, "HELD_BYTES", 3 * 96 * 64 * 3)
    gar.timeline(video, tracks, every_s=3.0, frames=3, max_new_tokens=2)
    assert max(held) == 3
    assert len(held) == 3


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        pytest.param({"every_s": 0}, PromptError, "every_s", id="zero"),
        pytest.param({"every_s": -1}, PromptError, "every_s", id="negative"),
        pytest.param({"every_s": float("nan")}, PromptError, "every_s", id="nan"),
        pytest.param({"every_s": float("inf")}, PromptError, "every_s", id="infinite"),
        pytest.param({"every_s": "soon"}, PromptError, "every_s", id="words"),
        pytest.param({"every_s": 0.01}, PromptError, "frame's 0.125 s", id="below-a-frame"),
        pytest.param({"objects": [9]}, PromptError, "no object <9>", id="unknown-object"),
        pytest.param({"question": "<1> or <2>?"}, PromptError, "several", id="two-objects"),
        pytest.param({"question": " "}, PromptError, "empty", id="empty-question"),
        pytest.param({"frames": [1, 2]}, PromptError, "how many", id="listed-frames"),
        pytest.param({"frames": 0}, PromptError, "at least 1", id="no-frames"),
        pytest.param({"summary": "poem"}, PromptError, "summary", id="summary"),
        pytest.param({"time": (9, 10)}, PromptError, "ends at", id="after-the-end"),
        pytest.param({"cancel": lambda: True}, Cancelled, "cancelled", id="cancelled"),
    ],
)
def test_what_cannot_be_asked_for(gar, squares, settings, error, words):
    with pytest.raises(error, match=words):
        gar.timeline(*squares, **{"max_new_tokens": 1, **settings})


def test_a_photograph_has_no_timeline(gar):
    photo = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(PromptError, match="photograph"):
        gar.timeline(photo, Tracks.from_masks({1: np.ones((1, 32, 32), bool)}))
    with pytest.raises(TracksError):
        gar.timeline(np.zeros((3, 96, 96, 3), np.uint8), long_tracks(9))


def test_a_part_of_the_video(gar, squares):
    made = gar.timeline(*squares, every_s=1.0, time=(1.0, 2.0), **SHORT)
    assert {(s.object_id, s.start_s, s.end_s) for s in made.segments} == {(1, 1, 2), (2, 1, 1.5)}
    assert [event.kind for event in made.events] == ["disappears"]


def test_reading_it(made_up):
    assert made_up.at(0.5) == {1: "moves left"}
    assert made_up.at(2.5) == {1: "turns red", 2: "waits"}
    assert made_up.at(99) == {}
    assert made_up.name(1) == "1 (car)"
    assert str(made_up).splitlines()[0] == "<1>: moves left, then turns red."
    assert made_up.of(2).object_ids == (2,)
    with pytest.raises(GARVideoError, match="no object 7"):
        made_up.of(7)
    assert Event(1, 0.0, "turns", "from left to up").text == "turns from left to up"


@pytest.fixture
def made_up():
    from gar_video.timeline import Summary

    return Timeline(
        "clip.mp4", 4.0, 2.0, "Describe.", "nano", (1, 2), {1: "car"},
        (segment(1, 0, 2), segment(1, 2, 4, "turns red"), segment(2, 2.5, 3.0, "waits")),
        (Event(2, 2.5, "appears", "at the left edge"),),
        (Summary(1, "moves left, then turns red.", "model"), Summary(2, "waits", "notes")),
    )  # fmt: skip
