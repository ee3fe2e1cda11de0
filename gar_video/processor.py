"""RegionPrompt to ModelInputs: where numpy and original pixels become torch and the model's grid.

Pictures go through PerceptionLM's own image processor; masks are resized by nearest neighbour
exactly as the pictures are. The words around them are ``words.py``'s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as vision
from transformers import PreTrainedTokenizerFast
from transformers.models.perception_lm.image_processing_perception_lm import (
    PerceptionLMImageProcessor,
)

from gar_video import masks
from gar_video.config import GARConfig
from gar_video.errors import PromptError
from gar_video.model import FeatureMap, ModelInputs
from gar_video.prompt import RegionPrompt
from gar_video.words import PromptWords, TokenWriter


class _ImageProcessor(PerceptionLMImageProcessor):
    """PerceptionLM's image processor, rounding as it did when the published figures were made.

    torchvision resizes uint8 pictures in fixed-point arithmetic on some processors and in floating
    point on others; floating point, rounded, is what the published answers rest on, and it is the
    same everywhere.
    """

    def resize(
        self, image: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, tuple[int, int]]:
        resized, grid = super().resize(image.float(), *args, **kwargs)
        return resized.round().clamp(0, 255), grid


class GARProcessor(PromptWords):
    """Turns prompts and questions into what the model reads.

    Args:
        config: The checkpoint's configuration.
        tokenizer: The checkpoint's tokenizer.
        image_settings: The checkpoint's ``preprocessor_config.json``.

    Attributes:
        token_budget: Most tokens of frames and regions together; None for what the context leaves.

    Raises:
        CheckpointError: If the tokenizer lacks a token that the configuration implies.
    """

    def __init__(
        self,
        config: GARConfig,
        tokenizer: PreTrainedTokenizerFast,
        image_settings: dict[str, Any],
    ) -> None:
        super().__init__(config, tokenizer)
        self.token_budget: int | None = None
        self.image_settings = image_settings
        known = set(PerceptionLMImageProcessor.valid_kwargs.__annotations__) | {
            "do_resize", "do_rescale", "do_normalize", "do_convert_rgb", "resample", "size",
            "rescale_factor", "image_mean", "image_std",
        }  # fmt: skip
        self._images = _ImageProcessor(
            **{key: value for key, value in image_settings.items() if key in known}
        )

    def tokens_for(self, num_tiles: int, num_regions: int) -> int:
        """Return the tokens that tiles and visible regions cost."""
        return (num_tiles + num_regions) * self.config.tokens_per_tile

    def tile_grid(self, width: int, height: int) -> tuple[int, int]:
        """Return (columns, rows) of the tiles that a photograph is cut into, thumbnail aside."""
        return self._fit(width, height)

    def _fit(self, width: int, height: int) -> tuple[int, int]:
        size, most = self._images.tile_size, self._images.max_num_tiles
        if most <= 1:
            return 1, 1
        fitted = self._images._fit_image_to_canvas(
            img_width=width, img_height=height, tile_size=size
        ) or self._images._find_closest_aspect_ratio(
            img_width=width, img_height=height, tile_size=size
        )
        return int(fitted[0]), int(fitted[1])

    def _pixels(self, prompt: RegionPrompt) -> torch.Tensor:
        frames = torch.from_numpy(np.ascontiguousarray(prompt.frames)).permute(0, 3, 1, 2)
        kind = "thumb+tile" if prompt.is_image else "single"
        output = self._images(
            images=list(frames), vision_input_type=kind, return_tensors="pt", do_convert_rgb=False
        )
        return torch.cat(list(output["pixel_values"]))  # [N, 3, S, S]

    def _mask_tiles(self, union: torch.Tensor, is_image: bool) -> torch.Tensor:
        """Resize union masks ``[F, 1, H, W]`` uint8 as the pictures are; ``[N, 3, S, S]`` float."""
        side = self.config.tile_size

        def nearest(columns: int, rows: int) -> torch.Tensor:
            size = [rows * side, columns * side]
            return vision.resize(union, size, interpolation=InterpolationMode.NEAREST)

        tiles = nearest(1, 1)  # [F, 1, S, S]
        if is_image:
            columns, rows = self._fit(union.shape[-1], union.shape[-2])
            canvas = nearest(columns, rows)  # [1, 1, rows*S, columns*S]
            cut = canvas.unflatten(3, (columns, side)).unflatten(2, (rows, side))
            cut = cut.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)  # [rows*columns, 1, S, S]
            tiles = torch.cat([tiles, cut])
        return tiles.expand(-1, 3, -1, -1).float()

    def tiles(self, frames: np.ndarray) -> torch.Tensor:
        """Return a video's frames as the model sees them, whichever objects are pointed at.

        Args:
            frames: ``(F, H, W, 3)`` uint8 RGB.

        Returns:
            ``[F, 3, S, S]`` float.
        """
        return self._pixels(RegionPrompt(frames, ()))

    def __call__(
        self, prompt: RegionPrompt, pixel_values: torch.Tensor | None = None
    ) -> ModelInputs:
        """Return the prompt as the model reads it, up to where the question begins.

        What is said afterwards does not change it, so it is encoded once for all questions.

        Args:
            prompt: The prompt.
            pixel_values: Its frames' ``tiles``, where they are known; then only the shape of the
                prompt's frames counts.
        """
        if pixel_values is None:
            pixel_values = self._pixels(prompt)
        maps, num_tiles = self._feature_maps(prompt, len(pixel_values))
        mask_values, boxes = self._regions(prompt)
        writer = TokenWriter(self)
        writer.control(self.encode_control(self.turns.opening))
        image = writer.placeholders(self.image_id, num_tiles * self.config.tokens_per_tile)
        writer.control(self.encode_control(self.turns.before_text))
        spans = []
        if prompt.slots:
            spans = self.write_preamble(writer, prompt.slots, prompt.is_image, prompt.described)
        input_ids = torch.tensor([writer.ids], dtype=torch.int64)
        image_positions = torch.zeros_like(input_ids, dtype=torch.bool)
        image_positions[:, image.start : image.stop] = True
        region_positions = torch.zeros_like(image_positions)
        for span in spans:
            region_positions[:, span.start : span.stop] = True
        return ModelInputs(
            input_ids=input_ids,
            pixel_values=pixel_values,
            mask_values=mask_values,
            image_positions=image_positions,
            region_positions=region_positions,
            boxes=boxes,
            feature_maps=maps,
        )

    def _feature_maps(
        self, prompt: RegionPrompt, num_tiles: int
    ) -> tuple[tuple[FeatureMap, ...], int]:
        if not prompt.is_image:
            return tuple(FeatureMap(first_tile=t) for t in range(num_tiles)), num_tiles
        columns, rows = self._fit(prompt.frames.shape[2], prompt.frames.shape[1])
        # Tile 0 is the thumbnail; regions are replayed from the tiles.
        return (FeatureMap(first_tile=1, rows=rows, columns=columns),), num_tiles

    def _regions(self, prompt: RegionPrompt) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Return the mask tiles and the boxes, decoding each region's mask once."""
        count, height, width = prompt.frames.shape[:3]
        if not prompt.slots:
            return None, torch.zeros((0, 5), dtype=torch.float32)
        union = np.zeros((count, 1, height, width), dtype=np.uint8)
        boxes = []
        for slot in prompt.slots:
            for frame, rle in enumerate(slot.masks):
                if rle is None:
                    continue
                mask = masks.decode(rle)
                if mask.shape != (height, width):
                    raise PromptError(
                        f"object {slot.object_id} has a mask of {mask.shape[1]}x{mask.shape[0]} "
                        f"pixels on frames of {width}x{height}; expected the frames' size"
                    )
                union[frame, 0] |= mask
                boxes.append((frame, *_normalised_box(mask)))
        mask_values = self._mask_tiles(torch.from_numpy(union), prompt.is_image)
        return mask_values, torch.tensor(boxes, dtype=torch.float32).reshape(-1, 5)


def _normalised_box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Return (x_min/W, y_min/H, x_max/W, y_max/H) of a mask; the last pixel's own index counts."""
    columns = np.flatnonzero(mask.any(axis=0))
    rows = np.flatnonzero(mask.any(axis=1))
    height, width = mask.shape
    return (
        float(columns[0]) / width,
        float(rows[0]) / height,
        float(columns[-1]) / width,
        float(rows[-1]) / height,
    )
