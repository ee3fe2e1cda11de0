"""What every source makes: frames with regions, and what is asked and answered about them."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np

from gar_video.encoding import Look, look
from gar_video.errors import PromptError
from gar_video.processor import GARProcessor
from gar_video.prompt import DESCRIBE, RegionPrompt, mentioned_ids, parse_question
from gar_video.sampling import frame_window
from gar_video.tracks import Tracks
from gar_video.train.recipe.config import DataSection
from gar_video.train.recipe.errors import SampleError, TrainingError
from gar_video.video import Video

# What is kept free for a question and its answer when frames are chosen: the same as when
# questions are asked, so that training looks at the frames that answering will look at.
TEXT_ROOM = 512

_MENTION = re.compile(r"<\d{1,18}>")


@dataclass(frozen=True)
class Turn:
    """A question and its answer.

    Attributes:
        question: Objects are ``<ID>``.
        answer: What is to be said; objects are ``<ID>``.
        kind: What it asks, for the curves.
    """

    question: str
    answer: str
    kind: str = ""


@dataclass(frozen=True)
class Thread:
    """What is said in turn; later turns see earlier ones. A question alone has one turn.

    Attributes:
        turns: In order.
        objects: Whom it is about; if empty, those that its questions mention, or else all.
        describes: Whether it is the description of one object, asked without naming it.
    """

    turns: tuple[Turn, ...]
    objects: tuple[int, ...] = ()
    describes: bool = False


def single(question: str, answer: str, kind: str = "") -> Thread:
    """Return a thread of one question."""
    return Thread((Turn(question, answer, kind),))


def description(object_id: int, text: str) -> Thread:
    """Return the thread in which an object is described, asked as ``GARVideo.describe`` does."""
    return Thread((Turn(DESCRIBE, text, "description"),), (object_id,), describes=True)


@dataclass(frozen=True, eq=False)
class Example:
    """A clip or picture with its regions, and threads that each see it and themselves alone.

    Attributes:
        prompt: Frames and regions, as the processor takes them.
        threads: What is asked.
        absent: Prompt numbers of ids that are named but not there, for questions that test it.
        dropped: Answers that did not fit the context, left out whole.
    """

    prompt: RegionPrompt
    threads: tuple[Thread, ...]
    absent: Mapping[int, int] = field(default_factory=dict)
    dropped: int = 0


class Source(Protocol):
    """Makes examples. The same index and generator state give the same example."""

    name: str

    def __len__(self) -> int:
        """How many samples there are; 0 for an endless stream."""
        ...

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Make one; raises SampleError or GARVideoError where it cannot be used."""
        ...


# ---------------------------------------------------------------- text


def plain(text: str) -> str:
    r"""Write somebody's words so that only ``<ID>`` is special: every other ``<`` as ``\<``."""
    pieces, at = [], 0
    for match in _MENTION.finditer(text):
        pieces += [text[at : match.start()].replace("<", "\\<"), match.group()]
        at = match.end()
    return "".join([*pieces, text[at:].replace("<", "\\<")])


def objects_of(thread: Thread, everyone: Sequence[int]) -> tuple[int, ...]:
    """Return the ids that a thread is about: those its questions mention in order, or all."""
    found: dict[int, None] = dict.fromkeys(thread.objects)
    for turn in () if found else thread.turns:
        found.update(dict.fromkeys(mentioned_ids(parse_question(turn.question))))
    return tuple(found) or tuple(everyone)


def choose_group(
    threads: Sequence[Thread], everyone: Sequence[int], rng: np.random.Generator, most: int
) -> tuple[tuple[int, ...], tuple[Thread, ...]]:
    """Choose threads about the same objects in the same order, which can share one prompt.

    Answering shows a question the objects that it mentions and no others; so does training.

    Args:
        threads: All of a sample.
        everyone: Its objects' ids.
        rng: Draws the group, by how many threads it has, and which of them if there are more.
        most: Threads at most.

    Raises:
        SampleError: If there is nothing to ask, or an object mentioned is not there.
    """
    groups: dict[tuple[tuple[int, ...], bool], list[Thread]] = {}
    for thread in threads:
        key = (objects_of(thread, everyone), thread.describes)
        groups.setdefault(key, []).append(thread)
    if not groups:
        raise SampleError("nothing is asked or described")
    keys = list(groups)
    sizes = np.array([len(groups[key]) for key in keys], dtype=float)
    chosen = keys[int(rng.choice(len(keys), p=sizes / sizes.sum()))]
    objects, _ = chosen
    missing = [object_id for object_id in objects if object_id not in everyone]
    if missing:
        raise SampleError(f"<{missing[0]}> is mentioned, but there are {list(everyone)}")
    members = groups[chosen]
    if len(members) > most:
        members = [members[int(n)] for n in sorted(rng.permutation(len(members))[:most])]
    return objects, tuple(members)


# ---------------------------------------------------------------- looking


@dataclass(frozen=True)
class Maker:
    """What sources need to know of the checkpoint.

    Attributes:
        processor: The checkpoint's processor.
        context: Longest sequence in tokens.
    """

    processor: GARProcessor
    context: int

    def length(self, thread: Thread) -> int:
        """Return about how many tokens a thread takes: its words and the turns around them."""
        return sum(
            len(self.processor.encode_plain(turn.question))
            + len(self.processor.encode_plain(turn.answer))
            + 16
            for turn in thread.turns
        )

    def see(
        self,
        video: Video,
        tracks: Tracks | None,
        objects: Sequence[int],
        threads: Sequence[Thread],
        frames: int | Sequence[int],
        time: tuple[float, float] | None = None,
    ) -> Example:
        """Choose frames exactly as answering does, and make an example.

        A thread that leaves no room for even one frame is dropped whole, never cut.

        Raises:
            SampleError: If an object is visible in none of the frames, or nothing fits.
        """
        kept, dropped = sorted(threads, key=self.length), 0
        if len(objects) > self.processor.num_prompts:
            raise SampleError(
                f"{len(objects)} objects in one question, but the checkpoint has "
                f"{self.processor.num_prompts} prompts"
            )
        view = None
        while view is None:
            if not kept:
                raise SampleError(f"no answer fits the context of {self.context} tokens")
            longest = self.length(kept[-1])
            view = self._look(video, tracks, objects, frames, time, max(TEXT_ROOM, longest), kept)
            if view is None and longest < TEXT_ROOM:
                view = self._look(video, tracks, objects, frames, time, longest, kept)
            if view is None:
                kept.pop()
                dropped += 1
        if view.hidden:
            raise SampleError(f"<{view.hidden[0]}> is visible in none of the frames")
        whole = {id(thread) for thread in kept}
        return Example(view.prompt(), tuple(t for t in threads if id(t) in whole), dropped=dropped)

    def _look(
        self,
        video: Video,
        tracks: Tracks | None,
        objects: Sequence[int],
        frames: int | Sequence[int],
        time: tuple[float, float] | None,
        room: int,
        threads: Sequence[Thread],
    ) -> Look | None:
        """Look as answering does, keeping so many tokens free; None if nothing fits beside them."""
        if room >= self.context:
            return None
        frame_window(video, time)  # a window that cannot be meant is the sample's own mistake
        try:
            return look(
                video,
                tracks,
                list(objects),
                self.processor,
                frames=frames,
                time=time,
                text_tokens=room + self.processor.context_length - self.context,
                describe=threads[0].describes,
            )
        except PromptError:
            return None


def num_frames(section: DataSection, maker: Maker, rng: np.random.Generator) -> int:
    """Draw how many frames of a video to look at."""
    if not section.frames:
        return maker.processor.config.num_frames
    return int(section.frames[int(rng.integers(len(section.frames)))])


# ---------------------------------------------------------------- files


def read_records(path: Path, name: str) -> list[dict[str, Any]]:
    """Read a JSON list or JSON lines.

    Raises:
        TrainingError: If the file is missing, empty, or neither.
    """
    if not path.is_file():
        raise TrainingError(f"{name}: no data file at {path}; expected JSON or JSON lines")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".jsonl":
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            found = json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TrainingError(f"{name}: {path} is no valid JSON: {error}") from None
    if isinstance(found, dict) and isinstance(found.get("data"), list):
        found = found["data"]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise TrainingError(f"{name}: {path} holds no list of samples")
    if not found:
        raise TrainingError(f"{name}: {path} holds no samples")
    return found


def media_folder(section: DataSection) -> Path:
    """Return the folder that videos and pictures are named from."""
    path = Path(section.path)
    return Path(section.media) if section.media else (path if path.is_dir() else path.parent)


def inside(folder: Path, name: Any) -> Path:
    """Return the path of a named file; relative names cannot climb out of the folder.

    Raises:
        SampleError: If it is no name, leads outside, or is not there.
    """
    if not isinstance(name, str) or not name:
        raise SampleError(f"names {name!r} as a file")
    path = folder / name
    root = folder.resolve()
    if not path.resolve().is_relative_to(root) and not Path(name).is_absolute():
        raise SampleError(f"names {name}, which lies outside {folder}")
    if not path.exists():
        raise SampleError(f"there is no {path}")
    return path


class Kept:
    """The last few things made, for sources that are read again and again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: OrderedDict[Any, Any] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what is kept under a key, making it if it is not."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key]
        made = make()
        if self._most:
            with self._lock:
                self._items[key] = made
                while len(self._items) > self._most:
                    self._items.popitem(last=False)
        return made


def frames_in_memory(video: Video, most_bytes: int = 64 << 20) -> Video:
    """Decode a short video once, for a source that keeps its samples."""
    width, height = video.resolution_wh
    if video.is_image or len(video) * width * height * 3 > most_bytes:
        return video
    return Video(video.frames(range(len(video))), fps=video.fps)


__all__ = [
    "Example",
    "Kept",
    "Maker",
    "Source",
    "Thread",
    "Turn",
    "choose_group",
    "description",
    "frames_in_memory",
    "inside",
    "media_folder",
    "num_frames",
    "objects_of",
    "plain",
    "read_records",
    "single",
]
