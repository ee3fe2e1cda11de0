"""What a run's answers depend on, and how its work is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gar_video.batch.guarded import Opener, open_plainly
from gar_video.batch.tasks import Task

BESIDE, AUTO, PROMPTS = "beside", "auto", "prompts"


@dataclass(frozen=True)
class Following:
    """How objects are followed where there are no tracks.

    Attributes:
        detector: Its name: ``"motion"``, a plug-in, ``MODULE:NAME(TEXT)``, or
            ``"transformers:NAME"`` for a detector of the Hub.
        tracker: Its name: ``"bytetrack"`` (Roboflow's trackers), ``"iou"`` (built in) or another.
        min_track_s: Objects seen for less are dropped, in seconds.
        gate: Share of the picture that has to change for the detector to be asked; 0 always asks.
    """

    detector: str = "motion"
    tracker: str = "bytetrack"
    min_track_s: float = 0.5
    gate: float = 0.0005


@dataclass(frozen=True)
class Settings:
    """A run's settings.

    Attributes:
        tasks: What is to be found out.
        tracks: ``"beside"`` (a file beside each video), ``"auto"``, ``"prompts"`` (SAM 2 follows
            what is pointed at), a folder of tracks, or the name of the format of files beside
            videos.
        following: For ``"auto"``.
        frames: Frames to look at where a task does not say; the checkpoint's default if None.
        thumbnails: Whether to make thumbnails.
        batch_size: Units in a batch, about.
        open_s: Seconds that a decoder may take to open a video.
        frame_s: Seconds that it may take for a frame.
        decoder_mib: MiB of address space that it may take; None for no limit.
        opener: Opens videos, in the child; another one for tests.
        redact: ``"faces"`` or ``"people"``, made unrecognisable in thumbnails before these are
            written.
        redact_with: Name of what finds them; see ``redacting.Redactor``.
        sam2: For ``"prompts"``: the checkpoint, as for ``Sam2Tracker.from_pretrained``.
        prompts: For ``"prompts"``: ``"beside"`` (``NAME.prompts.json`` beside each video), or a
            folder of such files.
    """

    tasks: tuple[Task, ...]
    tracks: str = BESIDE
    following: Following = Following()
    frames: int | None = None
    thumbnails: bool = True
    batch_size: int = 32
    open_s: float = 120.0
    frame_s: float = 60.0
    decoder_mib: int | None = None
    opener: Opener = open_plainly
    redact: str | None = None
    redact_with: str | None = None
    sam2: str = "nano"
    prompts: str = BESIDE

    @property
    def limits(self) -> dict[str, Any]:
        """What a ``GuardedVideo`` is given."""
        memory = None if self.decoder_mib is None else self.decoder_mib << 20
        return {
            "open_s": self.open_s, "frame_s": self.frame_s, "memory": memory,
            "opener": self.opener,
        }  # fmt: skip

    def identity(self, model: dict[str, Any], sam2: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what answers depend on, as a run's state keeps it.

        Args:
            model: What tells the checkpoint from others.
            sam2: The same of SAM 2's, where prompts are followed.
        """
        tracks: dict[str, Any] = {"from": self.tracks}
        if self.tracks == AUTO:
            tracks |= asdict(self.following)
        if self.tracks == PROMPTS:
            tracks["prompts"] = self.prompts
        return {
            "tasks": [{**asdict(task), "digest": task.digest} for task in self.tasks],
            "model": model,
            "tracks": tracks,
            "frames": self.frames,
            "thumbnails": self.thumbnails,
            **({"sam2": sam2} if sam2 else {}),
            **({"redacted": [self.redact, self.redact_with]} if self.redact else {}),
        }
