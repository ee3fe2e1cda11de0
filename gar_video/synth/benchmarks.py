"""Rendered clips in the layouts of VideoRefer-Bench: BenchQ (questions) and BenchD (descriptions).

BenchQ: ``VideoRefer-Bench-Q.json`` beside a folder of JPEGs per clip; BenchD:
``VideoRefer-Bench-D.json`` beside mp4 files. Masks are given for up to 32 frames of a clip, evenly
spread. Further fields (``kind``, ``split``, ``seed``, ``level``) say where an item comes from.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gar_video.errors import GARVideoError
from gar_video.synth.descriptions import describe
from gar_video.synth.kinds import TYPES
from gar_video.synth.questions import Question, sample_questions
from gar_video.synth.scene import LEVELS, Scene
from gar_video.synth.truth import Truth, sample
from gar_video.synth.write import ClipWriter, check_size, clip_seed, draw_frames, dump, rles_of

Update = Callable[[int, int], None]
ANNOTATED_FRAMES = 32
QUESTIONS_FILE, DESCRIPTIONS_FILE = "VideoRefer-Bench-Q.json", "VideoRefer-Bench-D.json"
Rles = dict[int, dict[int, Any]]


def write_videorefer_q(
    out: str | Path,
    count: int,
    seed: int,
    level: str = "basic",
    *,
    resolution_wh: tuple[int, int] = (224, 224),
    split: str = "train",
    progress: Update | None = None,
) -> Path:
    """Write multiple-choice questions in the layout of BenchQ, the five types in equal numbers.

    Args:
        out: Folder to make.
        count: How many questions.
        seed: Which; the same seed and settings give the same bytes.
        level: ``"basic"`` or ``"full"``.
        resolution_wh: Width and height of the JPEGs, even.
        split: Wordings that training uses (``"train"``) or those kept out (``"heldout"``).
        progress: Called with questions done and in all.

    Returns:
        The JSON file.

    Raises:
        GARVideoError: If a setting cannot be meant, or the folder exists and is not empty.
    """
    resolution_wh = _check(count, level, resolution_wh)
    items: list[dict[str, Any]] = []
    with _whole_folder(out) as folder:
        for index, scene, chosen in _asked(count, seed, level, split, resolution_wh):
            video = f"JPEGImages/{index:05d}"
            rles = _write_jpegs(scene, folder / video, resolution_wh)
            for question in chosen:
                items.append(
                    {
                        "id": len(items),
                        "video": video,
                        **_item(question, scene, rles),
                        "kind": question.kind,
                        "split": split,
                        "seed": seed,
                        "level": level,
                    }
                )
            if progress is not None:
                progress(len(items), count)
        (folder / QUESTIONS_FILE).write_text(dump(items), encoding="utf-8")
    return Path(out) / QUESTIONS_FILE


def _asked(
    count: int, seed: int, level: str, split: str, resolution_wh: tuple[int, int]
) -> Iterator[tuple[int, Scene, list[Question]]]:
    """Yield clips with the questions to ask about them until every type has its share."""
    left = {name: count // 5 + (i < count % 5) for i, name in enumerate(TYPES)}
    aspect = resolution_wh[0] / resolution_wh[1]
    index = 0
    while any(left.values()):
        scene, truth = sample(clip_seed(seed, index), level, aspect=aspect)
        rng = _rng(seed, index)
        chosen: list[Question] = []
        for question in sample_questions(rng, scene, truth, split=split):
            if left[question.type] and question.type not in {q.type for q in chosen}:
                left[question.type] -= 1
                chosen.append(question)
        if chosen:
            yield index, scene, chosen
        index += 1


def write_videorefer_d(
    out: str | Path,
    count: int,
    seed: int,
    level: str = "basic",
    *,
    resolution_wh: tuple[int, int] = (224, 224),
    progress: Update | None = None,
) -> Path:
    """Write clips to describe in the layout of BenchD, one object of each.

    Args:
        out: Folder to make.
        count: How many clips.
        seed: Which; the same seed and settings give the same bytes.
        level: ``"basic"`` or ``"full"``.
        resolution_wh: Width and height of the clips, even.
        progress: Called with clips done and in all.

    Returns:
        The JSON file.

    Raises:
        GARVideoError: As ``write_videorefer_q``.
    """
    resolution_wh = _check(count, level, resolution_wh)
    aspect = resolution_wh[0] / resolution_wh[1]
    items = []
    with _whole_folder(out) as folder:
        (folder / "videos").mkdir()
        for index in range(count):
            scene, truth = sample(clip_seed(seed, index), level, aspect=aspect)
            rng = _rng(seed, index)
            object_id = _to_describe(rng, truth)
            video = f"videos/{index:05d}.mp4"
            rles: Rles = {}
            with ClipWriter(folder / video, resolution_wh, scene.fps) as writer:
                annotated = _annotated(scene)
                for frame, image, label in draw_frames(scene, resolution_wh):
                    writer.write(image)
                    if frame in annotated:
                        rles[frame] = rles_of(scene, label)
            items.append(
                {
                    "id": index,
                    "video": video,
                    "caption": describe(rng, truth, object_id).text,
                    "frame_idx": str(_best_frame(rles, (object_id,))),
                    "annotation": _annotation(rles, (object_id,)),
                    "seed": seed,
                    "level": level,
                }
            )
            if progress is not None:
                progress(index + 1, count)
        (folder / DESCRIPTIONS_FILE).write_text(dump(items), encoding="utf-8")
    return Path(out) / DESCRIPTIONS_FILE


def _to_describe(rng: np.random.Generator, truth: Truth) -> int:
    """Choose an object that is seen for a good part of the clip."""
    shares = (truth.visibility.seen > 0.4).mean(axis=1)
    plain = [k for k in range(truth.num_objects) if shares[k] > 0.3]
    plain = plain or [int(np.argmax(shares))]
    return truth.scene.objects[plain[int(rng.integers(len(plain)))]].object_id


def _rng(seed: int, index: int) -> np.random.Generator:
    """Return the generator of what is asked about a clip, apart from that of its scene."""
    return np.random.Generator(np.random.PCG64([29, seed, index]))


def _check(count: int, level: str, resolution_wh: tuple[int, int]) -> tuple[int, int]:
    if count < 1:
        raise GARVideoError(f"count is {count}; expected at least 1")
    if level not in LEVELS:
        raise GARVideoError(f"level is {level!r}; expected one of {', '.join(LEVELS)}")
    return check_size(resolution_wh)


def _annotated(scene: Scene) -> set[int]:
    """Return the frames that get masks."""
    spread = np.linspace(0, scene.num_frames - 1, min(ANNOTATED_FRAMES, scene.num_frames))
    return {int(frame) for frame in np.rint(spread)}


def _write_jpegs(scene: Scene, folder: Path, resolution_wh: tuple[int, int]) -> Rles:
    """Write a clip as JPEGs and return frame -> object id -> RLE of the annotated frames."""
    folder.mkdir(parents=True)
    annotated, rles = _annotated(scene), {}
    for frame, image, label in draw_frames(scene, resolution_wh):
        _, coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        (folder / f"{frame:05d}.jpg").write_bytes(coded.tobytes())
        if frame in annotated:
            rles[frame] = rles_of(scene, label)
    return rles


def _item(question: Question, scene: Scene, rles: Rles) -> dict[str, Any]:
    """Return the published fields of a question."""
    options = [f"({'ABCD'[i]}) {_tagged(text)}" for i, text in enumerate(question.options)]
    return {
        "Question": _tagged(question.text, regions=True),
        "type": question.type,
        "options": options,
        "Answer": options[question.answer_index],
        "frame_idx": str(_best_frame(rles, question.object_ids)),
        "annotation": _annotation(rles, question.object_ids),
    }


def _tagged(text: str, regions: bool = False) -> str:
    """Turn ``<2>`` into ``<object2>``, the first mention of each with ``<region>`` if asked."""
    seen: set[str] = set()

    def tag(match: re.Match[str]) -> str:
        number = match.group(1)
        first = regions and number not in seen
        seen.add(number)
        return f"<object{number}><region>" if first else f"<object{number}>"

    return re.sub(r"<(\d)>", tag, text)


def _annotation(rles: Rles, object_ids: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return an entry an object, in order: frame -> mask or null."""
    return [
        {str(frame): {"segmentation": rles[frame][object_id]} for frame in sorted(rles)}
        for object_id in object_ids
    ]


def _best_frame(rles: Rles, object_ids: tuple[int, ...]) -> int:
    """Return the annotated frame that shows most of all objects, near the middle if several do."""
    from gar_video import masks

    frames = sorted(rles)
    areas = np.array(
        [[masks.area(rles[f][i]) if rles[f][i] else 0 for i in object_ids] for f in frames],
        dtype=float,
    )
    shares = (areas / np.maximum(areas.max(axis=0), 1)).min(axis=1)
    best = np.flatnonzero(shares >= shares.max() - 0.05)
    return frames[int(best[np.argmin(np.abs(best - len(frames) // 2))])]


@contextlib.contextmanager
def _whole_folder(out: str | Path) -> Iterator[Path]:
    """Give a folder to fill that appears under its name only when it is whole."""
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise GARVideoError(f"{target} exists and is not an empty folder; choose another --out")
    if not target.parent.is_dir():
        raise GARVideoError(f"cannot make {target}: there is no folder {target.parent}")
    temporary: Path | None = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}.", dir=target.parent))
        yield temporary
        temporary.chmod(0o755)
        if target.is_dir():
            target.rmdir()
        temporary.replace(target)
        temporary = None
    except OSError as error:
        raise GARVideoError(
            f"cannot write {target}: {error.strerror or error}; choose another place"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
