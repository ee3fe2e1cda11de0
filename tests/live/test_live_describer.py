"""LiveDescriber with a stand-in for the model: what is kept, asked, said, counted and freed."""

import gc
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from live_fakes import FakeGar, H, W, color_of, detections, frame_with, text_of

from gar_video import LiveDescriber
from gar_video.errors import GARVideoError, PromptError, TracksError, VideoError
from gar_video.live import describer as describer_module


def run(describer, ids_by_frame, step_s=0.1, wait=True, start=0):
    for number, ids in enumerate(ids_by_frame, start):
        frame, found = frame_with(ids)
        out = describer.update(frame, found, number * step_s)
        if wait:
            assert describer.wait(20)
    return out


def test_words_come_with_the_detections():
    with LiveDescriber(FakeGar(), min_visible=2) as describer:
        first = run(describer, [[3, 1]])
        assert first.data["description"].tolist() == ["", ""]
        out = run(describer, [[3, 1], [1, 3]], start=1)
    column = out.data["description"]
    assert column.dtype == object
    assert out.tracker_id.tolist() == [1, 3]
    # the colours are those of the frames before: words follow ids, not places
    assert column.tolist() == [text_of(1), text_of(3)]
    kept = out[out.tracker_id == 3]
    assert kept.data["description"].tolist() == [text_of(3)]
    assert len(sv.Detections.merge([kept, out]).data["description"]) == 3


def test_nothing_in_the_frame():
    frame = np.zeros((H, W, 3), np.uint8)
    with LiveDescriber(FakeGar()) as describer:
        out = describer.update(frame, sv.Detections.empty(), 0.0)
        again = describer.update(frame, detections([], []), 1.0)
    for found in (out, again):
        assert found.data["description"].shape == (0,)
        assert found.is_empty()
        assert len(found[np.array([], bool)]) == 0


def test_the_given_detections_stay_as_they_are():
    frame, found = frame_with([1])
    found.data["class_name"] = np.array(["thing"])
    with LiveDescriber(FakeGar()) as describer:
        out = describer.update(frame, found, 0.0)
    assert set(found.data) == {"class_name"}
    assert set(out.data) == {"class_name", "description"}


def test_the_frame_may_be_drawn_on_afterwards():
    gar = FakeGar()
    gar.gate.clear()
    with LiveDescriber(gar, min_visible=1) as describer:
        frame, found = frame_with([1])
        describer.update(frame, found, 0.0)
        frame[:] = 0
        gar.gate.set()
        assert describer.wait(20)
        assert describer.latest(1)[None].text == text_of(1)


def test_bgr_frames():
    with LiveDescriber(FakeGar(), min_visible=1, channels="BGR") as describer:
        run(describer, [[1]])
        assert describer.latest(1)[None].text == ",".join(map(str, color_of(1)[::-1]))


def test_masks_are_the_regions():
    frame, found = frame_with([1])
    mask = np.zeros((1, H, W), bool)
    mask[0, 20:30, 20:30] = True
    frame[mask[0]] = (9, 8, 7)
    found.mask = mask
    with LiveDescriber(FakeGar(), min_visible=1) as describer:
        describer.update(frame, found, 0.0)
        describer.wait(20)
        assert describer.latest(1)[None].text == "9,8,7"


def test_new_objects_first_then_ended_then_changed_then_oldest():
    gar, given = FakeGar(), []
    with LiveDescriber(
        gar, every_s=1.0, min_visible=1, lost_after_s=0.5, on_answer=given.append
    ) as describer:
        run(describer, [[5], [5, 1], [5, 1, 2], [5, 1, 2, 3]])
        assert [call[0] for call in gar.calls] == [5, 1, 2, 3]
        given.clear()
        gar.gate.clear()
        run(describer, [[5, 1, 2, 3]] * 8, wait=False, start=4)  # 5's words are the oldest
        while gar.calls[-1][0] != 5 or len(gar.calls) < 5:
            time.sleep(0.01)
        # While 5 is spoken about the others line up: 2 ends, 3 changes its looks, 4 is new.
        for number in range(12, 30):
            frame, found = frame_with([5, 1, 3, 4])
            frame[2:12, 26:36] = (255, 255, 255)
            describer.update(frame, found, number * 0.1)
            time.sleep(0.01)
        time.sleep(0.3)
        gar.gate.set()
        assert describer.wait(20)
        order = [(one.object_id, one.is_last) for one in given]
    assert order[:5] == [(5, False), (4, False), (2, True), (3, False), (1, False)]


def test_words_are_renewed_not_before_their_time():
    gar = FakeGar()
    with LiveDescriber(gar, every_s=2.0, min_visible=1) as describer:
        run(describer, [[1]] * 19)
        assert len(gar.calls) == 1
        run(describer, [[1]] * 20, start=19)
        assert len(gar.calls) == 2


def test_changed_looks_are_spoken_about_sooner():
    gar = FakeGar()
    with LiveDescriber(gar, every_s=4.0, min_visible=1) as describer:
        run(describer, [[1]] * 5)
        for number in range(5, 40):
            frame, found = frame_with([1])
            frame[2:12, 2:12] = (0, 0, 0)
            describer.update(frame, found, number * 0.1)
            describer.wait(20)
        assert len(gar.calls) == 2
        assert describer.latest(1)[None].text == "0,0,0"


def test_views_are_spread_over_the_life_and_few():
    given = []
    gar = FakeGar(num_frames=6)
    with LiveDescriber(gar, every_s=5.0, min_visible=1, on_answer=given.append) as describer:
        run(describer, [[1]] * 600)
    last = given[-1]
    assert last.is_last
    times = np.array(last.answer.times_s)
    assert 3 <= len(times) <= 7
    assert times[0] < 10
    assert times[-1] > 55
    assert np.diff(times).max() < 30
    assert [round(time_s * 10) for time_s in times] == list(last.answer.frames)


def test_clearest_views_first():
    """Of frames in one slot of time the one where most of the object shows is kept."""
    given = []
    gar = FakeGar(num_frames=2)
    with LiveDescriber(
        gar, every_s=100.0, min_visible=1, on_answer=given.append, views=2
    ) as describer:
        for number in range(200):
            frame, found = frame_with([1], size=30 if number == 60 else 12)
            describer.update(frame, found, number * 0.1)
            describer.wait(20)
    assert 60 in given[-1].answer.frames


def test_an_end_gives_last_words_and_frees():
    given = []
    with LiveDescriber(
        FakeGar(), min_visible=2, lost_after_s=0.5, every_s=1.0, on_answer=given.append
    ) as describer:
        run(describer, [[1, 2]] * 3 + [[1]] * 10)
        assert [one.object_id for one in given if one.is_last] == [2]
        assert describer.latest(2) == {}
        assert describer.latest(1)
        out = run(describer, [[2, 1]], start=13)
        assert out.data["description"].tolist() == ["", text_of(1)]
        assert describer.stats.ended == 1
    assert sorted(one.object_id for one in given if one.is_last) == [1, 2]


def test_flickers_are_not_put_into_words():
    gar = FakeGar()
    with LiveDescriber(gar, min_visible=3, lost_after_s=0.3) as describer:
        run(describer, [[1], [1], *[[]] * 8])
    assert gar.calls == []


def test_an_object_hidden_for_a_while_is_the_same():
    gar = FakeGar()
    gar.gate.clear()
    with LiveDescriber(gar, min_visible=1, lost_after_s=0.3) as describer:
        run(describer, [[1, 2], *[[2]] * 6, [1, 2]], wait=False)
        gar.gate.set()
        assert describer.wait(20)
        assert describer.stats.objects == 2
        assert describer.latest(1)[None].text == text_of(1)


def test_standing_questions():
    given = []
    questions = ["Is <1> carrying something?", "Does it move?"]
    with LiveDescriber(
        FakeGar(), min_visible=1, questions=questions, on_answer=given.append
    ) as describer:
        run(describer, [[17]])
        assert set(describer.latest(17)) == {None, *questions}
    one = next(one for one in given if one.question == questions[0])
    assert one.answer.question == "Is <17> carrying something?"
    assert one.text == "yes"


def test_the_queue_is_bounded_and_drops_are_counted(monkeypatch):
    """While the thread that keeps views is held up, only the newest frames stay."""
    gate = threading.Event()
    views_of = describer_module.views_of
    monkeypatch.setattr(
        describer_module, "views_of", lambda *given: gate.wait(20) and views_of(*given)
    )
    with LiveDescriber(FakeGar(), min_visible=1, queue=2) as describer:
        for number in range(40):
            frame, found = frame_with([number])
            describer.update(frame, found, number * 0.1)
            assert len(describer._queue) <= 2
        stats = describer.stats
        assert stats.updates == 40
        assert stats.frames_taken == 40
        assert stats.frames_dropped >= 37
        gate.set()
        assert describer.wait(20)
        assert describer.latest(39)
        assert not describer.latest(20)


def test_update_never_waits_for_the_model():
    gar = FakeGar()
    with LiveDescriber(gar, min_visible=1) as describer:
        gar.gate.clear()
        began = time.monotonic()
        run(describer, [[1, 2]] * 30, wait=False)
        assert time.monotonic() - began < 5
        gar.gate.set()


@pytest.mark.parametrize("last_words", [True, False], ids=["last-words", "at-once"])
def test_clean_stop(last_words):
    before = threading.active_count()
    gar = FakeGar(seconds=0.05)
    describer = LiveDescriber(gar, min_visible=1)
    run(describer, [list(range(1, 6))], wait=False)
    describer.close(last_words=last_words)
    assert threading.active_count() == before
    assert len({call[0] for call in gar.calls}) == 5 if last_words else len(gar.calls) <= 2
    describer.close()
    frame, found = frame_with([1])
    with pytest.raises(GARVideoError, match="closed"):
        describer.update(frame, found, 9.0)


def test_an_error_in_the_loop_is_not_hidden_and_ends_at_once():
    gar = FakeGar(seconds=0.1)
    describer = LiveDescriber(gar, min_visible=1)

    def loop():
        with describer:
            run(describer, [list(range(1, 6))], wait=False)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop()
    assert len(gar.calls) <= 2
    assert not any(thread.is_alive() for thread in describer._threads)


def test_the_model_fails_for_one_object(caplog):
    gar = FakeGar(fail=[2])
    with LiveDescriber(gar, min_visible=1) as describer:
        out = run(describer, [[1, 2, 3]] * 2)
        assert out.data["description"].tolist() == [text_of(1), "", text_of(3)]
        assert describer.stats.failures == 1
    assert "object 2 could not be described: out of memory" in caplog.text


def test_a_failing_callback_is_told():
    def fail(answer):
        raise KeyError("mine")

    describer = LiveDescriber(FakeGar(), min_visible=1, on_answer=fail)
    frame, found = frame_with([1])
    describer.update(frame, found, 0.0)
    with pytest.raises(GARVideoError, match="KeyError"):
        describer.close()


BOX = (2.0, 2.0, 12.0, 12.0)
NAN = float("nan")


@pytest.mark.parametrize(
    ("frame", "found", "time_s", "error", "says"),
    [
        pytest.param(np.zeros((H, W), np.uint8), detections([BOX], [1]), 1, VideoError, "expected", id="gray"),
        pytest.param(np.zeros((H, W, 3)), detections([BOX], [1]), 1, VideoError, "uint8", id="float"),
        pytest.param(None, detections([BOX], [1]), 1, VideoError, "NoneType", id="no-frame"),
        pytest.param(np.zeros((H, W + 2, 3), np.uint8), detections([BOX], [1]), 1, VideoError, "one size", id="mixed-sizes"),
        pytest.param("ok", detections([BOX], None), 1, TracksError, "no tracker_id", id="no-ids"),
        pytest.param("ok", detections([BOX, BOX], [1, 1]), 1, TracksError, "twice", id="id-twice"),
        pytest.param("ok", detections([BOX], [1.5]), 1, TracksError, "whole number", id="half-id"),
        pytest.param("ok", detections([BOX], [-3]), 1, TracksError, "0 or more", id="negative-id"),
        pytest.param("ok", detections([BOX], ["  "]), 1, TracksError, "empty string", id="empty-id"),
        pytest.param("ok", detections([BOX], [1], mask=np.ones((1, 8, 8), bool)), 1, TracksError, "own size", id="mask-size"),
        pytest.param("ok", detections([BOX], [1]), 0.2, TracksError, "go back", id="time-back"),
        pytest.param("ok", detections([BOX], [1]), NAN, TracksError, "expected seconds", id="time-nan"),
        pytest.param("ok", detections([BOX], [1]), None, TracksError, "for some updates only", id="time-missing"),
        pytest.param("ok", [1, 2, 3], 1, TracksError, "expected sv.Detections", id="list"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_no_trace(frame, found, time_s, error, says):
    with LiveDescriber(FakeGar(), min_visible=1) as describer:
        good, right = frame_with([5])
        describer.update(good, right, 0.5)
        with pytest.raises(error, match=says) as caught:
            describer.update(good if isinstance(frame, str) else frame, found, time_s)
        assert "\n" not in str(caught.value)
        describer.wait(20)
        out = describer.update(good, right, 2.0)
        assert out.data["description"].tolist() == [text_of(5)]


@pytest.mark.parametrize(
    ("box", "bad_boxes", "kept"),
    [
        pytest.param((-5, -5, 12, 12), "drop", True, id="drop-cuts"),
        pytest.param((NAN, 0, 5, 5), "drop", False, id="drop-nan"),
        pytest.param((9, 9, 2, 2), "drop", False, id="drop-inverted"),
        pytest.param((-5, -5, 12, 12), "clip", True, id="clip"),
        pytest.param((NAN, 0, 5, 5), "clip", None, id="clip-nan"),
        pytest.param((-5, -5, 12, 12), "refuse", None, id="refuse"),
    ],
)
def test_boxes_that_do_not_fit(box, bad_boxes, kept):
    gar = FakeGar()
    with LiveDescriber(gar, min_visible=1, bad_boxes=bad_boxes) as describer:
        frame = np.zeros((H, W, 3), np.uint8)
        found = detections([BOX], [1])
        found.xyxy[0] = box  # as supervision refuses NaN by itself when detections are made
        if kept is None:
            with pytest.raises(TracksError, match="bad_boxes="):
                describer.update(frame, found, 0.0)
            return
        out = describer.update(frame, found, 0.0)
        assert len(out) == 1
        describer.wait(20)
        assert bool(gar.calls) is kept
        assert describer.stats.dropped_boxes == (not kept)


def test_string_ids_are_mapped_and_the_map_is_kept():
    with LiveDescriber(FakeGar(), min_visible=1) as describer:
        frame, found = frame_with([1, 2])
        found.tracker_id = np.array(["car-a", "7"])
        for number in range(2):
            out = describer.update(frame, found, float(number))
            describer.wait(20)
        assert out.data["description"].tolist() == [text_of(1), text_of(2)]
        assert describer.source_ids == {1: "car-a"}
        assert describer.latest(7)
        with pytest.raises(TracksError, match="was mapped"):
            describer.update(frame, detections([BOX], [1]), 3.0)


def test_unconfirmed_rows_are_left_out():
    with LiveDescriber(FakeGar(), min_visible=1) as describer:
        frame, found = frame_with([1, 2, 3])
        found.tracker_id = np.array([-1, 2, -1])
        describer.update(frame, found, 0.0)
        describer.wait(20)
        out = describer.update(frame, found, 0.1)
        assert out.data["description"].tolist() == ["", text_of(2), ""]
        assert describer.stats.unconfirmed == 4


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"every_s": 0}, id="every"),
        pytest.param({"every_s": NAN}, id="every-nan"),
        pytest.param({"min_visible": 0}, id="min-visible"),
        pytest.param({"queue": 0}, id="queue"),
        pytest.param({"views": 0}, id="views"),
        pytest.param({"channels": "rgb"}, id="channels"),
        pytest.param({"questions": "Is <1> red?"}, id="one-text"),
        pytest.param({"questions": ["Is <2> red?"]}, id="other-object"),
    ],
)
def test_settings_that_cannot_be_meant(given):
    before = threading.active_count()
    with pytest.raises(PromptError):
        LiveDescriber(FakeGar(), **given)
    assert threading.active_count() == before


@pytest.mark.slow
def test_memory_is_flat_over_100_000_updates_with_5_000_ids():
    """Objects come and go; after the first fifth neither what is held nor the process grows."""
    gar = FakeGar()
    describer = LiveDescriber(gar, min_visible=2, lost_after_s=0.5, every_s=1.0, queue=4)
    shown = {k: frame_with([k + 1, k + 2, k + 3], size=8, wh=(32, 24)) for k in range(50)}
    marks = []
    for number in range(100_000):
        frame, found = shown[number // 20 % 50]
        found.tracker_id = np.arange(3) + number // 20 + 1
        describer.update(frame, found, number / 30)
        if number % 20_000 == 19_999:
            describer.wait(60)
            gar.calls.clear()
            held = len(describer._roster.present) + len(describer._roster.ended)
            gc.collect()
            marks.append((len(gc.get_objects()), held, describer.kept_bytes, resident_bytes()))
    assert describer.stats.objects >= 5_000
    describer.close()
    first, last = marks[0], marks[-1]
    assert last[0] < first[0] + 3_000, marks
    assert max(mark[1] for mark in marks) < 80, marks
    assert max(mark[2] for mark in marks) < 1_000_000, marks
    assert last[3] < first[3] + 16 * 2**20, marks


def resident_bytes():
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 if statm.exists() else 0
