from __future__ import annotations

import numpy as np
import pytest
import torch

from gar_video.processor import GARProcessor
from gar_video.train.asking import RenderedAsker
from gar_video.train.guiding import (
    ANSWERS,
    ASKED_KINDS,
    CHOSEN,
    MENTIONS,
    PAIRS,
    STARTS,
    WHEN,
    Gaze,
    Guide,
    MentionHeads,
    Watch,
    draw_guide,
    time_tokens,
)
from gar_video.train.packing import Layout, answer_begins, lay_out
from gar_video.train.region_heads import region_truth
from gar_video.train.samples import Plan, Sample, draw_sample, pack
from gar_video.train.shipped import nano_processor


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> GARProcessor:
    return nano_processor(tmp_path_factory.mktemp("tokenizer"))


def _drawn(processor: GARProcessor, plan: Plan) -> tuple[list[Sample], Layout, Guide]:
    rng, asker, samples = np.random.default_rng(7), RenderedAsker(processor), list[Sample]()
    while len(samples) < 3:
        sample = draw_sample(rng, processor, plan)
        asker(rng, sample)
        if sample.questions:
            samples.append(sample)
    per_tile = processor.config.tokens_per_tile
    layout = lay_out(pack(samples), per_tile)
    times = time_tokens(processor.tokenizer)
    return samples, layout, draw_guide(samples, layout, _prompt_ids(processor), per_tile, times)


def _prompt_ids(processor: GARProcessor) -> list[int]:
    names = [f"<Prompt{n}>" for n in range(processor.config.prompt_numbers)]
    return processor.tokenizer.convert_tokens_to_ids(names)


def _looked_at(gaze: Gaze, layout: Layout) -> list[tuple[int, list[int], list[int]]]:
    """Per looking token: its flat index, the flat indices it may look at, and their ids."""
    rows, starts, seen = layout.seen_by(gaze.tokens)
    width, prompt = layout.ids.shape[1], layout.prompt_length
    found = []
    for number, token in enumerate(gaze.tokens.tolist()):
        columns = gaze.pairs[1][gaze.pairs[0] == number]
        assert bool(seen[number, columns].all()), "it is shown what it cannot see"
        own = columns >= prompt
        places = torch.where(own, starts[number] + columns - prompt, columns) + rows[number] * width
        found.append((token, places.tolist(), layout.ids.flatten()[places].tolist()))
    return found


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(Plan(4, 1), id="one thing"),
        pytest.param(Plan(4, 3), id="three things"),
        pytest.param(Plan(1, 1, is_image=True), id="a photograph, whose only thing is <Prompt1>"),
    ],
)
def test_tokens_are_shown_what_they_mean(processor: GARProcessor, plan: Plan) -> None:
    samples, layout, guide = _drawn(processor, plan)
    prompt_ids, width = _prompt_ids(processor), layout.ids.shape[1]
    half = processor.config.tokens_per_tile // 2
    numbers = [1] if plan.is_image else list(range(plan.num_objects))
    answers = set(answer_begins(layout).tolist())
    assert {gaze.layer for gaze in guide.gazes} - {CHOSEN} == {MENTIONS, ANSWERS, PAIRS}
    for gaze in guide.gazes:
        if gaze.layer in (PAIRS, CHOSEN) or (gaze.layer, gaze.head) == (MENTIONS, WHEN):
            continue
        for token, places, ids in _looked_at(gaze, layout):
            row = token // width
            if gaze.layer == ANSWERS:
                assert token in answers
                if ids[0] in prompt_ids:
                    # All mentions of one thing, in the question itself.
                    assert len(set(ids)) == 1
                    continue
            elif int(layout.ids.flatten()[token]) not in prompt_ids:
                assert token in answers, "only an answer's start may stand for a mention"
            # The second half of one region's tokens, of the thing that is meant.
            regions = [
                (slot, t, row * width + start) for slot, t, start in samples[row].prompt.regions
            ]
            ((slot, t, start),) = [r for r in regions if r[2] <= places[0] < r[2] + 2 * half]
            assert places == list(range(start + half, start + 2 * half))
            if (said := int(layout.ids.flatten()[token])) in prompt_ids:
                assert numbers[slot] == prompt_ids.index(said)
            own = [frame for s, frame, _ in regions if s == slot]
            assert t == (own[0] if (gaze.layer, gaze.head) == (MENTIONS, 2) else own[-1])


def test_pairs_are_looked_at_again_and_the_answer_of_three(processor: GARProcessor) -> None:
    samples, layout, guide = _drawn(processor, Plan(4, 3))
    questions = [question for sample in samples for question in sample.questions]
    answers, prompt_ids = answer_begins(layout).tolist(), _prompt_ids(processor)
    asked, chosen = dict(zip(answers, questions, strict=True)), 0
    for gaze in guide.gazes:
        if gaze.layer not in (PAIRS, CHOSEN):
            continue
        for token, places, ids in _looked_at(gaze, layout):
            question, seen = asked[token], {ids[0]} & set(prompt_ids)
            first_token = layout.ids.flatten()[token // layout.ids.shape[1] * layout.ids.shape[1]]
            nobody = ids == [int(first_token)]
            if gaze.layer == CHOSEN:
                chosen += 1
                assert len(question.slots) == 3
                assert seen == set(question.answer) & set(prompt_ids)
                continue
            slots = question.slots
            early, late = sorted(slots) if len(slots) == 2 else (None, None)
            whom = {
                0: slots[0] if len(slots) < 3 else None,
                1: slots[1] if len(slots) == 2 else None,
                2: late if early == 0 else None,
                3: late if early and early == late - 1 else None,
            }[gaze.head]
            if whom is None:
                assert nobody
            else:
                assert seen == {prompt_ids[whom]} or places == [token]
    assert chosen
    assert sum(len(question.slots) == 2 for question in questions) == len(guide.pairs) > 0
    regions = [slot for sample in samples for slot, _, _ in sample.prompt.regions]
    for token, one, other in guide.pairs.tolist():
        assert (regions[one], regions[other]) == asked[token].slots


def test_answers_look_at_their_own_questions_words_of_time(processor: GARProcessor) -> None:
    samples, layout, guide = _drawn(processor, Plan(4, 2))
    times = time_tokens(processor.tokenizer)
    questions = [question for sample in samples for question in sample.questions]
    answers = answer_begins(layout).tolist()
    asked = dict(zip(answers, questions, strict=True))
    (gaze,) = [g for g in guide.gazes if (g.layer, g.head) == (MENTIONS, WHEN)]
    looked = {token: ids for token, _, ids in _looked_at(gaze, layout)}
    assert looked == {
        token: [n for n in question.ids if n in times]
        for token, question in asked.items()
        if times & set(question.ids)
    }
    assert {asked[token].kind for token in looked} & {"place end", "place start", "first", "last"}
    assert [(token, ASKED_KINDS[kind]) for token, kind in guide.kinds.tolist()] == [
        (token, question.kind) for token, question in asked.items()
    ]


def test_words_of_time_are_found_in_the_vocabulary(processor: GARProcessor) -> None:
    tokenizer = processor.tokenizer
    for text, word in (("Where is it at the end?", " end"), ("Start: where?", "Start")):
        ids = set(tokenizer(text, add_special_tokens=False).input_ids)
        assert {tokenizer.decode([n]) for n in ids & time_tokens(tokenizer)} == {word}
    assert time_tokens(tokenizer, STARTS) < time_tokens(tokenizer)


def test_even_attention_has_its_share_in_the_right_place(processor: GARProcessor) -> None:
    _, layout, guide = _drawn(processor, Plan(4, 2))
    watch = Watch(guide, layout)
    query = torch.randn(len(layout.ids), 4, layout.ids.shape[1], 8)
    key = torch.ones_like(query)
    for depth in range(8):
        watch(depth, query, key)
    shares = {}
    for gaze in guide.gazes:
        seen = layout.seen_by(gaze.tokens)[2].sum(1).float()
        right = torch.bincount(gaze.pairs[0], minlength=len(gaze.tokens)).float()
        shares[f"{gaze.layer}.{gaze.head}"] = float((right / seen).mean())
    assert watch.weights == pytest.approx(shares, rel=1e-4)


def test_looking_away_costs_and_looking_there_is_free(processor: GARProcessor) -> None:
    _, layout, guide = _drawn(processor, Plan(4, 2))
    gaze = guide.gazes[0]
    rows, starts, _ = layout.seen_by(gaze.tokens)
    one = Guide([gaze], guide.mentions, guide.rows, guide.pairs, guide.kinds)
    # Keys of its own for the first token's goal; all queries ask for just that.
    query = torch.zeros(len(layout.ids), 4, layout.ids.shape[1], 8)
    query[..., 0] = 100.0
    losses = []
    for toward in (1.0, -1.0):
        key = torch.zeros_like(query)
        for number, column in gaze.pairs.T.tolist():
            row, prompt = int(rows[number]), layout.prompt_length
            at = column if column < prompt else int(starts[number]) + column - prompt
            key[row, gaze.head, at, 0] = toward
        watch = Watch(one, layout)
        watch(gaze.layer, query, key)
        losses.append(float(watch.loss))
    near, far = losses
    assert near < far
    assert far > 5


def test_heads_at_mentions_read_only_there(processor: GARProcessor) -> None:
    samples, layout, guide = _drawn(processor, Plan(4, 2))
    heads = MentionHeads(8)
    hidden = torch.randn(*layout.ids.shape, 8, requires_grad=True)
    loss, right = heads.loss(hidden, guide, region_truth(samples))
    loss.backward()
    assert {"color", "shape", "last", "kind"} <= set(right)
    touched = hidden.grad.flatten(0, 1).abs().sum(1).nonzero().flatten().tolist()
    assert touched
    assert set(touched) <= set(guide.mentions.tolist()) | set(guide.kinds[:, 0].tolist())
