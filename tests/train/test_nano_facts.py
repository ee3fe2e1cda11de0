from __future__ import annotations

import numpy as np
import pytest
import torch

from gar_video.processor import GARProcessor
from gar_video.train.asking import RenderedAsker
from gar_video.train.fact_heads import FactHeads, fact_truth
from gar_video.train.packing import answer_begins, lay_out
from gar_video.train.region_heads import region_truth
from gar_video.train.samples import Plan, Sample, draw_sample, pack
from gar_video.train.shipped import nano_processor


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> GARProcessor:
    return nano_processor(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def samples(processor: GARProcessor) -> list[Sample]:
    rng, asker, found = np.random.default_rng(2), RenderedAsker(processor), []
    while len(found) < 3:
        sample = draw_sample(rng, processor, Plan(4, 2))
        asker(rng, sample)
        if any(question.kind == "in common" for question in sample.questions):
            found.append(sample)
    return found


def test_answers_begin_where_their_questions_end(
    processor: GARProcessor, samples: list[Sample]
) -> None:
    layout = lay_out(pack(samples), processor.config.tokens_per_tile)
    questions = [question for sample in samples for question in sample.questions]
    begins = answer_begins(layout)
    assert layout.ids.flatten()[begins].tolist() == [question.ids[-1] for question in questions]


def test_facts_are_of_the_things_in_the_order_named(samples: list[Sample]) -> None:
    truth = fact_truth(samples, region_truth(samples))
    questions = [(sample, question) for sample in samples for question in sample.questions]
    for place, name in enumerate("ab"):
        at, answers = truth.classes[f"{name} shape"]
        assert len(at)
        for number, answer in zip(at.tolist(), answers.tolist(), strict=True):
            sample, question = questions[number]
            thing = sample.objects[question.slots[place]]
            assert answer == int(sample.truth.labels.shape[thing])
        at, centres = truth.places[f"{name} end"]
        for number, centre in zip(at.tolist(), centres.tolist(), strict=True):
            sample, question = questions[number]
            slot = question.slots[place]
            last = sample.frame_indices[int(np.flatnonzero(sample.visible[slot])[-1])]
            true = sample.truth.labels.centre[sample.objects[slot], last]
            assert centre == pytest.approx(true.tolist(), abs=1e-6)


def test_heads_read_where_answers_begin(processor: GARProcessor, samples: list[Sample]) -> None:
    layout = lay_out(pack(samples), processor.config.tokens_per_tile)
    truth = fact_truth(samples, region_truth(samples))
    heads = FactHeads(8)
    hidden = torch.randn(*layout.ids.shape, 8, requires_grad=True)
    loss, right = heads.loss(hidden, layout, truth)
    loss.backward()
    assert torch.isfinite(loss)
    assert set(right) == {*truth.classes, *truth.places}
    touched = hidden.grad.flatten(0, 1).abs().sum(1).nonzero().flatten().tolist()
    assert touched
    assert set(touched) <= set(answer_begins(layout).tolist())
