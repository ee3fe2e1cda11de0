"""Writing rendered clips: H.264, tracks in any of our formats, and the truth as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gar_video import masks
from gar_video.errors import GARVideoError
from gar_video.files import check_writable, replacing, write_text
from gar_video.synth import events
from gar_video.synth.render import render_labels
from gar_video.synth.scene import Scene
from gar_video.synth.truth import Truth, sample
from gar_video.tracks import Tracks

Update = Callable[[int, int], None]
Drawn = tuple[int, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]

#: Files written for users and benchmarks draw their scenes from seeds beyond these, so that no
#: training stream (seeds from 0 up) has seen them.
TRAINING_SEEDS = 2**40
_CHUNK = 16


def clip_seed(seed: int, index: int = 0) -> int:
    """Return the scene seed of a written clip: of the ``index``-th of those written from ``seed``.

    Raises:
        GARVideoError: If a number is negative or too large.
    """
    if not 0 <= seed < 2**32 or not 0 <= index < 2**24:
        raise GARVideoError(
            f"seed {seed}, clip {index}: expected a seed of 0 to {2**32 - 1} "
            f"and at most {2**24} clips"
        )
    return TRAINING_SEEDS + seed * 2**24 + index


def check_size(resolution_wh: tuple[int, int]) -> tuple[int, int]:
    """Return a frame size that H.264 can hold.

    Raises:
        GARVideoError: If a side is odd, below 32 or above 4096 pixels.
    """
    width, height = resolution_wh
    for side in (width, height):
        if not 32 <= side <= 4096 or side % 2:
            raise GARVideoError(
                f"size {width}x{height}: expected WIDTHxHEIGHT, two even numbers from 32 to 4096"
            )
    return width, height


def draw_frames(scene: Scene, resolution_wh: tuple[int, int]) -> Iterator[Drawn]:
    """Draw a scene frame by frame; memory stays flat in its length.

    Yields:
        Frame index, picture ``(H, W, 3)`` uint8 RGB and label map ``(H, W)`` uint8, where ``k + 1``
        stands for ``scene.objects[k]`` and 0 for the ground.
    """
    for start in range(0, scene.num_frames, _CHUNK):
        chunk = range(start, min(start + _CHUNK, scene.num_frames))
        images, labels = render_labels(scene, chunk, resolution_wh)
        yield from zip(chunk, images, labels, strict=True)


def rles_of(scene: Scene, label: npt.NDArray[np.uint8]) -> dict[int, dict[str, Any] | None]:
    """Return object id -> COCO RLE, or None where nothing of it is seen, of one label map."""
    found: dict[int, dict[str, Any] | None] = {}
    for k, thing in enumerate(scene.objects):
        mask = label == k + 1
        found[thing.object_id] = dict(masks.encode(mask)) if mask.any() else None
    return found


class ClipWriter:
    """Writes frames as an H.264 mp4 whose bytes depend on the frames alone.

    Args:
        path: The file; as it is, so give a temporary name.
        resolution_wh: Width and height, both even.
        fps: Frames a second.
    """

    def __init__(self, path: Path, resolution_wh: tuple[int, int], fps: int) -> None:
        import av

        options = {"fflags": "+bitexact", "movflags": "+faststart"}
        self._container = av.open(str(path), "w", format="mp4", options=options)
        # One thread: how many the machine has must not show in the file.
        self._stream: Any = self._container.add_stream("libx264", rate=Fraction(fps))
        self._stream.width, self._stream.height = resolution_wh
        self._stream.pix_fmt = "yuv420p"
        self._stream.thread_count = 1
        self._stream.options = {"crf": "17", "preset": "medium", "threads": "1"}
        self._stream.codec_context.flags |= _bitexact()

    def __enter__(self) -> ClipWriter:
        return self

    def __exit__(self, *problem: object) -> None:
        if problem[0] is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def write(self, image: npt.NDArray[np.uint8]) -> None:
        """Append a frame ``(H, W, 3)`` uint8 RGB."""
        import av

        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        self._container.mux(self._stream.encode(frame))


def _bitexact() -> int:
    from av.codec.context import Flags

    return int(Flags.bitexact)


def write_clip(
    path: str | Path,
    seed: int,
    level: str = "basic",
    *,
    resolution_wh: tuple[int, int] = (448, 448),
    num_objects: int | None = None,
    duration_s: float | None = None,
    index: int = 0,
    tracks_path: str | Path | None = None,
    tracks_format: str | None = None,
    truth_path: str | Path | None = None,
    progress: Update | None = None,
) -> tuple[Path, Path, Path]:
    """Write a clip, its tracks and its truth.

    Args:
        path: The ``.mp4`` to write.
        seed: Which clip; the same seed, level and settings give the same bytes.
        level: ``"basic"`` or ``"full"``.
        resolution_wh: Width and height, even.
        num_objects: How many things, 1 to 9; up to the seed by default.
        duration_s: Length; up to the seed by default.
        index: Which of the clips that a seed gives.
        tracks_path: Where the tracks go; beside the clip, ``NAME.tracks.json``, by default.
        tracks_format: A format's name; by the ending by default.
        truth_path: Where the truth goes; beside the clip, ``NAME.truth.json``, by default.
        progress: Called with frames done and in all.

    Returns:
        The paths of clip, tracks and truth.

    Raises:
        GARVideoError: If a setting cannot be meant or a file cannot be written.
    """
    target = check_writable(path, suffixes=(".mp4",))
    tracks_to = Path(tracks_path or target.with_suffix(".tracks.json"))
    truth_to = check_writable(truth_path or target.with_suffix(".truth.json"), suffixes=(".json",))
    resolution_wh = check_size(resolution_wh)
    scene, truth = _sample(clip_seed(seed, index), level, num_objects, duration_s, resolution_wh)
    rles: dict[int, dict[int, Any]] = {thing.object_id: {} for thing in scene.objects}
    # The clip appears last: whatever goes wrong with the tracks, it is not there without them.
    with replacing(target) as temporary:
        with ClipWriter(temporary, resolution_wh, scene.fps) as writer:
            for frame, image, label in draw_frames(scene, resolution_wh):
                writer.write(image)
                for object_id, rle in rles_of(scene, label).items():
                    rles[object_id][frame] = rle
                if progress is not None:
                    progress(frame + 1, scene.num_frames)
        tracks = Tracks.from_rles(rles, resolution_wh, scene.num_frames, labels_of(scene))
        tracks.save(tracks_to, tracks_format)
    head = {"seed": seed, "level": level, "resolution_wh": list(resolution_wh)}
    write_text(truth_to, dump({**head, **events.to_dict(truth)}))
    return target, tracks_to, truth_to


def _sample(
    scene_seed: int,
    level: str,
    num_objects: int | None,
    duration_s: float | None,
    resolution_wh: tuple[int, int],
) -> tuple[Scene, Truth]:
    if duration_s is not None and not 0.5 <= duration_s <= 60:
        raise GARVideoError(f"duration {duration_s:g} s: expected 0.5 to 60 seconds")
    aspect = resolution_wh[0] / resolution_wh[1]
    try:
        seconds = None if duration_s is None else float(duration_s)
        return sample(scene_seed, level, num_objects, seconds, aspect)
    except ValueError as error:
        raise GARVideoError(str(error)) from None


def labels_of(scene: Scene) -> dict[int, str]:
    """Return object id -> a word for it: ``"large red circle"``."""
    return {t.object_id: f"{t.size} {t.color} {t.shape}" for t in scene.objects}


def dump(value: object) -> str:
    """Return JSON text: sorted as given, one entry of the outermost list or object a line."""
    if isinstance(value, dict):
        lines = [f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"
    if isinstance(value, list):
        return "[\n" + ",\n".join(json.dumps(entry) for entry in value) + "\n]\n"
    return json.dumps(value) + "\n"
