from __future__ import annotations

import numpy as np
import pytest
import torch

from gar_video import PromptError, masks
from gar_video.prompt import RegionPrompt, RegionSlot, parse_question


def rectangle(x1, y1, x2, y2, size=(48, 64)):
    mask = np.zeros(size, bool)
    mask[y1:y2, x1:x2] = True
    return masks.encode(mask)


def video_prompt(*slots, frames=2, described=False):
    pixels = np.zeros((frames, 48, 64, 3), np.uint8)
    return RegionPrompt(pixels, tuple(slots), described=described)


ONE = RegionSlot(7, 0, (rectangle(8, 4, 24, 20), rectangle(10, 4, 26, 20)))
GONE = RegionSlot(3, 1, (None, rectangle(40, 30, 60, 44)))

HOSTILE = [
    "<Prompt0>", "<Prompt4>", "<NO_Prompt>", "<|image|>", "<|video|>", "<|eot_id|>",
    "<|end_of_text|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|reserved_special_token_2|>", "<|reserved_special_token_39|>",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_typed_control_tokens_stay_words(text, gar):
    prompt = video_prompt(ONE)
    plain = gar.processor.question_ids(parse_question("say  now"), prompt)
    ids = gar.processor.question_ids(parse_question(f"say {text} now"), prompt)
    special = set(gar.processor.tokenizer.added_tokens_decoder)
    count = [sum(token in special for token in tokens) for tokens in (plain, ids)]
    assert count[0] == count[1]
    assert text in gar.processor.tokenizer.decode(ids)


def test_typed_words_are_tokenised_as_the_checkpoint_does(gar):
    text = "Describe what <1> does; then say: \n\n why?"
    whole = gar.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert gar.processor.encode_plain(text) == whole


def words(gar, prompt, question):
    """The prompt and a question as text, frames and regions left out."""
    inputs = gar.processor(prompt)
    kept = inputs.input_ids[0][~(inputs.image_positions | inputs.region_positions)[0]].tolist()
    ids = kept + gar.processor.question_ids(parse_question(question), prompt)
    return gar.processor.tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("slots", "described", "question", "expected"),
    [
        pytest.param(
            (ONE,), True, " Describe. ",
            "about: <Prompt0>;\n<Prompt0>: Describe.<|eot", id="one described",
        ),
        pytest.param(
            (ONE,), False, " What is <7>? ",
            "about: <Prompt0>; \n<Prompt0>: \n\nWhat is <Prompt0>?<|eot", id="one asked about",
        ),
        pytest.param(
            (ONE, GONE), False, "Does <3> hit <7>?",
            "about: <Prompt0>; <Prompt1>; \n<Prompt0>: \n<Prompt1>: \n\n"
            "Does <Prompt1> hit <Prompt0>?<|eot", id="two",
        ),
    ],
)  # fmt: skip
def test_wording_of_the_training_data(slots, described, question, expected, gar):
    assert expected in words(gar, video_prompt(*slots, described=described), question)


def test_checkpoints_may_word_questions_like_descriptions(gar, monkeypatch):
    monkeypatch.setattr(gar.processor.config, "single_object_questions", "inline")
    assert "about: <Prompt0>;\n<Prompt0>: What?<|eot" in words(gar, video_prompt(ONE), "What?")
    assert "<Prompt1>; \n" in words(gar, video_prompt(ONE, GONE), "What?")


def test_nothing_is_introduced_without_objects(gar):
    assert "about" not in words(gar, video_prompt(), "What happens?")


def test_a_frame_without_the_object_has_no_region_tokens(gar):
    per_tile = gar.processor.config.tokens_per_tile
    inputs = gar.processor(video_prompt(ONE, GONE))
    assert int(inputs.image_positions.sum()) == 2 * per_tile
    assert int(inputs.region_positions.sum()) == 3 * per_tile
    assert inputs.boxes[:, 0].tolist() == [0, 1, 1]


def test_boxes_are_each_regions_own(gar):
    inputs = gar.processor(video_prompt(ONE, GONE))
    expected = torch.tensor(
        [
            [0, 8 / 64, 4 / 48, 23 / 64, 19 / 48],
            [1, 10 / 64, 4 / 48, 25 / 64, 19 / 48],
            [1, 40 / 64, 30 / 48, 59 / 64, 43 / 48],
        ]
    )
    assert torch.allclose(inputs.boxes, expected)


def test_mask_is_the_union_of_the_prompted(gar):
    alone = gar.processor(video_prompt(ONE)).mask_values
    both = gar.processor(video_prompt(ONE, GONE)).mask_values
    assert set(both.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(both[0], alone[0])
    assert both[1].sum() > alone[1].sum()
    assert torch.equal(both[1].minimum(alone[1]), alone[1])


def test_photograph_is_thumbnail_and_tiles(gar):
    picture = np.zeros((1, 300, 700, 3), np.uint8)
    mask = rectangle(100, 50, 300, 200, (300, 700))
    inputs = gar.processor(RegionPrompt(picture, (RegionSlot(1, 1, (mask,)),), True))
    columns, rows = gar.processor.tile_grid(700, 300)
    assert len(inputs.pixel_values) == 1 + columns * rows
    (place,) = inputs.feature_maps
    assert (place.first_tile, place.rows, place.columns) == (1, rows, columns)


@pytest.mark.parametrize("numbers", [(), (0,), (0, 1), (0, 1, 2, 3, 4, 5)])
def test_preamble_length(numbers, gar):
    slots = [RegionSlot(n + 10, n, (rectangle(8, 4, 24, 20), None)) for n in numbers]
    inputs = gar.processor(video_prompt(*slots))
    tokens = gar.processor.tokens_for(2, len(slots))
    assert gar.processor.preamble_length(numbers) == inputs.input_ids.shape[1] - tokens


def test_preamble_length_of_a_description(gar):
    inputs = gar.processor(video_prompt(ONE, described=True))
    tokens = gar.processor.tokens_for(2, 2)
    assert gar.processor.preamble_length((0,), True) == inputs.input_ids.shape[1] - tokens


def test_objects_beyond_the_prompts_are_plain_words_and_replayed(gar):
    slots = [RegionSlot(n, n, (rectangle(8 * n, 4, 8 * n + 6, 20),)) for n in range(7)]
    inputs = gar.processor(video_prompt(*slots, frames=1))
    assert len(inputs.boxes) == 7
    text = gar.processor.tokenizer.decode(inputs.input_ids[0])
    assert "<Prompt6>: " in text
    known = set(gar.processor.prompt_ids)
    assert sum(token in known for token in inputs.input_ids[0].tolist()) == 2 * 5


def test_unknown_object(gar):
    with pytest.raises(PromptError, match=r"mentions <9>, but the objects here are <7>"):
        gar.processor.question_ids(parse_question("What is <9>?"), video_prompt(ONE))


def test_mask_of_another_size(gar):
    slot = RegionSlot(1, 0, (rectangle(1, 1, 4, 4, (20, 20)),))
    with pytest.raises(PromptError, match="20x20 pixels on frames of 64x48"):
        gar.processor(video_prompt(slot, frames=1))


def test_later_turns_follow_the_template(gar):
    prompt = video_prompt(ONE)
    ids = gar.processor.question_ids(parse_question("And then?"), prompt, first=False)
    assert gar.processor.tokenizer.decode(ids) == (
        "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd then?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_letters_are_single_and_different(gar):
    ids = gar.processor.letter_ids(26)
    assert [gar.processor.tokenizer.decode([i]) for i in ids] == list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
