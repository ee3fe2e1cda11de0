"""Recordings opened with their tracks: given ones, or made here."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gar_video import formats
from gar_video.batch import autotrack
from gar_video.batch.fetching import local_copy
from gar_video.batch.footage import Recording
from gar_video.batch.guarded import GuardedVideo, Keeper
from gar_video.batch.planning import Clock, plan_units
from gar_video.batch.prompted import PromptTracker, find_prompts
from gar_video.batch.settings import AUTO, BESIDE, PROMPTS, Settings
from gar_video.batch.state import Unit
from gar_video.errors import GARVideoError, TracksError
from gar_video.tracks import Tracks

TRACKS = "tracks"
_ENDINGS = (
    ".tracks.json", ".tracks.txt", ".json", ".txt", ".csv", ".xml", ".tracks", "",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Clip:
    """A recording that is open.

    Attributes:
        recording: The recording.
        video: Its frames.
        tracks: Its objects.
    """

    recording: Recording
    video: GuardedVideo
    tracks: Tracks

    @property
    def clock(self) -> Clock:
        """When its frames are shown."""
        return Clock(self.video.times_s, self.video.duration_s)


@dataclass(frozen=True, eq=False)
class Planned:
    """What a recording is and what there is to do in it."""

    facts: dict[str, Any]
    units: list[Unit] = field(default_factory=list)


class TracksCache:
    """The last few recordings' tracks, which are read to plan and again to answer. For all threads.

    Args:
        capacity: How many.
    """

    def __init__(self, capacity: int = 32) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[Recording, Tracks] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, recording: Recording) -> Tracks | None:
        """Return a recording's tracks, if they are kept; they are for one use."""
        with self._lock:
            return self._kept.pop(recording, None)

    def put(self, recording: Recording, tracks: Tracks) -> None:
        """Keep a recording's tracks."""
        with self._lock:
            self._kept[recording] = tracks
            while len(self._kept) > self._capacity:
                self._kept.popitem(last=False)


class Clips:
    """Opens recordings; the last one stays open. For one thread.

    Args:
        settings: The run's.
        folder: The run's folder, where tracks that are made are kept.
        most_s: Follow objects in so many seconds of a video at most; None for all of it.
        cache: Where tracks are left by who plans, for who answers.
        tracker: Follows prompts, where tracks come from them.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        most_s: float | None = None,
        cache: TracksCache | None = None,
        tracker: PromptTracker | None = None,
    ) -> None:
        self._settings, self._folder, self._most_s = settings, folder, most_s
        self._tracker = tracker
        self._cache = cache or TracksCache(0)
        self._keeper = Keeper()
        self._open: Clip | None = None

    def open(self, recording: Recording, alive: Callable[[], object] | None = None) -> Clip:
        """Open a recording and read its tracks, or make them.

        Args:
            recording: The recording.
            alive: Called now and then while tracks are made.

        Raises:
            GARVideoError: If it cannot be opened or has no tracks that fit.
        """
        if self._open is not None and self._open.recording == recording:
            return self._open
        self._leave()
        path = local_copy(recording.source, self._folder)
        video = GuardedVideo(path, keeper=self._keeper, **self._settings.limits)
        try:
            tracks = self._cache.get(recording) or self._tracks(recording, video, alive)
            tracks.check_fits(video)
        except BaseException:
            video.close()
            raise
        self._open = Clip(recording, video, tracks)
        return self._open

    def _tracks(
        self, recording: Recording, video: GuardedVideo, alive: Callable[[], object] | None
    ) -> Tracks:
        if self.follows(recording):
            path = made_tracks(self._folder, recording)
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._make(recording, video, path, alive)
            return Tracks.load(path, video=video, format="json")
        return find_tracks(recording, video, self._settings.tracks)

    def _make(
        self,
        recording: Recording,
        video: GuardedVideo,
        path: Path,
        alive: Callable[[], object] | None,
    ) -> None:
        """Write tracks that are made of what moves, or of what was pointed at."""
        if self._settings.tracks == PROMPTS:
            assert self._tracker is not None
            prompts = find_prompts(recording.source, self._settings.prompts)
            self._tracker.follow(video, prompts, path, self._most_s, alive)
            return
        for _ in video.run(autotrack.follow, self._settings.following, str(path), self._most_s):
            if alive is not None:
                alive()

    def follows(self, recording: Recording) -> bool:
        """Whether a recording's tracks are made here."""
        return recording.tracks is None and self._settings.tracks in (AUTO, PROMPTS)

    def plan(
        self, number: int, recording: Recording, alive: Callable[[], object] | None = None
    ) -> Planned:
        """Look at a recording and say what there is to do in it.

        Args:
            number: Its number in the run.
            recording: The recording.
            alive: Called now and then while tracks are made.

        Raises:
            GARVideoError: As ``open``.
        """
        clip = self.open(recording, alive)
        video = clip.video
        units = plan_units(
            number, clip.tracks, clip.clock, self._settings.tasks, recording.region
        )  # fmt: skip
        facts = {
            "duration_s": round(video.duration_s, 6), "frames": len(video),
            "resolution_wh": list(video.resolution_wh), "objects": len(clip.tracks),
        }  # fmt: skip
        if units:
            self._cache.put(recording, clip.tracks)
        return Planned(facts, units)

    def _leave(self) -> None:
        if self._open is not None:
            self._open.video.close()
            self._open = None

    def close(self) -> None:
        """Close what is open and end the child."""
        self._leave()
        self._keeper.close()


def made_tracks(folder: Path, recording: Recording) -> Path:
    """Return where tracks are kept that were made for a recording."""
    digest = hashlib.sha256(recording.source.encode()).hexdigest()[:24]
    return folder / TRACKS / f"{digest}.json"


def find_tracks(recording: Recording, video: GuardedVideo, tracks: str) -> Tracks:
    """Read the tracks that belong to a recording.

    Args:
        recording: The recording; its own tracks come first.
        video: Its frames.
        tracks: As ``Settings.tracks``.

    Raises:
        TracksError: If there are none, or they do not fit.
    """
    if recording.tracks is not None:
        return Tracks.load(recording.tracks, video=video)
    source = Path(recording.source)
    known = tracks in formats.names()
    folder = source.parent if tracks == BESIDE or known else Path(tracks)
    stem = source.name.removesuffix(source.suffix)
    for ending in _ENDINGS:
        path = folder / f"{stem}{ending}"
        if path.exists() and path != source:
            return Tracks.load(path, video=video, format=tracks if known else "auto")
    raise TracksError(
        f"there are no tracks of {source.name} in {folder}; expected such as "
        f"{stem}.tracks.json, or have them made with --tracks auto"
    )


def check_tracks(tracks: str) -> None:
    """Refuse what tracks cannot come from.

    Raises:
        GARVideoError: If it is neither a word that is known, nor a format, nor a folder.
    """
    if tracks in (AUTO, BESIDE, PROMPTS) or tracks in formats.names() or Path(tracks).is_dir():
        return
    raise GARVideoError(
        f"tracks are to come from {tracks!r}, which is no folder; expected auto, beside, prompts, "
        f"a folder, or a format: {', '.join(formats.names())}"
    )
