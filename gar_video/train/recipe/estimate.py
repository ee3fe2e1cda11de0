"""How much memory a training step takes, calculated from shapes alone.

The step itself is run on tensors that have shapes but no contents (torch's fake tensors), and
every storage is counted from when it is made until nothing holds it: what the step would hold, at
its peak, without a byte of it being there. Attention is counted as its fused kernels work, which
keep queries, keys, values, output and a number per query, never the whole square.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gar_video.checkpoint import locate, read_config
from gar_video.config import GARConfig
from gar_video.errors import CheckpointError
from gar_video.model import FeatureMap, GARModel, ModelInputs
from gar_video.train.recipe import parts
from gar_video.train.recipe.config import TrainConfig
from gar_video.train.recipe.rows import Batch
from gar_video.train.recipe.step import TrainingStep

#: What calculation leaves out: workspaces of kernels, rounding and gaps of the allocator. The CUDA
#: context, about half a gigabyte, is the driver's.
MARGIN = 0.15


@dataclass(frozen=True)
class Shape:
    """The sequence that is calculated with.

    Attributes:
        rows: Clips at once.
        tiles: Frames, or tiles of a picture, in each.
        regions: Replayed regions in each.
        threads: Questions packed on each.
        thread_tokens: Tokens of each question with its answer.
        answer_tokens: Of these the answer's.
    """

    rows: int
    tiles: int
    regions: int
    threads: int
    thread_tokens: int = 96
    answer_tokens: int = 48


@dataclass(frozen=True)
class Estimate:
    """Bytes of one training step, at its peak.

    Attributes:
        frozen: Weights that are not trained.
        trained: Weights that are.
        gradients: Of the trained weights.
        optimizer: AdamW's two moments.
        activations: Everything else at the peak: activations kept for the backward pass, what is
            computed with, the batch.
        parameters: How many numbers the model has.
        trained_parameters: How many of them are trained.
        tokens: Length of a row.
        shape: What was calculated with.
    """

    frozen: int
    trained: int
    gradients: int
    optimizer: int
    activations: int
    parameters: int
    trained_parameters: int
    tokens: int
    shape: Shape

    @property
    def total(self) -> int:
        """Bytes in all; ``MARGIN`` says how far off it may be."""
        return self.frozen + self.trained + self.gradients + self.optimizer + self.activations

    def lines(self) -> list[str]:
        """Return it in words, a line each."""
        rows = [
            ("weights, frozen", self.frozen),
            ("weights, trained", self.trained),
            ("gradients", self.gradients),
            ("optimiser", self.optimizer),
            ("activations at the peak", self.activations),
            ("total", self.total),
        ]
        at, million = self.shape, 1e6
        return [
            f"{self.parameters / million:,.1f} million parameters, "
            f"{self.trained_parameters / million:,.2f} million trained",
            f"{at.rows} x {self.tokens} tokens: {at.tiles} tiles, {at.regions} regions, "
            f"{at.threads} questions",
            *(f"{name:<24} {_gib(value):>10}" for name, value in rows),
            f"Calculated from shapes, within {MARGIN:.0%} of what a step holds; a GPU's driver "
            "takes about 0.5 GiB more.",
        ]


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 / 10 else f"{count / 2**20:.1f} MiB"


def estimate(
    config: TrainConfig, gar: GARConfig | None = None, shape: Shape | None = None
) -> Estimate:
    """Calculate the memory of one training step, at its peak, on one device.

    Args:
        config: The run.
        gar: The model's configuration; that of ``config.model`` by default, for which a published
            checkpoint need not have been fetched.
        shape: The sequence; the longest that the run can meet by default.

    Returns:
        Bytes, by what they are for.

    Raises:
        CheckpointError: If there is no usable configuration.
        TrainingError: If peft is needed and missing.
    """
    gar = gar or _configuration(config.model)
    shape = shape or longest(config, gar)
    compute = torch.float32 if config.precision == "float32" else torch.bfloat16
    if config.precision == "auto" and config.device == "cpu":
        compute = torch.float32
    with torch.device("meta"):
        model = GARModel(gar)
        parts.prepare(model, config, compute)
    with FakeTensorMode(allow_non_fake_inputs=True), _shapes_only_attention():
        model.to_empty(device="cpu")
        model.train()
        step = TrainingStep(model, config.checkpointing)
        frozen, trained = _bytes(model, False), _bytes(model, True)
        batch = _batch(gar, shape, compute)
        tracker = _Tracker()
        with tracker:
            tracker.begin([*model.parameters(), *model.buffers()])
            _run(step, batch, compute)
        gradients = sum(_size(p.grad) for p in model.parameters() if p.grad is not None)
        trained_count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        count = sum(p.numel() for p in model.parameters())
        optimizer = 2 * 4 * trained_count
        # While AdamW steps, the activations are gone and one more copy of the weights is there.
        activations = max(tracker.peak - gradients, 4 * trained_count)
        tokens = int(batch.positions.shape[1])
    return Estimate(
        frozen, trained, gradients, optimizer, activations, count, trained_count, tokens, shape
    )


def _run(step: TrainingStep, batch: Batch, compute: torch.dtype) -> None:
    mixed = compute != torch.float32
    with torch.autocast("cpu", dtype=compute) if mixed else contextlib.nullcontext():
        loss, _ = step(batch)
    (loss / 100.0).backward()


def _configuration(name: str) -> GARConfig:
    try:
        return read_config(locate(name))
    except CheckpointError:
        if name.lower().endswith(("gar-1b", "gar-8b")):
            return published_config(name[-2:].lower())
        raise


def published_config(size: str) -> GARConfig:
    """Return the sizes of a published checkpoint, without fetching it.

    Taken from the paper (arXiv 2510.18876) and Perception LM's; the vocabulary is Llama 3's and a
    few tokens more.

    Args:
        size: ``"1b"`` or ``"8b"``.
    """
    small = size == "1b"
    text: dict[str, Any] = {
        "model_type": "llama",
        "vocab_size": 128262,
        "hidden_size": 2048 if small else 4096,
        "num_hidden_layers": 16 if small else 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64 if small else 128,
        "intermediate_size": 8192 if small else 14336,
        "max_position_embeddings": 11520,
        "tie_word_embeddings": small,
    }
    width = 1024 if small else 1536
    vision = {
        "model_type": "timm_wrapper",
        "architecture": "vit_pe_core_large_patch14_336"
        if small
        else "vit_pe_core_gigantic_patch14_448",
        "do_pooling": False,
        "num_labels": 0,
        "model_args": {
            "embed_dim": width,
            "depth": 23 if small else 47,
            "img_size": [448, 448],
            "ref_feat_shape": [32, 32],
            "global_pool": "",
            "use_post_transformer_norm": False,
        },
    }
    return GARConfig(
        mllm_config={
            "model_type": "perception_lm",
            "text_config": text,
            "vision_config": vision,
            "projector_pooling_ratio": 2,
            "vision_use_cls_token": small,
            "image_token_id": 128256,
            "video_token_id": 128257,
        },
        prompt_numbers=5,
        crop_tokens_ids=[128258, 128259, 128260, 128261, 128255],
        kernel_size=[14, 14],
        mask_path_embedding_out_channels=width,
    )


def longest(config: TrainConfig, gar: GARConfig) -> Shape:
    """Return the longest row that a run can meet: frames as configured, regions to the brim."""
    context = config.context or gar.context_length
    frames = max(
        (max(section.frames, default=gar.num_frames) for section in config.data), default=1
    )
    questions = max(section.questions for section in config.data)
    words = 256  # the template, the objects' names and the longest question
    room = max(0, context - words) // gar.tokens_per_tile
    tiles = max(1, min(frames, room - 1))
    regions = max(1, min(room - tiles, tiles * gar.prompt_numbers))
    return Shape(config.batch, tiles, regions, questions)


def _batch(gar: GARConfig, shape: Shape, compute: torch.dtype) -> Batch:
    """Make a batch of shapes."""
    per_tile, side = gar.tokens_per_tile, gar.tile_size
    prompt = (shape.tiles + shape.regions) * per_tile + 96
    tokens = prompt + shape.threads * shape.thread_tokens
    rows, tiles = shape.rows, shape.rows * shape.tiles
    answers = rows * shape.threads * shape.answer_tokens
    image = torch.zeros((rows, tokens), dtype=torch.bool)
    region = torch.zeros((rows, tokens), dtype=torch.bool)
    inputs = ModelInputs(
        input_ids=torch.zeros((rows, tokens), dtype=torch.int64),
        pixel_values=torch.zeros((tiles, 3, side, side), dtype=compute),
        mask_values=torch.zeros((tiles, 3, side, side), dtype=compute),
        image_positions=image,
        region_positions=region,
        boxes=torch.zeros((rows * shape.regions, 5)),
        feature_maps=tuple(FeatureMap(first_tile=t) for t in range(tiles)),
    )
    mask = torch.zeros((rows, 1, tokens, tokens), dtype=torch.bool)
    return Batch(
        inputs=inputs,
        positions=torch.zeros((rows, tokens), dtype=torch.int64),
        mask=None if shape.threads == 1 else mask,
        places=torch.zeros(answers, dtype=torch.int64),
        labels=torch.zeros(answers, dtype=torch.int64),
        weights=torch.zeros(answers),
        owners=torch.zeros(answers, dtype=torch.int64),
        kinds=("",) * (rows * shape.threads),
    )


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _bytes(model: GARModel, trained: bool) -> int:
    own = sum(_size(p) for p in model.parameters() if p.requires_grad is trained)
    return own if trained else own + sum(_size(b) for b in model.buffers())


class _Tracker(TorchDispatchMode):
    """Counts the bytes of every storage made while it is on, as long as it lives."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def begin(self, held: list[torch.Tensor]) -> None:
        """Leave out what is there already."""
        self._held = held
        self._known |= {tensor.untyped_storage()._cdata for tensor in held}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor)
        return found

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


class _Attention(torch.autograd.Function):
    """Attention that keeps what a fused kernel keeps."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, bias: Any) -> Any:
        out = torch.empty_like(query)
        sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, out, sums, bias)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        query, key, value = ctx.saved_tensors[:3]
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value), None


@contextlib.contextmanager
def _shapes_only_attention() -> Iterator[None]:
    """Let attention be counted as its fused kernels work."""
    own = F.scaled_dot_product_attention

    def attend(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        *_: Any,
        **__: Any,
    ) -> Any:
        bias = None
        if torch.is_autocast_enabled("cpu"):
            kind = torch.get_autocast_dtype("cpu")
            query, key, value = query.to(kind), key.to(kind), value.to(kind)
        if attn_mask is not None:
            # Kernels add a mask of numbers; a bool one is turned into it.
            bias = attn_mask.to(query.dtype)
        return _Attention.apply(query, key, value, bias)

    F.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        F.scaled_dot_product_attention = own


def for_file(config: TrainConfig, model: str | Path) -> Estimate:
    """Calculate for another model than the configuration names."""
    return estimate(replace(config, model=str(model)))
