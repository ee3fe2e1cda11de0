"""How cost grows: counted work against frames, objects, questions, tokens and clip length.

Work is counted, not timed: floating-point operations, passes, bytes of caches. The counts do not
depend on the machine, so the exponents do not either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import _clips, _shapes
from benchmarks._results import Options, Result, power_law
from benchmarks.questions import questions

FRAMES_WHY = (
    "tokens are in proportion to frames; projections grow with them, attention among them with "
    "their square, which at these lengths is the smaller part"
)
OBJECTS_WHY = (
    "an object adds a region's tokens to each frame; the frames themselves are there already"
)
QUESTIONS_WHY = "the clip is encoded once; a question adds only its own tokens and its answer's"
LENGTH_WHY = "as many frames are looked at, however long the clip"
BYTES_WHY = "keys and values of each token, and nothing else"
TRACK_WHY = "each frame is encoded once and looks back at a bounded number of memories"
MEMORY_WHY = "outputs that memory attention cannot reach any more are dropped"
TRACKED_WHY = "the image encoder runs once a frame; memory attention and mask are each object's own"


def flops(work: Callable[[], Any]) -> int:
    """Count the floating-point operations of some work."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def run(options: Options) -> Result:
    """Count work over sizes and fit."""
    result = Result("growth", "how counted work grows with the size of the task", "work")
    few = options.quick
    gar = _shapes.gar_of(_shapes.TINY if few else _MEDIUM)
    result.settings = {"model": "tiny" if few else "GAR-1B scaled down", "tokens an answer": 4}

    def answer(frames: int, objects: int, count: int = 1, length: int | None = None) -> Any:
        video, tracks = _clips.clip(length or frames, objects, 160, 120)
        names = " ".join(f"<{k + 1}>" for k in range(objects))
        asked = [f"{names}: what happens? ({k})" for k in range(count)]
        if objects == 2 and count > 1:
            asked = questions(count)
        gar.forget()
        return gar.ask_many(video, tracks, asked, frames=frames, max_new_tokens=4)

    def held(frames: int, objects: int) -> int:
        answer(frames, objects)
        return sum(
            2 * layer.length * layer.keys[0, :, 0].nbytes
            for _, encoded in gar._prefixes._kept.values()
            for layer in encoded.cache.layers
        )

    sizes = {
        "frames": (2, 4) if few else (2, 4, 8, 16, 32),
        "objects": (1, 2) if few else (1, 2, 3, 5),
        "questions": (1, 2) if few else (1, 5, 20, 50),
        "length": (4, 8) if few else (50, 200, 800),
    }
    base = 2 if few else 4

    def grow(
        what: str, x_name: str, x: Sequence[int], y: Sequence[float], unit: str, why: str
    ) -> None:
        fit = power_law(x, y)
        result.fits.append(
            {"what": what, "x_name": x_name, "y_name": unit, "x": list(x), "y": list(y), **fit,
             "why": why}
        )  # fmt: skip
        for size, cost in zip(x, y, strict=True):
            result.add({"what": what, x_name: size}, None, **{unit: float(cost)})

    x = sizes["frames"]
    grow("answering", "frames", x, [flops(lambda n=n: answer(n, 2)) / 1e9 for n in x], "GFLOP",
         FRAMES_WHY)  # fmt: skip
    grow("kept for further questions", "frames", x, [held(n, 2) / 2**20 for n in x],
         "MiB of keys and values", BYTES_WHY)  # fmt: skip
    x = sizes["objects"]
    grow("answering", "objects", x, [flops(lambda n=n: answer(base, n)) / 1e9 for n in x],
         "GFLOP", OBJECTS_WHY)  # fmt: skip
    x = sizes["questions"]
    grow("answering", "questions", x, [flops(lambda n=n: answer(base, 2, n)) / 1e9 for n in x],
         "GFLOP", QUESTIONS_WHY)  # fmt: skip
    x = sizes["length"]
    grow("answering", "clip length", x,
         [flops(lambda n=n: answer(base, 2, 1, n)) / 1e9 for n in x], "GFLOP",
         LENGTH_WHY)  # fmt: skip
    _tracking(grow, (3, 6) if few else (10, 20, 40, 80), (1, 2) if few else (1, 2, 5, 10))
    return result


def _tracking(grow: Callable[..., None], lengths: Sequence[int], counts: Sequence[int]) -> None:
    from benchmarks import _sam2
    from gar_video import Box

    tracker = _sam2.tracker_of("nano-64")

    def track(length: int, objects: int, kept: list[int] | None = None) -> None:
        video, _ = _clips.clip(length, objects, 160, 120)
        prompts = [
            Box(0, tuple(map(float, _clips.box_at(k, 0, 160, 120))), k + 1) for k in range(objects)
        ]
        with tracker.session(video) as session:
            session.add(prompts)
            for _ in session.propagate():
                if kept is not None:
                    kept.append(_bytes_held(session))

    grow("tracking", "clip length", lengths,
         [flops(lambda n=n: track(n, 1)) / 1e9 for n in lengths], "GFLOP", TRACK_WHY)  # fmt: skip
    peaks = []
    for length in lengths:
        kept: list[int] = []
        track(length, 1, kept)
        peaks.append(max(kept) / 2**20)
    grow("tracking", "clip length", lengths, peaks, "peak MiB of memories", MEMORY_WHY)
    short = min(lengths)
    grow("tracking", "objects", counts,
         [flops(lambda n=n: track(short, n)) / 1e9 for n in counts], "GFLOP",
         TRACKED_WHY)  # fmt: skip


def _bytes_held(session: Any) -> int:
    """Bytes of the outputs that a session keeps, each storage counted once."""
    import torch

    storages = {}
    for outputs in session._outputs():
        for kind in outputs.values():
            for output in kind.values():
                for value in output.values():
                    for tensor in value if isinstance(value, list) else [value]:
                        if isinstance(tensor, torch.Tensor):
                            storage = tensor.untyped_storage()
                            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


_MEDIUM = _shapes.Shape(
    "counted", tile=112, vision_width=128, vision_depth=2, vision_heads=2,
    width=256, depth=2, heads=4, kv_heads=1, mlp=1024, vocabulary=8192,
)  # fmt: skip
