"""Finding a moment by its words, by when and where it was, and by its meaning."""

from __future__ import annotations

import importlib
import json
import sqlite3
from datetime import timezone
from pathlib import Path

import numpy as np
import pytest
from batch_runs import NIGHT, go_on, make_run
from hypothesis import given, settings
from hypothesis import strategies as st

from gar_video import batch
from gar_video.batch import searching
from gar_video.batch.search_index import INDEX, Index
from gar_video.batch.searching import Only, read_day, read_words, search
from gar_video.cli import run as cli
from gar_video.errors import CheckpointError, GARVideoError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("night") / "run")


def answers(hits) -> list[str]:
    return [hit.answer for hit in hits]


RED = "A red car turns left at the gate and stops."


@pytest.mark.parametrize(
    ("words", "first", "matched"),
    [
        pytest.param("red car turning left", RED, "all", id="by stems"),
        pytest.param("suitcases", "Yes, a heavy suitcase.", "all", id="plural"),
        pytest.param("muder hund lauft", NIGHT[2][3][1][5], "all", id="without marks"),
        pytest.param("purple car turning left", RED, "most", id="all but one"),
        pytest.param("suitcase zebra", "Yes, a heavy suitcase.", "any", id="any"),
        pytest.param("balloo", NIGHT[3][3][0][5], "prefix", id="begins so"),
        pytest.param("chim*", NIGHT[3][3][0][5], "all", id="asked to begin so"),
        pytest.param('"turning left" van', NIGHT[2][3][0][5], "all", id="held together"),
        pytest.param("a of the parked", NIGHT[1][3][0][5], "all", id="small words aside"),
    ],
)
def test_words_find_what_was_said(run, words, first, matched):
    hits = search(run, words)
    assert (hits[0].answer, hits[0].matched) == (first, matched)


def test_a_hit_says_where_and_when(run):
    hit = search(run, "white van", limit=1)[0]
    assert (hit.camera, hit.video, hit.start_s) == ("yard", "/v/yard 3.mp4", 0.0)
    assert hit.wall_start == "2026-11-21T09:00:00.000+01:00"
    assert (hit.objects, hit.labels, hit.task, hit.kind) == ((1,), ("car",), "what", "describe")
    assert hit.question is None
    assert (run / hit.thumbnail).is_file() or hit.thumbnail.startswith(str(run))


def test_short_answers_are_found_by_what_others_say_of_their_object(run):
    hits = search(run, "red car left", Only(tasks=("way",)))
    assert (hits[0].video, hits[0].answer, hits[0].matched) == (
        "/v/gate_1.mp4", "left", "all",
    )  # fmt: skip
    # Not by what is said of it at another time, nor of others.
    assert "left" not in answers(search(run, "green waits", Only(tasks=("way",))))


@pytest.mark.parametrize(
    ("only", "count"),
    [
        pytest.param(Only(), 5, id="all"),
        pytest.param(Only(cameras=("gate",)), 4, id="camera"),
        pytest.param(Only(cameras=("gate", "yard")), 5, id="cameras"),
        pytest.param(Only(labels=("dog",)), 0, id="label"),
        pytest.param(Only(tasks=("way",)), 2, id="task"),
        pytest.param(Only(until=read_day("2026-11-20", timezone.utc, end=True)), 2, id="until"),
        pytest.param(Only(since=read_day("2026-11-21T09:00:05+01:00", timezone.utc)), 1, id="since"),
        pytest.param(Only(since=read_day("2026-11-21T08:00:10+01:00", timezone.utc)), 1, id="over by then"),
    ],
)  # fmt: skip
def test_filters(run, only, count):
    assert len(search(run, "red", only)) == count


def test_labels_of_a_pair_both_count(run):
    hits = search(run, "calls", Only(labels=("dog",)))
    assert [hit.objects for hit in hits] == [(3, 4)]


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40) | st.text(alphabet="\"*()^:-+{}ANDORNEAR \\'%_;", max_size=40))
def test_no_text_breaks_the_query(run, text):
    try:
        terms = read_words(text)
    except GARVideoError:
        return
    assert terms
    search(run, text, limit=3)


@pytest.mark.parametrize(
    ("words", "only", "said"),
    [
        pytest.param("", Only(), "no word in the query ''", id="empty"),
        pytest.param('"" * ()', Only(), "no word", id="only signs"),
        pytest.param("x " + " ".join(f"w{n}" for n in range(40)), Only(), "41 words", id="long"),
        pytest.param("car", Only(cameras=("gaet",)), "no camera 'gaet' in this run; did you mean 'gate'?", id="camera"),
        pytest.param("car", Only(cameras=("Z",)), "there are gate, roof, yard", id="camera unlike all"),
        pytest.param("car", Only(labels=("persn",)), "did you mean 'person'?", id="label"),
        pytest.param("car", Only(tasks=("wat",)), "did you mean 'what'?", id="task"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(run, words, only, said):
    with pytest.raises(GARVideoError) as caught:
        search(run, words, only)
    assert said in str(caught.value)


def test_the_index_keeps_up(tmp_path):
    run = make_run(tmp_path / "run", most=1)
    assert len(search(run, "red")) == 2
    written = []
    add = Index.add

    def counted(self, rows):
        rows = list(rows)
        written.append(sorted({row["video"] for row in rows}))
        return add(self, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Index, "add", counted)
        search(run, "red")
        go_on(run)
        assert len(search(run, "red")) == 5
        search(run, "red")
    # Only what came since was read.
    assert written == [["/v/gate_2.mp4", "/v/roof.mp4", "/v/yard 3.mp4"]]


def test_retried_answers_take_the_place_of_none(tmp_path):
    run = make_run(tmp_path / "run")
    assert not search(run, "unicorn")
    night = [
        (*told[:3], [(*unit[:5], unit[5] or "A unicorn.") for unit in told[3]]) for told in NIGHT
    ]
    batch.retry_failed(run)
    go_on(run, night)
    assert answers(search(run, "unicorn")) == ["A unicorn."]
    assert len(search(run, "van")) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.write_bytes(b"no database" * 500), id="junk"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(
            lambda path: sqlite3.connect(path).executescript("UPDATE about SET value = '0' WHERE key = 'version'; "),
            id="another version",
        ),
    ],
)  # fmt: skip
def test_an_index_that_is_no_good_is_made_anew(tmp_path, spoil):
    run = make_run(tmp_path / "run")
    search(run, "red")
    spoil(run / INDEX)
    assert len(search(run, "red")) == 5


def test_an_index_that_breaks_is_said(tmp_path):
    run = make_run(tmp_path / "run")
    search(run, "red")
    with sqlite3.connect(run / INDEX) as data:
        data.execute("DROP TABLE texts")
    with pytest.raises(GARVideoError, match="remove the file"):
        search(run, "red")


# ---------------------------------------------------------------- meaning


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """A sentence model that was never trained: equal words still lie together."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("sentences")
    words = sorted({word.lower() for _, _, _, units in NIGHT for unit in units
                    for word in (unit[5] or "").replace(".", " ").replace(",", " ").split()})  # fmt: skip
    known = {word: n for n, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(known), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


def test_meaning_finds_and_joins_in(run, sentences):
    alone = search(
        run, "dog: Ein müder Hund läuft über den Hof.", embed=str(sentences), by_meaning=True
    )
    assert alone[0].answer == NIGHT[2][3][1][5]
    assert {hit.matched for hit in alone} == {"meaning"}
    assert len(alone) == 11
    both = search(run, "car: A green car waits.", embed=str(sentences))
    assert both[0].answer == "A green car waits."
    assert {hit.matched for hit in both} >= {"all", "meaning"}
    only = search(run, "green", Only(cameras=("yard",)), embed=str(sentences))
    assert {hit.camera for hit in only} == {"yard"}


def test_vectors_are_kept_and_those_of_another_model_replaced(run, sentences):
    from gar_video.batch.embedding import Embedder

    embedder = Embedder(str(sentences))
    search(run, "red", embed=embedder)
    asked = []
    encode = embedder.encode
    embedder.encode = lambda texts: (asked.append(list(texts)), encode(texts))[1]
    search(run, "red", embed=embedder)
    assert asked == [["red"]]
    with sqlite3.connect(run / INDEX) as data:
        (blob,) = data.execute("SELECT vector FROM meanings LIMIT 1").fetchone()
    assert np.linalg.norm(np.frombuffer(blob, np.float32)) == pytest.approx(1, abs=1e-5)
    embedder.identity = "another"
    search(run, "red", embed=embedder)
    assert len(asked) > 2


def test_models_that_bring_code_or_pickles_are_refused(run, sentences, tmp_path):
    import shutil

    for name, spoil in {
        "code": lambda folder: (folder / "config.json").write_text(
            json.dumps({"model_type": "mine", "auto_map": {"AutoModel": "mine.Model", "AutoConfig": "mine.Config"}})
        ),
        "pickle": lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        "nothing": lambda folder: shutil.rmtree(folder),
    }.items():  # fmt: skip
        folder = tmp_path / name
        shutil.copytree(sentences, folder)
        (folder / "mine.py").write_text("raise SystemExit('was run')")
        spoil(folder)
        with pytest.raises(CheckpointError, match="is no sentence model that can be used"):
            search(run, "red", embed=str(folder))


# ---------------------------------------------------------------- the command


def test_the_command_prints_time_camera_words_and_picture(run, capsys):
    assert cli(["batch", "search", str(run), "red car turning left", "--limit", "1"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"2026-11-20T23:50:00.000+01:00  gate  what of <1> (car): {RED}"
    assert second.startswith(f"    /v/gate_1.mp4 at 0.0 s  {run}/thumbnails/")


def test_the_command_prints_json(run, capsys):
    line = ["batch", "search", str(run), "dog", "--camera", "yard", "--label", "dog", "--json",
            "--from", "2026-11-21", "--to", "2026-11-21", "--zone", "Europe/Berlin"]  # fmt: skip
    assert cli(line) == 0
    hits = json.loads(capsys.readouterr().out)
    assert [hit["objects"] for hit in hits] == [[3, 4], [2]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param(["nowhere", "car"], "nowhere holds no run", id="no run"),
        pytest.param(["RUN", ""], "no word in the query", id="no words"),
        pytest.param(["RUN", "car", "--camera", "gatee"], "did you mean 'gate'?", id="camera"),
        pytest.param(["RUN", "car", "--from", "tomorrow"], "'tomorrow' is no time", id="time"),
        pytest.param(["RUN", "car", "--zone", "Mars"], "no time zone 'Mars'", id="zone"),
        pytest.param(["RUN", "car", "--from", "2026-11-22", "--to", "2026-11-21"], "the earlier one first", id="reversed"),
        pytest.param(["RUN", "car", "--by-meaning"], "name one with --embed", id="no model"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(run, line, said, capsys):
    assert cli(["batch", "search", *[str(run) if word == "RUN" else word for word in line]]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_answers_cannot_move_the_cursor(tmp_path, capsys):
    night = [
        ("/v/a\n.mp4", "x", None, [("what", (1,), 0.0, 1.0, [None], "bell \x07 and \x1b[2J clear")])
    ]
    run = make_run(tmp_path / "run", night)
    assert cli(["batch", "search", str(run), "bell"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert shown.count("\n") == 2


# ---------------------------------------------------------------- many rows, and real ones


@pytest.fixture
def benchmark_script(monkeypatch):
    """The benchmarks are no part of the installed package."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    return importlib.import_module("benchmarks._batch_search")


def test_many_rows_take_few_steps(tmp_path, benchmark_script):
    """Counted, not timed: benchmarks/_batch_search.py has a million rows and a clock."""
    benchmark_script.fill(tmp_path / "run", 4000)
    with Index(tmp_path / "run") as index:
        steps = [0]
        index.data.set_progress_handler(lambda: steps.__setitem__(0, steps[0] + 1), 100)
        for query in benchmark_script.QUERIES:
            steps[0] = 0
            found = searching._by_words(index.data, read_words(query), "", [], 20)
            assert len(found) == 20
            # A few steps for each row that has the words; never a look at each row's text.
            assert steps[0] * 100 < 4000 * 150, query


@pytest.mark.slow
def test_planted_events_are_found_in_rendered_footage(tmp_path, benchmark_script):
    planted = benchmark_script.plant(tmp_path / "footage", 4)
    share, missed = benchmark_script.find_planted(tmp_path, planted)
    # Of 8 things; the script, run with more of them, has to find 90 %.
    assert share >= 0.75, missed
