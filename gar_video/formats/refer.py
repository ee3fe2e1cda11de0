"""Masks of referring benchmarks: VideoRefer annotations and MeViS' ``mask_dict.json``.

VideoRefer: a list with a dictionary per object, frame (as text) to ``{"segmentation": RLE}`` or
null; it may stand inside an item of the benchmark, under ``annotation``. Objects are numbered 1, 2,
… in their order. MeViS: annotation id (as text) to a list with an RLE or null for every frame.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gar_video.errors import TracksError
from gar_video.formats.common import lost_in_masks
from gar_video.formats.files import warn_lost, whole_file
from gar_video.formats.source import Format, Source
from gar_video.tracks import Tracks
from gar_video.tracks_builder import GivenMask


def _rle_size(segmentations: Any) -> tuple[int, int] | None:
    """Frame size that the first RLE states."""
    for segmentation in segmentations:
        if isinstance(segmentation, dict) and "size" in segmentation:
            height, width = segmentation["size"]
            return width, height
    return None


# -- VideoRefer ------------------------------------------------------------------------------------


def _is_annotation(value: Any) -> bool:
    """Whether this is a list of dictionaries whose keys are frames."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and all(_is_number(key) for key in one) for one in value)
        and any(value)
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _sniff_videorefer(source: Source) -> bool:
    if not source.looks_like_json:
        return False
    data = source.json
    if isinstance(data, dict):
        return _is_annotation(data.get("annotation"))
    if isinstance(data, list) and data and isinstance(data[0], dict) and "annotation" in data[0]:
        return _is_annotation(data[0]["annotation"])
    return _is_annotation(data)


def _pick_annotation(source: Source) -> list[dict[str, Any]]:
    data = source.json
    if isinstance(data, list) and data and isinstance(data[0], dict) and "annotation" in data[0]:
        found = [item for item in data if str(item.get("id")) == source.sequence]
        if not found and len(data) == 1 and source.sequence is None:
            found = data
        if len(found) != 1:
            ids = ", ".join(str(item.get("id")) for item in data[:8])
            raise TracksError(
                f"holds {len(data)} items; pass sequence=, the id of one of them ({ids}, …)"
            )
        data = found[0]
    if isinstance(data, dict):
        data = data.get("annotation")
    if not isinstance(data, list) or not data or not all(isinstance(one, dict) for one in data):
        raise TracksError("expected a list of {frame: {'segmentation': RLE}}, one per object")
    return data


def _read_videorefer(source: Source) -> Tracks:
    objects = _pick_annotation(source)
    regions = [
        {
            int(frame): None if entry is None else entry["segmentation"]
            for frame, entry in one.items()
        }
        for one in objects
    ]
    size = _rle_size(value for one in regions for value in one.values())
    builder = source.builder(size)
    for number, one in enumerate(regions, 1):
        builder.add_object(number)
        builder.add_masks(
            GivenMask(frame, number, segmentation)
            for frame, segmentation in one.items()
            if segmentation is not None
        )
        for frame in one:
            builder.see_frame(frame)
    # Published annotations hold masks without a pixel; such an object is never visible.
    return builder.build(allow_empty=True)


def _write_videorefer(tracks: Tracks, path: Path) -> None:
    frames = sorted({f for i in tracks for f in tracks[i].frames.tolist()})
    if tracks.num_frames - 1 not in frames:
        frames.append(tracks.num_frames - 1)  # null in every object: says how long the video is
    with whole_file(path) as file:
        file.write("[")
        for index, object_id in enumerate(tracks):
            track = tracks[object_id]
            entry = {str(frame): {"segmentation": track.rle(frame)} for frame in frames}
            file.write(",\n" if index else "\n")
            file.write(json.dumps(entry))  # by the C encoder, which json.dump does not use
        file.write("\n]\n")
    in_order = tracks.object_ids == tuple(range(1, len(tracks) + 1))
    warn_lost(
        VIDEOREFER.title,
        [
            *lost_in_masks(tracks, never_visible=True, ignored=False),
            None if in_order else f"ids: objects {list(tracks)} become 1 to {len(tracks)} in order",
        ],
    )


# -- MeViS -----------------------------------------------------------------------------------------


def _is_mask_dict(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(
            _is_number(key)
            and isinstance(masks, list)
            and all(mask is None or (isinstance(mask, dict) and "counts" in mask) for mask in masks)
            for key, masks in value.items()
        )
    )


def _mask_dict(source: Source) -> Source:
    """Return the source of the JSON file, where a folder was given."""
    if not source.is_folder:
        return source
    return Source(
        source.path / "mask_dict.json",
        source.resolution_wh,
        source.num_frames,
        source.bad_boxes,
        source.sequence,
        source.video_name,
    )


def _sniff_mevis(source: Source) -> bool:
    file = _mask_dict(source)
    return file.path.is_file() and file.looks_like_json and _is_mask_dict(file.json)


def _read_mevis(source: Source) -> Tracks:
    file = _mask_dict(source)
    if not file.path.is_file():
        raise TracksError(f"no {file.path.name} in the folder")
    masks = file.json
    if not _is_mask_dict(masks):
        raise TracksError("expected {annotation id: [RLE or null for every frame]}")
    chosen = _annotations_of_video(file)
    if chosen is not None:
        masks = {key: masks[key] for key in chosen}
    lengths = {len(one) for one in masks.values()}
    if len(lengths) != 1:
        raise TracksError(
            "holds objects of different lengths, so of several videos; pass sequence= and keep "
            "meta_expressions.json beside it"
        )
    size = _rle_size(mask for one in masks.values() for mask in one)
    builder = source.builder(size, lengths.pop())
    for key, one in masks.items():
        builder.add_object(key)
        builder.add_masks(
            GivenMask(frame, key, mask) for frame, mask in enumerate(one) if mask is not None
        )
    return builder.build(allow_empty=True)


def _annotations_of_video(file: Source) -> list[str] | None:
    """Annotation ids of the asked video, by ``meta_expressions.json``; None where there is none."""
    meta = Source(file.path.parent / "meta_expressions.json")
    if not meta.path.is_file():
        if file.sequence is not None:
            raise TracksError("sequence= needs meta_expressions.json beside the masks")
        return None
    videos = meta.json["videos"]
    name = next((name for name in file.names if name in videos), None)
    if name is None and file.sequence is None and len(videos) == 1:
        name = next(iter(videos))
    if name is None:
        known = ", ".join(list(videos)[:8])
        wanted = file.sequence or file.video_name
        raise TracksError(f"no video {wanted!r} in it; pass sequence=, one of {known}, …")
    ids = {int(i) for exp in videos[name]["expressions"].values() for i in exp["anno_id"]}
    return [str(number) for number in sorted(ids)]


def _write_mevis(tracks: Tracks, path: Path) -> None:
    with whole_file(path) as file:
        file.write("{")
        for index, object_id in enumerate(tracks):
            track = tracks[object_id]
            file.write(("," if index else "") + f'\n"{object_id}": ')
            file.write(json.dumps([track.rle(frame) for frame in range(tracks.num_frames)]))
        file.write("\n}\n")
    warn_lost(MEVIS.title, lost_in_masks(tracks, never_visible=True, ignored=False))


VIDEOREFER = Format(
    "videorefer", "VideoRefer annotations", _sniff_videorefer, _read_videorefer, _write_videorefer
)
MEVIS = Format("mevis", "MeViS mask dictionary", _sniff_mevis, _read_mevis, _write_mevis)
