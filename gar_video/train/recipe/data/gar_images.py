"""GAR's published image data: arrow folders or parquet shards of pictures, masks and conversations.

A row has ``image`` (bytes, a path, or ``data:…;base64,…``), ``mask_rle`` (one COCO RLE, a list, or
none for the whole picture) and ``conversations``. Rows whose text mentions ``<PromptN>`` are about
masks by number; in the others each mask is described in a turn of its own, with a random prompt
number, and once in twenty turns a prompt is asked about that is not there.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gar_video import masks
from gar_video.prompt import DESCRIBE, RegionPrompt, RegionSlot
from gar_video.train.recipe.config import DataSection
from gar_video.train.recipe.data.examples import (
    Example,
    Maker,
    Thread,
    Turn,
    inside,
    media_folder,
    plain,
)
from gar_video.train.recipe.errors import SampleError, TrainingError
from gar_video.video import Video

#: Regions of one description row at most, and how often a prompt is asked about that is not there.
MOST_REGIONS, ABSENT_SHARE = 4, 1 / 20
_PROMPT = re.compile(r"<Prompt(\d+)>")
_IMAGE = re.compile(r"<image>\s*")

#: Ways to ask for a description; answering uses the first.
WORDINGS = (
    DESCRIBE,
    "Give a detailed description of this region.",
    "What do you see in this masked region? Describe it thoroughly.",
    "Describe what is marked here, in detail.",
    "Please describe this region carefully.",
    "Tell me everything you can see of this region.",
    "Write a thorough description of the marked region.",
    "What is in this region, and what does it look like?",
    "Describe the object in this region.",
    "Put this masked region into words, leaving out no detail.",
)


class GarImages:
    """Samples of GAR's published shards."""

    def __init__(self, section: DataSection, maker: Maker, name: str) -> None:
        self.name = name
        self._maker, self._section = maker, section
        self._folder = media_folder(section)
        self._table = _Shards(Path(section.path), name)

    def __len__(self) -> int:
        return len(self._table)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Make the sample of a row; see ``Source``."""
        row = self._table.row(index)
        frames = self._picture(row.get("image"))[None]
        pairs = _pairs(row.get("conversations"))
        rles = _rles(row.get("mask_rle"), frames.shape[2], frames.shape[1])
        if any(_PROMPT.search(words) for pair in pairs for words in pair):
            return self._mentioned(frames, rles, pairs)
        return self._described(frames, rles, pairs, rng)

    def _picture(self, value: Any) -> npt.NDArray[np.uint8]:
        if isinstance(value, Mapping):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes) and value.startswith(b"data:"):
            value = value.decode("ascii", "replace")
        if isinstance(value, str) and value.startswith("data:"):
            try:
                value = base64.b64decode(value.partition(",")[2], validate=True)
            except binascii.Error:
                raise SampleError("has a picture that is no valid base64") from None
        if isinstance(value, str):
            return Video(inside(self._folder, value))[0]
        if not isinstance(value, bytes) or not value:
            raise SampleError("has no picture")
        from PIL import Image, ImageOps, UnidentifiedImageError

        try:
            with Image.open(io.BytesIO(value)) as picture:
                upright = ImageOps.exif_transpose(picture).convert("RGB")
                return np.array(upright, dtype=np.uint8)
        # ImportError: other packages put an opener of their own in Pillow's place, which asks for
        # decoders that are not installed.
        except (
            OSError, UnidentifiedImageError, ValueError, ImportError, Image.DecompressionBombError,
        ):  # fmt: skip
            raise SampleError("has a picture that cannot be read") from None

    def _mentioned(
        self, frames: npt.NDArray[np.uint8], rles: Sequence[Any], pairs: Sequence[tuple[str, str]]
    ) -> Example:
        """A row that names its masks by number, which stay their prompts' numbers."""
        numbers = {int(n) for pair in pairs for words in pair for n in _PROMPT.findall(words)}
        beyond = [n for n in sorted(numbers) if n >= len(rles)]
        if beyond:
            raise SampleError(f"mentions <Prompt{beyond[0]}>, but has {len(rles)} masks")
        if len(rles) > self._maker.processor.num_prompts:
            raise SampleError(f"has {len(rles)} masks, more than the checkpoint's prompts")
        turns = tuple(Turn(_as_ids(question), _as_ids(answer)) for question, answer in pairs)
        return Example(_prompt(frames, dict(enumerate(rles))), (Thread(turns),))

    def _described(
        self,
        frames: npt.NDArray[np.uint8],
        rles: Sequence[Any],
        pairs: Sequence[tuple[str, str]],
        rng: np.random.Generator,
    ) -> Example:
        """A row that describes its masks in order, one turn each."""
        if len(pairs) < len(rles):
            raise SampleError(f"has {len(rles)} masks but {len(pairs)} descriptions")
        most = min(MOST_REGIONS, self._maker.processor.num_prompts, len(rles))
        order = [int(n) for n in rng.permutation(len(rles))[:most]]
        names = [int(n) for n in rng.permutation(self._maker.processor.num_prompts)]
        pointed = {names[n]: rles[place] for n, place in enumerate(order)}
        prompt = _prompt(frames, pointed, described=len(order) == 1)
        turns = []
        for n, place in enumerate(order):
            words = WORDINGS[int(rng.integers(len(WORDINGS)))]
            # One region alone needs no name; of several each is asked about by its own.
            asked = words if len(order) == 1 else f"<{names[n]}>: {words}"
            turns.append(Turn(asked, plain(pairs[place][1]), "description"))
        free = names[len(order) :]
        absent: dict[int, int] = {}
        if free and rng.random() < ABSENT_SHARE * len(turns):
            number = free[0]
            absent = {number: number}
            asked = f"<{number}>: {WORDINGS[int(rng.integers(len(WORDINGS)))]}"
            turn = Turn(asked, f"<{number}> is not in the image.", "absent")
            turns.insert(int(rng.integers(1, len(turns) + 1)), turn)
        return Example(prompt, (Thread(tuple(turns)),), absent)


def _prompt(
    frames: npt.NDArray[np.uint8], rles: Mapping[int, Any], described: bool = False
) -> RegionPrompt:
    """Make a photograph's prompt; an object's id is its prompt's number."""
    slots = tuple(RegionSlot(number, number, (rle,)) for number, rle in rles.items())
    return RegionPrompt(frames, slots, True, described)


def _as_ids(text: str) -> str:
    """Write ``<PromptN>`` as ``<N>``, every other ``<`` as itself."""
    pieces = _PROMPT.split(text)
    return "".join(
        f"<{piece}>" if place % 2 else piece.replace("<", "\\<")
        for place, piece in enumerate(pieces)
    )


def _pairs(value: Any) -> list[tuple[str, str]]:
    """Read the conversation as questions with answers."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise SampleError("has conversations that are no JSON") from None
    if not isinstance(value, list) or len(value) < 2:
        raise SampleError("has no conversation")
    said = []
    for place, entry in enumerate(value):
        speaker = "human" if place % 2 == 0 else "gpt"
        if not isinstance(entry, Mapping) or entry.get("from") != speaker:
            raise SampleError(f"has a conversation whose entry {place} is not the {speaker}'s")
        words = _IMAGE.sub("", str(entry.get("value") or ""))
        if not words.strip():
            raise SampleError(f"says nothing in entry {place} of its conversation")
        said.append(words)
    return list(zip(said[::2], said[1::2], strict=False))


def _rles(value: Any, width: int, height: int) -> list[Any]:
    """Read the masks; a row without any is about the whole picture."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise SampleError("has masks that are no JSON") from None
    if value is None or value == []:
        return [masks.encode(np.ones((height, width), dtype=bool))]
    found = []
    for one in value if isinstance(value, list) else [value]:
        rle = masks.as_rle(one, (width, height))
        if masks.area(rle) == 0:
            raise SampleError("has an empty mask")
        found.append(rle)
    return found


class _Shards:
    """Rows of arrow or parquet files by number; only what is asked for is read."""

    def __init__(self, path: Path, name: str) -> None:
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise TrainingError(
                "reading arrow and parquet needs pyarrow; install it with "
                "pip install 'gar-video[train]'"
            ) from None
        if path.is_file():
            files = [path]
        else:
            files = sorted(p for p in path.rglob("*") if p.suffix in (".arrow", ".parquet"))
        if not files:
            raise TrainingError(f"{name}: no .arrow or .parquet files at {path}")
        self._parts = [_part(file, name) for file in files]
        self._ends = np.cumsum([length for _, length in self._parts]).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def row(self, index: int) -> dict[str, Any]:
        """Read one row."""
        part = bisect.bisect_right(self._ends, index)
        read, length = self._parts[part]
        row: dict[str, Any] = read(index - (self._ends[part] - length))
        return row


def _part(file: Path, name: str) -> tuple[Any, int]:
    """Open a file; returns a reader of rows and how many there are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if file.suffix == ".parquet":
            return _parquet(pq.ParquetFile(file, memory_map=True))
        source = pa.memory_map(str(file))
        try:
            table = pa.ipc.open_stream(source).read_all()
        except pa.ArrowInvalid:
            source.seek(0)
            table = pa.ipc.open_file(source).read_all()
    except (OSError, pa.ArrowException) as error:
        text = " ".join(str(error).split())
        raise TrainingError(f"{name}: {file} cannot be read: {text}") from None
    return (lambda place: table.slice(place, 1).to_pylist()[0]), table.num_rows


def _parquet(file: Any) -> tuple[Any, int]:
    sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    ends = np.cumsum(sizes).tolist()
    held: dict[int, Any] = {}

    def read(place: int) -> Any:
        group = bisect.bisect_right(ends, place)
        table = held.get(group)
        if table is None:
            table = file.read_row_group(group)
            held.clear()  # one row group in memory is enough
            held[group] = table
        return table.slice(place - (ends[group] - sizes[group]), 1).to_pylist()[0]

    return read, int(ends[-1]) if ends else 0
