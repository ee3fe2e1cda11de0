"""Pictures in which nobody can be recognised."""

from __future__ import annotations

import types
from pathlib import Path

import cv2
import numpy as np
import pytest
from batch_runs import make_run, picture

from gar_video.batch import redacting
from gar_video.batch.lock import FolderLock
from gar_video.batch.redacting import Redactor, is_person, pixelate, redact, redact_thumbnails
from gar_video.batch.results import read_rows
from gar_video.cli import run as cli
from gar_video.errors import GARVideoError

HAS_CASCADES = hasattr(cv2, "CascadeClassifier")
NO_CASCADES = "this OpenCV has no Haar cascades and no people detector; 4 has, 5 has not"


def noise(height=120, width=160, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def finds(*boxes):
    """Stand in for a detector that sees people there."""
    return lambda image: np.array(boxes, np.float64).reshape(-1, 4)


def made(what, *boxes):
    one = Redactor(what)
    one._detect = finds(*boxes)
    return one


def colours(part) -> int:
    return len(np.unique(part.reshape(-1, 3), axis=0))


def test_pixels_are_gone_inside_and_untouched_outside():
    image = noise()
    done = pixelate(image, np.array([[40.0, 30.0, 100.0, 90.0]]))
    assert colours(done[30:90, 40:100]) <= 25
    same = (done == image).all(-1)
    same[30:90, 40:100] = True
    assert same.all()
    assert (image == noise()).all()


def test_what_is_gone_cannot_come_back():
    """Pictures that differ in what would tell a face from another become the same."""
    rng = np.random.default_rng(1)
    image = np.full((60, 60, 3), 120, np.uint8)
    other = np.clip(image.astype(int) + rng.integers(-40, 40, image.shape), 0, 255).astype(np.uint8)
    box = np.array([[0.0, 0.0, 60.0, 60.0]])
    apart = np.abs(pixelate(image, box).astype(int) - pixelate(other, box).astype(int))
    assert apart.max() <= 16


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([-20, -20, 30, 30], id="corner"),
        pytest.param([150, 100, 400, 400], id="other corner"),
        pytest.param([300, 300, 400, 400], id="outside"),
        pytest.param([50, 50, 50, 80], id="no width"),
        pytest.param([10.2, 10.7, 11.1, 11.2], id="tiny"),
    ],
)
def test_boxes_at_and_over_the_edge(box):
    assert pixelate(noise(), np.array([box], float)).shape == (120, 160, 3)


BOX = np.array([[40.0, 20.0, 80.0, 100.0]])


@pytest.mark.parametrize(
    ("redactor", "labels", "boxes", "gone", "stays"),
    [
        pytest.param(made("people", (100, 40, 130, 100)), ["car"], None, (70, 115), (70, 20), id="found"),
        pytest.param(made("people"), ["person"], BOX, (60, 60), (60, 140), id="own box"),
        pytest.param(made("people"), ["old woman"], None, (5, 5), None, id="a person somewhere"),
        pytest.param(made("people"), [None], None, (5, 5), None, id="nobody knows who"),
        pytest.param(made("people"), [None], BOX, (60, 60), (60, 140), id="nobody knows who, there"),
        pytest.param(made("people"), ["car"], BOX, None, (60, 60), id="a car"),
        pytest.param(made("faces", (50, 25, 70, 45)), ["person"], BOX, (35, 60), (90, 60), id="face"),
        pytest.param(made("faces"), ["person"], BOX, (30, 60), (90, 60), id="no face: head"),
        pytest.param(made("faces"), ["person"], None, (90, 60), None, id="no face: all"),
        pytest.param(made("faces"), ["dog"], None, None, (60, 60), id="a dog"),
    ],
)  # fmt: skip
def test_who_becomes_unrecognisable(redactor, labels, boxes, gone, stays):
    image = noise()
    done = redactor.picture(image, labels, boxes)
    if gone is not None:
        y, x = gone
        assert colours(done[y : y + 4, x : x + 4]) <= 4
    if stays is not None:
        y, x = stays
        assert (done[y : y + 4, x : x + 4] == image[y : y + 4, x : x + 4]).all()


@pytest.mark.parametrize("what", ["faces", "people"])
def test_without_a_detector_all_of_it_goes(what, monkeypatch):
    monkeypatch.setattr(redacting, "_embedded", lambda what: None)
    assert not Redactor(what).looks
    assert colours(redact(noise(), what, ["car"])) <= 8 * 11


def test_detectors_by_name(monkeypatch, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import numpy as np, supervision as sv\n"
        "class Detector:\n"
        "    def __call__(self, frame):\n"
        "        return sv.Detections(np.array([[0, 0, 40, 40], [80, 60, 120, 100]], float),\n"
        "            class_id=np.array([0, 1]), confidence=np.ones(2),\n"
        "            data={'class_name': np.array(['person', 'car'])})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    image = noise()
    done = Redactor("people", "mine:Detector").picture(image, ["car"])
    assert colours(done[5:30, 5:30]) < 40
    assert (done[70:100, 90:120] == image[70:100, 90:120]).all()


def test_jpegs():
    redactor = made("people", (60, 50, 140, 110))
    before = picture((200, 30, 30))
    after = redactor.jpeg(before, ["car"])
    assert after[:2] == b"\xff\xd8"
    assert after != before
    assert redactor.jpeg(b"no picture", ["car"]) is None
    assert redactor.jpeg(b"", ["car"]) is None


def test_thumbnails_are_drawn_without_people(monkeypatch):
    from gar_video import Tracks
    from gar_video.batch.thumbnails import thumbnail

    masks = np.zeros((1, 120, 160), bool)
    masks[:, 30:90, 60:100] = True
    tracks = Tracks.from_masks({1: masks}, labels={1: "person"})
    plain, done = (
        cv2.imdecode(np.frombuffer(thumbnail(noise(), [tracks[1]], 0, one), np.uint8), 1)
        for one in (None, made("people"))
    )
    middle = (slice(60, 100), slice(85, 125))
    assert done.shape == plain.shape
    assert plain[middle].std() > 25
    # Inside there are squares; outside the ground is as it was.
    steps = np.abs(np.diff(done[middle].astype(int), axis=1)).max(-1)
    assert np.median(steps) <= 6
    assert np.abs(plain[:20].astype(int) - done[:20]).mean() < 5


def test_thumbnails_of_a_run_are_replaced(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*.jpg")}
    pytest.importorskip("pyarrow")
    assert cli(["batch", "export", str(run), "--redact", "people"]) == 0
    assert "10 thumbnails without recognisable people" in capsys.readouterr().out
    after = {path: path.read_bytes() for path in run.rglob("*.jpg")}
    assert before.keys() == after.keys()
    assert all(after[path] != before[path] for path in before)
    with FolderLock(run), pytest.raises(GARVideoError, match="is in use"):
        redact_thumbnails(run, "faces")


@pytest.mark.parametrize(
    ("label", "is_one"),
    [
        ("person", True),
        ("Old Man", True),
        ("child-2", True),
        ("car", False),
        ("humanoid bin", False),
    ],
)
def test_words_for_people(label, is_one):
    assert is_person(label) == is_one


@pytest.mark.parametrize(
    ("what", "detector", "said"),
    [("cars", None, "'cars' cannot be redacted; expected faces or people"), ("people", "nothere", "nothere")],
)  # fmt: skip
def test_mistakes(what, detector, said):
    with pytest.raises(GARVideoError, match=said):
        Redactor(what, detector)


@pytest.mark.skipif(not HAS_CASCADES, reason=NO_CASCADES)
@pytest.mark.parametrize("what", ["faces", "people"])
def test_opencvs_own_finds_somebody(what):
    photo = _photo()
    done = redact(photo, what, ["car"])
    face = (slice(60, 250), slice(930, 1060))
    assert colours(photo[face]) > 5000
    assert colours(done[face]) < 100


def _photo():
    ultralytics = pytest.importorskip("ultralytics")
    path = Path(ultralytics.__file__).parent / "assets" / "zidane.jpg"
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


class Hog:
    """Stands in for the people detector of OpenCV 4 where this one is 5."""

    def setSVMDetector(self, weights):
        assert weights == "weights"

    def detectMultiScale(self, image, **how):
        assert min(image.shape[:2]) >= 512
        return [(100, 100, 200, 300)], [1.0]


class Cascade:
    """Stands in for its cascades: a profile to the left."""

    def __init__(self, path):
        self.profile = "profile" in path

    def detectMultiScale(self, grey, *_, **__):
        return [(0, 0, 96, 96)] if self.profile else []


@pytest.mark.parametrize(
    ("what", "wanted"),
    [
        pytest.param("faces", [[0, 0, 24, 24], [136, 0, 160, 24]], id="faces, also mirrored"),
        pytest.param(
            "people",
            [[23.4, 23.4, 70.3, 93.75], [-24, -7.2, 48, 168], [112, -7.2, 184, 168]],
            id="people, also by their faces",
        ),
    ],
)
def test_old_opencvs_detectors_are_asked(what, wanted, monkeypatch, tmp_path):
    for name in redacting._CASCADES:
        (tmp_path / f"{name}.xml").touch()
    monkeypatch.setattr(cv2, "HOGDescriptor", Hog, raising=False)
    monkeypatch.setattr(cv2, "CascadeClassifier", Cascade, raising=False)
    monkeypatch.setattr(
        cv2, "HOGDescriptor_getDefaultPeopleDetector", lambda: "weights", raising=False
    )
    monkeypatch.setattr(cv2, "data", types.SimpleNamespace(haarcascades=str(tmp_path)))
    redactor = Redactor(what)
    assert redactor.looks
    assert redactor._detect(noise()) == pytest.approx(np.array(wanted), abs=0.5)


@pytest.mark.slow
def test_a_run_writes_no_thumbnail_with_people_and_forgets_at_its_end(tmp_path):
    """From footage to pictures, as the command has it."""
    pytest.importorskip("pyarrow")
    from batch_clips import write_clip

    write_clip(tmp_path / "cam_2026-11-21_10-00-00.mp4")
    write_clip(tmp_path / "cam_2000-01-01_10-00-00.mp4")
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text("tasks:\n  - {name: what, describe: true, max_new_tokens: 4}\n")
    line = ["batch", "run", str(tmp_path), "--tasks", str(tasks), "--out", str(tmp_path / "run"),
            "--redact", "people", "--retention-days", "9000", "--quiet"]  # fmt: skip
    assert cli(line) == 0
    rows = list(read_rows(tmp_path / "run"))
    assert {row["wall_start"][:4] for row in rows} == {"2026"}
    names = {row["thumbnail"] for row in rows}
    assert len(names) == 2
    assert {p.relative_to(tmp_path / "run").as_posix() for p in tmp_path.rglob("*.jpg")} == names
    # Without a detector all is large squares, but for the outline drawn on top.
    for name in names:
        view = cv2.imread(str(tmp_path / "run" / name))
        steps = np.abs(np.diff(view.astype(int), axis=1)).max(-1)
        assert (steps <= 6).mean() > 0.8
