"""RoI-Align feature replay: the region's tokens, cut once more from the frame's own features.

GAR (arXiv 2510.18876) encodes the whole picture first, so that every token has seen its context,
and then samples the tokens under a region's box from that feature map.
"""

from __future__ import annotations

import torch
from torchvision.ops import roi_align


def replay_regions(
    features: torch.Tensor,
    boxes: torch.Tensor,
    *,
    output_size: int,
    spatial_scale: float,
) -> torch.Tensor:
    """Sample every region's tokens from its frame's feature map, in one RoI-Align call.

    Args:
        features: ``[N, D, h, w]`` feature maps, one per frame or per merged picture.
        boxes: ``[R, 5]`` float32 rows ``(map index, x_min, y_min, x_max, y_max)``; coordinates are
            shares of the picture's width and height in 0…1.
        output_size: Side of the sampled grid.
        spatial_scale: 1.0 for the true convention. Published checkpoints were trained with boxes
            scaled a second time, by 1/28 (see ``GARConfig.replay_convention``).

    Returns:
        ``[R, output_size**2, D]`` tokens, rows first, in the dtype of ``features``.
    """
    if len(boxes) == 0:
        return features.new_zeros((0, output_size**2, features.shape[1]))
    height, width = features.shape[-2:]
    scale = boxes.new_tensor([1, width, height, width, height])
    # Sampling in float32: bf16 cannot place a box on a 16-cell grid finely enough.
    regions = roi_align(
        features.float(),
        boxes.float() * scale,
        output_size=output_size,
        spatial_scale=spatial_scale,
        sampling_ratio=2,
        aligned=True,
    )  # [R, D, g, g]
    return regions.flatten(2).transpose(1, 2).to(features.dtype)  # [R, g*g, D]


def merge_tiles(tiles: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Lay a picture's tiles side by side again.

    Args:
        tiles: ``[rows*columns, g*g, D]`` tokens of the tiles, row by row.
        rows: Tiles from top to bottom.
        columns: Tiles from left to right.

    Returns:
        ``[1, D, rows*g, columns*g]`` one feature map.
    """
    count, tokens, width = tiles.shape
    side = int(tokens**0.5)
    if count != rows * columns or side * side != tokens:
        raise ValueError(f"{count} tiles of {tokens} tokens are no {rows}x{columns} grid")
    grid = tiles.reshape(rows, columns, side, side, width)  # [r, c, g, g, D]
    grid = grid.permute(4, 0, 2, 1, 3)  # [D, r, g, c, g]
    return grid.reshape(1, width, rows * side, columns * side)
