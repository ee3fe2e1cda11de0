"""Many questions on one clip: the clip is run once, each question sees the clip and itself.

A packed row is ``[clip's prompt | question 1 | question 2 | …]``. Positions restart after the
prompt for every question, so that what a question sees is, token for token, what it sees alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from gar_video.masks import RLE
from gar_video.model import FeatureMap, GARModel
from gar_video.processor import GARProcessor
from gar_video.prompt import RegionSlot
from gar_video.words import TokenWriter

# Stands for a mask where only its being there matters.
SOME_MASK: RLE = {"size": [1, 1], "counts": "01"}


@dataclass(frozen=True)
class Question:
    """A question with its answer, as tokens.

    Attributes:
        ids: From the end of the prompt to the answer's start.
        answer: The answer, its stop token included.
        kind: What it asks, for the curves.
        slots: Which of the prompted things it names, in its own order.
        weight: Its share in the loss.
    """

    ids: list[int]
    answer: list[int]
    kind: str = ""
    slots: tuple[int, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True)
class PromptTokens:
    """A prompt's tokens, as the processor writes them.

    Attributes:
        ids: Placeholders included.
        image_start: Where the frames' tokens begin.
        num_tiles: How many tiles stand there.
        regions: ``(slot, frame, start)`` per replayed region, in order.
    """

    ids: list[int]
    image_start: int
    num_tiles: int
    regions: list[tuple[int, int, int]]


def prompt_tokens(
    processor: GARProcessor,
    numbers: Sequence[int],
    visible: Sequence[Sequence[bool]],
    num_frames: int,
    is_image: bool = False,
) -> PromptTokens:
    """Write a prompt as ``GARProcessor`` does, without any pictures.

    Args:
        processor: The checkpoint's processor.
        numbers: Prompt number of each slot.
        visible: Per slot, in which frames it is visible.
        num_frames: Frames of the clip.
        is_image: Whether it is one photograph: a thumbnail and a tile.
    """
    writer = TokenWriter(processor)
    writer.control(processor.encode_control(processor.turns.opening))
    tiles = 2 if is_image else num_frames
    image = writer.placeholders(processor.image_id, tiles * processor.config.tokens_per_tile)
    writer.control(processor.encode_control(processor.turns.before_text))
    slots = [
        RegionSlot(0, number, tuple(SOME_MASK if seen else None for seen in row))
        for number, row in zip(numbers, visible, strict=True)
    ]
    spans = processor.write_preamble(writer, slots, is_image, is_image) if slots else []
    places = [(k, t) for k, row in enumerate(visible) for t, seen in enumerate(row) if seen]
    regions = [(k, t, span.start) for (k, t), span in zip(places, spans, strict=True)]
    return PromptTokens(writer.ids, image.start, tiles, regions)


def to_pixels(frames: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Turn ``(N, S, S, 3)`` uint8 into ``[N, 3, S, S]`` float in -1…1."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_masks(unions: npt.NDArray[np.bool_]) -> torch.Tensor:
    """Turn ``(N, S, S)`` bool into ``[N, 3, S, S]`` float."""
    return torch.from_numpy(unions).float()[:, None].expand(-1, 3, -1, -1)


@dataclass
class PackedBatch:
    """Clips with their questions, padded.

    Attributes:
        prompts: Per row, its prompt's tokens.
        questions: Per row, its questions.
        frames: ``(N, S, S, 3)`` uint8 tiles of all rows.
        unions: ``(N, S, S)`` bool, unions of prompted regions.
        boxes: ``[R, 5]`` tile index and box in shares, in the rows' order.
    """

    prompts: list[PromptTokens]
    questions: list[list[Question]]
    frames: npt.NDArray[np.uint8]
    unions: npt.NDArray[np.bool_]
    boxes: torch.Tensor


def vision_tokens(
    model: GARModel, batch: PackedBatch, trained: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode tiles and replay regions; ``[N, g*g, D]`` and ``[R, g*g, D]``."""
    with torch.set_grad_enabled(trained):
        features = model.encode_tiles(to_pixels(batch.frames), to_masks(batch.unions))
        maps = tuple(FeatureMap(first_tile=t) for t in range(len(features)))
        return features, model.replay(features, batch.boxes, maps)


@dataclass
class Layout:
    """Where everything of a packed batch lies.

    Attributes:
        ids: ``[B, P + T]`` tokens; the prompts right-padded to P, the questions to T, which is
            cut into chunks of C tokens that hold whole questions.
        positions: ``[B, P + T]``.
        prompt_length: P.
        mask: ``[B * T / C, 1, C, P + C]`` bool, what question tokens see.
        tiles: Flat indices into ``B * (P + T)`` of all tiles' tokens.
        regions: Flat indices of all replayed tokens.
        targets: Flat indices of the tokens that predict answers.
        labels: ``[M]`` what they predict.
        weights: ``[M]`` shares in the loss; a question has at most four.
        owner: ``[M]`` number of the question.
        begins: ``[Q]`` flat indices of the questions' first tokens.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    prompt_length: int
    mask: torch.Tensor
    tiles: torch.Tensor
    regions: torch.Tensor
    targets: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    owner: torch.Tensor
    begins: torch.Tensor

    def seen_by(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Say what question tokens see.

        Args:
            tokens: ``[G]`` flat indices.

        Returns:
            ``[G]`` rows, ``[G]`` where in its row each token's chunk begins, and ``[G, P + C]``
            bool, which of the prompt's and the chunk's tokens it sees.
        """
        width, chunk = self.ids.shape[1], self.mask.shape[2]
        rows, at = tokens // width, tokens % width - self.prompt_length
        numbers = rows * ((width - self.prompt_length) // chunk) + at // chunk
        starts = self.prompt_length + at // chunk * chunk
        return rows, starts, self.mask[numbers, 0, at % chunk]


# Questions see the prompt and their own chunk of this many tokens, of which they mask the rest.
_CHUNK = 128


def _in_chunks(sizes: list[int], chunk: int) -> list[int]:
    """Return where each question begins, so that none lies across a chunk's end."""
    starts, at = [], 0
    for size in sizes:
        if at % chunk + size > chunk:
            at += chunk - at % chunk
        starts.append(at)
        at += size
    return starts


def lay_out(batch: PackedBatch, per_tile: int) -> Layout:
    """Lay out a batch."""
    rows = len(batch.prompts)
    longest = max(len(prompt.ids) for prompt in batch.prompts)
    sizes = [[len(q.ids) + len(q.answer) - 1 for q in asked] for asked in batch.questions]
    chunk = max([_CHUNK, *(size for row in sizes for size in row)])
    places = [_in_chunks(row, chunk) for row in sizes]
    chunks = max(
        -(-(row[-1] + size[-1]) // chunk) if row else 0
        for row, size in zip(places, sizes, strict=True)
    )
    room = chunks * chunk
    width = longest + room
    ids = torch.zeros((rows, width), dtype=torch.int64)
    positions = torch.zeros((rows, width), dtype=torch.int64)
    group = torch.full((rows, room), -1)
    within = torch.zeros((rows, room), dtype=torch.int64)
    known = torch.zeros((rows, longest), dtype=torch.bool)
    tiles, regions, targets, labels, weights, owner = [], [], [], [], [], []
    begins = []
    count = 0
    for row, (prompt, questions) in enumerate(zip(batch.prompts, batch.questions, strict=True)):
        base, size = row * width, len(prompt.ids)
        ids[row, :size] = torch.tensor(prompt.ids)
        positions[row, :size] = torch.arange(size)
        known[row, :size] = True
        first = base + prompt.image_start
        tiles.append(torch.arange(first, first + prompt.num_tiles * per_tile))
        starts = torch.tensor([start for _, _, start in prompt.regions], dtype=torch.int64)
        regions.append((base + starts[:, None] + torch.arange(per_tile)).flatten())
        for number, (at, question) in enumerate(zip(places[row], questions, strict=True)):
            tokens = question.ids + question.answer[:-1]
            end, answers = at + len(tokens), len(question.answer)
            ids[row, longest + at : longest + end] = torch.tensor(tokens)
            positions[row, longest + at : longest + end] = torch.arange(size, size + len(tokens))
            group[row, at:end] = number
            within[row, at:end] = torch.arange(len(tokens))
            begins.append(base + longest + at)
            last = base + longest + end
            targets.append(torch.arange(last - answers, last))
            labels += question.answer
            # A long answer has few words that matter: they must not drown in the others.
            weights += [question.weight * min(1.0, 4 / answers)] * answers
            owner += [count] * answers
            count += 1
    group, within = (x.reshape(rows * chunks, chunk) for x in (group, within))
    own = (group[:, :, None] == group[:, None, :]) & (within[:, :, None] >= within[:, None, :])
    seen = known.repeat_interleave(chunks, 0)[:, None, :].expand(-1, own.shape[1], -1)
    mask = torch.cat([seen, own], 2)[:, None]
    return Layout(
        ids, positions, longest, mask, torch.cat(tiles), torch.cat(regions),
        torch.cat(targets) if targets else torch.zeros(0, dtype=torch.int64),
        torch.tensor(labels), torch.tensor(weights), torch.tensor(owner),
        torch.tensor(begins, dtype=torch.int64),
    )  # fmt: skip


def _turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    low, high = x.chunk(2, -1)
    return x * cos + torch.cat([-high, low], -1) * sin


def _read_in_chunks(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layout: Layout
) -> torch.Tensor:
    """Let each chunk of questions read the prompt and itself, ``[B, h, T, d]``."""
    prompt, chunk = layout.prompt_length, layout.mask.shape[2]
    rows, heads, _, width = query.shape
    count = len(layout.mask) // rows

    def cut(x: torch.Tensor) -> torch.Tensor:
        pieces = x[:, :, prompt:].unflatten(2, (count, chunk))  # [B, h, n, C, d]
        return pieces.transpose(1, 2).flatten(0, 1)  # [B * n, h, C, d]

    def with_prompt(x: torch.Tensor) -> torch.Tensor:
        shared = x[:, None, :, :prompt].expand(-1, count, -1, -1, -1).flatten(0, 1)
        return torch.cat([shared, cut(x)], 2)  # [B * n, h, P + C, d]

    read = F.scaled_dot_product_attention(
        cut(query), with_prompt(key), with_prompt(value), attn_mask=layout.mask
    )
    return read.unflatten(0, (rows, count)).transpose(1, 2).reshape(rows, heads, -1, width)


def run_decoder(
    model: GARModel,
    embeds: torch.Tensor,
    layout: Layout,
    taps: Sequence[int] = (),
    stop: int | None = None,
    watch: Callable[[int, torch.Tensor, torch.Tensor], None] | None = None,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Run the language model on a packed batch, with its own weights.

    Args:
        model: The model.
        embeds: ``[B, P + T, D]``.
        layout: Of the batch.
        taps: Also return the hidden states after these many layers.
        stop: Run only this many layers.
        watch: Is shown every layer's number, queries and keys, ``[B, h, P + T, d]``.

    Returns:
        ``[B, P + T, D]`` normalised hidden states, and those after ``taps`` layers.
    """
    decoder = model.language_model
    heads = decoder.config.num_attention_heads
    prompt = layout.prompt_length
    cos, sin = decoder.rotary_emb(embeds, layout.positions)  # [B, L, d]
    cos, sin = cos[:, None], sin[:, None]
    hidden, tapped = embeds, list[torch.Tensor]()
    asked = len(layout.mask) > 0
    layers = list(decoder.layers)[: stop if stop is not None else len(decoder.layers)]
    for depth, layer in enumerate(layers):
        if depth in taps:
            tapped.append(hidden)
        attention, mlp = layer.self_attn, layer.mlp
        x = layer.input_layernorm(hidden)
        query, key, value = (
            projection(x).unflatten(2, (heads, -1)).transpose(1, 2)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )  # [B, h, L, d]
        query, key = _turn(query, cos, sin), _turn(key, cos, sin)
        if watch is not None:
            watch(depth, query, key)
        seen = F.scaled_dot_product_attention(
            query[:, :, :prompt], key[:, :, :prompt], value[:, :, :prompt], is_causal=True
        )
        if asked:
            read = _read_in_chunks(query, key, value, layout)
            seen = torch.cat([seen, read], 2)
        hidden = hidden + attention.o_proj(seen.transpose(1, 2).flatten(2))
        x = layer.post_attention_layernorm(hidden)
        hidden = hidden + mlp.down_proj(F.silu(mlp.gate_proj(x)) * mlp.up_proj(x))
    if len(layers) in taps:
        tapped.append(hidden)
    return decoder.norm(hidden), tapped


def embed_packed(
    model: GARModel, layout: Layout, tiles: torch.Tensor, regions: torch.Tensor
) -> torch.Tensor:
    """Embed a packed batch, ``[B, P + T, D]``."""
    words = model.get_input_embeddings()(layout.ids)
    flat = words.flatten(0, 1)
    places = torch.cat([layout.tiles, layout.regions])
    flat = flat.index_copy(0, places, torch.cat([tiles.flatten(0, 1), regions.flatten(0, 1)]))
    return flat.view_as(words)


def answer_begins(layout: Layout) -> torch.Tensor:
    """Return ``[Q]`` flat indices of the tokens that predict the answers' first ones."""
    count = int(layout.owner[-1]) + 1
    first = torch.full((count,), len(layout.owner)).scatter_reduce(
        0, layout.owner, torch.arange(len(layout.owner)), "amin"
    )
    return layout.targets[first]


def answer_loss(
    model: GARModel, hidden: torch.Tensor, layout: Layout
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean loss of the questions, and ``[Q]`` whether each answer is right throughout.

    "Right" is every token the likeliest one given the true tokens before it.
    """
    logits = model.mllm.lm_head(hidden.flatten(0, 1)[layout.targets])  # [M, V]
    losses = F.cross_entropy(logits, layout.labels, reduction="none")
    count = int(layout.owner[-1]) + 1
    wrong = torch.zeros(count).index_add_(
        0, layout.owner, (logits.detach().argmax(1) != layout.labels).float()
    )
    return (losses * layout.weights).sum() / layout.weights.sum(), wrong == 0
