"""Examples to token rows, through the checkpoint's own processor.

A row is ``[prompt | thread 1 | thread 2 | …]``. Every thread sees the prompt and itself, and its
positions follow on the prompt's, so that it is token for token what answering it alone would read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from gar_video.masks import RLE
from gar_video.model import FeatureMap, ModelInputs
from gar_video.processor import GARProcessor
from gar_video.prompt import RegionPrompt, RegionSlot, parse_question
from gar_video.train.recipe.data.examples import Example, Thread
from gar_video.train.recipe.errors import SampleError


@dataclass(frozen=True)
class ThreadTokens:
    """A thread as tokens.

    Attributes:
        ids: Questions and answers in turn, the last stop token included.
        learned: Per token, which answer it belongs to, counted in the thread; -1 for none.
        kinds: What each answer is about.
    """

    ids: tuple[int, ...]
    learned: tuple[int, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Row:
    """A prompt with its threads.

    Attributes:
        inputs: The prompt, a batch of one.
        threads: What is asked and answered, packed after it.
        source: Where it comes from.
        dropped: Answers that did not fit the context, left out whole.
    """

    inputs: ModelInputs
    threads: tuple[ThreadTokens, ...]
    source: str
    dropped: int = 0

    @property
    def length(self) -> int:
        """Tokens of the row; a thread's last token is only predicted."""
        return self.inputs.input_ids.shape[1] + sum(len(t.ids) - 1 for t in self.threads)


class RowMaker:
    """Turns examples into rows.

    Args:
        processor: The checkpoint's processor.
        context: Longest sequence in tokens: prompt and one thread.
    """

    def __init__(self, processor: GARProcessor, context: int) -> None:
        self.processor = processor
        self.context = context

    def __call__(self, example: Example, source: str) -> Row:
        """Make a row.

        Answers that do not fit the context are left out whole and counted.

        Raises:
            SampleError: If no answer fits.
            PromptError: If an object is mentioned that is not there, or a mask does not fit.
        """
        inputs = self.processor(example.prompt)
        size = inputs.input_ids.shape[1]
        wording = self._wording(example)
        made = [self.thread(thread, wording) for thread in example.threads]
        threads = [tokens for tokens in made if size + len(tokens.ids) <= self.context]
        dropped = example.dropped + len(made) - len(threads)
        if not threads:
            raise SampleError(
                f"no answer fits the context of {self.context} tokens beside a prompt of {size}"
            )
        return Row(inputs, tuple(threads), source, dropped)

    def _wording(self, example: Example) -> RegionPrompt:
        """Return a prompt that only names objects, those asked about in vain included."""
        named = [(slot.object_id, slot.number) for slot in example.prompt.slots]
        named += list(example.absent.items())
        here = (RLE(size=[1, 1], counts="1"),)
        slots = tuple(RegionSlot(object_id, number, here) for object_id, number in named)
        frame = np.zeros((1, 1, 1, 3), np.uint8)
        return RegionPrompt(frame, slots, example.prompt.is_image, example.prompt.described)

    def thread(self, thread: Thread, wording: RegionPrompt) -> ThreadTokens:
        """Write a thread's tokens as answering and chatting read and write them."""
        ids: list[int] = []
        learned: list[int] = []
        for number, turn in enumerate(thread.turns):
            asked = self.processor.question_ids(
                parse_question(turn.question), wording, first=number == 0
            )
            if number:
                # The stop token that ends the last answer opens this turn in the template.
                if asked[0] != ids[-1]:
                    raise SampleError("the chat template does not end answers with the stop token")
                asked = asked[1:]
            told = self.processor.answer_ids(parse_question(turn.answer), wording)
            ids += asked + told
            learned += [-1] * len(asked) + [number] * len(told)
        kinds = tuple(turn.kind for turn in thread.turns)
        return ThreadTokens(tuple(ids), tuple(learned), kinds)


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows as tensors, padded on the right to one length.

    Attributes:
        inputs: All rows; threads included in ``input_ids``.
        positions: ``[B, L]`` int64.
        mask: ``[B, 1, L, L]`` bool, what each token sees; None where that is all before it.
        places: ``[M]`` flat indices into ``B * L`` of the tokens that predict answers.
        labels: ``[M]`` the tokens they are to predict.
        weights: ``[M]`` float32 shares in the loss.
        owners: ``[M]`` which answer of the batch each belongs to.
        kinds: What each answer is about.
    """

    inputs: ModelInputs
    positions: torch.Tensor
    mask: torch.Tensor | None
    places: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    owners: torch.Tensor
    kinds: tuple[str, ...]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Batch:
        """Move to a device; pixels also take a floating-point type."""
        moved = {
            name: value.to(device, non_blocking=True)
            for name in ("positions", "mask", "places", "labels", "weights", "owners")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, inputs=self.inputs.to(device, dtype), **moved)


def batch_rows(rows: Sequence[Row], loss_per: str = "token", pad_id: int = 0) -> Batch:
    """Lay rows out as one batch.

    Args:
        rows: The rows.
        loss_per: ``"token"`` weighs every answer's token the same, ``"answer"`` every answer.
        pad_id: What stands where nothing stands.
    """
    longest = max(row.length for row in rows)
    ids = torch.full((len(rows), longest), pad_id, dtype=torch.int64)
    positions = torch.arange(longest).repeat(len(rows), 1)
    segments = torch.full_like(ids, -1)  # 0 for the prompt, then 1, 2, … a thread; -1 for nothing
    image = torch.zeros_like(ids, dtype=torch.bool)
    region = torch.zeros_like(image)
    places, labels, weights, owners = [], [], [], []
    kinds: list[str] = []
    for number, row in enumerate(rows):
        size = row.inputs.input_ids.shape[1]
        ids[number, :size] = row.inputs.input_ids[0]
        image[number, :size] = row.inputs.image_positions[0]
        region[number, :size] = row.inputs.region_positions[0]
        segments[number, :size] = 0
        at = size
        for segment, thread in enumerate(row.threads, 1):
            count = len(thread.ids) - 1
            ids[number, at : at + count] = torch.tensor(thread.ids[:-1])
            positions[number, at : at + count] = torch.arange(size, size + count)
            segments[number, at : at + count] = segment
            sizes = np.bincount([n for n in thread.learned if n >= 0])
            for place, answer in enumerate(thread.learned):
                if answer < 0:
                    continue
                places.append(number * longest + at + place - 1)
                labels.append(thread.ids[place])
                weights.append(1.0 if loss_per == "token" else 1.0 / float(sizes[answer]))
                owners.append(len(kinds) + answer)
            kinds += thread.kinds
            at += count
    simple = all(len(row.threads) == 1 for row in rows)
    inputs = _together(rows, ids, image, region)
    return Batch(
        inputs=inputs,
        positions=positions,
        mask=None if simple else _seen(segments),
        places=torch.tensor(places),
        labels=torch.tensor(labels),
        weights=torch.tensor(weights),
        owners=torch.tensor(owners),
        kinds=tuple(kinds),
    )


def _seen(segments: torch.Tensor) -> torch.Tensor:
    """Return ``[B, 1, L, L]`` bool: before it, and of the prompt or of its own thread."""
    length = segments.shape[1]
    causal = torch.ones((length, length), dtype=torch.bool).tril()
    same = segments[:, :, None] == segments[:, None, :]
    prompt = (segments == 0)[:, None, :]
    return (causal & (same | prompt))[:, None]


def _together(
    rows: Sequence[Row], ids: torch.Tensor, image: torch.Tensor, region: torch.Tensor
) -> ModelInputs:
    """Put the rows' tiles, masks, boxes and feature maps together."""
    pixels, masks, boxes = [], [], []
    maps: list[FeatureMap] = []
    tiles = 0
    for row in rows:
        own = row.inputs
        pixels.append(own.pixel_values)
        # A picture without regions has an empty mask: nothing is added, and all rows are alike.
        masks.append(
            torch.zeros_like(own.pixel_values) if own.mask_values is None else own.mask_values
        )
        shifted = own.boxes.clone()
        shifted[:, 0] += len(maps)
        boxes.append(shifted)
        maps += [FeatureMap(m.first_tile + tiles, m.rows, m.columns) for m in own.feature_maps]
        tiles += len(own.pixel_values)
    return ModelInputs(
        input_ids=ids,
        pixel_values=torch.cat(pixels),
        mask_values=torch.cat(masks),
        image_positions=image,
        region_positions=region,
        boxes=torch.cat(boxes),
        feature_maps=tuple(maps),
    )
