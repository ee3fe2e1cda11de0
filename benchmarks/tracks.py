"""RLE masks and track files: ours against pycocotools and supervision.

One object's mask in a 1080p frame is coded and drawn, then whole files are written and read.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._results import BenchmarkError, Options, Result
from benchmarks._timing import paired


def disc(width: int, height: int, radius: int, x: int, y: int) -> Any:
    """Return a disc as a mask with a hole."""
    rows, columns = np.mgrid[0:height, 0:width]
    distance = (columns - x) ** 2 + (rows - y) ** 2
    return (distance < radius**2) & (distance > (radius // 3) ** 2)


def run(options: Options) -> Result:
    """Compare coding, drawing, saving and loading; masks are wanted row by row, as frames are."""
    result = Result(
        "tracks", "RLE coding and drawing, saving and loading, against pycocotools and supervision",
        "process", {"frame": "1920x1080"},
    )  # fmt: skip
    count = 4 if options.quick else 16
    for name, radius in (("small discs", 30), ("large discs", 300)):
        masks = [disc(1920, 1080, radius, 400 + 20 * k, 500) for k in range(count)]
        _coding(result, options, name, masks)
    _files(result, options)
    return result


def _coding(result: Result, options: Options, name: str, masks: list[Any]) -> None:
    import pycocotools.mask as coco
    import supervision as sv

    from gar_video.masks import decode, encode

    codes = [encode(mask) for mask in masks]
    as_bytes = [{"size": c["size"], "counts": c["counts"].encode()} for c in codes]
    encoding = paired(
        {
            "ours": lambda: [encode(mask)["counts"] for mask in masks],
            "pycocotools": lambda: [
                coco.encode(np.asfortranarray(mask.view(np.uint8)))["counts"].decode()
                for mask in masks
            ],
            "supervision": lambda: [
                sv.mask_to_rle(mask, compressed=True) for mask in masks
            ],
        },
        repeats=options.rounds(5), clock=result.clock,
    )  # fmt: skip
    if encoding.outputs["ours"] != encoding.outputs["pycocotools"]:
        raise BenchmarkError("tracks: our codes differ from pycocotools'")
    result.add({"what": f"encode {name}", "items": len(masks)}, encoding, equal=True)
    drawing = paired(
        {
            "ours": lambda: [decode(code) for code in codes],
            "pycocotools": lambda: [
                np.ascontiguousarray(coco.decode(code)).view(bool) for code in as_bytes
            ],
            "supervision": lambda: [
                np.ascontiguousarray(sv.rle_to_mask(code["counts"], (1920, 1080)))
                for code in codes
            ],
            "supervision, by columns": lambda: [
                sv.rle_to_mask(code["counts"], (1920, 1080)) for code in codes
            ],
        },
        repeats=options.rounds(5), clock=result.clock,
    )  # fmt: skip
    if not all(
        np.array_equal(a, b)
        for a, b in zip(drawing.outputs["ours"], drawing.outputs["pycocotools"], strict=True)
    ):
        raise BenchmarkError("tracks: our masks differ from pycocotools'")
    result.add({"what": f"decode {name}", "items": len(masks)}, drawing, equal=True)
    for what, timed in (("encoding", encoding), ("decoding", drawing)):
        result.at_least(f"{what} {name} against pycocotools", 1.0, timed.ratios()["pycocotools"])


def _files(result: Result, options: Options) -> None:
    """Save and load whole tracks; the plain way is json with pycocotools' checks."""
    import pycocotools.mask as coco

    from gar_video import Tracks
    from gar_video.masks import encode

    frames, objects = (50, 4) if options.quick else (300, 20)
    codes = [encode(disc(640, 360, 40 + k % 7, 100 + 7 * k, 150)) for k in range(40)]
    rles = {
        number: {frame: codes[(frame + 3 * number) % 40] for frame in range(frames)}
        for number in range(1, objects + 1)
    }
    made = paired(
        {"ours": lambda: Tracks.from_rles(rles, (640, 360), frames)},
        repeats=1, clock=result.clock, warm=0,
    )  # fmt: skip
    tracks = made.outputs["ours"]
    result.add({"what": f"take {objects} objects", "items": frames * objects}, made)
    with tempfile.TemporaryDirectory() as folder:
        ours, plain = Path(folder) / "tracks.json", Path(folder) / "plain.json"

        def write_plain() -> None:
            rows = {
                str(number): {str(f): c for f, c in own.items()} for number, own in rles.items()
            }
            plain.write_text(json.dumps(rows), encoding="utf-8")

        def read_plain() -> int:
            rows = json.loads(plain.read_text(encoding="utf-8"))
            pixels = 0
            for own in rows.values():
                coded = [{"size": c["size"], "counts": c["counts"].encode()} for c in own.values()]
                # pycocotools fails on more than 255 at once with numpy 2.
                parts = [coded[first : first + 200] for first in range(0, len(coded), 200)]
                pixels += sum(int(coco.area(part).sum()) for part in parts)
                coco.toBbox(coded)
            return pixels

        def read_ours() -> int:
            loaded = Tracks.load(ours)
            return sum(int(loaded[number].areas.sum()) for number in loaded.object_ids)

        for what, held in (("save", tracks), ("save masks from pixels", _from_pixels(tracks))):
            saving = paired(
                {"ours": lambda held=held: held.save(ours), "json": write_plain},
                repeats=options.rounds(11), clock=result.clock,
            )  # fmt: skip
            result.add({"what": what, "items": frames * objects}, saving)
            result.at_least(f"{what} against json", 1 / 1.5, saving.ratios()["json"])
        loading = paired(
            {"ours": read_ours, "json and pycocotools": read_plain},
            repeats=options.rounds(11), clock=result.clock,
        )  # fmt: skip
        same = loading.outputs["ours"] == loading.outputs["json and pycocotools"]
        size = ours.stat().st_size / plain.stat().st_size
        result.add({"what": "load, areas and boxes", "items": frames * objects}, loading,
                   equal=same, **{"file size ÷ json": size})  # fmt: skip
        result.at_least("loading against json and pycocotools", 1 / 1.5,
                        loading.ratios()["json and pycocotools"])  # fmt: skip


def _from_pixels(tracks: Any) -> Any:
    """Return equal tracks whose masks came as pixels, so that they are held deflated."""
    from gar_video.tracks_builder import TracksBuilder

    builder = TracksBuilder(tracks.resolution_wh, tracks.num_frames)
    for number in tracks.object_ids:
        for frame in tracks[number].frames.tolist():
            builder.add_mask(frame, number, tracks[number].mask(frame))
    return builder.build()
