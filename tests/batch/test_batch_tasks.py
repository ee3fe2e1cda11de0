from __future__ import annotations

from pathlib import Path

import pytest

from gar_video.batch.tasks import Pairs, Task, Where, load_tasks
from gar_video.errors import GARVideoError

GOOD = """
tasks:
  - name: what
    describe: true
  - name: carrying
    ask: "Is <1> carrying anything? What?"
    where: {label: person, min_visible_s: 1.0}
  - name: direction
    choose: "Which way does <1> go?"
    options: [left, right, towards the camera, away]
    window_s: 10
  - name: meeting
    ask: "What do <1> and <2> do together?"
    pairs: {max_distance: 0.1, min_overlap_s: 2}
"""


def _write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "tasks.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_reads_the_documented_example(tmp_path: Path) -> None:
    what, carrying, direction, meeting = load_tasks(_write(tmp_path, GOOD))
    assert what == Task("what", "describe")
    assert carrying.where == Where(("person",), 1.0)
    assert direction.options == ("left", "right", "towards the camera", "away")
    assert direction.window_s == 10
    assert meeting.pairs == Pairs(0.1, 2)
    assert meeting.worded((31, 7)) == "What do <31> and <7> do together?"


def _one(body: str) -> str:
    return "tasks:\n" + body


BAD = [
    pytest.param("", "is empty", id="empty"),
    pytest.param("tasks: []", "line 1: tasks is a list of 0", id="no tasks"),
    pytest.param("task: []", "did you mean 'tasks'", id="nearest name"),
    pytest.param(_one("  - name: a\n    discribe: true"), "line 3: tasks[1] has no field 'discribe'; did you mean 'describe'", id="misspelt field"),
    pytest.param(_one("  - name: a"), "line 2: task 'a' has nothing to do", id="nothing to do"),
    pytest.param(_one("  - {name: a, describe: true, ask: 'Is <1> red?'}"), "describe and ask", id="two kinds"),
    pytest.param(_one("  - {name: a, describe: true}\n  - {name: a, ask: 'Is <1> red?'}"), "line 3: there are two tasks named 'a'", id="one name twice"),
    pytest.param(_one("  - {name: a, name: b, describe: true}"), "has 'name' twice", id="one field twice"),
    pytest.param(_one("  - {name: 'a/b', describe: true}"), "is no name of a task", id="name that is a path"),
    pytest.param(_one("  - {name: a, ask: 'Is it red?'}"), "names no object; expected <1>", id="no object"),
    pytest.param(_one("  - {name: a, ask: 'Is <1> near <2>?'}"), "add pairs", id="two objects without pairs"),
    pytest.param(_one("  - {name: a, ask: 'Is <1> red?', pairs: {max_distance: 0.1}}"), "expected <1> and <2>", id="pairs without two objects"),
    pytest.param(_one("  - {name: a, ask: 'Is <1> near <2>?', pairs: {max_distance: 10}}"), "from 0 to 1", id="distance in pixels"),
    pytest.param(_one("  - {name: a, choose: 'Where does <1> go?'}"), "between no options", id="no options"),
    pytest.param(_one("  - {name: a, choose: 'Where does <1> go?', options: [left]}"), "expected a list of 2 or more", id="one option"),
    pytest.param(_one("  - {name: a, choose: 'Where does <1> go?', options: [left, left]}"), "line 2", id="equal options"),
    pytest.param(_one("  - {name: a, choose: 'Does <1> stop?', options: [yes, no]}"), "is True; expected a text", id="options that are no texts in YAML"),
    pytest.param(_one("  - {name: a, ask: 'Is <1> red?', options: [x, y]}"), "use choose", id="options of a question"),
    pytest.param(_one("  - {name: a, ask: 'Is <1> red?', where: {min_visible_s: -1}}"), "a number of 0 or more", id="negative seconds"),
    pytest.param(_one("  - {name: a, ask: 'Is <1> red?', window_s: soon}"), "'soon'; expected a number", id="window that is no number"),
    pytest.param(_one("  - {name: a, describe: false}"), "is false", id="described not"),
    pytest.param(_one("  - {name: a, describe: true, frames: 0}"), "whole number of 1", id="no frames"),
    pytest.param("tasks:\n  - name: 'a\n", "line", id="no YAML"),
    pytest.param("tasks:\n\t- name: a", "line 2", id="tab"),
    pytest.param(b"\xff\xfe\x00", "no text", id="binary"),
    pytest.param("a: &a [1]\nb: [*a, *a]", "aliases are not taken", id="aliases"),
    pytest.param("x: " + "[" * 5000, "", id="deeply nested"),
    pytest.param("tasks: !!python/object/apply:os.system [ls]", "line 1", id="objects of Python"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), BAD)
def test_mistakes_are_named_with_their_lines(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(GARVideoError) as caught:
        load_tasks(_write(tmp_path, text))
    message = str(caught.value)
    assert said in message
    assert "tasks.yaml" in message
    assert "\n" not in message


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(GARVideoError, match="cannot read"):
        load_tasks(tmp_path / "none.yaml")


def test_the_digest_changes_with_what_answers_depend_on() -> None:
    task = Task("a", "ask", "Is <1> red?")
    same = Task("a", "ask", "Is <1> red?")
    assert task.digest == same.digest
    assert len({task.digest, Task("a", "ask", "Is <1> blue?").digest,
                Task("a", "ask", "Is <1> red?", window_s=2).digest}) == 3  # fmt: skip
