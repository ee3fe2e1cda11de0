"""RoI-Align for all regions at once: against a loop, and torchvision's lists."""

from __future__ import annotations

from typing import Any

from benchmarks import _shapes
from benchmarks._results import BenchmarkError, Options, Result
from benchmarks._timing import paired
from benchmarks.questions import synchronizer


def run(options: Options) -> Result:
    """Compare over numbers of frames and objects, on GAR-1B's feature maps."""
    import torch
    from torchvision.ops import roi_align

    from gar_video.replay import replay_regions

    shape = _shapes.TINY if options.quick else _shapes.ONE_B
    side = shape.tile // shape.patch // shape.pool
    cuda = options.device != "cpu"
    result = Result(
        "replay", "RoI-Align of all regions at once against a loop and torchvision's list of boxes",
        "wall" if cuda else "process", {"grid": f"{side}x{side}x{shape.width}", "dtype": "float32"},
    )  # fmt: skip
    for frames, objects in ((4, 1), (4, 2)) if options.quick else ((8, 1), (16, 1), (8, 5)):
        torch.manual_seed(0)
        maps = torch.randn(frames, shape.width, side, side, device=options.device)
        corners = torch.rand(frames * objects, 2, 2, device=options.device).sort(1).values
        index = torch.arange(frames, device=options.device).repeat(objects)[:, None]
        boxes = torch.cat([index.float(), corners.flatten(1)], 1)

        def together(maps: Any = maps, boxes: Any = boxes) -> Any:
            return replay_regions(maps, boxes, output_size=side, spatial_scale=1.0)

        def looped(maps: Any = maps, boxes: Any = boxes) -> Any:
            parts = [
                roi_align(
                    maps[int(box[0])][None], [(box[1:] * side)[None]], output_size=side,
                    spatial_scale=1.0, sampling_ratio=2, aligned=True,
                ).flatten(2).transpose(1, 2)
                for box in boxes
            ]  # fmt: skip
            return torch.cat(parts)

        def listed(maps: Any = maps, boxes: Any = boxes) -> Any:
            order = boxes[:, 0].argsort(stable=True)
            own = [boxes[boxes[:, 0] == frame][:, 1:] * side for frame in range(len(maps))]
            regions = roi_align(
                maps, own, output_size=side, spatial_scale=1.0, sampling_ratio=2, aligned=True
            ).flatten(2).transpose(1, 2)  # fmt: skip
            return torch.empty_like(regions).index_copy_(0, order, regions)

        timed = paired(
            {"at once": together, "loop": looped, "list per picture": listed},
            repeats=options.rounds(5), clock=result.clock,
            synchronize=synchronizer(options.device),
        )  # fmt: skip
        ours = timed.outputs["at once"]
        if not all(torch.equal(ours, other) for other in timed.outputs.values()):
            raise BenchmarkError("replay: the ways of sampling gave different tokens")
        result.add({"frames": frames, "objects": objects}, timed, calls="1, "
                   f"{frames * objects}, 1", equal=True)  # fmt: skip
    return result
