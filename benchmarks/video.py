"""Decoding K of N frames: ours against decord, PyAV and OpenCV, on short and long GOPs.

All hand out RGB frames of the file's size. What counts is CPU time: the decoders use threads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _clips
from benchmarks._results import BenchmarkError, Options, Result
from benchmarks._timing import Summary, paired

BEST = ("decord", "PyAV")


def with_decord(path: str, indices: Sequence[int]) -> Any:
    """Read frames the way decord is meant to be used."""
    import decord

    reader = decord.VideoReader(path)
    return reader.get_batch(list(indices)).asnumpy()


def with_pyav(path: str, indices: Sequence[int]) -> Any:
    """Read frames by seeking to the keyframe before each, as PyAV's users do."""
    import av

    images: list[Any] = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        assert stream.average_rate is not None
        assert stream.time_base is not None
        ticks = 1 / (stream.average_rate * stream.time_base)
        start = stream.start_time or 0
        frames = container.decode(stream)
        at, frame = -1, None
        gop = 12
        for index in indices:
            if index <= at or index - at > gop:
                container.seek(int(start + index * ticks), stream=stream)
                frames = container.decode(stream)
                at = -1
            while at < index:
                frame = next(frames)
                assert frame.pts is not None
                at = round((frame.pts - start) / ticks)
            assert frame is not None
            images.append(frame.to_ndarray(format="rgb24"))
    return np.stack(images)


def with_opencv(path: str, indices: Sequence[int]) -> Any:
    """Read frames with OpenCV, seeking where they are not the next ones."""
    import cv2

    capture = cv2.VideoCapture(path)
    images, at = [], -1
    for index in indices:
        if index != at + 1:
            capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        _, image = capture.read()
        images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        at = index
    capture.release()
    return np.stack(images)


def ours(path: str, indices: Sequence[int]) -> Any:
    """Read frames with Video."""
    from gar_video import Video

    with Video(path) as video:
        return video.frames(indices)


READERS: dict[str, Callable[[str, Sequence[int]], Any]] = {
    "ours": ours, "decord": with_decord, "PyAV": with_pyav, "OpenCV": with_opencv,
}  # fmt: skip


def run(options: Options) -> Result:
    """Compare over GOPs and patterns of access."""
    width, height = (320, 240) if options.quick else (640, 360)
    count = 60 if options.quick else 240
    result = Result(
        "video", "decoding K of N frames, opening included: ours, decord, PyAV, OpenCV", "process",
        {"frame": f"{width}x{height} H.264", "frames in the file": count},
    )  # fmt: skip
    rng = np.random.default_rng(0)
    patterns = {
        "all in order": list(range(count)),
        "16 evenly": np.linspace(0, count - 1, 16).round().astype(int).tolist(),
        "8 at random": sorted(rng.choice(count, 8, replace=False).tolist()),
        "16 in a row": list(range(count // 2, count // 2 + 16)),
    }
    worst: tuple[str, Summary] | None = None
    with tempfile.TemporaryDirectory() as folder:
        for name, gop, b_frames in (("GOP 12", 12, 0), ("GOP 120, B-frames", 120, 2)):
            path = Path(folder) / f"{gop}.mp4"
            _clips.write(
                path, count, width=width, height=height, gop=gop, b_frames=b_frames, num_objects=3
            )
            for pattern, indices in patterns.items():
                timed = paired(
                    {
                        reader: lambda f=function, i=indices, p=str(path): _few(f(p, i))
                        for reader, function in READERS.items()
                    },
                    repeats=options.rounds(3), clock=result.clock,
                )  # fmt: skip
                near = _near(timed.outputs)
                ratios = timed.ratios()
                result.add({"file": name, "frames": pattern}, timed, **{"pixels": near})
                least = min((ratios[other] for other in BEST), key=lambda s: s.median)
                if worst is None or least.median < worst[1].median:
                    worst = (f"{name}, {pattern}", least)
                result.at_least(f"{name}, {pattern}: best of decord and PyAV", 0.95, least)
    return result


def _few(images: Any) -> Any:
    """Keep a few pixels of frames, so that nobody finds the memory full of others' frames."""
    return images[:, ::8, ::8].copy()


def _near(outputs: dict[str, Any]) -> str:
    """Say how far the readers' pixels are from ours; other frames altogether are an error."""
    said = []
    for name, images in outputs.items():
        if name == "ours":
            continue
        mean = float(np.abs(images.astype(np.int16) - outputs["ours"]).mean())
        said.append(f"{mean:.2g}")
        if mean > 8:
            raise BenchmarkError(f"video: {name} gave other frames than ours (mean {mean:.1f})")
    return "off by " + ", ".join(said)
