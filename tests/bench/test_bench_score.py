"""Scoring rules on tables of answers, and statistics against values worked out elsewhere."""

from __future__ import annotations

import pytest

from gar_video.bench import score

# answer -> what the published rule reads, what a strict reading reads
ANSWERS = [
    ("(A)", "A", "A"),
    ("(B) It goes left.", "B", "B"),
    ("The answer is (C).", "C", "C"),
    ("(D)\n", "D", "D"),
    ("  (A) It goes right.", "A", "A"),
    ("I think (B) It goes left.", "B", "B"),
    ("(A) or (B)", "A", None),
    ("not (A), but (B)", "A", None),
    ("(A)(A)", "A", "A"),
    ("A)", "A", "A"),
    ("B) It goes left.", "B", "B"),
    ("Answer: C) It stays.", "C", "C"),
    ("A) and also B)", "A", None),
    ("A", "A", "A"),
    ("a", "A", "A"),
    ("d", "D", "D"),
    ("B.", "B", "B"),
    (".B", "B", None),
    ("C. It stays.", "C", "C"),
    ("c. It stays.", "C", "C"),
    ("D: It jumps.", "D", "D"),
    ("A, because it moves.", "A", "A"),
    ('"B"', '"', "B"),
    ("**C**", "*", "C"),
    ("A person runs.", "A", None),
    ("Because it moves.", "B", None),
    ("Certainly it stays.", "C", None),
    ("Dogs do that.", "D", None),
    ("It goes right.", "I", None),
    ("The answer is B", "T", "B"),
    ("The answer is B.", "T", "B"),
    ("Option C", "O", "C"),
    ("answer: d", "A", "D"),
    (" A", " ", "A"),
    ("\nA", "\n", "A"),
    ("", None, None),
    (".", None, None),
    ("...", None, None),
    ("...A", "A", None),
    ("(a)", "(", "A"),
    ("a)", "A", "A"),
    ("(E)", "E", None),
    ("(Z) none", "Z", None),
    ("E", "E", None),
    ("(1)", "(", None),
    ("1. A", "1", None),
    ("A or B", "A", None),
    ("Yes", "Y", None),
    ("no (see (B))", "B", "B"),
    ("(AB)", "B", None),
    ("x(A", "X", None),
    ("Ä", "Ä", None),
    ("答案是(B)", "B", "B"),
]


@pytest.mark.parametrize(
    ("text", "official", "strict"), ANSWERS, ids=[repr(text) for text, *_ in ANSWERS]
)
def test_letters(text, official, strict):
    assert score.official_letter(text) == official
    assert score.strict_letter(text, "ABCD") == strict


def test_the_table_is_long_enough_and_the_stricter_cases_are_there():
    stricter = [text for text, loose, strict in ANSWERS if loose in set("ABCD") and not strict]
    assert len(ANSWERS) >= 40
    assert len(stricter) >= 10


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("A", "A"),
        ("a", "A"),
        ("A.", None),
        ("A. red", None),
        ("", None),
        (" A", None),
        ("(A)", None),
    ],
)
def test_whole_letter(text, letter):
    assert score.whole_letter(text) == letter


OPTIONS = ["The edge is not mentioned.", "The edge is red.", "The edge is red. And blue."]


@pytest.mark.parametrize(
    ("reply", "options", "index"),
    [
        pytest.param("The edge is red.", OPTIONS, 1, id="exact"),
        pytest.param("  THE EDGE IS RED.\n", OPTIONS, 1, id="exact, spaces and case"),
        pytest.param("B", OPTIONS, 1, id="letter"),
        pytest.param("c", OPTIONS, 2, id="letter, lower"),
        pytest.param("B. The edge is red.", OPTIONS, 1, id="letter and text"),
        pytest.param("I choose: The edge is not mentioned.", OPTIONS, 0, id="one contained"),
        pytest.param("A. I am sure that the edge is red.", OPTIONS, 1, id="contained beats letter"),
        pytest.param("C. Surely", OPTIONS, 2, id="letter before a dot"),
        pytest.param("The edge is red. And blue. Surely.", OPTIONS, 2, id="longest of two at once"),
        pytest.param("No: the edge is red. Or: the edge is not mentioned.", OPTIONS, 0, id="last"),
        pytest.param("The edge is", OPTIONS, 0, id="within the longest, the first of equals"),
        pytest.param("not mentioned", OPTIONS, 0, id="within one"),
        pytest.param("B\nThe rest is unclear", OPTIONS, 1, id="letter on the first line"),
        pytest.param("Something else", OPTIONS, None, id="no match"),
        pytest.param("", OPTIONS, None, id="empty"),
        pytest.param("e", OPTIONS, None, id="no option's letter"),
        pytest.param("E. The whole", OPTIONS, None, id="no option's letter before a dot"),
        pytest.param("A. Yes", ("Yes", "No"), 0, id="recognised"),
        pytest.param("No", ("Yes", "No"), 1, id="not recognised"),
        pytest.param("I do not know", ("Yes", "No"), 1, id="contained in a word, as published"),
    ],
)
def test_match_option(reply, options, index):
    assert score.match_option(reply, options) == index


QUESTIONS = [
    {"type": "positive", "choices": [["x", 1], ["y", -1], ["z", 0.5]]},
    {"type": "positive", "choices": [["x", 1], ["y", 0]]},
    {"type": "negative", "choices": [["x", 1], ["y", -1]]},
]


@pytest.mark.parametrize(
    ("chosen", "recognised", "scores"),
    [
        ([0, 0, 0], True, (1.0, 1.0)),
        ([2, 1, 1], True, (0.25, -1.0)),
        ([0, 0, 0], False, (0.0, 0.0)),
        ([1, 0, 1], False, (-0.5, -1.0)),
        ([None, 0, None], True, (0.5, 0.0)),
    ],
)
def test_region_scores(chosen, recognised, scores):
    assert score.region_scores(QUESTIONS, chosen, recognised) == scores


def test_a_region_without_negatives_has_no_negative_score():
    assert score.region_scores(QUESTIONS[:1], [0], True) == (1.0, None)


@pytest.mark.parametrize(
    ("reply", "official", "ours"),
    [
        ("True", True, True),
        ("False", False, False),
        ("true", False, True),
        ("True.", False, True),
        (" **False** ", False, False),
        ('"True"', False, True),
        ("True, because it says so", False, None),
        ("", False, None),
        ("Yes", False, None),
    ],
)
def test_verdicts(reply, official, ours):
    assert score.official_verdict(reply) is official
    assert score.read_verdict(reply) is ours


NAMES = ("Subject Correspondence", "Temporal Description")


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('{"Subject Correspondence": 4, "Temporal Description": 0}', [4, 0]),
        ("```json\n{'subject correspondence': 5, 'temporal description': 3}\n```", [5, 3]),
        ("Subject Correspondence: 4\nTemporal Description: 2", [4, 2]),
        ("- **Subject Correspondence**: 1\n- **Temporal Description** = 5", [1, 5]),
        ('{"Subject Correspondence": 4}', None),
        ('{"Subject Correspondence": 6, "Temporal Description": 0}', None),
        ('{"Subject Correspondence": 3.5, "Temporal Description": 1}', None),
        ("Subject Correspondence: 4 Temporal Description: 2 Subject Correspondence: 1", None),
        ("I cannot tell.", None),
        ("", None),
    ],
)
def test_dimensions(reply, found):
    expected = None if found is None else dict(zip(NAMES, found, strict=True))
    assert score.read_dimensions(reply, NAMES) == expected


@pytest.mark.parametrize(
    ("correct", "total", "interval"),
    # Worked out with scipy.stats.binomtest(k, n).proportion_ci(method="wilson").
    [
        (203, 424, (0.431629, 0.526300)),
        (0, 10, (0.0, 0.277533)),
        (10, 10, (0.722467, 1.0)),
        (1, 2, (0.094531, 0.905469)),
    ],
)
def test_wilson(correct, total, interval):
    assert score.wilson(correct, total) == pytest.approx(interval, abs=2e-6)


def test_wilson_of_nothing():
    assert score.wilson(0, 0) is None


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    # Twice the tail of a fair coin; 25 against 10 from scipy.stats.binomtest(10, 35).
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (3, 3, 1.0), (10, 25, 0.016674), (9000, 9000, 1.0)],
)
def test_mcnemar(only_a, only_b, p):
    assert score.mcnemar(only_a, only_b) == pytest.approx(p, abs=1e-5)
    assert score.mcnemar(only_b, only_a) == score.mcnemar(only_a, only_b)


@pytest.mark.parametrize(
    ("pairs", "agreement", "kappa"),
    [
        ([(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15, 0.7, 0.4),
        ([(1, 1), (0, 0)], 1.0, 1.0),
        ([(1, 0), (0, 1)], 0.0, -1.0),
        ([(1, 1), (1, 1)], 1.0, None),
        ([], None, None),
    ],
)
def test_kappa(pairs, agreement, kappa):
    assert score.kappa(pairs) == (
        pytest.approx(agreement) if agreement is not None else None,
        pytest.approx(kappa) if kappa is not None else None,
    )


@pytest.mark.parametrize(
    ("name", "plural"), [("shoes", True), ("bus", False), ("cup", False), ("wine glass", True)]
)
def test_plural(name, plural):
    assert score.is_plural(name) is plural
