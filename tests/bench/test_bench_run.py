"""Runs: the same rows whether killed, sharded or batched; each clip encoded once; honest counts."""

from __future__ import annotations

import errno
import json
import random
import shutil

import pytest
from bench_minis import boxes, compressed, q_items, square, write_cap, write_q, write_vqa

from gar_video import GARVideo, Tracks
from gar_video.bench import store
from gar_video.bench.groups import group_cases, shard_groups, swap_masks
from gar_video.bench.merge import merge
from gar_video.bench.registry import load
from gar_video.bench.run import Selection, run
from gar_video.bench.settings import Settings
from gar_video.bench.wording import wording
from gar_video.errors import GARVideoError
from gar_video.prompt import ObjectMention, multiple_choice, parse_question

FAST = {"num_frames": 2, "max_new_tokens": 3}


@pytest.fixture(scope="module")
def nano():
    """The shipped checkpoint, whose small frames keep these runs short."""
    return GARVideo.from_pretrained("nano", device="cpu")


@pytest.fixture(scope="module")
def q_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("q")
    write_q(folder)
    return folder


@pytest.fixture(scope="module")
def whole(q_data, nano, tmp_path_factory):
    """One run over all questions, by letter, that others are held against."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return run("videorefer-q", q_data, out, nano, settings=Settings(score="letter", **FAST))


def stable(rows):
    """Rows without the time they took."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows.values()]


def in_order(rows):
    return sorted(stable(rows), key=lambda row: (row["group"], row["index"]))


def test_a_row_per_question_and_a_summary(whole):
    rows = whole.rows()
    assert len(rows) == 6
    row = rows["two"]
    assert row["letter"] in "ABC"
    assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-3)
    assert (row["objects"], row["error"], row["hidden"]) == (2, None, [])
    assert len(row["frames"]) == len(row["times_s"]) == 2
    summary = whole.summary
    overall = summary["overall"]
    assert (overall["total"], overall["failed"], overall["skipped"]) == (6, 0, 0)
    assert overall["correct"] == sum(row["correct"] for row in rows.values())
    assert sum(part["total"] for part in summary["per_type"].values()) == 6
    assert len(summary["per_type"]) == 5
    assert summary["complete"]


def test_the_configuration_names_what_matters(whole):
    config = whole.config
    assert len(config["model"]["sha256"]) == len(config["data"]["questions"]) == 64
    assert config["settings"]["num_frames"] == 2
    assert config["settings"]["prompt_style"] == "gar"
    assert config["version"]


def test_clips_are_encoded_once_for_each_set_of_objects(q_data, nano, tmp_path, monkeypatch):
    passes = []
    tower = nano.model.mllm.model.vision_tower
    forward = tower.forward
    monkeypatch.setattr(tower, "forward", lambda *a, **k: passes.append(1) or forward(*a, **k))
    run("videorefer-q", q_data, tmp_path / "r", nano,
        settings=Settings(score="letter", num_frames=1))  # fmt: skip
    cases = load("videorefer-q", q_data)
    sets = {(case.media, case.region_digests) for case in cases}
    assert len(passes) == len(sets) == 5 < len(cases)


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_anywhere_and_resumed(seed, whole, q_data, nano, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole.folder, out)
    text = (out / store.ROWS).read_bytes()
    (out / store.ROWS).write_bytes(text[: random.Random(seed).randrange(len(text))])
    (out / store.SUMMARY).unlink()
    again = run("videorefer-q", q_data, out, nano, settings=Settings(score="letter", **FAST))
    assert in_order(again.rows()) == in_order(whole.rows())
    lines = (out / store.ROWS).read_text().splitlines()
    assert len(lines) == 6
    assert again.summary["overall"] == whole.summary["overall"]


def test_a_finished_run_computes_nothing(whole, q_data, nano, monkeypatch):
    def never(*_args, **_kwargs):
        raise AssertionError("a model was run")

    monkeypatch.setattr(nano.model, "embed", never)
    before = (whole.folder / store.ROWS).read_bytes()
    run("videorefer-q", q_data, whole.folder, nano, settings=Settings(score="letter", **FAST))
    assert (whole.folder / store.ROWS).read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"score": "text", **FAST}, "settings.score: \"letter\" -> \"text\""),
        ({"score": "letter", **FAST, "num_frames": 3}, "settings.num_frames: 2 -> 3"),
        ({"score": "letter", **FAST, "prompt_style": "official"}, "settings.prompt_style"),
        ({"score": "letter", **FAST, "blind": True}, "settings.blind: false -> true"),
    ],
)  # fmt: skip
def test_another_configuration_is_refused(settings, named, whole, q_data, nano):
    with pytest.raises(GARVideoError) as caught:
        run("videorefer-q", q_data, whole.folder, nano, settings=Settings(**settings))
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_batch_size_gives_the_same_answers(whole, q_data, nano, tmp_path):
    settings = Settings(score="letter", batch_size=1, **FAST)
    one = run("videorefer-q", q_data, tmp_path / "r", nano, settings=settings)
    for row, other in zip(in_order(one.rows()), in_order(whole.rows()), strict=True):
        assert row.pop("probabilities") == pytest.approx(other.pop("probabilities"), abs=2e-4)
        assert row == other


def test_shards_merge_into_the_whole(whole, q_data, nano, tmp_path):
    folders = []
    for part in (3, 1, 4, 2):
        selection = Selection(q_data, shard=f"{part}/4")
        folders.append(tmp_path / str(part))
        run("videorefer-q", selection, folders[-1], nano,
            settings=Settings(score="letter", **FAST))  # fmt: skip
    with pytest.raises(GARVideoError, match="expected each of 1/4, 2/4, 3/4, 4/4 once"):
        merge(tmp_path / "few", folders[:3])
    merged = merge(tmp_path / "all", folders)
    assert list(merged.rows()) == list(whole.rows())
    assert stable(merged.rows()) == stable(whole.rows())
    seconds = ("seconds",)
    assert {k: v for k, v in merged.summary.items() if k not in seconds} == {
        k: v for k, v in whole.summary.items() if k not in seconds
    }
    assert merged.config == whole.config | {"where": merged.config["where"]}


@pytest.mark.parametrize("mode", ["single", "multi", "track"])
@pytest.mark.parametrize(("score", "style"), [("text", "gar"), ("generate", "official")])
def test_modes_and_scores(mode, score, style, q_data, nano, tmp_path):
    class Still:
        """Leaves every mask where it was pointed at."""

        def track(self, video, prompts):
            return Tracks.from_masks({one.object_id: [one.mask] * len(video) for one in prompts})

    settings = Settings(mode=mode, score=score, prompt_style=style, **FAST)
    done = run("videorefer-q", Selection(q_data, limit=4), tmp_path / "r", nano,
               settings=settings, tracker=Still())  # fmt: skip
    rows = done.rows()
    assert [row["error"] for row in rows.values()] == [None] * 4
    if score == "text":
        assert all(row["probabilities"] for row in rows.values())
    else:
        assert all(isinstance(row["text"], str) for row in rows.values())
    if mode == "single":
        assert all(2 in row["frames"] for row in rows.values())
    if mode == "multi":
        assert set(rows["3"]["frames"]) <= {0, 2, 4, 5}
    if mode == "track":
        assert len(list((done.folder / store.TRACKS).iterdir())) == 3


def test_failed_questions_are_wrong_and_listed(q_data, nano, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(q_data, data)
    items = json.loads(json.dumps(q_items()))  # items share their masks
    items[0]["annotation"] = [boxes(lambda f: compressed(square(4, 4)), [99])]
    items[2]["annotation"][0]["0"]["segmentation"] = {"size": [48, 64], "counts": "zz"}
    (data / "VideoRefer-Bench-Q.json").write_text(json.dumps(items))
    (data / "JPEGImages/clip_b/00000.jpg").write_bytes(b"no picture")
    done = run("videorefer-q", data, tmp_path / "r", nano,
               settings=Settings(score="letter", **FAST))  # fmt: skip
    failed = {row["key"]: row["error"] for row in done.rows().values() if row["error"]}
    assert set(failed) == {"0", "two", "4", "5"}
    assert "99" in failed["0"]
    assert [one["key"] for one in done.summary["failed"]] == list(failed)
    overall = done.summary["overall"]
    assert (overall["total"], overall["failed"]) == (6, len(failed))


def test_a_missing_video_ends_it_unless_skipped(q_data, nano, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(q_data, data)
    shutil.rmtree(data / "JPEGImages/clip_b")
    with pytest.raises(GARVideoError, match=r"clip_b is not there and 1 more .*--skip-missing"):
        run("videorefer-q", data, tmp_path / "r", nano)
    done = run("videorefer-q", Selection(data, skip_missing=True), tmp_path / "r", nano,
               settings=Settings(score="letter", **FAST))  # fmt: skip
    assert done.summary["skipped"] == ["4", "5"]
    assert done.summary["overall"]["total"] == 4
    assert done.summary["per_type"]["Future Predictions"] == {
        "correct": 0, "total": 0, "accuracy": None, "wilson_95": None, "strict_correct": 0,
        "correct_by_loose_reading": 0, "failed": 0, "skipped": 1,
    }  # fmt: skip


def test_blind_looks_at_nothing(q_data, nano, tmp_path, monkeypatch):
    def never(*_args, **_kwargs):
        raise AssertionError("a picture was looked at")

    monkeypatch.setattr(nano.model, "encode_tiles", never)
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(q_data / "VideoRefer-Bench-Q.json", data)
    done = run("videorefer-q", data, tmp_path / "r", nano,
               settings=Settings(score="letter", blind=True, **FAST))  # fmt: skip
    assert all(not row["frames"] and not row["error"] for row in done.rows().values())


def test_swapped_masks_are_others(q_data, nano, tmp_path):
    cases = load("videorefer-q", q_data)
    swapped = swap_masks(cases, seed=3)
    for case, other in zip(cases, swapped, strict=True):
        assert other.region_digests != case.region_digests
        assert len(other.objects) == len(case.objects)
    assert swapped[2].region_digests == cases[2].region_digests[::-1]
    # By text: nano was not taught letters, and says A whatever it sees.
    shares = []
    for swap in (False, True):
        done = run("videorefer-q", q_data, tmp_path / f"{swap}", nano,
                   settings=Settings(score="text", swap_masks=swap, **FAST))  # fmt: skip
        assert done.summary["overall"]["failed"] == 0
        shares.append([row["probabilities"] for row in in_order(done.rows())])
    assert shares[0] != shares[1]


def test_swapping_needs_another_object(tmp_path):
    write_q(tmp_path, q_items()[:2])
    with pytest.raises(GARVideoError, match="needs another object"):
        swap_masks(load("videorefer-q", tmp_path), None)


def test_a_full_disk_keeps_what_was_done(q_data, nano, tmp_path, monkeypatch):
    add = store.Appender.add
    count = []

    def fills(self, rows):
        count.append(1)
        if len(count) > 2:

            class Full:
                def write(self, _text):
                    raise OSError(errno.ENOSPC, "No space left on device")

            self._file = Full()
        add(self, rows)

    monkeypatch.setattr(store.Appender, "add", fills)
    settings = Settings(score="letter", **FAST)
    with pytest.raises(GARVideoError, match="No space left on device; what was done is kept"):
        run("videorefer-q", q_data, tmp_path / "r", nano, settings=settings)
    monkeypatch.undo()
    assert len(store.Run(tmp_path / "r").rows()) == 3
    done = run("videorefer-q", q_data, tmp_path / "r", nano, settings=settings)
    assert len(done.rows()) == 6


def test_two_at_once_are_refused(tmp_path):
    one = store.Run(tmp_path / "r")
    one.begin({"benchmark": "x"})
    with (
        one.appending(),
        pytest.raises(GARVideoError, match="another process"),
        store.Run(tmp_path / "r").appending(),
    ):
        pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: (f / "x.txt").write_text("x"), "holds other files"),
        (lambda f: (f / "config.json").write_text("{"), "the run is damaged"),
    ],
)
def test_folders_that_are_no_runs(make, message, tmp_path):
    make(tmp_path)
    with pytest.raises(GARVideoError, match=message):
        store.Run(tmp_path).begin({"benchmark": "x"})


def test_a_damaged_line_in_the_middle_is_told(tmp_path):
    (tmp_path / store.ROWS).write_text('{"key": "a"}\n{"key"\n{"key": "b"}\n')
    with pytest.raises(GARVideoError, match="line 2 is damaged"):
        store.Run(tmp_path).rows()


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b", "1/0", ""])
def test_wrong_shards(shard):
    with pytest.raises(GARVideoError, match="expected i/n"):
        shard_groups([], shard)


@pytest.mark.parametrize(
    "settings",
    [{"mode": "x"}, {"score": "x"}, {"prompt_style": "x"}, {"num_frames": 0},
     {"batch_size": 0}, {"blind": True, "swap_masks": True}],
)  # fmt: skip
def test_wrong_settings(settings):
    with pytest.raises(GARVideoError):
        Settings(**settings)


def test_track_without_a_tracker(q_data, nano, tmp_path):
    with pytest.raises(GARVideoError, match="--sam2"):
        run("videorefer-q", q_data, tmp_path / "r", nano, settings=Settings(mode="track"))


def test_groups_follow_what_is_looked_at(q_data):
    cases = load("videorefer-q", q_data)
    groups = group_cases(cases, Settings(), video=True)
    assert [[case.key for case in group.cases] for group in groups] == [
        ["0", "1"], ["two"], ["3"], ["4"], ["5"]
    ]  # fmt: skip


def test_wordings(q_data):
    case = load("videorefer-q", q_data)[2]
    gar = wording(case, Settings(), official=False)
    options = ["Yes, <2> waits.", "No, <1> turns.", "Never."]
    assert gar == parse_question(multiple_choice("Does <1> meet <2>?", options))
    official = wording(case, Settings(), official=True)
    assert official == [
        "Does ", ObjectMention(1), " meet ", ObjectMention(2), "? (A) Yes, ", ObjectMention(2),
        " waits. (B) No, ", ObjectMention(1), " turns. (C) Never.. Answer with the option's "
        "letter from the given choices directly.",
    ]  # fmt: skip


def test_letters_equal_choosing(whole, q_data, nano):
    """A question by letter is what ``GARVideo.choose`` answers on the same frames."""
    from gar_video import Video

    row = whole.rows()["0"]
    masks = {1: [square(4 + 6 * frame, 6) for frame in range(6)]}
    video = Video(q_data / "JPEGImages/clip_a")
    options = ["It goes right.", "It goes left.", "It stays.", "It jumps."]
    choice = nano.choose(
        video, Tracks.from_masks(masks), "What does <1> do?", options, by="letter",
        frames=row["frames"],
    )  # fmt: skip
    nano.forget()
    assert row["probabilities"] == pytest.approx(choice.probabilities, abs=1e-3)


def test_pictures_with_more_regions_than_prompts(loaded_gar, tmp_path):
    write_vqa(tmp_path)
    with pytest.warns(UserWarning, match="1 questions have more objects"):
        done = run("gar-bench-vqa", tmp_path, tmp_path / "r", loaded_gar,
                   settings=Settings(**FAST))  # fmt: skip
    rows = done.rows()
    assert [row["objects"] for row in rows.values()] == [1, 2, 7]
    assert not any(row["error"] for row in rows.values())


def test_captions_wait_for_a_judge(nano, tmp_path):
    write_cap(tmp_path)
    done = run("gar-bench-cap", tmp_path, tmp_path / "r", nano,
               settings=Settings(max_new_tokens=2))  # fmt: skip
    assert done.summary["judged"] is False
    assert done.summary["overall"] == {"total": 3, "failed": 0, "skipped": 0}
