"""The benchmarks' harness: pairing, statistics, files, the command line, refusals."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def _importable():
    """The benchmarks are no part of the installed package."""
    sys.path.insert(0, str(ROOT))
    yield
    sys.path.remove(str(ROOT))


@pytest.fixture
def part():
    """A module of the harness by name."""
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], (1, 3.0, 3.0, 3.0, 0.0)),
        ([4.0, 1.0, 2.0], (3, 1.0, 2.0, 4.0, 1.5)),
        ([1.0, 2.0, 3.0, 6.0], (4, 1.0, 2.5, 6.0, 2.0)),
    ],
    ids=["one", "odd", "even"],
)
def test_summary(values, expected, part):
    found = part("_timing").summarise(values)
    assert (found.n, found.min, found.median, found.max, found.spread) == expected
    assert found.as_dict()["spread"] == expected[-1]


def test_nothing_to_summarise_is_refused(part):
    with pytest.raises(ValueError, match="no measurements"):
        part("_timing").summarise([])


def test_contenders_take_turns_and_ratios_are_of_a_round(part, monkeypatch):
    timing, order, clock = part("_timing"), [], [0.0]
    costs = {"a": [9.0, 1.0, 2.0, 4.0], "b": [9.0, 3.0, 2.0, 6.0]}
    monkeypatch.setattr(timing.time, "process_time", lambda: clock[0])

    def contender(name):
        def work():
            order.append(name)
            clock[0] += costs[name].pop(0)
            return name.upper()

        return work

    timed = timing.paired({"a": contender("a"), "b": contender("b")}, repeats=3)
    assert order == ["b", "a", "a", "b", "b", "a", "a", "b"]
    assert timed.seconds == {"a": [1.0, 2.0, 4.0], "b": [3.0, 2.0, 6.0]}
    ratio = timed.ratios()["b"]
    assert (ratio.min, ratio.median, ratio.max) == (1.0, 1.5, 3.0)
    assert timed.outputs == {"a": "A", "b": "B"}


def test_contenders_that_step_take_turns_of_a_few(part, monkeypatch):
    timing, order, clock = part("_timing"), [], [0.0]
    monkeypatch.setattr(timing.time, "process_time", lambda: clock[0])

    def contender(name, steps, cost):
        def work():
            clock[0] += 10 * cost  # the start counts as well
            for step in range(steps):
                order.append(name)
                clock[0] += cost
                yield f"{name}{step}"

        return work

    timed = timing.paired_steps(
        {"a": contender("a", 5, 1.0), "b": contender("b", 3, 2.0)}, repeats=2, block=2, warm=0
    )
    assert "".join(order) == 2 * "aabbbaaa"
    assert timed.seconds == {"a": [15.0, 15.0], "b": [26.0, 26.0]}
    assert timed.outputs == {"a": ["a0", "a1", "a2", "a3", "a4"], "b": ["b0", "b1", "b2"]}


@pytest.mark.parametrize(
    "given",
    [{"contenders": {}, "repeats": 1}, {"contenders": {"a": int}, "repeats": 0},
     {"contenders": {"a": int}, "repeats": 1, "clock": "sun"}],
    ids=["nobody", "no round", "no such clock"],
)  # fmt: skip
def test_bad_pairings_are_refused(given, part):
    with pytest.raises(ValueError):
        part("_timing").paired(**given)
    with pytest.raises(ValueError):
        part("_timing").paired_steps(**given)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0], ids=["flat", "in proportion", "square"])
def test_power_law(power, part):
    sizes = [1, 2, 4, 8]
    fit = part("_results").power_law(sizes, [5.0 * size**power for size in sizes])
    assert fit["exponent"] == pytest.approx(power, abs=1e-9)
    assert fit["last_exponent"] == pytest.approx(power, abs=1e-9)


@pytest.mark.parametrize(
    ("sign", "seen", "met"),
    [("at_least", 1.5, True), ("at_least", 1.4, False), ("at_most", 1.5, True),
     ("at_most", 1.6, False)],
)  # fmt: skip
def test_targets(sign, seen, met, part):
    result = part("_results").Result("x", "what", "work")
    getattr(result, sign)("speed", 1.5, seen)
    assert result.targets[0].met is met


@pytest.fixture
def document(part):
    """A result as it is written."""
    results, timing = part("_results"), part("_timing")
    result = results.Result("fake", "this against that", "process", {"frames": 3})
    timed = timing.Paired("process", {"ours": [1.0, 2.0], "theirs": [2.0, 3.0]})
    result.add({"size": 4}, timed, equal=True)
    result.at_least("size 4", 1.0, timed.ratios()["theirs"])
    return results.as_document(result, results.Options(threads=1))


def test_document_says_where_when_and_with_what(document):
    assert document["schema"] == 1
    assert set(document["machine"]) == {
        "processor", "cores", "memory_gib", "system", "python", "threads", "device",
    }  # fmt: skip
    assert torch.__version__.startswith(document["versions"]["torch"].split("+")[0])
    assert len(document["date"]) == len("2026-01-31")
    row = document["rows"][0]
    assert row["ratios"]["theirs"] == {
        "n": 2, "min": 1.5, "median": 1.75, "max": 2.0, "spread": pytest.approx(2 / 7),
    }  # fmt: skip
    assert document["targets"][0]["met"]


def test_written_read_and_shown(document, part, tmp_path):
    results = part("_results")
    path = tmp_path / "new" / "fake.json"
    results.write(path, document)
    assert results.read(path) == json.loads(json.dumps(document))
    assert [p.name for p in path.parent.iterdir()] == ["fake.json"]
    text = part("_tables").section(results.read(path))
    assert "| 4 | 1.5 s | 2.5 s | 1.75× (1.50–2.00) | yes |" in text
    assert "wanted >= 1, seen 1.75 (1.5 to 2, n=2): met" in text
    assert part("_plots").draw(document, tmp_path / "fake.png")
    assert (tmp_path / "fake.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 99}'], ids=["empty", "list", "newer"])
def test_other_files_are_refused(content, part, tmp_path):
    results = part("_results")
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(results.BenchmarkError, match="not a benchmark's result"):
        results.read(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("key", "value"), [("processor", "Another CPU"), ("threads", 8), ("device", "A GPU")]
)
def test_machines_are_not_mixed(key, value, document, part, tmp_path, capsys):
    results = part("_results")
    other = {**document, "name": "other", "machine": {**document["machine"], key: value}}
    results.write(tmp_path / "a.json", document)
    results.write(tmp_path / "b.json", {**document, "name": "same"})
    assert part("__main__").main(["report", "--json", str(tmp_path)]) == 0
    results.write(tmp_path / "c.json", other)
    capsys.readouterr()
    assert part("__main__").main(["report", "--json", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "different machines are not put in one table" in said.err


COMMANDS = {
    "a device that is not there": (["startup", "--device", "cuda"], "no CUDA device here"),
    "all on such a device": (["all", "--device", "cuda"], "no CUDA device here"),
    "no device at all": (["startup", "--device", "toaster"], "expected cpu or cuda"),
    "an unknown benchmark": (["sped"], "there is no benchmark 'sped'"),
    "no results": (["report", "--json", "nowhere"], "no results in nowhere"),
    "no rounds": (["startup", "--repeats", "0"], "at least 1"),
}


@pytest.mark.parametrize(("argv", "message"), COMMANDS.values(), ids=COMMANDS.keys())
def test_bad_commands_are_one_line_and_2(argv, message, part, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert part("__main__").main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert message in said.err


def test_every_benchmark_is_found(part):
    found = part("__main__").found()
    assert set(found) >= {
        "questions", "clips", "choose", "tracking", "objects", "video", "replay", "tracks",
        "startup", "limits", "growth", "tracking_memory",
    }  # fmt: skip
    assert all(len(said) > 20 for said in found.values())
    assert not any(name.startswith("_") for name in found)


def test_startup_runs(part, tmp_path, capsys):
    path = tmp_path / "startup.json"
    assert part("__main__").main(["startup", "--quick", "--json", str(path)]) == 0
    document = part("_results").read(path)
    assert document["quick"]
    assert {row["case"]["process"] for row in document["rows"]} >= {"python", "--help"}
    assert "the figures mean nothing" in capsys.readouterr().out
