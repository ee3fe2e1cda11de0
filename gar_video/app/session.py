"""``Session``: one visitor's clip, objects, tracks and answers; nothing of any browser in it."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gar_video import masks
from gar_video.app.models import Models
from gar_video.app.pointing import Marks, Pointing
from gar_video.errors import Cancelled, PromptError
from gar_video.track import Track
from gar_video.tracks import Tracks

if TYPE_CHECKING:
    from gar_video.app.asking import Said
    from gar_video.chat import Chat
    from gar_video.video import Video

Progress = Callable[[int, int], None]


class Session:
    """What one visitor has loaded, pointed at, tracked and asked.

    Args:
        folder: Where its files are kept; removed by ``close``.
        models: The models that it may use.

    Attributes:
        key: A secret that addresses the session's pictures and files.
        video: The clip; None before one is open.
        pointing: Objects and marks.
        said: Descriptions, answers and choices, oldest first.
        window_s: ``(start, end)`` in seconds that questions look at; None for all of it.
        gar_name: The GAR checkpoint chosen.
        sam2_name: The SAM 2 checkpoint chosen.
        version: Rises whenever a drawn frame may look different.
        busy: What long work is done, and how far it is: ``(doing, done, total)``.
        files: Exported files by name.
    """

    def __init__(self, folder: Path, models: Models) -> None:
        self.key = secrets.token_urlsafe(24)
        self.folder = folder
        self.models = models
        self.gar_name, self.sam2_name = models.gar_names[0], models.sam2_names[0]
        self.video: Video | None = None
        self.pointing = Pointing((1, 1), 1)
        self.said: list[Said] = []
        self.chat: tuple[object, Chat] | None = None
        self.window_s: tuple[float, float] | None = None
        self.version = 0
        self.busy: tuple[str, int, int] | None = None
        self.files: dict[str, Path] = {}
        self.lock = threading.RLock()
        self.closed = False
        self._tracks: dict[int, Track] = {}
        self._tracked_as: dict[int, object] = {}  # what the tracks were made of
        self._previews: dict[tuple[int, int], tuple[Marks, Any]] = {}
        self._stop = threading.Event()
        self._clip = 0  # counts clips, so that late work knows that its own has gone

    # ---- the clip -----------------------------------------------------------------------------

    def open(self, source: str | Path | npt.NDArray[np.uint8], name: str | None = None) -> None:
        """Open a clip or photograph in place of the one before.

        Args:
            source: What ``Video`` opens.
            name: What it is called; the file's name by default.

        Raises:
            VideoError: If it cannot be opened; the clip before stays.
        """
        from gar_video.video import Video

        video = Video(source)
        video[0]  # refused now rather than shown empty
        if name is not None:
            video.name = name
        self.cancel()
        with self.lock:
            before, self.video = self.video, video
            self.pointing = Pointing(video.resolution_wh, len(video))
            self._forget_tracks()
            self.window_s = None
            self.said = []
            self._clip += 1
            self.version += 1
        if before is not None:
            before.close()

    def open_rendered(self, seed: int = 0, duration_s: float | None = None) -> None:
        """Render a clip of two moving shapes and open it."""
        from gar_video.synth.write import write_clip

        self.folder.mkdir(parents=True, exist_ok=True)
        path, *others = write_clip(
            self.folder / f"rendered-{seed}.mp4", seed, num_objects=2, duration_s=duration_s
        )
        for other in others:
            other.unlink()
        self.open(path)

    def opened(self) -> Video:
        """Return the clip.

        Raises:
            PromptError: If none is open.
        """
        if self.closed:
            raise PromptError("this page has been left alone for too long; reload it to go on")
        if self.video is None:
            raise PromptError("no clip is open yet; drop one, or try the rendered clip")
        return self.video

    # ---- tracks -------------------------------------------------------------------------------

    @property
    def tracks(self) -> Tracks | None:
        """The objects that have tracks, named as they are now; None if there are none."""
        with self.lock:
            objects = self.pointing.objects
            found = [
                Track(i, objects[i].name or None, t.resolution_wh, t.num_frames, t._columns)
                for i in objects
                if (t := self._tracks.get(i)) is not None
            ]
            return Tracks(found, found[0].resolution_wh, found[0].num_frames) if found else None

    @property
    def colors(self) -> dict[int, tuple[int, int, int]]:
        """RGB by object id."""
        return {key: named.color for key, named in self.pointing.objects.items()}

    def track_of(self, object_id: int) -> Track | None:
        """Return an object's track, if it has one."""
        return self._tracks.get(object_id)

    def is_stale(self, object_id: int) -> bool:
        """Whether an object has been marked otherwise since it was tracked."""
        marks = self.pointing.fingerprint(object_id)
        return bool(marks) and self._tracked_as.get(object_id) != (marks, self.sam2_name)

    def track(self, progress: Progress | None = None) -> tuple[int, ...]:
        """Track the objects whose marks are new; the tracks of others stay.

        Args:
            progress: Called with (frames done, frames in all).

        Returns:
            Ids of the objects that were tracked.

        Raises:
            PromptError: If nothing is pointed at, nothing is new, or tracking goes on already.
            Cancelled: If ``cancel`` was called meanwhile; the tracks before stay.
        """
        with self.lock:
            video, clip, sam2_name = self.opened(), self._clip, self.sam2_name
            ids = [i for i in self.pointing.objects if self.is_stale(i)]
            self._check_can_track(ids)
            prompts = self.pointing.prompts(ids)
            made_of = {i: (self.pointing.fingerprint(i), sam2_name) for i in ids}
            self._stop.clear()
            self.busy = (f"loading {sam2_name}", 0, 0)
        try:
            sam2 = self.models.sam2(sam2_name)

            def step(done: int, total: int) -> None:
                self.busy = ("tracking", done, total)
                if progress is not None:
                    progress(done, total)

            def cancel() -> bool:
                sam2.turn.let_others()
                return self._stop.is_set()

            with sam2.turn:
                found = sam2.model.track(video, prompts, progress=step, cancel=cancel)
        finally:
            self.busy = None
        with self.lock:
            if clip != self._clip:
                raise Cancelled("another clip was opened meanwhile")
            self._tracks.update({i: found[i] for i in ids})
            self._tracked_as.update(made_of)
            self.version += 1
        return tuple(ids)

    def _check_can_track(self, ids: list[int]) -> None:
        if self.busy is not None:
            raise PromptError(f"still {self.busy[0]}; wait, or cancel it")
        if not self.pointing.marks:
            raise PromptError("nothing is pointed at yet; click on an object in the picture first")
        if not ids:
            raise PromptError("all that is pointed at is tracked already; click to correct it")

    def cancel(self) -> None:
        """Stop tracking or answering at the next frame or word."""
        self._stop.set()

    def start_over(self) -> threading.Event:
        """Return the event that ``cancel`` sets, cleared."""
        self._stop.clear()
        return self._stop

    def load_tracks(self, path: str | Path, format: str = "auto") -> Tracks:
        """Take somebody else's tracks in place of all objects here.

        Args:
            path: A file of any format, or a zip of a folder.
            format: A format's name, or ``"auto"``.

        Raises:
            TracksError: If they cannot be read or do not fit the clip.
        """
        from gar_video.app.unzipping import unzipped

        video = self.opened()
        with unzipped(Path(path), self.folder) as found:
            tracks = Tracks.load(found, video=video, format=format)
            with self.lock:
                self.pointing = Pointing(video.resolution_wh, len(video))
                self._forget_tracks()
                for object_id in tracks:
                    self.pointing.add(object_id, tracks[object_id].label or "")
                    self._tracks[object_id] = tracks[object_id]
                self.pointing.forget_steps()
                self.version += 1
        return tracks

    def _forget_tracks(self) -> None:
        self._tracks, self._tracked_as, self._previews = {}, {}, {}
        self.end_chat()

    # ---- what is shown ------------------------------------------------------------------------

    def preview(self, object_id: int, frame: int) -> None:
        """Work out which pixels the marks of an object on a frame mean, to be shown there."""
        with self.lock:
            video = self.opened()
            marks = self.pointing.marks.get((object_id, frame))
            if marks is None or not marks.says_where or marks.paint is not None:
                return
        sam2 = self.models.sam2(self.sam2_name)
        with sam2.turn, sam2.model.session(video) as tracking:
            found = tracking.add(marks.prompts(object_id, frame))[frame]
        with self.lock:
            if self.video is video and found.mask is not None and len(found.mask):
                self._previews[object_id, frame] = (marks, masks.encode(found.mask[0]))
                self.version += 1

    def region(self, object_id: int, frame: int) -> npt.NDArray[np.bool_] | None:
        """Return an object's pixels on a frame as they are shown now; None if it is not seen."""
        with self.lock:
            marks = self.pointing.marks.get((object_id, frame))
            if marks is not None and self.is_stale(object_id):
                if marks.paint is not None:
                    return marks.paint
                held = self._previews.get((object_id, frame))
                if held is not None and held[0] is marks:
                    return masks.decode(held[1])
            track = self._tracks.get(object_id)
            return None if track is None else track.mask(frame)

    # ---- the end ------------------------------------------------------------------------------

    def end_chat(self) -> None:
        """End the conversation; the next question begins another."""
        if self.chat is not None:
            self.chat[1].close()
            self.chat = None

    def close(self) -> None:
        """Stop all work and remove all files."""
        self.closed = True
        self.cancel()
        with self.lock:
            self._forget_tracks()
            if self.video is not None:
                self.video.close()
                self.video = None
            self.said, self.files = [], {}
        shutil.rmtree(self.folder, ignore_errors=True)
