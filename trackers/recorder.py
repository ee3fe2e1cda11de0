"""TrackRecorder: what an online tracker gives, frame by frame, kept as ``Tracks``."""

from __future__ import annotations

import io
import json
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import IO, Any

import numpy as np

from gar_video.errors import TracksError
from gar_video.formats.results import add_output, kind_of
from gar_video.regions import BadBoxes
from gar_video.tracks import Tracks
from gar_video.tracks_builder import GivenMask, TracksBuilder
from gar_video.video import Video


class TrackRecorder:
    """Records an online tracker's output; masks are kept run-length coded.

    Regions are kept in memory up to ``spill_bytes``; then they go to a temporary file, so that
    memory stays flat however long the loop runs. ``tracks`` reads them back.

    Args:
        resolution_wh: The frames' ``(width, height)``; may be left out if the first detections
            have masks or know their frame's size.
        video: The video that the frames are of, if there is a file; gives size and length, and
            which frame is shown at a time.
        fps: Frames per second, to tell frames by their time without a video.
        spill_bytes: Bytes of regions kept in memory, about.
        folder: Where the temporary file goes; the system's place by default.
        bad_boxes: What to do with boxes that do not fit; see ``regions.BadBoxes``.
        names: Words for BoxMOT's class numbers.

    Raises:
        TracksError: If a setting cannot be meant.

    Example:
        ``with TrackRecorder((1280, 720)) as recorder:`` and in the loop
        ``recorder.update(frame_index, tracker.update(detections))``; then
        ``recorder.tracks.save("tracks.json")``.
    """

    def __init__(
        self,
        resolution_wh: tuple[int, int] | None = None,
        *,
        video: Video | None = None,
        fps: float | None = None,
        spill_bytes: int = 64 * 2**20,
        folder: str | None = None,
        bad_boxes: BadBoxes = "clip",
        names: Mapping[int, str] | None = None,
    ) -> None:
        if spill_bytes < 1:
            raise TracksError(f"spill_bytes is {spill_bytes}; expected at least 1")
        if fps is not None and not 0 < fps < 10_000:
            raise TracksError(f"fps is {fps}; expected frames per second")
        self._video, self._fps = video, fps
        self._size = resolution_wh if video is None else tuple(video.resolution_wh)
        self._length = None if video is None else len(video)
        self._spill_bytes, self._folder = spill_bytes, folder
        self._bad_boxes, self._names = bad_boxes, names
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None
        self._last_frame = -1
        self._closed = False
        self._tracks: Tracks | None = None
        if self._size is not None:
            self._builder()  # refuses what cannot be meant now, not at the end

    def update(self, frame_or_time: int | float, detections: Any) -> None:
        """Record one frame.

        Args:
            frame_or_time: The frame's 0-based index, an int; or its time in seconds, a float,
                where ``video`` or ``fps`` was given. After that of the last call; of two times
                in one frame the first counts.
            detections: What the tracker gave: ``sv.Detections`` with ``tracker_id``, Ultralytics
                ``Results`` of ``model.track``, or BoxMOT's array. Ids of -1 are left out.

        Raises:
            TracksError: If the frame lies before the last one or outside the video, or the
                detections have no ids or do not fit.
        """
        if self._closed:
            raise TracksError("the recorder is closed; expected updates inside its `with` block")
        frame = self._frame(frame_or_time)
        if frame == self._last_frame and isinstance(frame_or_time, (float, np.floating)):
            return
        if frame <= self._last_frame:
            raise TracksError(
                f"frame {frame} after frame {self._last_frame}; expected frames that go forwards"
            )
        if isinstance(detections, list) and len(detections) == 1:
            detections = detections[0]
        if self._size is None:
            self._size = _size_of(detections)
        row = self._coded(frame, detections)
        self._last_frame, self._tracks = frame, None
        if row["regions"]:
            self._rows.append(row)
            self._bytes += sum(64 + len(str(region)) for region in row["regions"])
        if self._bytes > self._spill_bytes:
            self._spill()

    def _frame(self, given: int | float) -> int:
        if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
            return int(given)
        if not isinstance(given, (float, np.floating)):
            raise TracksError(f"frame {given!r}; expected an index (int) or a time (float)")
        if not np.isfinite(given) or given < 0:
            raise TracksError(f"time {given}; expected seconds, 0 or more")
        if self._video is not None:
            return self._video.index_at(float(given))
        if self._fps is None:
            raise TracksError(f"{given} is a time; give the recorder video= or fps=, or an index")
        return round(float(given) * self._fps)

    def _coded(self, frame: int, detections: Any) -> dict[str, Any]:
        """Check one frame's output and return it as plain data."""
        if self._size is None:
            if kind_of(detections) is None:
                add_output(TracksBuilder((1, 1)), frame, detections)  # says what is expected
            if len(detections) == 0:
                return {"frame": frame, "regions": []}
            raise TracksError(
                "boxes do not say how large the frames are; pass resolution_wh=(width, height)"
            )
        builder = self._builder()
        add_output(builder, frame, detections, self._names)
        tracks = builder.build(allow_empty=True)
        names = tracks.source_ids
        regions = []
        for object_id in tracks:
            track = tracks[object_id]
            if not track.is_visible(frame):
                continue
            box = track.box_xyxy(frame)
            assert box is not None
            region = box.tolist() if track.is_box(frame) else track.rle(frame)
            key = names.get(object_id, object_id)
            regions.append((key, region, track.score(frame), track.label))
        return {"frame": frame, "regions": regions}

    def _builder(self) -> TracksBuilder:
        assert self._size is not None
        width, height = self._size
        return TracksBuilder((width, height), self._length, bad_boxes=self._bad_boxes)

    # -- the temporary file ------------------------------------------------------------------------

    @property
    def spilled_bytes(self) -> int:
        """Bytes written to the temporary file so far."""
        return 0 if self._file is None else self._file.seek(0, io.SEEK_END)

    def _spill(self) -> None:
        """Move what is in memory to the temporary file: one deflated block, its length before."""
        try:
            if self._file is None:
                # Without a name on systems that can: nothing is left behind, whatever happens.
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by close
            block = zlib.compress(json.dumps(self._rows).encode(), 1)
            self._file.seek(0, io.SEEK_END)
            self._file.write(len(block).to_bytes(8, "little") + block)
            self._file.flush()
        except OSError as error:
            raise TracksError(
                f"cannot write the recorder's temporary file: {error.strerror or error}; give "
                "folder=, or a larger spill_bytes"
            ) from None
        self._rows, self._bytes = [], 0

    def _blocks(self) -> Iterator[list[dict[str, Any]]]:
        if self._file is not None:
            self._file.seek(0)
            while header := self._file.read(8):
                yield json.loads(zlib.decompress(self._file.read(int.from_bytes(header, "little"))))
        yield self._rows

    # -- what was recorded -------------------------------------------------------------------------

    @property
    def tracks(self) -> Tracks:
        """What was recorded so far; all of it is read into memory.

        Raises:
            TracksError: If nothing was recorded and the frames' size is not known.
        """
        if self._tracks is None:
            if self._closed and self._file is None and not self._rows and self._last_frame < 0:
                raise TracksError("nothing was recorded; call update for every frame")
            if self._size is None:
                raise TracksError("nothing was detected; pass resolution_wh=(width, height)")
            builder = self._builder()
            regions = (
                GivenMask(row["frame"], *region)
                for rows in self._blocks()
                for row in rows
                for region in row["regions"]
            )
            for has_mask, group in groupby(regions, key=lambda one: isinstance(one.mask, dict)):
                if has_mask:
                    builder.add_masks(group)
                    continue
                for frame, object_id, xyxy, score, label, _ in group:
                    builder.add_box(frame, object_id, xyxy, score, label)
            if self._last_frame >= 0:
                builder.see_frame(self._last_frame)
            self._tracks = builder.build(allow_empty=True)
        return self._tracks

    def close(self) -> None:
        """End recording; ``tracks`` stays."""
        if self._closed:
            return
        self._closed = True
        if self._file is not None:
            try:
                _ = self.tracks
            finally:
                self._file.close()

    def __enter__(self) -> TrackRecorder:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()


def _size_of(detections: Any) -> tuple[int, int] | None:
    """Return the frame's size as far as one frame's output knows it."""
    kind = kind_of(detections)
    mask = getattr(detections, "mask", None)
    if kind == "ultralytics":
        height, width = detections.orig_shape[:2]
    elif kind == "supervision" and mask is not None and len(mask):
        height, width = mask.shape[1:]
    else:
        return None
    return int(width), int(height)
