"""What is wrong ends in one line and status 2, at the command; what was done before stays usable."""

from __future__ import annotations

import errno
import json

import pytest
from bench_minis import q_items, vqa_items, write_cap, write_q, write_vqa

from gar_video.bench import store
from gar_video.bench.judge import JudgeRefused, Reply
from gar_video.cli import run as command
from gar_video.errors import GARVideoError

RIGHT = {"0": "(A)", "1": "(A)", "two": "(C)", "3": "(B)", "4": "(D)", "5": "(A)"}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_q(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(RIGHT))
    return tmp_path


def changed(**fields):
    return json.dumps([q_items()[0], {**q_items()[1], **fields}])


def one_line(capsys):
    said = capsys.readouterr().err.splitlines()
    errors = [line for line in said if line.startswith("error: ")]
    assert len(errors) == 1, said
    assert not any("Traceback" in line for line in said)
    return errors[0]


def score(*more):
    return [
        "bench",
        "videorefer-q",
        "--data",
        ".",
        "--answers",
        "a.json",
        "--out",
        "r",
        "-q",
        *more,
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[{", "is not valid JSON", id="no JSON"),
        pytest.param("{}", "expected a list of items", id="no list"),
        pytest.param(changed(id=0), "items 0 and 1 both have the id 0", id="ids twice"),
        pytest.param(changed(Answer="(E) x"), "item 1 (id 1): Answer is '(E) x'", id="no answer"),
        pytest.param(changed(options=None), "item 1 (id 1): options is None", id="no options"),
        pytest.param(changed(annotation=[{"0": 3}]), "annotation[0] frame 0 is 3", id="no mask"),
        pytest.param(changed(frame_idx=None), "item 1 (id 1): frame_idx is None", id="no frame"),
    ],
)
def test_wrong_questions(text, message, data, capsys):
    (data / "VideoRefer-Bench-Q.json").write_text(text)
    assert command(score()) == 2
    assert message in one_line(capsys)
    assert not (data / "r").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["--types", "x"], "no type 'x'", id="type"),
        pytest.param(["--limit", "0"], "Invalid value for '--limit'", id="limit"),
        pytest.param(["--questions", "no.json"], "no file no.json", id="questions"),
        pytest.param(["--answers", "no.json"], "no file or run at no.json", id="answers"),
        pytest.param(["--score", "odd"], "'odd' is not one of", id="score"),
        pytest.param(["--answers", "a.json"], "a second time", id="answers twice"),
    ],
)
def test_wrong_arguments(words, message, data, capsys):
    assert command(score(*words)) == 2
    assert message in one_line(capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param([], "no model; name one with --model", id="no model"),
        pytest.param(["--model", "nowhere"], "nowhere", id="no such model"),
        pytest.param(["--model", "nano", "--shard", "5/4"], "expected i/n", id="shard"),
        pytest.param(["--model", "nano", "--mode", "track"], "--sam2", id="no tracker"),
        pytest.param(["--model", "nano", "--data", "away"], "no folder away", id="no data"),
    ],
)
def test_runs_that_cannot_begin(words, message, data, capsys):
    words = ["bench", "videorefer-q", "--data", ".", "--out", "r", "-q", "--device", "cpu", *words]
    assert command(words) == 2
    assert message in one_line(capsys)
    assert not (data / "r" / store.ROWS).exists()


def test_a_missing_video_is_named(data, capsys):
    (data / "JPEGImages" / "clip_b").rename(data / "elsewhere")
    words = ["bench", "videorefer-q", "--data", ".", "--model", "nano", "--out", "r", "-q"]
    assert command(words) == 2
    assert "clip_b is not there and 1 more questions'" in one_line(capsys)


class Full:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def write(self, line):
        self._room -= len(line)
        if self._room < 0:
            self._file.write(line[: self._room])  # what still fits: a line cut off
            raise OSError(errno.ENOSPC, "No space left on device")
        self._file.write(line)

    def flush(self):
        self._file.flush()


def test_a_full_disk(data, capsys, monkeypatch):
    begin = store.Appender.__init__
    monkeypatch.setattr(
        store.Appender, "__init__", lambda self, file, path: begin(self, Full(file, 900), path)
    )
    assert command(score()) == 2
    said = one_line(capsys)
    assert "cannot write r/predictions.jsonl: No space left on device; what was done is" in said
    monkeypatch.undo()
    monkeypatch.chdir(data)
    had = list(store.Run("r").rows())
    assert 0 < len(had) < 6
    assert not (data / "r" / store.ROWS).read_bytes().endswith(b"\n")
    assert command(score()) == 0
    done = store.Run("r")
    assert list(done.rows())[: len(had)] == had
    assert done.summary["overall"]["correct"] == 6


@pytest.mark.parametrize("name", [store.CONFIG, store.SUMMARY, "report.html"])
def test_a_disk_too_full_for_a_whole_file(name, data, capsys, monkeypatch):
    from gar_video import files

    replace = files.Path.replace

    def full(self, target):
        if target.name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(files.Path, "replace", full)
    status = command(score())
    if name == "report.html":
        assert status == 0
        status = command(["bench", "show", "r", "--no-open"])
    assert status == 2
    assert f"cannot write r/{name}: No space left on device" in one_line(capsys)
    monkeypatch.setattr(files.Path, "replace", replace)
    assert [path.name for path in (data / "r").glob(".*")] == []
    assert command(score()) == 0
    assert store.Run("r").summary["overall"]["correct"] == 6


def test_another_configuration(data, capsys):
    assert command(score()) == 0
    assert command(score("--limit", "2")) == 2
    assert "holds a run with another configuration: " in one_line(capsys)
    assert store.Run("r").summary["overall"]["total"] == 6


@pytest.mark.parametrize(
    ("error", "status", "judged"),
    [
        pytest.param(GARVideoError("the judge at x refuses the key"), 2, 1, id="all of it"),
        pytest.param(JudgeRefused("the judge refused: too long"), 0, 3, id="one question"),
    ],
)
def test_a_judge_that_refuses(error, status, judged, data, capsys, monkeypatch):
    simple, detailed = write_cap(data)
    answers = [{**item, "model_output": f"text {n}"} for n, item in enumerate(simple + detailed)]
    (data / "a.json").write_text(json.dumps(answers))
    refusing = [True]

    class Judge:
        identity = {"model": "m"}  # noqa: RUF012

        def __init__(self, *_args, **_options):
            pass

        def ask(self, messages):
            if refusing[0] and "text 1" in messages[0]["content"]:
                raise error
            return Reply("True", 5, 1)

    monkeypatch.setattr("gar_video.bench.judge.ServerJudge", Judge)
    words = ["bench", "gar-bench-cap", "--data", ".", "--answers", "a.json", "--out", "r", "-q",
             "--judge-url", "http://x/v1", "--judge-model", "m", "--judge-workers", "1"]  # fmt: skip
    assert command(words) == status
    done = store.Run("r")
    assert len(done.rows(store.JUDGED)) == judged
    if status:
        assert "refuses the key" in one_line(capsys)
        refusing[0] = False
        assert command(words) == 0
        assert done.summary["overall"]["correct"] == 3
    else:
        overall = done.summary["overall"]
        assert (overall["correct"], overall["failed"], overall["total"]) == (2, 1, 3)


def test_more_objects_than_prompts_are_answered_and_said(data, capsys, monkeypatch, loaded_gar):
    from gar_video import GARVideo

    write_vqa(data, vqa_items()[1:])
    monkeypatch.setattr(GARVideo, "from_pretrained", classmethod(lambda *_, **__: loaded_gar))
    words = ["bench", "gar-bench-vqa", "--data", ".", "--model", "x", "--out", "r", "-q",
             "--score", "letter"]  # fmt: skip
    assert command(words) == 0
    said = capsys.readouterr()
    assert "warning: 1 questions have more objects than the checkpoint's 5 prompts" in said.err
    assert "1 with more objects than the checkpoint has prompts" in said.out
    done = store.Run("r")
    assert done.summary["beyond_prompts"] == 1
    assert done.summary["overall"]["failed"] == 0
