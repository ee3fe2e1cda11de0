from __future__ import annotations

import io
import json
import threading
import zipfile
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from gar_video import Cancelled, CheckpointError, GARVideoError, PromptError, Tracks, Video
from gar_video.app import asking, exports
from gar_video.app.feed import EMPTY, feed_html
from gar_video.app.gestures import carry_out
from gar_video.app.models import Models
from gar_video.app.session import Session
from gar_video.app.sessions import Sessions
from gar_video.app.state import runs, state_of
from gar_video.app.views import as_jpeg, view
from gar_video.synth.descriptions import read
from gar_video.synth.pointing import box_around, click_on
from gar_video.synth.write import write_clip

_SECONDS = 1.0
_SEED = 24


@pytest.fixture(scope="module")
def models():
    return Models(device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A rendered clip and its true tracks."""
    folder = tmp_path_factory.mktemp("clip")
    path, tracks, _ = write_clip(
        folder / "clip.mp4", _SEED, num_objects=2, duration_s=_SECONDS, resolution_wh=(320, 240)
    )
    return path, Tracks.load(tracks)


@pytest.fixture
def session(models, clip, tmp_path):
    made = Session(tmp_path / "session", models)
    made.open(clip[0])
    yield made
    made.close()


@pytest.fixture(scope="module")
def tracked(models, clip, tmp_path_factory):
    """A session whose objects were clicked on and tracked; not to be changed."""
    made = Session(tmp_path_factory.mktemp("tracked") / "session", models)
    made.open(clip[0])
    first, second = (clip[1][i] for i in clip[1])
    click, box = click_on(first), box_around(second)
    (x, y), *_ = click.xy
    carry_out(made, {"do": "point", "frame": click.frame, "x": x, "y": y, "label": 1})
    carry_out(made, {"do": "add"})
    carry_out(made, {"do": "box", "object": 2, "frame": box.frame, "xyxy": list(box.xyxy)})
    seen = []
    assert made.track(lambda done, total: seen.append((done, total))) == (1, 2)
    assert seen[-1][0] == seen[-1][1]
    assert made.busy is None
    yield made
    made.close()


# ---- the way through ------------------------------------------------------------------------


def test_tracks_are_of_what_was_pointed_at(tracked, clip):
    for object_id in (1, 2):
        both = either = 0
        for frame in range(len(tracked.opened())):
            one, true = tracked.tracks[object_id].mask(frame), clip[1][object_id].mask(frame)
            one = np.zeros((240, 320), bool) if one is None else one
            true = np.zeros((240, 320), bool) if true is None else true
            both, either = both + (one & true).sum(), either + (one | true).sum()
        assert both / either > 0.6


def test_descriptions_name_what_is_there(tracked, clip):
    grown = [said.text for said in asking.describe(tracked)]
    assert grown[0] == ""
    said = tracked.said[-2:]
    assert [one.result.objects for one in said] == [(1,), (2,)]
    facts = [read(one.text) for one in said]
    true = [clip[1][i].label.split() for i in (1, 2)]  # such as "large blue circle"
    right = sum((f.color == t[1]) + (f.shape == t[2]) for f, t in zip(facts, true, strict=True))
    assert right >= 3


def test_words_come_one_by_one_and_end_as_the_answer(tracked):
    texts = [said.text for said in asking.ask(tracked, "Where is <1> from <2> at the end?")]
    assert texts[0] == ""
    assert all(b.startswith(a) for a, b in pairwise(texts))
    said = tracked.said[-1]
    assert said.text == said.result.text
    assert said.result.objects == (1, 2)


def test_a_conversation_goes_on_until_something_changes(tracked):
    follows = []
    for question in ("What color is <1>?", "What shape is it?"):
        list(asking.ask(tracked, question, remember=True))
        follows.append(tracked.said[-1].follows)
    tracked.window_s = (0.0, 0.5)
    list(asking.ask(tracked, "What color is <2>?", remember=True))
    assert max(tracked.said[-1].result.times_s) < 0.5
    follows.append(tracked.said[-1].follows)
    tracked.window_s = None
    assert follows == [False, True, False]
    list(asking.ask(tracked, "What color is <2>?"))
    assert tracked.chat is None


def test_choices_have_probabilities(tracked):
    said = asking.choose(tracked, "What color is <1>?", ["red", " ", "green", "blue "])
    assert said.result.options == ("red", "green", "blue")
    assert sum(said.result.probabilities) == pytest.approx(1)
    page = feed_html(tracked)
    assert page.count("gv-option") >= 3
    assert f"{max(said.result.probabilities):.0%}" in page


def test_stopping_an_answer_keeps_its_beginning(tracked):
    before = len(tracked.said)
    words = asking.ask(tracked, "Describe <1> and <2>.")
    next(words)
    next(words)
    tracked.cancel()
    rest = list(words)
    assert len(rest) == 1
    assert rest[0].result is None
    assert len(tracked.said) == before + bool(rest[0].text)
    # And the model is free again.
    assert list(asking.ask(tracked, "What color is <1>?"))[-1].result is not None


def test_questions_left_half_way_free_the_model(tracked):
    words = asking.ask(tracked, "What color is <1>?")
    next(words)
    words.close()
    with tracked.models.answering("nano") as gar:
        assert gar.name


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        pytest.param(lambda s: list(asking.ask(s, "  ")), "empty", id="nothing-asked"),
        pytest.param(lambda s: list(asking.ask(s, "Is <9> red?")), "no object <9>", id="unknown"),
        pytest.param(lambda s: list(asking.ask(s, "x" * 5000)), "letters", id="a-novel"),
        pytest.param(lambda s: asking.choose(s, "Red?", ["yes"]), "option", id="one-option"),
        pytest.param(lambda s: asking.choose(s, "Red?", ["a", "a"]), "option", id="same-options"),
    ],
)
def test_questions_that_cannot_be_meant_leave_nothing(tracked, ask, words):
    before = list(tracked.said)
    with pytest.raises(PromptError, match=words):
        ask(tracked)
    assert tracked.said == before


# ---- pointing and tracking ------------------------------------------------------------------


def test_only_what_is_new_is_tracked_again(session, clip, monkeypatch):
    asked = []

    def track(video, prompts, *, progress, cancel):
        asked.append([(p.object_id, p.frame) for p in prompts])
        ids = {p.object_id for p in prompts}
        return Tracks.from_masks({i: np.ones((len(video), 240, 320), bool) for i in ids})

    monkeypatch.setattr(session.models.sam2("nano").model, "track", track)
    carry_out(session, {"do": "point", "frame": 0, "x": 5, "y": 5, "label": 1})
    session.track()
    carry_out(session, {"do": "add"})
    carry_out(session, {"do": "point", "object": 2, "frame": 3, "x": 9, "y": 9, "label": 1})
    session.track()
    carry_out(session, {"do": "point", "object": 1, "frame": 9, "x": 9, "y": 9, "label": 0})
    assert [session.is_stale(i) for i in (1, 2)] == [True, False]
    session.track()
    assert asked == [[(1, 0)], [(2, 3)], [(1, 0), (1, 9)]]
    with pytest.raises(PromptError, match="tracked already"):
        session.track()
    carry_out(session, {"do": "rename", "object": 2, "name": "cup"})
    assert session.tracks[2].label == "cup"
    carry_out(session, {"do": "remove", "object": 1})
    assert session.tracks.object_ids == (2,)
    carry_out(session, {"do": "undo"})
    assert session.tracks.object_ids == (1, 2)


def test_a_click_shows_at_once_what_it_means(session, clip):
    track = clip[1][1]
    click = click_on(track)
    (x, y), *_ = click.xy
    carry_out(session, {"do": "point", "frame": click.frame, "x": x, "y": y, "label": 1})
    before = view(session, click.frame)
    session.preview(1, click.frame)
    found, true = session.region(1, click.frame), track.mask(click.frame)
    assert (found & true).sum() / (found | true).sum() > 0.6
    assert (view(session, click.frame) != before).any()
    carry_out(session, {"do": "undo"})
    assert session.region(1, click.frame) is None


def test_tracking_can_be_cancelled_and_leaves_what_was(session):
    carry_out(session, {"do": "point", "frame": 0, "x": 100, "y": 100, "label": 1})
    with pytest.raises(Cancelled):
        session.track(lambda done, total: session.cancel())
    assert session.tracks is None
    assert session.busy is None
    assert session.is_stale(1)


def test_a_clip_opened_meanwhile_ends_tracking(session, clip):
    carry_out(session, {"do": "point", "frame": 0, "x": 100, "y": 100, "label": 1})
    with pytest.raises(Cancelled):
        session.track(lambda done, total: session.open(np.zeros((2, 8, 8, 3), np.uint8)))
    assert session.tracks is None
    assert state_of(session)["objects"] == []


def test_two_trackings_at_once_are_refused(session):
    carry_out(session, {"do": "point", "frame": 0, "x": 100, "y": 100, "label": 1})
    refused = []

    def again(done, total):
        with pytest.raises(PromptError, match="still tracking"):
            session.track()
        refused.append(1)
        session.cancel()

    with pytest.raises(Cancelled):
        session.track(again)
    assert refused


@pytest.mark.parametrize(
    ("gesture", "words"),
    [
        pytest.param("point", "no such gesture", id="no-mapping"),
        pytest.param({"do": "__class__"}, "no such gesture", id="unknown"),
        pytest.param({"do": "point", "frame": 0, "x": "1", "y": 1, "label": 1}, "x is", id="text"),
        pytest.param({"do": "point", "frame": 0.5, "x": 1, "y": 1, "label": 1}, "whole", id="half"),
        pytest.param({"do": "point", "frame": True, "x": 1, "y": 1, "label": 1}, "frame", id="bool"),
        pytest.param({"do": "box", "frame": 0, "xyxy": [1, 2, 3]}, "4 numbers", id="short-box"),
        pytest.param({"do": "paint", "frame": 0, "way": "x", "radius": 3}, "stroke", id="no-way"),
        pytest.param({"do": "paint", "frame": 0, "way": [[1, 1]] * 5001, "radius": 3}, "stroke", id="long-way"),
        pytest.param({"do": "remove"}, "object is", id="nothing-to-remove"),
        pytest.param({"do": "window", "span": [0.2, 0.2]}, "is empty", id="empty-window"),
        pytest.param({"do": "window", "span": [0, float("inf")]}, "number", id="endless-window"),
    ],
)  # fmt: skip
def test_gestures_are_checked(session, gesture, words):
    before = state_of(session)
    with pytest.raises(PromptError, match=words):
        carry_out(session, gesture)
    assert state_of(session) == before


def test_the_window_is_kept_inside_the_clip(session):
    carry_out(session, {"do": "window", "span": [0.7, -3]})
    assert session.window_s == (0.0, 0.7)
    carry_out(session, {"do": "window", "span": None})
    assert session.window_s is None


# ---- clips and tracks of others -------------------------------------------------------------


def test_opening_another_clip_forgets_all(session, clip):
    carry_out(session, {"do": "point", "frame": 0, "x": 100, "y": 100, "label": 1})
    carry_out(session, {"do": "window", "span": [0, 0.5]})
    session.open(np.zeros((4, 20, 30, 3), np.uint8), name="snapshot")
    state = state_of(session)
    assert (state["objects"], state["window"]) == ([], None)
    assert (state["clip"]["name"], state["clip"]["frames"]) == ("snapshot", 4)
    with pytest.raises(GARVideoError):
        session.open(__file__)
    assert state_of(session)["clip"]["name"] == "snapshot"


def test_a_photograph_is_a_clip_of_one_frame(session, clip):
    session.open(Video(clip[0])[3])
    assert state_of(session)["clip"]["photo"]
    carry_out(session, {"do": "paint", "frame": 0, "way": [[50, 50], [90, 50]], "radius": 9})
    assert session.track() == (1,)
    assert session.tracks[1].is_visible(0)
    said = list(asking.describe(session))[-1]
    assert said.result.frames == (0,)


@pytest.mark.parametrize("packed", [False, True], ids=["a-file", "a-zipped-folder"])
def test_tracks_of_others(session, clip, tmp_path, packed):
    path = tmp_path / ("masks" if packed else "tracks.json")
    clip[1].save(path)
    if packed:
        with zipfile.ZipFile(tmp_path / "masks.zip", "w") as archive:
            for file in path.iterdir():
                archive.write(file, f"masks/{file.name}")
        path = tmp_path / "masks.zip"
    session.load_tracks(path)
    assert session.tracks.object_ids == (1, 2)
    assert (session.tracks[1].mask(5) == clip[1][1].mask(5)).all()
    assert session.pointing.objects[1].name == ("" if packed else clip[1][1].label)
    assert not list(session.folder.glob("unzipped-*"))
    with pytest.raises(PromptError, match="nothing is pointed at"):
        session.track()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("../out.txt", "outside itself", id="parent"),
        pytest.param("/etc/out.txt", "outside itself", id="absolute"),
        pytest.param("..\\out.txt", "outside itself", id="backslash"),
    ],
)
def test_zips_that_reach_outside_are_refused(session, tmp_path, name, words):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), "1,1,1,1,1,1")
    with pytest.raises(GARVideoError, match=words):
        session.load_tracks(path)
    assert not list(session.folder.rglob("out.txt"))


def test_zips_of_links_and_damaged_ones_are_refused(session, tmp_path):
    link = zipfile.ZipInfo("masks")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc")
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04 nothing")
    for name, words in (("link.zip", "outside itself"), ("cut.zip", "cannot be unzipped")):
        with pytest.raises(GARVideoError, match=words):
            session.load_tracks(tmp_path / name)


# ---- what is shown --------------------------------------------------------------------------


def test_views_show_objects_unless_hidden(tracked):
    plain, drawn = view(tracked, 4, drawn=False), view(tracked, 4)
    assert plain.shape == drawn.shape == (600, 800, 3)  # small clips are enlarged
    region = np.kron(tracked.region(1, 4), np.ones((5, 5), bool))[::2, ::2]
    assert (drawn[region] != plain[region]).mean() > 0.5
    small = view(tracked, 4, side=160)
    assert small.shape == (120, 160, 3)
    assert Image.open(io.BytesIO(as_jpeg(small))).size == (160, 120)
    for object_id in (1, 2):
        carry_out(tracked, {"do": "hide", "object": object_id, "hidden": True})
    assert (view(tracked, 4) == plain).all()
    for object_id in (1, 2):
        carry_out(tracked, {"do": "hide", "object": object_id, "hidden": False})


def test_state_is_plain_and_whole(tracked):
    state = json.loads(json.dumps(state_of(tracked, "hello", True)))
    assert (state["message"], state["problem"], state["busy"]) == ("hello", True, None)
    assert state["clip"]["frames"] == len(state["clip"]["times"]) == 15
    one = state["objects"][0]
    frames = [f for a, b in one["runs"] for f in range(a, b + 1)]
    assert frames == tracked.tracks[1].frames.tolist()
    assert sum(len(marks["points"]) for marks in one["marks"].values()) == 1
    assert one["color"].startswith("#")


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param([3], [[3, 3]], id="one"),
        pytest.param([0, 1, 2, 5, 7, 8], [[0, 2], [5, 5], [7, 8]], id="several"),
    ],
)
def test_runs(frames, expected):
    assert runs(np.array(frames, int)) == expected


def test_words_of_users_and_files_never_become_html(session, clip):
    bad = "<script>alert(1)</script>"
    session.load_tracks(_saved(clip[1], session))
    carry_out(session, {"do": "rename", "object": 1, "name": bad})
    session.open(clip[0], name=bad)
    session.load_tracks(_saved(clip[1], session))
    carry_out(session, {"do": "rename", "object": 1, "name": '"><img src=x onerror=alert(1)>'})
    session.said.append(asking.Said("ask", f"{bad} <1>", bad, bad))
    page = feed_html(session)
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page
    assert bad not in exports.transcript(session)


def _saved(tracks, session):
    session.folder.mkdir(exist_ok=True)
    path = session.folder / "saved.json"
    tracks.save(path)
    return path


# ---- taking home ----------------------------------------------------------------------------


def test_exports(tracked, clip, tmp_path):
    list(asking.describe(tracked, [1]))
    said = tracked.said[-1].text
    exports.export_tracks(tracked, "json")
    again = Tracks.load(tracked.files["clip.tracks.json"], video=clip[0])
    assert again.object_ids == (1, 2)
    exports.export_tracks(tracked, "davis")
    assert zipfile.is_zipfile(tracked.files["clip.davis.zip"])
    assert exports.export_tracks(tracked, "mot")  # masks are lost, and it says so
    assert exports.export_video(tracked, lambda done, total: None) == []
    drawn = Video(tracked.files["clip.annotated.mp4"])
    assert len(drawn) == len(tracked.opened())
    drawn.close()
    exports.export_sheet(tracked)
    assert Image.open(tracked.files["clip.sheet.png"]).size[0] > 500
    exports.export_transcript(tracked)
    assert said in tracked.files["clip.transcript.md"].read_text(encoding="utf-8")
    answers = json.loads(tracked.files["clip.answers.json"].read_text(encoding="utf-8"))
    assert answers[-1]["text"] == said


def test_every_format_in_one_zip(tracked):
    notes = exports.export_all_tracks(tracked, lambda done, total: None)
    with zipfile.ZipFile(tracked.files["clip.all-formats.zip"]) as archive:
        names = archive.namelist()
    folders = {name.split("/")[0] for name in names if "/" in name}
    left_out = {note.split(":")[0] for note in notes if "left out" in note}
    assert folders | left_out == set(exports.format_names())
    assert {"json", "mot", "davis", "coco_video"} <= folders
    assert ("notes.txt" in names) == bool(notes)


@pytest.mark.parametrize(
    "export",
    [
        pytest.param(lambda s: exports.export_tracks(s, "json"), id="tracks"),
        pytest.param(lambda s: exports.export_video(s, print), id="video"),
        pytest.param(exports.export_sheet, id="sheet"),
        pytest.param(exports.export_transcript, id="transcript"),
        pytest.param(lambda s: list(asking.describe(s)), id="describe"),
    ],
)
def test_nothing_to_take_home_is_said(session, export):
    with pytest.raises(PromptError, match="yet"):
        export(session)
    assert session.files == {}


# ---- visitors -------------------------------------------------------------------------------


def test_sessions_are_apart_and_are_cleaned_up(models, clip):
    now = [0.0]
    all_of_them = Sessions(models, most=3, idle_s=100, grace_s=10, clock=lambda: now[0])
    one, other, third = (all_of_them.create() for _ in range(3))
    with pytest.raises(PromptError, match="open already"):
        all_of_them.create()
    one.open(clip[0])
    (one.folder / "kept.txt").write_text("x")
    assert other.video is None
    assert feed_html(other) == EMPTY
    assert len({one.key, other.key, third.key}) == 3
    all_of_them.leave(one.key)
    now[0] = 11.0
    assert all_of_them.get(other.key) is other
    assert all_of_them.tidy() == 1
    assert not one.folder.exists()
    with pytest.raises(PromptError, match="reload"):
        all_of_them.get(one.key)
    with pytest.raises(PromptError, match="reload"):
        one.opened()
    now[0] = 105.0
    assert all_of_them.tidy() == 1  # the third was never touched
    all_of_them.leave(other.key)
    assert all_of_them.get(other.key) is other  # came back in time
    now[0] = 120.0
    assert all_of_them.tidy() == 0
    folder = all_of_them.folder
    all_of_them.close()
    assert not folder.exists()
    assert len(all_of_them) == 0


@pytest.mark.parametrize("key", [None, 7, "", "../x", "a" * 10_000], ids=repr)
def test_no_key_but_a_session_s_own_opens_anything(models, key):
    all_of_them = Sessions(models)
    all_of_them.create()
    with pytest.raises(PromptError):
        all_of_them.get(key)
    all_of_them.close()


def test_only_models_of_the_menu_are_loaded(models, tmp_path):
    for load in (models.gar, models.sam2):
        with pytest.raises(CheckpointError, match="not offered"):
            load(str(tmp_path))
    assert "nothing is downloaded" in models.note("nano", "nano")
    assert "nothing" not in models.note("HaochenWang/GAR-1B", "nano")


def test_turns_are_given_in_order(models):
    from gar_video.app.models import Turn

    turn, order = Turn(), []
    turn.take()
    waiting = []
    for name in "ab":
        thread = threading.Thread(target=lambda n=name: (turn.take(), order.append(n), turn.give()))
        thread.start()
        waiting.append(thread)
        while len(turn._waiting) < len(waiting):
            pass
    turn.let_others()
    order.append("again")
    turn.give()
    for thread in waiting:
        thread.join(5)
    assert order == ["a", "b", "again"]
