from __future__ import annotations

import numpy as np
import pytest

from gar_video import PromptError, masks
from gar_video.prompt import (
    ObjectMention,
    RegionPrompt,
    RegionSlot,
    mentioned_ids,
    multiple_choice,
    parse_question,
    slot_numbers,
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("What is it?", ["What is it?"], id="no object"),
        pytest.param("<1>", [ObjectMention(1)], id="object alone"),
        pytest.param(
            "Does <2> hit <10>?",
            ["Does ", ObjectMention(2), " hit ", ObjectMention(10), "?"],
            id="two objects",
        ),
        pytest.param("<0><0>", [ObjectMention(0), ObjectMention(0)], id="side by side"),
        pytest.param(r"the sign \<1>", ["the sign <1>"], id="escaped"),
        pytest.param("is 3 < 5?", ["is 3 < 5?"], id="less than"),
        pytest.param("a > b", ["a > b"], id="greater than"),
        pytest.param("<Prompt0> <|image|>", ["<Prompt0> <|image|>"], id="control spellings"),
        pytest.param("say <|eot_id|>", ["say <|eot_id|>"], id="stop spelling"),
        pytest.param("<NO_Prompt>", ["<NO_Prompt>"], id="no-prompt spelling"),
        pytest.param(
            "Was macht <3>? – 你好", ["Was macht ", ObjectMention(3), "? – 你好"], id="unicode"
        ),
    ],
)
def test_parse_question(text, parts):
    assert parse_question(text) == parts


@pytest.mark.parametrize(
    ("text", "match"),
    [
        pytest.param("", "empty", id="empty"),
        pytest.param("  \n", "empty", id="blank"),
        pytest.param("What does <1 do?", "malformed", id="unclosed"),
        pytest.param("What does <1", "malformed", id="unclosed at the end"),
        pytest.param("What does <> do?", "malformed", id="nothing inside"),
        pytest.param("What does <-1> do?", "malformed", id="negative"),
        pytest.param("What does <1.5> do?", "malformed", id="fraction"),
        pytest.param("What does < 1> do?", "malformed", id="space inside"),
        pytest.param("What does <1 2> do?", "malformed", id="two numbers"),
        pytest.param("What does <person> do?", "malformed", id="name"),
        pytest.param("What does <<1>> do?", "malformed", id="doubled"),
        pytest.param(7, "int", id="not text"),
    ],
)
def test_bad_question(text, match):
    with pytest.raises(PromptError, match=match):
        parse_question(text)


def test_mentions_in_order_of_first_mention():
    assert mentioned_ids(parse_question("<5> and <2>, then <5>, <9>")) == (5, 2, 9)


def test_multiple_choice_wording():
    assert multiple_choice("What is <1>? ", ["a cat", " a dog"]) == (
        "Question: What is <1>?\nOptions:\nA. a cat\nB. a dog\n"
        "Answer with the correct option's letter directly."
    )


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="none"),
        pytest.param(["a"], id="one"),
        pytest.param(["a", " a "], id="repeated"),
        pytest.param(["a", ""], id="empty"),
        pytest.param(list("abcdefghijklmnopqrstuvwxyz0"), id="27"),
        pytest.param("ab", id="a text"),
        pytest.param(["a", 3], id="a number"),
    ],
)
def test_bad_options(options):
    with pytest.raises(PromptError):
        multiple_choice("What?", options)


@pytest.mark.parametrize(
    ("count", "photo", "numbers"),
    [(1, True, (1,)), (1, False, (0,)), (3, True, (0, 1, 2)), (3, False, (0, 1, 2)), (0, True, ())],
)
def test_slot_numbers(count, photo, numbers):
    assert slot_numbers(count, describe_photo=photo) == numbers


FRAMES = np.zeros((2, 8, 8, 3), np.uint8)
SEEN = masks.encode(np.ones((8, 8), bool))


@pytest.mark.parametrize(
    ("frames", "slots", "is_image", "match"),
    [
        pytest.param(FRAMES.astype(float), (), False, "uint8", id="floats"),
        pytest.param(FRAMES[..., 0], (), False, "expected", id="gray"),
        pytest.param(FRAMES, (), True, "photograph", id="two frames as photograph"),
        pytest.param(
            FRAMES, (RegionSlot(4, 0, (SEEN,)),), False, "1 masks for 2", id="too few masks"
        ),
        pytest.param(
            FRAMES, (RegionSlot(4, 0, (None, None)),), False, "none of", id="never visible"
        ),
    ],
)
def test_bad_prompt(frames, slots, is_image, match):
    with pytest.raises(PromptError, match=match):
        RegionPrompt(frames, slots, is_image)


def test_counts_regions():
    slots = (RegionSlot(1, 0, (SEEN, None)), RegionSlot(2, 1, (SEEN, SEEN)))
    assert RegionPrompt(FRAMES, slots).num_regions == 3
