"""Objects through time: ``Track`` is one of them, ``Tracks`` all that belong to a video.

Masks are kept run-length coded and drawn for the frame in hand. Nothing changes a ``Tracks`` once
it is made; ``window`` and ``subset`` share its memory.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gar_video.errors import TracksError
from gar_video.regions import BadBoxes, check_frame, whole
from gar_video.runs import BoolMask
from gar_video.track import Track

if TYPE_CHECKING:
    import supervision as sv

    from gar_video.video import Video

__all__ = ["Track", "Tracks"]


class Tracks:
    """All tracked objects of a video, by id.

    Made by ``from_masks``, ``from_detections``, ``from_rles``, ``load`` or a ``TracksBuilder``.

    Attributes:
        resolution_wh: The frames' ``(width, height)``.
        num_frames: Length of the video, as far as known.
        num_frames_known: False if ``num_frames`` is only one more than the last frame with a
            region, so that the video may be longer.
        source_format: Name of the format this was loaded from; None if it was not.
        source_ids: What an object was called where its id had to be mapped to an int, by int id.
        ignored: Regions that the source marks as not to be evaluated (MOTChallenge's distractors,
            KITTI's ignore regions), kept apart; None if there are none.
    """

    def __init__(
        self,
        tracks: Iterable[Track],
        resolution_wh: tuple[int, int],
        num_frames: int,
        *,
        num_frames_known: bool = True,
        source_format: str | None = None,
        source_ids: Mapping[int, str] | None = None,
        ignored: Tracks | None = None,
    ) -> None:
        self._tracks = {track.object_id: track for track in tracks}
        self._resolution_wh = resolution_wh
        self._num_frames = num_frames
        self._num_frames_known = num_frames_known
        self._source_format = source_format
        self._source_ids = dict(source_ids or {})
        self._ignored = ignored

    # -- making ------------------------------------------------------------------------------------

    @classmethod
    def from_masks(
        cls,
        masks: Mapping[int, npt.ArrayLike],
        labels: Mapping[int, str] | None = None,
        *,
        allow_empty: bool = False,
    ) -> Tracks:
        """Make tracks from dense masks.

        Args:
            masks: Object id to ``(T, H, W)``, non-zero pixels belonging to the object. A frame
                without a pixel is one in which it is not visible.
            labels: Object id to a word for it.
            allow_empty: Take objects without a pixel in any frame (never visible).

        Raises:
            TracksError: If shapes differ between objects or are not three-dimensional, or an
                object has no pixel in any frame.
        """
        from gar_video.tracks_making import tracks_of_masks

        return tracks_of_masks(masks, labels or {}, allow_empty)

    @classmethod
    def from_rles(
        cls,
        rles: Mapping[int, Mapping[int, Any]],
        resolution_wh: tuple[int, int],
        num_frames: int,
        labels: Mapping[int, str] | None = None,
        scores: Mapping[int, Mapping[int, float]] | None = None,
        *,
        allow_empty: bool = False,
    ) -> Tracks:
        """Make tracks from coded masks.

        Args:
            rles: Object id to frame to segmentation: anything that ``masks.as_rle`` takes, or None
                where the object is known not to be visible.
            resolution_wh: The frames' ``(width, height)``.
            num_frames: The video's length.
            labels: Object id to a word for it.
            scores: Object id to frame to score.
            allow_empty: Take objects whose every mask is empty. (Objects for which no mask is
                given at all are taken as never visible in any case.)

        Raises:
            TracksError: If a segmentation is malformed or of another size, a frame lies outside
                the video, or all masks of an object are empty.
        """
        from gar_video.tracks_making import tracks_of_rles

        return tracks_of_rles(
            rles, resolution_wh, num_frames, labels or {}, scores or {}, allow_empty
        )

    @classmethod
    def from_detections(
        cls,
        detections: Iterable[Any],
        resolution_wh: tuple[int, int] | None = None,
        num_frames: int | None = None,
        *,
        bad_boxes: BadBoxes = "clip",
    ) -> Tracks:
        """Make tracks from what an online tracker gives for each frame.

        Reads the stream once and keeps no detections. Those with ``tracker_id`` -1 (not confirmed
        yet) are left out. Names in ``data["class_name"]`` become labels, the most frequent one of
        each object; ``confidence`` becomes the score.

        Args:
            detections: ``sv.Detections`` one a frame from frame 0, or pairs
                ``(frame, sv.Detections)``. Ids that are strings are mapped to ints, and
                ``source_ids`` keeps which.
            resolution_wh: The frames' ``(width, height)``; may be left out if there are masks.
            num_frames: The video's length; without it, what the stream had.
            bad_boxes: What to do with boxes that do not fit the frame; see ``BadBoxes``.

        Raises:
            TracksError: If detections have no ids, an id stands twice in a frame, a mask has
                another size, or a frame or box does not fit.
        """
        from gar_video.formats.results import tracks_from_stream

        return tracks_from_stream(
            detections, resolution_wh, num_frames, None, bad_boxes, "supervision"
        )

    @classmethod
    def from_results(
        cls,
        results: Iterable[Any],
        resolution_wh: tuple[int, int] | None = None,
        num_frames: int | None = None,
        *,
        names: Mapping[int, str] | Sequence[str] | None = None,
        bad_boxes: BadBoxes = "clip",
    ) -> Tracks:
        """Make tracks from any tracker's output, told by its attributes and shape.

        Args:
            results: One item a frame, or pairs ``(frame, item)``: Ultralytics ``Results`` of
                ``model.track``, BoxMOT arrays ``(N, 8)`` (x1, y1, x2, y2, id, confidence, class,
                index), or ``sv.Detections``, which Roboflow's trackers give.
            resolution_wh: The frames' ``(width, height)``; Ultralytics' results know it.
            num_frames: The video's length; without it, what the stream had.
            names: Words for BoxMOT's class numbers.
            bad_boxes: What to do with boxes that do not fit the frame; see ``BadBoxes``.

        Raises:
            TracksError: As ``from_detections``, or if an item is of no known kind.
        """
        from gar_video.formats.results import tracks_from_stream

        return tracks_from_stream(results, resolution_wh, num_frames, names, bad_boxes)

    # -- reading -----------------------------------------------------------------------------------

    @property
    def resolution_wh(self) -> tuple[int, int]:
        """The frames' ``(width, height)``."""
        return self._resolution_wh

    @property
    def num_frames(self) -> int:
        """Length of the video, as far as known."""
        return self._num_frames

    @property
    def num_frames_known(self) -> bool:
        """Whether the source states the video's length, rather than only its last region."""
        return self._num_frames_known

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids in the order they were given."""
        return tuple(self._tracks)

    @property
    def boxes_only(self) -> bool:
        """Whether every region is a box (False if there are none)."""
        seen = [track for track in self._tracks.values() if len(track)]
        return bool(seen) and all(track.boxes_only for track in seen)

    @property
    def source_format(self) -> str | None:
        """Name of the format this was loaded from."""
        return self._source_format

    @property
    def source_ids(self) -> dict[int, str]:
        """What objects were called whose ids had to be mapped to ints, by int id."""
        return dict(self._source_ids)

    @property
    def ignored(self) -> Tracks | None:
        """Regions that the source marks as not to be evaluated, kept apart."""
        return self._ignored

    def __getitem__(self, object_id: int) -> Track:
        track = self._tracks.get(object_id) if isinstance(object_id, Hashable) else None
        if track is None:
            known = ", ".join(map(str, self.object_ids[:12])) or "none"
            more = ", …" if len(self) > 12 else ""
            raise TracksError(f"no object {object_id!r}; the tracks hold {known}{more}")
        return track

    def __contains__(self, object_id: object) -> bool:
        return object_id in self._tracks

    def __iter__(self) -> Iterator[int]:
        return iter(self._tracks)

    def __len__(self) -> int:
        return len(self._tracks)

    def detections(self, frame: int) -> sv.Detections:
        """What is visible in one frame.

        Returns:
            ``sv.Detections`` with ``xyxy`` in pixel edges, ``mask`` ``(N, H, W)`` bool (None if all
            regions are boxes), ``tracker_id``, ``confidence`` (None if nothing has a score, NaN for
            objects without) and, where there are labels, ``data["class_name"]``.

        Raises:
            TracksError: If the frame lies outside the video.
        """
        from gar_video.formats.detections import detections_of_frame

        return detections_of_frame(self, check_frame(frame, self._num_frames))

    def masks(self, frame: int, object_ids: Sequence[int] | None = None) -> BoolMask:
        """Masks of one frame as ``(N, H, W)`` bool, all False where an object is not visible.

        Args:
            frame: 0-based frame.
            object_ids: Which objects, in this order; all by default.

        Raises:
            TracksError: If the frame lies outside the video or an id is unknown.
        """
        frame = check_frame(frame, self._num_frames)
        ids = self.object_ids if object_ids is None else tuple(object_ids)
        width, height = self._resolution_wh
        masks = np.zeros((len(ids), height, width), np.bool_)
        for index, object_id in enumerate(ids):
            mask = self[object_id].mask(frame)
            if mask is not None:
                masks[index] = mask
        return masks

    def visibility(
        self, frames: Sequence[int] | None = None, object_ids: Sequence[int] | None = None
    ) -> npt.NDArray[np.bool_]:
        """Who is visible when, ``(num_objects, num_frames)`` bool.

        Args:
            frames: Which frames, in this order; all by default.
            object_ids: Which objects, in this order; all by default.

        Raises:
            TracksError: If a frame lies outside the video or an id is unknown.
        """
        ids = self.object_ids if object_ids is None else tuple(object_ids)
        if frames is None:
            seen = np.zeros((len(ids), self._num_frames), np.bool_)
            for index, object_id in enumerate(ids):
                seen[index, self[object_id].frames] = True
            return seen
        asked = np.array([check_frame(frame, self._num_frames) for frame in frames], np.int64)
        seen = np.zeros((len(ids), len(asked)), np.bool_)
        for index, object_id in enumerate(ids):
            seen[index] = np.isin(asked, self[object_id].frames)
        return seen

    def _with(self, tracks: Iterable[Track], ignored: Tracks | None) -> Tracks:
        return Tracks(
            tracks,
            self._resolution_wh,
            self._num_frames,
            num_frames_known=self._num_frames_known,
            source_format=self._source_format,
            source_ids=self._source_ids,
            ignored=ignored,
        )

    def _with_source(self, source_format: str) -> Tracks:
        tracks = self._with(self._tracks.values(), self._ignored)
        tracks._source_format = source_format
        return tracks

    def subset(self, ids: Iterable[int]) -> Tracks:
        """Only these objects, in this order; memory is shared.

        Raises:
            TracksError: If an id is unknown or given twice.
        """
        chosen = list(ids)
        if len(set(chosen)) != len(chosen):
            raise TracksError(f"object ids {chosen} repeat themselves; expected each once")
        return self._with([self[object_id] for object_id in chosen], self._ignored)

    def window(self, start_frame: int, end_frame: int) -> Tracks:
        """Only the regions in ``[start_frame, end_frame)``; frame numbers stay, memory is shared.

        Raises:
            TracksError: If the window is empty or reaches outside the video.
        """
        start, end = whole(start_frame, "start_frame"), whole(end_frame, "end_frame")
        if not 0 <= start < end <= self._num_frames:
            raise TracksError(
                f"window of frames [{start}, {end}); expected 0 <= start < end <= "
                f"{self._num_frames}"
            )
        ignored = None if self._ignored is None else self._ignored.window(start, end)
        return self._with([t._window(start, end) for t in self._tracks.values()], ignored)

    def check_fits(self, video: Video) -> None:
        """Raise TracksError unless frame size and count are those of the video."""
        if tuple(video.resolution_wh) != self._resolution_wh:
            raise TracksError(
                f"tracks of {self._resolution_wh[0]}x{self._resolution_wh[1]} pixels for a video "
                f"of {video.resolution_wh[0]}x{video.resolution_wh[1]}; expected the video's size"
            )
        length = len(video)
        if self._num_frames > length or (self._num_frames_known and self._num_frames < length):
            raise TracksError(
                f"tracks of {self._num_frames} frames for a video of {length}; expected as many"
            )

    # -- files -------------------------------------------------------------------------------------

    @classmethod
    def load(
        cls,
        path: str | Path,
        video: Video | str | Path | None = None,
        format: str = "auto",
        *,
        resolution_wh: tuple[int, int] | None = None,
        num_frames: int | None = None,
        bad_boxes: BadBoxes = "clip",
        sequence: str | None = None,
    ) -> Tracks:
        """Read tracks from a file or folder.

        Args:
            path: What to read; ``gar_video.formats.names()`` lists the formats.
            video: The video that they belong to. Formats that do not state frame size or length
                take them from it; what they do state is checked against it.
            format: A format's name, or ``"auto"`` to tell by the content; ``source_format`` of the
                result says what it was taken for.
            resolution_wh: Frame size ``(width, height)``, in place of a video.
            num_frames: Number of frames, in place of a video.
            bad_boxes: What to do with boxes that do not fit the frame; see ``BadBoxes``.
            sequence: Which video's tracks, where a file holds those of several.

        Raises:
            TracksError: If it cannot be read, contradicts itself, or does not fit the video.
        """
        from gar_video.formats import load

        return load(path, video, format, resolution_wh, num_frames, bad_boxes, sequence)

    def save(self, path: str | Path, format: str | None = None) -> None:
        """Write tracks to a file or folder, which appears only when it is whole.

        What the format cannot hold is said in a warning, never dropped silently.

        Args:
            path: File or folder to write.
            format: A format's name; by default ``"json"`` (lossless) for a name ending in
                ``.json``, ``"mot"`` for ``.txt``, ``"davis"`` for a folder.

        Raises:
            TracksError: If the format is unknown or cannot be written, or ids do not fit into it.
        """
        from gar_video.formats import save

        save(self, path, format)

    # -- comparing and showing ---------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same: ids in order, labels, regions, scores, size and length."""
        if not isinstance(other, Tracks):
            return NotImplemented
        return (
            (self._resolution_wh, self._num_frames) == (other._resolution_wh, other._num_frames)
            and self.object_ids == other.object_ids
            and all(self[object_id] == other[object_id] for object_id in self)
            and self._ignored == other._ignored
        )

    def __hash__(self) -> int:
        return hash((self._resolution_wh, self._num_frames, self.object_ids))

    def __repr__(self) -> str:
        width, height = self._resolution_wh
        shown = "; ".join(repr(track)[6:-1] for track in list(self._tracks.values())[:5])
        more = f"; and {len(self) - 5} more" if len(self) > 5 else ""
        return f"Tracks({width}x{height}, {self._num_frames} frames: {shown or 'none'}{more})"

    def _repr_html_(self) -> str:
        from gar_video.notebook import tracks_html

        return tracks_html(self)
