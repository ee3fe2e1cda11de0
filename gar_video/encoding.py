"""Encoded prompts: a clip with a set of objects, run once, kept for further questions."""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gar_video.devices import memory_guard
from gar_video.errors import PromptError
from gar_video.generation import Decoder, PrefixCache
from gar_video.processor import GARProcessor
from gar_video.prompt import RegionPrompt, RegionSlot, slot_numbers
from gar_video.sampling import TokenBudget, choose_frames, frame_window
from gar_video.tracks import Tracks
from gar_video.video import Video


@dataclass(frozen=True, eq=False)
class Look:
    """What is looked at: frames of a video and the objects pointed at in them.

    Attributes:
        video: The video.
        objects: Object ids, in order of first mention.
        frames: Frame indices, rising.
        slots: One per object; empty where no object is pointed at.
        hidden: Objects of the question that are seen in none of the frames.
        window_s: The time window asked for, in seconds; None for the whole video.
        listed: Whether the caller listed the frames.
        described: Whether the only object is to be described.
    """

    video: Video
    objects: tuple[int, ...]
    frames: tuple[int, ...]
    slots: tuple[RegionSlot, ...]
    hidden: tuple[int, ...]
    window_s: tuple[float, float] | None
    listed: bool = False
    described: bool = False

    @property
    def times_s(self) -> tuple[float, ...]:
        """Times of the frames."""
        return tuple(float(self.video.times_s[frame]) for frame in self.frames)

    @property
    def visible(self) -> dict[int, float]:
        """Per object, the share of the frames in which it is seen."""
        seen = {slot.object_id: slot.num_visible / len(self.frames) for slot in self.slots}
        return {object_id: seen.get(object_id, 0.0) for object_id in self.objects}

    @property
    def content_key(self) -> str:
        """Digest of frames, slots and masks; equal for equal looks at one video."""
        digest = hashlib.blake2b(
            repr((self.frames, self.video.is_image, self.described)).encode(), digest_size=16
        )
        for slot in self.slots:
            digest.update(f"|{slot.object_id}:{slot.number}".encode())
            for mask in slot.masks:
                digest.update(b"-" if mask is None else str(mask["counts"]).encode())
        return digest.hexdigest()

    def why_hidden(self) -> str:
        """Say which objects are not visible, and when."""
        names = ", ".join(f"<{object_id}>" for object_id in self.hidden)
        verb = "is" if len(self.hidden) == 1 else "are"
        if self.video.is_image:
            return f"{names} {verb} not visible in the picture."
        if self.listed:
            shown = ", ".join(str(frame) for frame in self.frames)
            return f"{names} {verb} not visible in the frames looked at: {shown}."
        start, end = self.window_s or (0.0, self.video.duration_s)
        end = min(end, self.video.duration_s)
        return f"{names} {verb} not visible between {start:.2f} s and {end:.2f} s."

    def prompt(self, pictures: np.ndarray | None = None) -> RegionPrompt:
        """Return the prompt, its frames decoded unless they are given."""
        frames = self.video.frames(self.frames) if pictures is None else pictures
        return RegionPrompt(frames, self.slots, self.video.is_image, self.described)


@dataclass(frozen=True, eq=False)
class Encoded:
    """A prompt whose keys and values are held.

    Attributes:
        prompt: Slots as the processor needs them for questions; its frames are not kept.
        cache: Keys and values of everything before the question.
    """

    prompt: RegionPrompt
    cache: PrefixCache


def look(
    video: Video,
    tracks: Tracks | None,
    objects: Sequence[int],
    processor: GARProcessor,
    *,
    frames: int | Sequence[int],
    time: tuple[float, float] | None,
    text_tokens: int,
    describe: bool = False,
    numbers: Sequence[int] | None = None,
    candidates: Sequence[int] | None = None,
) -> Look:
    """Choose what to look at under the context budget.

    Args:
        video: The video.
        tracks: Where its objects are; None to ask about the whole picture.
        objects: Ids, in order of first mention.
        processor: The checkpoint's processor.
        frames: How many, or which.
        time: Window in seconds.
        text_tokens: Tokens to keep free for question and answer.
        describe: Whether the only object is to be described, rather than asked about.
        numbers: N of each object's ``<PromptN>``; from 0 on, as GAR was trained, if None.
        candidates: The only frames that may be chosen, rising; with these, no ``time`` and no
            listed ``frames``.

    Raises:
        PromptError: If the window is empty or nothing fits the budget.
    """
    window = frame_window(video, time)
    seen = np.zeros((0, len(video)), dtype=bool)
    if tracks is not None:
        seen = tracks.visibility(object_ids=list(objects))  # [objects, frames]
    numbers = numbers or slot_numbers(
        len(objects), describe_photo=describe and video.is_image and processor.num_prompts > 1
    )
    left = processor.context_length - text_tokens - processor.preamble_length(numbers, describe)
    wanted = processor.token_budget
    budget = TokenBudget(
        available=left if wanted is None else min(left, wanted),
        per_tile=processor.config.tokens_per_tile,
        context=processor.context_length,
        wanted=wanted is not None and wanted < left,
    )
    if video.is_image:
        chosen = [0]
        _check_picture_fits(video, int(seen.sum()), processor, budget)
    elif candidates is not None:
        # They are numbered anew: frames between them are not to be chosen.
        places = choose_frames(
            range(len(candidates)), seen[:, list(candidates)], frames, budget,
            num_frames=len(candidates),
        )  # fmt: skip
        chosen = [candidates[place] for place in places]
    else:
        chosen = choose_frames(window, seen, frames, budget, num_frames=len(video))
    slots, hidden = [], []
    for object_id, number in zip(objects, numbers, strict=True):
        assert tracks is not None
        masks = tuple(tracks[object_id].rle(frame) for frame in chosen)
        if any(mask is not None for mask in masks):
            slots.append(RegionSlot(object_id, number, masks))
        else:
            hidden.append(object_id)
    listed = not isinstance(frames, (int, np.integer))
    return Look(
        video, tuple(objects), tuple(chosen), tuple(slots), tuple(hidden), time, listed, describe
    )


def _check_picture_fits(
    video: Video, num_regions: int, processor: GARProcessor, budget: TokenBudget
) -> None:
    columns, rows = processor.tile_grid(video.width, video.height)
    cost = processor.tokens_for(1 + columns * rows, num_regions)
    if cost > budget.available:
        if budget.wanted:
            raise budget.too_small(f"the picture with {num_regions} regions", cost)
        raise PromptError(
            f"the picture with {num_regions} regions costs {cost} tokens but {budget.available} "
            f"of {budget.context} are left beside the text; ask about fewer objects"
        )


@torch.inference_mode()
def encode(decoder: Decoder, processor: GARProcessor, prompt: RegionPrompt) -> Encoded:
    """Run the model on a prompt.

    Args:
        decoder: Runs the language model.
        processor: The checkpoint's processor.
        prompt: Frames and slots.

    Raises:
        DeviceError: If memory runs out.
    """
    model = decoder.model
    with memory_guard(f"encoding {len(prompt.frames)} frames with {len(prompt.slots)} objects"):
        inputs = processor(prompt).to(
            model.get_input_embeddings().weight.device, model.floating_dtype
        )
        cache = decoder.prefill(model.embed(inputs))
    # The frames have done their work; only the slots are needed to word questions.
    slim = RegionPrompt(prompt.frames[:, :1, :1], prompt.slots, prompt.is_image, prompt.described)
    return Encoded(slim, cache)


class PrefixStore:
    """The last few encoded prompts, so that further questions cost no encoding.

    Args:
        decoder: Runs the language model.
        processor: The checkpoint's processor.
        capacity: How many prompts are kept; 0 keeps none.
    """

    def __init__(self, decoder: Decoder, processor: GARProcessor, capacity: int = 2) -> None:
        self._decoder = decoder
        self._processor = processor
        self._capacity = capacity
        self._kept: OrderedDict[tuple[int, str], tuple[weakref.ref[Video], Encoded]] = OrderedDict()

    def get(self, view: Look) -> Encoded:
        """Return the encoded prompt, running the model if it is not kept.

        Raises:
            DeviceError: If memory runs out.
        """
        key = (id(view.video), view.content_key)
        kept = self._kept.get(key)
        # An id is used again after its object has gone; the reference tells.
        if kept is not None and kept[0]() is view.video:
            self._kept.move_to_end(key)
            return kept[1]
        encoded = self.encode(view)
        if self._capacity:
            self._kept[key] = (weakref.ref(view.video), encoded)
            while len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        return encoded

    def encode(self, view: Look) -> Encoded:
        """Run the model on a prompt."""
        return encode(self._decoder, self._processor, view.prompt())

    def clear(self) -> None:
        """Forget all prompts."""
        self._kept.clear()
