"""First weights for the layers that bring facts together, in closed form.

What is true of a thing can be read linearly at its regions. Which linear map keeps most of it in a
head's few channels is reduced-rank regression: regress the facts on the hidden states, keep the
loudest directions of what is predicted. Gradient descent finds such maps too, but from a handful of
clips a step it takes many hundred steps; a few hundred clips and one decomposition do as well.

A head's values become those directions; its output writes them where the reading tokens' own states
vary least, as loud as the states themselves.

Whether two things are alike is a product: units of the comparing layer's gated MLP open where one
thing has a colour and carry whether the other has it. A linear regression gives both factors, and
some hundred steps of gradient descent on the same states make up for what it is unsure of.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from gar_video.model import GARModel
from gar_video.train.guiding import (
    ANSWERS,
    ASKED,
    EACH,
    FIRST,
    LAST,
    MENTIONS,
    MOST,
    PAIRS,
    STARTS,
    TO_FIRST,
    TO_PREVIOUS,
    WHEN,
    time_tokens,
)
from gar_video.train.language import Step
from gar_video.train.packing import answer_begins, embed_packed, run_decoder, vision_tokens
from gar_video.train.region_heads import CLASSES

# What most questions hang on is kept before the rest.
_LOUDER = {
    "color": 3.0, "shape": 3.0, "first": 1.5, "last": 1.5, "size": 1.2,
    "its place start": 1.3, "its place end": 1.3,
}  # fmt: skip
_RIDGE = 1e-2
#: Steps in which the comparing units are fitted, and how loud their verdict is.
_FITTED_STEPS, _ALIKE_LOUD = 300, 1.5
#: What is compared of two things.
_ALIKE = ("color", "shape", "first", "last")
#: Channels for each thing's look, and for what a pair's later thing is to others.
_LOOK, _FIRST_PAIR, _LATER_PAIR = 20, 24, 16
#: By how much an answer's start prefers words of time, before the softmax.
_DECIDED = 12.0
# A fact known of fewer things is left out.
_FEWEST = 50


@torch.no_grad()
def copy_facts(model: GARModel, steps: Sequence[Step]) -> None:
    """Set the values and outputs of the guided heads so that facts pass through them.

    Args:
        model: The model, whose layers before ``MENTIONS`` know the facts at regions.
        steps: Drawn steps with questions; some hundred clips in all.
    """
    tapped = [_run(model, step, MENTIONS) for step in steps]
    norm = model.language_model.layers[MENTIONS].input_layernorm
    regions, last, told, centres, mentions = [], [], [], [], []
    per_tile = model.config.tokens_per_tile
    for step, hidden in zip(steps, tapped, strict=True):
        own = norm(hidden)[step.layout.regions].unflatten(0, (-1, per_tile))
        own = own[:, per_tile // 2 :].mean(1)  # [R, D]
        rows = step.guide.rows.unique()
        regions.append(own)
        last.append(own[rows])
        told.append({name: step.truth.classes[name][rows] for name in ASKED})
        centres.append(step.truth.numbers[:, :2])
        mentions.append(hidden[step.guide.mentions])
    width = _head_width(model)
    facts = loudest(torch.cat(last), _joined(told), width * len(LAST))
    place = torch.cat(regions)
    start = _solve(place - place.mean(0), torch.cat(centres))
    start = start / ((place - place.mean(0)) @ start).std(0)
    first = torch.cat([start, facts], 1)[:, :width]
    values = [facts[:, n * width : (n + 1) * width] for n in range(len(LAST))]
    _write(model, MENTIONS, [*values, first], [*LAST, FIRST], torch.cat(mentions))

    tapped = [_run(model, step, ANSWERS) for step in steps]
    norm = model.language_model.layers[ANSWERS].input_layernorm
    found = torch.cat([norm(h)[step.guide.mentions] for step, h in zip(steps, tapped, strict=True)])
    told = [{n: step.truth.classes[n][step.guide.rows] for n in ASKED} for step in steps]
    facts = loudest(found, _joined(told), width)
    answers = [h[answer_begins(step.layout)] for step, h in zip(steps, tapped, strict=True)]
    # Room for the answer's own state is left by giving the last thing fewer channels.
    values = [facts if n < MOST - 1 else facts[:, : width * 3 // 4] for n in range(MOST)]
    _write(model, ANSWERS, values, list(range(MOST)), torch.cat(answers))
    copy_pairs(model, steps)


@torch.no_grad()
def copy_pairs(model: GARModel, steps: Sequence[Step]) -> None:
    """Set the comparing layer so that answers about two things have what these are to each other.

    Args:
        model: The model, whose mentions know the facts.
        steps: As for ``copy_facts``.
    """
    layer = model.language_model.layers[PAIRS]
    layer.self_attn.v_proj.weight.zero_()
    layer.self_attn.o_proj.weight.zero_()
    layer.mlp.down_proj.weight.zero_()
    tapped = [_run(model, step, PAIRS) for step in steps]
    norm = layer.input_layernorm
    found = torch.cat([norm(h)[step.guide.mentions] for step, h in zip(steps, tapped, strict=True)])
    told = _joined([{n: s.truth.classes[n][s.guide.rows] for n in ASKED} for s in steps])
    look = loudest(found, {name: told[name] for name in ("color", "shape", "size")}, _LOOK)
    first = {name: classes for name, classes in told.items() if name.startswith("lead ")}
    later = {name: classes for name, classes in told.items() if name.startswith("prev ")}
    values = [look, look, loudest(found, first, _FIRST_PAIR), loudest(found, later, _LATER_PAIR)]
    answers = [h[answer_begins(step.layout)] for step, h in zip(steps, tapped, strict=True)]
    at = _write(model, PAIRS, values, [*EACH, TO_FIRST, TO_PREVIOUS], torch.cat(answers))

    # The layer's MLP still adds nothing: what comes out is what its MLP is given.
    tapped = [_run(model, step, PAIRS + 1) for step in steps]
    norm = layer.post_attention_layernorm
    both = zip(steps, tapped, strict=True)
    states = torch.cat([norm(hidden)[step.guide.pairs[:, 0]] for step, hidden in both])
    quiet, loud = _quietest(torch.cat(answers))
    unit = 0
    for name in _ALIKE:
        one, other = (
            torch.cat([step.truth.classes[name][step.guide.pairs[:, n]] for step in steps])
            for n in (1, 2)
        )
        known = (one >= 0) & (other >= 0)
        numbers = [
            number
            for number in range(CLASSES[name])
            if min(int((side[known] == number).sum()) for side in (one, other)) >= _FEWEST // 5
        ]
        if not numbers:
            continue
        gate, up, down = _fit_alike(states[known], one[known], other[known], numbers)
        units = slice(unit, unit + len(numbers))
        layer.mlp.gate_proj.weight[units] = gate
        layer.mlp.up_proj.weight[units] = up
        said = (torch.nn.functional.silu(states[known] @ gate.T) * (states[known] @ up.T)) @ down
        share = _ALIKE_LOUD * loud / said.std().clamp_min(1e-3)
        layer.mlp.down_proj.weight[:, units] = quiet[at][:, None] * down * share
        unit += len(numbers)
        at += 1


def _fit_alike(
    states: torch.Tensor, one: torch.Tensor, other: torch.Tensor, numbers: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fit gated units that add up to whether two things are alike.

    Regression says which class each of the two is, a unit for each class multiplies the two. By
    itself that hardly tells more than guessing, since what is read of each is unsure; a few hundred
    steps from there, of all units at once and against noise, make it tell.

    Args:
        states: ``[N, D]`` what the MLP is given.
        one: ``[N]`` class of the one thing.
        other: ``[N]`` class of the other.
        numbers: Classes that get a unit.

    Returns:
        Gates ``[U, D]``, ups ``[U, D]`` and weights of the units' sum ``[U]``.
    """
    generator = torch.Generator().manual_seed(0)
    start = [
        torch.stack([3 * _solve_plain(states, (side == n).float()) for n in numbers])
        for side in (one, other)
    ]
    alike = (one == other).float()
    with torch.enable_grad():
        gate, up = (rows.clone().requires_grad_() for rows in start)
        down = torch.full((len(numbers),), 0.5, requires_grad=True)
        bias = torch.zeros((), requires_grad=True)
        optimiser = torch.optim.AdamW([gate, up, down, bias], lr=1e-3, weight_decay=0.01)
        spread = states.std(0)
        for _ in range(_FITTED_STEPS):
            rows = torch.randint(len(states), (256,), generator=generator)
            blurred = states[rows] + 0.15 * spread * torch.randn(
                256, states.shape[1], generator=generator
            )
            said = (torch.nn.functional.silu(blurred @ gate.T) * (blurred @ up.T)) @ down + bias
            loss = torch.nn.functional.binary_cross_entropy_with_logits(said, alike[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return gate.detach(), up.detach(), down.detach()


@torch.no_grad()
def copy_times(model: GARModel, steps: Sequence[Step], tokenizer: PreTrainedTokenizerBase) -> None:
    """Set a head by which an answer's start finds out whether a question is about start or end.

    Its query tells answers' starts from other tokens and its key words of time, both along one
    channel that turns too slowly for positions to matter; its value tells the two apart.

    Args:
        model: The model.
        steps: As for ``copy_facts``.
        tokenizer: Spells the words.
    """
    layer, width = model.language_model.layers[MENTIONS], _head_width(model)
    times = torch.tensor(sorted(time_tokens(tokenizer)))
    starts = torch.tensor(sorted(time_tokens(tokenizer, STARTS)))
    words, of_start, others, answers, later = [], [], [], [], []
    for step in steps:
        hidden = _run(model, step, MENTIONS)
        own, ids = layer.input_layernorm(hidden), step.layout.ids.flatten()
        begins = answer_begins(step.layout)
        here = torch.isin(ids, times)
        here[begins] = False
        words.append(own[here])
        of_start.append(torch.isin(ids[here], starts))
        answers.append(own[begins])
        here[begins] = True
        rest = (~here).nonzero()[:, 0]
        others.append(own[rest[:: max(1, len(rest) // (4 * len(begins)))]])
        later += [hidden[begins], _run(model, step, PAIRS)[begins]]
    word, answer, other = torch.cat(words), torch.cat(answers), torch.cat(others)
    key, query = _between(word, torch.cat([other, answer])), _between(answer, other)
    apart = (answer @ query).mean() * ((word @ key).mean() - (other @ key).mean())
    gain = (_DECIDED * width**0.5 / apart.clamp_min(1e-3)).sqrt()
    value = _solve_plain(word, torch.cat(of_start).float() * 2 - 1)
    attention, rows = layer.self_attn, slice(WHEN * width, (WHEN + 1) * width)
    attention.q_proj.weight[rows] = 0
    attention.o_proj.weight[:, rows] = 0
    slowest = WHEN * width + width // 2 - 1
    attention.q_proj.weight[slowest], attention.k_proj.weight[slowest] = gain * query, gain * key
    # Quiet there and later on: what is asked for has to last until facts are chosen from.
    quiet = _quietest(torch.cat([states / states.pow(2).mean().sqrt() for states in later]))[0]
    attention.v_proj.weight[WHEN * width] = value
    attention.o_proj.weight[:, WHEN * width] = quiet[0] * 2 * later[0].pow(2).mean().sqrt()


def _between(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the direction ``[D]`` along which some states have 1 and others nearly 0."""
    others = others[:: max(1, len(others) // (3 * len(some)))]
    target = torch.cat([torch.ones(len(some)), torch.zeros(len(others))])
    return _solve_plain(torch.cat([some, others]), target)


def _solve_plain(states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Ridge regression of ``[N]`` on ``[N, D]`` without a constant: the MLP has none; ``[D]``."""
    square = states.T @ states
    ridge = _RIDGE * square.diagonal().mean() * torch.eye(len(square))
    return torch.linalg.solve(square + ridge, states.T @ target)


def loudest(states: torch.Tensor, facts: dict[str, torch.Tensor], rank: int) -> torch.Tensor:
    """Return the directions of states that tell most of the facts.

    Args:
        states: ``[N, D]``.
        facts: Name of a region head -> ``[N]`` classes, negative where unknown.
        rank: How many directions.

    Returns:
        ``[D, rank]``, fewer where the facts have fewer classes; what the states have along each
        has standard deviation 1.
    """
    centred = states - states.mean(0)
    maps = []
    enough = min(_FEWEST, max(int((classes >= 0).sum()) for classes in facts.values()))
    for name, classes in facts.items():
        known = classes >= 0
        if int(known.sum()) < max(enough, 1):
            continue
        target = torch.nn.functional.one_hot(classes[known], CLASSES[name]).float()
        spread = (target - target.mean(0)).std()
        own = states[known] - states[known].mean(0)
        maps.append(_solve(own, target) * _LOUDER.get(name, 1.0) / spread.clamp_min(1e-6))
    if not maps:
        return states.new_zeros(states.shape[1], 0)
    joint = torch.cat(maps, 1)  # [D, C]
    sizes, axes = torch.linalg.svd(centred @ joint, full_matrices=False)[1:]  # [C], [C, C]
    axes = axes[:rank][sizes[:rank] > 1e-4 * sizes[0]]  # one-hot classes sum up to nothing new
    directions = joint @ axes.T
    return directions / (centred @ directions).std(0).clamp_min(1e-6)


def _solve(states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Ridge regression of ``[N, C]`` on centred ``[N, D]``; ``[D, C]``."""
    square = states.T @ states
    ridge = _RIDGE * square.diagonal().mean() * torch.eye(len(square))
    return torch.linalg.solve(square + ridge, states.T @ (target - target.mean(0)))


def _write(
    model: GARModel,
    layer: int,
    values: Sequence[torch.Tensor],
    heads: Sequence[int],
    readers: torch.Tensor,
) -> int:
    """Give heads their values, and outputs in directions in which ``readers`` vary least.

    Returns:
        How many directions are taken.
    """
    attention, width = model.language_model.layers[layer].self_attn, _head_width(model)
    quiet, loud = _quietest(readers)
    at = 0
    for head, value in zip(heads, values, strict=True):
        count = value.shape[1]
        rows = slice(head * width, head * width + count)
        attention.v_proj.weight[rows] = value.T
        attention.o_proj.weight[:, rows] = quiet[at : at + count].T * loud
        at += count
    return at


def _quietest(readers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``[D, D]`` directions, the quietest first, and how loud states are on average."""
    centred = readers - readers.mean(0)
    return torch.linalg.eigh(centred.T @ centred)[1].T, readers.pow(2).mean().sqrt()


def _run(model: GARModel, step: Step, layers: int) -> torch.Tensor:
    """Return the hidden states after some layers, ``[B * L, D]``."""
    tiles, regions = vision_tokens(model, step.batch)
    embeds = embed_packed(model, step.layout, tiles, regions)
    return run_decoder(model, embeds, step.layout, (layers,), layers)[1][0].flatten(0, 1)


def _joined(told: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.cat([one[name] for one in told]) for name in ASKED}


def _head_width(model: GARModel) -> int:
    return int(model.language_model.layers[0].self_attn.head_dim)
