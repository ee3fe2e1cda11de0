"""GARModel: PerceptionLM, a mask embedding in its vision tower, and feature replay.

Loaded with native transformers classes from safetensors; code named in a checkpoint is never run.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import nn
from transformers import PerceptionLMForConditionalGeneration, PreTrainedModel

from gar_video.config import GARConfig
from gar_video.replay import merge_tiles, replay_regions


@dataclass(frozen=True)
class FeatureMap:
    """Where one picture's feature map lies among the encoded tiles.

    Attributes:
        first_tile: Index of its first tile in ``pixel_values``.
        rows: Tiles from top to bottom; 1 for a video frame.
        columns: Tiles from left to right; 1 for a video frame.
    """

    first_tile: int
    rows: int = 1
    columns: int = 1


@dataclass(frozen=True)
class ModelInputs:
    """What the model reads. Sequences of a batch are padded to one length.

    Attributes:
        input_ids: ``[B, L]`` int64, placeholders expanded.
        pixel_values: ``[N, 3, S, S]`` float tiles of all pictures and frames, in -1…1.
        mask_values: ``[N, 3, S, S]`` float, 1 where any prompted region is, else 0; None where no
            region is prompted.
        image_positions: ``[B, L]`` bool, places of the tiles' tokens.
        region_positions: ``[B, L]`` bool, places of the replayed tokens.
        boxes: ``[R, 5]`` float32 ``(feature map index, x_min, y_min, x_max, y_max)`` in shares of
            width and height, in the order of the replayed places.
        feature_maps: One entry per picture or frame that regions are replayed from.
        attention_mask: ``[B, L]`` int64, 0 at padding; None without padding.
    """

    input_ids: torch.Tensor
    pixel_values: torch.Tensor
    mask_values: torch.Tensor | None
    image_positions: torch.Tensor
    region_positions: torch.Tensor
    boxes: torch.Tensor
    feature_maps: tuple[FeatureMap, ...]
    attention_mask: torch.Tensor | None = None

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> ModelInputs:
        """Move to a device; pixels and masks also take the model's floating-point ``dtype``."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, torch.Tensor):
                pixels = field.name in ("pixel_values", "mask_values")
                moved[field.name] = value.to(
                    device=device, dtype=dtype if pixels else None, non_blocking=True
                )
        return replace(self, **moved)


class GARModel(PreTrainedModel):
    """Grasp Any Region (arXiv 2510.18876).

    The parameters are ``mask_patch_embedding.weight`` and, under ``mllm.``, those of
    ``transformers.PerceptionLMForConditionalGeneration``: the published checkpoints' own names.
    """

    config_class = GARConfig
    config: GARConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _no_split_modules = ["LlamaDecoderLayer", "EvaBlock"]  # noqa: RUF012

    def __init__(self, config: GARConfig) -> None:
        super().__init__(config)
        kernel = tuple(config.kernel_size)
        self.mllm = PerceptionLMForConditionalGeneration(config.mllm_config)
        self.mask_patch_embedding = nn.Conv2d(
            3, config.mask_path_embedding_out_channels, kernel, stride=kernel, bias=False
        )
        self._mask_tokens: torch.Tensor | None = None
        tower = self.mllm.model.vision_tower.timm_model
        tower.patch_embed.register_forward_hook(self._add_mask_tokens)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the language model's token embedding."""
        return self.mllm.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the language model's token embedding."""
        self.mllm.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """Return the language model's head."""
        return self.mllm.lm_head

    @property
    def language_model(self) -> nn.Module:
        """The decoder without its head."""
        return self.mllm.model.language_model

    @property
    def floating_dtype(self) -> torch.dtype:
        """The type pixels come in; quantised weights do not tell it, the mask embedding does."""
        return self.mask_patch_embedding.weight.dtype

    def _add_mask_tokens(
        self, _module: nn.Module, _args: tuple[Any, ...], output: torch.Tensor
    ) -> torch.Tensor | None:
        """Add the mask embedding to the patch embedding, before positions are added."""
        if self._mask_tokens is None:
            return None
        return output + self._mask_tokens.reshape(output.shape).to(output.dtype)

    def encode_tiles(
        self, pixel_values: torch.Tensor, mask_values: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Run the vision tower and the projector.

        Args:
            pixel_values: ``[N, 3, S, S]``.
            mask_values: ``[N, 3, S, S]`` binary, or None for no prompted region.

        Returns:
            ``[N, g*g, D]`` tokens in the language model's width.
        """
        if mask_values is not None:
            tokens = self.mask_patch_embedding(mask_values)  # [N, C, p, p]
            self._mask_tokens = tokens.flatten(2).transpose(1, 2)  # [N, p*p, C]
        try:
            encoded = self.mllm.model.vision_tower(pixel_values, return_dict=True)
        finally:
            self._mask_tokens = None
        hidden = encoded.last_hidden_state  # [N, 1 + p*p, C], or without the class token
        if self.config.mllm_config.vision_use_cls_token:
            hidden = hidden[:, 1:]
        projected: torch.Tensor = self.mllm.model.multi_modal_projector(hidden)
        return projected  # [N, g*g, D]

    def replay(
        self, features: torch.Tensor, boxes: torch.Tensor, feature_maps: tuple[FeatureMap, ...]
    ) -> torch.Tensor:
        """Sample every region's tokens from the encoded tiles.

        Args:
            features: ``[N, g*g, D]`` from ``encode_tiles``.
            boxes: ``[R, 5]``, see ``ModelInputs.boxes``.
            feature_maps: The maps that the boxes' first column counts.

        Returns:
            ``[R, g*g, D]``, in the order of ``boxes``.
        """
        side = self.config.grid_size
        scale = self.config.replay_spatial_scale
        if all(m.rows == m.columns == 1 for m in feature_maps):
            # Frames: the maps are the tiles themselves, so one call does for all regions.
            if [m.first_tile for m in feature_maps] != list(range(len(features))):
                features = features[[m.first_tile for m in feature_maps]]
            maps = features.transpose(1, 2).unflatten(2, (side, side))  # [N, D, g, g]
            return replay_regions(maps, boxes, output_size=side, spatial_scale=scale)
        replayed = features.new_empty((len(boxes), side * side, features.shape[-1]))
        for index, place in enumerate(feature_maps):
            rows = (boxes[:, 0] == index).nonzero().squeeze(1)
            last = place.first_tile + place.rows * place.columns
            merged = merge_tiles(features[place.first_tile : last], place.rows, place.columns)
            own = boxes[rows].clone()
            own[:, 0] = 0
            replayed[rows] = replay_regions(merged, own, output_size=side, spatial_scale=scale)
        return replayed

    def embed(self, inputs: ModelInputs) -> torch.Tensor:
        """Embed a sequence: words, tiles at their places, replayed regions at theirs.

        Returns:
            ``[B, L, D]``.
        """
        embeds = self.get_input_embeddings()(inputs.input_ids)  # [B, L, D]
        features = self.encode_tiles(inputs.pixel_values, inputs.mask_values)  # [N, g*g, D]
        # All tiles are encoded, but a picture's tokens may stand for a part of them only.
        embeds = embeds.masked_scatter(
            inputs.image_positions.unsqueeze(-1), features.to(embeds.dtype)
        )
        if len(inputs.boxes):
            regions = self.replay(features, inputs.boxes, inputs.feature_maps)  # [R, g*g, D]
            embeds = embeds.masked_scatter(
                inputs.region_positions.unsqueeze(-1), regions.to(embeds.dtype)
            )
        return embeds

    def forward(
        self, inputs: ModelInputs, labels: torch.Tensor | None = None, **kwargs: Any
    ) -> Any:
        """Run the whole model on whole sequences, as training does.

        Args:
            inputs: A batch.
            labels: ``[B, L]`` token ids, -100 where nothing is to be learned.
            **kwargs: Passed to ``PerceptionLMForConditionalGeneration``.

        Returns:
            Its output, with ``logits`` ``[B, L, V]`` and, given labels, ``loss``.
        """
        return self.mllm(
            inputs_embeds=self.embed(inputs),
            attention_mask=inputs.attention_mask,
            labels=labels,
            **kwargs,
        )
