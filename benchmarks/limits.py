"""How near the machine's limits: prefill to a matmul's rate, decoding to a copy's, both measured.

The rates are taken in the same run, turn by turn, with the work that is held against them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import _clips, _shapes, video
from benchmarks._results import Options, Result
from benchmarks._timing import paired, summarise
from benchmarks.questions import look_of, synchronizer


def run(options: Options) -> Result:
    """Measure prefill, decoding and the video decoder against what bounds them."""
    cuda = options.device != "cpu"
    shape = _shapes.shape_for(options)
    result = Result(
        "limits", "share of the machine's own rates, measured in the same rounds",
        "wall" if cuda else "process", {"shape": shape.name},
    )  # fmt: skip
    gar = _shapes.gar_of(shape, options.device)
    _prefill(result, options, gar)
    _decode(result, options, gar)
    _reading(result, options)
    return result


def _prefill(result: Result, options: Options, gar: Any) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    frames = 3 if options.quick else 6
    clip, tracks = _clips.clip(frames * 2, 2)
    view = look_of(gar, clip, tracks, frames, 8)
    device = gar.model.get_input_embeddings().weight.device
    inputs = gar.processor(view.prompt()).to(device, gar.model.floating_dtype)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        embeds = gar.model.embed(inputs)
        vision = counter.get_total_flops()
        gar._decoder.prefill(embeds)
    flops = counter.get_total_flops() - vision
    side = 8192 if options.device != "cpu" else 256 if options.quick else 2048
    square = torch.randn(side, side, device=device, dtype=gar.model.floating_dtype)
    # As many products as make the prefill's work.
    times = max(1, round(flops / (2 * side**3)))

    def products() -> None:
        for _ in range(times):
            square @ square

    def encode() -> None:
        with torch.inference_mode():
            gar.model.encode_tiles(inputs.pixel_values, inputs.mask_values)

    timed = paired(
        {"prefill": lambda: gar._decoder.prefill(embeds), "matmul": products, "vision": encode},
        repeats=options.rounds(5), clock=result.clock,
        synchronize=synchronizer(options.device),
    )  # fmt: skip
    scale = 2 * side**3 * times  # FLOPs of the products
    rates = [scale / seconds for seconds in timed.seconds["matmul"]]
    for what, work in (("prefill", flops), ("vision", vision)):
        share = summarise(
            [
                work / seconds / rate
                for seconds, rate in zip(timed.seconds[what], rates, strict=True)
            ]
        )
        rate = work / timed.times()[what].median / 1e9
        result.add(
            {"what": what}, None, work=f"{work / 1e9:.1f} GFLOP", rate=f"{rate:.1f} GFLOP/s",
            bound=f"{summarise(rates).median / 1e9:.1f} GFLOP/s, a matmul of {side}",
            share=share.median, least=share.min, most=share.max,
        )  # fmt: skip
        if what == "prefill":
            wanted = 0.6 if options.device == "cpu" else 0.5
            result.at_least("prefill's share of the matmul's rate", wanted, share)


def _decode(result: Result, options: Options, gar: Any) -> None:
    import torch

    from gar_video.generation import GenerationSettings

    table = gar.model.get_input_embeddings()
    with torch.inference_mode():
        embeds = table(torch.arange(100, 132, device=table.weight.device)[None])
    new = 4 if options.quick else 24
    settings = GenerationSettings(max_new_tokens=new)
    prefix = gar._decoder.prefill(embeds)
    made = len(gar._decoder.generate(prefix, [[50]], settings)[0].token_ids)
    layers = gar.model.language_model.layers
    weights = [*layers.parameters(), *gar.model.get_output_embeddings().parameters()]
    read = sum(weight.numel() * weight.element_size() for weight in weights) * made
    block = torch.empty(
        min(read // made, 2**28) // 4, dtype=torch.float32, device=table.weight.device
    )
    other = torch.empty_like(block)
    copies = max(1, read // block.nbytes)

    def copy() -> None:
        for _ in range(copies):
            other.copy_(block)

    timed = paired(
        {"decode": lambda: gar._decoder.generate(prefix, [[50]], settings), "copy": copy},
        repeats=options.rounds(5), clock=result.clock,
        synchronize=synchronizer(options.device),
    )  # fmt: skip
    # A copy reads and writes; what decoding reads is held against both together.
    rates = [2 * block.nbytes * copies / seconds for seconds in timed.seconds["copy"]]
    share = summarise(
        [
            read / seconds / rate
            for seconds, rate in zip(timed.seconds["decode"], rates, strict=True)
        ]
    )
    middle = timed.times()["decode"].median
    result.add(
        {"what": "decode, one row"}, None, work=f"{made} tokens, {read / 1e9:.2f} GB of weights",
        rate=f"{made / middle:.0f} tokens/s, {read / middle / 1e9:.1f} GB/s",
        bound=f"{summarise(rates).median / 1e9:.1f} GB/s, a copy",
        share=share.median, least=share.min, most=share.max,
    )  # fmt: skip
    if options.device != "cpu":
        result.at_least("decoding's share of the bandwidth", 0.6, share)


def _reading(result: Result, options: Options) -> None:
    width, height, count = (320, 240, 40) if options.quick else (640, 360, 240)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        _clips.write(path, count, width=width, height=height, num_objects=3)
        everything = range(count)
        timed = paired(
            {
                "ours": lambda: video.ours(str(path), everything),
                "decord": lambda: video.with_decord(str(path), everything),
            },
            repeats=options.rounds(3), clock="process",
        )  # fmt: skip
    share = timed.ratios()["decord"]
    times = timed.times()
    result.add(
        {"what": "decoder"}, None, work=f"{count} frames {width}x{height}",
        rate=f"{count / times['ours'].median:.0f} frames/s",
        bound=f"{count / times['decord'].median:.0f} frames/s, raw decord",
        share=share.median, least=share.min, most=share.max,
    )  # fmt: skip
