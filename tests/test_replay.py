from __future__ import annotations

import pytest
import torch

from gar_video.replay import merge_tiles, replay_regions


def by_hand(feature_map, box, size, scale):
    """RoI-Align written out: aligned, two samples a side, bilinear."""
    depth, height, width = feature_map.shape
    x1, y1, x2, y2 = (v * s * scale - 0.5 for v, s in zip(box, (width, height) * 2, strict=True))
    out = torch.zeros(size, size, depth)
    for row in range(size):
        for column in range(size):
            total = torch.zeros(depth)
            for i in range(2):
                for j in range(2):
                    y = y1 + (row + (i + 0.5) / 2) * (y2 - y1) / size
                    x = x1 + (column + (j + 0.5) / 2) * (x2 - x1) / size
                    if not (-1 <= y <= height and -1 <= x <= width):
                        continue
                    y, x = max(y, 0.0), max(x, 0.0)
                    y0, x0 = min(int(y), height - 1), min(int(x), width - 1)
                    y_next, x_next = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
                    fy, fx = (y - y0 if y0 < height - 1 else 0), (x - x0 if x0 < width - 1 else 0)
                    total += (
                        feature_map[:, y0, x0] * (1 - fy) * (1 - fx)
                        + feature_map[:, y0, x_next] * (1 - fy) * fx
                        + feature_map[:, y_next, x0] * fy * (1 - fx)
                        + feature_map[:, y_next, x_next] * fy * fx
                    )
            out[row, column] = total / 4
    return out.reshape(size * size, depth)


BOXES = [
    (0.0, 0.0, 0.99, 0.99),
    (0.25, 0.1, 0.5, 0.9),
    (0.7, 0.6, 0.7, 0.6),  # one pixel: min and max are the same
]


@pytest.mark.parametrize("scale", [1.0, 1 / 28], ids=["true", "as released"])
@pytest.mark.parametrize("box", BOXES, ids=["all", "inside", "one pixel"])
def test_equals_roi_align_by_hand(box, scale):
    maps = torch.randn(2, 5, 6, 9, generator=torch.Generator().manual_seed(1))
    rows = torch.tensor([[1.0, *box]])
    replayed = replay_regions(maps, rows, output_size=4, spatial_scale=scale)
    assert torch.allclose(replayed[0], by_hand(maps[1], box, 4, scale), atol=1e-5)


def test_all_at_once_equals_one_by_one():
    maps = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    boxes = torch.tensor([[frame, *box] for frame in range(3) for box in BOXES])
    together = replay_regions(maps, boxes, output_size=8, spatial_scale=1.0)
    alone = [replay_regions(maps, b[None], output_size=8, spatial_scale=1.0) for b in boxes]
    assert torch.equal(together, torch.cat(alone))


def test_no_regions():
    assert replay_regions(
        torch.zeros(1, 4, 8, 8), torch.zeros(0, 5), output_size=8, spatial_scale=1.0
    ).shape == (0, 64, 4)


def test_keeps_the_dtype_and_samples_in_float32():
    maps = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    boxes = torch.tensor([[0, 0.3, 0.3, 0.62, 0.71]])
    exact = replay_regions(maps.bfloat16().float(), boxes, output_size=16, spatial_scale=1.0)
    half = replay_regions(maps.bfloat16(), boxes, output_size=16, spatial_scale=1.0)
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, exact.bfloat16())


def test_merge_tiles_lays_rows_first():
    tiles = torch.arange(6.0)[:, None, None].expand(6, 4, 2)  # 2 rows x 3 columns of 2x2 grids
    merged = merge_tiles(tiles, rows=2, columns=3)
    assert merged.shape == (1, 2, 4, 6)
    assert merged[0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert merged[0, 0, 2].tolist() == [3, 3, 4, 4, 5, 5]


@pytest.mark.parametrize(("tiles", "rows"), [((5, 4, 2), 2), ((6, 3, 2), 2)])
def test_merge_refuses_what_is_no_grid(tiles, rows):
    with pytest.raises(ValueError, match="grid"):
        merge_tiles(torch.zeros(tiles), rows=rows, columns=3)
