"""Options as branches of one row: what each token sees, and where the answers are told from."""

from __future__ import annotations

import pytest

from gar_video.branching import branched

CASES = {
    # questions, answers, rows of ids, what each answer is told from
    "one": ([[1, 2]], [[7, 8, 9]], [[1, 2, 7, 8]], [(0, (1, 2, 3))]),
    "two options": (
        [[1, 2], [1, 2]], [[7, 9], [5, 6, 9]], [[1, 2, 7, 5, 6]], [(0, (1, 2)), (0, (1, 3, 4))],
    ),
    "an option of one token": (
        [[1, 2], [1, 2]], [[9], [5, 9]], [[1, 2, 5]], [(0, (1,)), (0, (1, 2))],
    ),
    "two questions": (
        [[1], [1], [3]], [[7, 9], [8, 9], [4, 5, 9]], [[1, 7, 8], [3, 4, 5]],
        [(0, (0, 1)), (0, (0, 2)), (1, (0, 1, 2))],
    ),
    "padding": ([[1], [3, 4, 5]], [[9], [9]], [[1, 0, 0], [3, 4, 5]], [(0, (0,)), (1, (2,))]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_rows(case):
    questions, answers, ids, sources = CASES[case]
    found = branched(questions, answers)
    assert found.ids.tolist() == ids
    assert list(found.sources) == sources


def test_places_go_on_behind_the_question():
    found = branched([[1, 2, 3]] * 2, [[7, 8, 9], [5, 9]])
    assert found.offsets.tolist() == [[0, 1, 2, 3, 4, 3]]


def test_branches_do_not_see_each_other():
    found = branched([[1, 2]] * 2 + [[3]], [[7, 8, 9], [5, 9], [9]])
    seen = (~found.hidden_from).int().tolist()
    assert seen[0] == [
        [1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 0, 0, 1],
    ]  # fmt: skip
    assert all(row[at] for row in seen for at, row in enumerate(row))  # nothing sees nothing
