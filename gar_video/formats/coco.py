"""COCO video (as MMTracking's CocoVID and TAO) and YouTube-VIS JSON.

Both list ``videos``, ``categories`` and ``annotations``. COCO video has an annotation per object
and frame, tied to ``images`` by ``image_id`` and to its object by ``instance_id`` or ``track_id``;
YouTube-VIS one per object, its masks in a list with null where it is not visible.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from gar_video.errors import TracksError
from gar_video.formats.common import build_both
from gar_video.formats.files import warn_lost, whole_file
from gar_video.formats.numbers import xywh_of_xyxy, xyxy_of_xywh
from gar_video.formats.pictures import natural_key
from gar_video.formats.source import Format, Source
from gar_video.regions import whole
from gar_video.track import Track
from gar_video.tracks import Tracks
from gar_video.tracks_builder import GivenMask, TracksBuilder

_UNLABELLED = "unlabelled"  # marks the category of objects without a label, which COCO lacks


def _has(source: Source, *keys: str) -> bool:
    return (
        source.looks_like_json
        and isinstance(source.json, dict)
        and all(isinstance(source.json.get(key), list) for key in keys)
    )


def _pick_video(source: Source, videos: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the video that is asked for: by ``sequence``, by the video's name, or the only one."""
    if source.sequence is None and len(videos) <= 1:
        return videos[0] if videos else None
    for name in source.names:
        for video in videos:
            if name in _video_names(video):
                return video
    known = sorted({str(video.get("name", video.get("id"))) for video in videos}, key=natural_key)
    raise TracksError(
        f"holds {len(videos)} videos, none named "
        f"{source.sequence or source.video_name!r}; pass sequence=, one of "
        f"{', '.join(known[:8])}{', …' if len(known) > 8 else ''}"
    )


def _video_names(video: dict[str, Any]) -> set[str]:
    names = {str(video.get("id"))}
    for key in ("name", "file_name"):
        if isinstance(video.get(key), str):
            path = Path(video[key])
            names |= {video[key], path.name, path.stem}
    files = video.get("file_names") or []
    if files:
        names.add(Path(str(files[0])).parent.name)
    return names


def _labels(data: dict[str, Any]) -> dict[Any, str | None]:
    return {
        category["id"]: None if category.get(_UNLABELLED) else str(category["name"])
        for category in data.get("categories") or []
    }


def _size(entries: list[dict[str, Any]]) -> tuple[int, int] | None:
    """Return the one frame size that videos or images state, if any does."""
    sizes = {(e["width"], e["height"]) for e in entries if e.get("width") and e.get("height")}
    if len(sizes) > 1:
        raise TracksError(f"frames of different sizes {sorted(sizes)[:3]}; expected one size")
    return sizes.pop() if sizes else None


def _add_regions(regions: Iterable[tuple[TracksBuilder, GivenMask, Any]]) -> None:
    """Add masks, or boxes where there is no mask, to their builders in this order."""
    for (builder, has_mask), group in groupby(regions, key=lambda one: (one[0], bool(one[1].mask))):
        if has_mask:
            builder.add_masks(given for _, given, _ in group)
            continue
        for _, (frame, object_id, _, score, _, _), box in group:
            if box is not None:
                builder.add_box(frame, object_id, xyxy_of_xywh(box), score)


# -- COCO video ------------------------------------------------------------------------------------


def _read_coco(source: Source) -> Tracks:
    data = source.json
    video = _pick_video(source, data.get("videos") or [])
    video_id = None if video is None else video["id"]
    images = [i for i in data["images"] if video is None or i.get("video_id", video_id) == video_id]
    if not images:
        raise TracksError("no images of this video; expected one entry a frame")
    frames, length = _frames_of_images(images, source.num_frames)
    size = _size([*images, video or {}])
    builder, apart = source.builder(size, length), source.builder(size, length)
    labels = _labels(data)
    for track in data.get("tracks") or []:
        if video is None or track.get("video_id", video_id) == video_id:
            builder.add_object(track["id"], labels.get(track.get("category_id")))

    def regions() -> Iterator[tuple[TracksBuilder, GivenMask, Any]]:
        for annotation in data["annotations"]:
            frame = frames.get(annotation.get("image_id"))
            if frame is None:
                if video is None or annotation.get("video_id") == video_id:
                    image = annotation.get("image_id")
                    raise TracksError(f"annotation of image {image!r}: unknown")
                continue
            object_id = _object_id(annotation)
            ignored = annotation.get("ignore") or annotation.get("iscrowd")
            target = apart if ignored else builder
            target.add_object(object_id, labels.get(annotation.get("category_id")))
            mask, score = annotation.get("segmentation"), annotation.get("score")
            yield target, GivenMask(frame, object_id, mask, score), annotation.get("bbox")

    _add_regions(regions())
    for frame in frames.values():
        builder.see_frame(frame)
    return build_both(builder, apart)


def _object_id(annotation: dict[str, Any]) -> Any:
    for where in (annotation, annotation.get("attributes") or {}):
        for key in ("instance_id", "track_id"):
            if where.get(key) is not None:
                return where[key]
    raise TracksError(
        "an annotation has neither instance_id nor track_id; these are detections, run a tracker "
        "over them first"
    )


def _frames_of_images(
    images: list[dict[str, Any]], num_frames: int | None
) -> tuple[dict[Any, int], int | None]:
    """Frame of each image id, and how many frames there are if the images say so."""
    if len({image["id"] for image in images}) < len(images):
        raise TracksError("two images have the same id; expected each once")
    key = next((k for k in ("frame_id", "frame_index") if k in images[0]), None)
    if key is None:
        ordered = sorted(images, key=lambda image: natural_key(str(image.get("file_name", ""))))
        return {image["id"]: index for index, image in enumerate(ordered)}, len(images)
    numbers = [whole(image[key], key) for image in images]
    if len(set(numbers)) < len(numbers):
        raise TracksError(f"two images have the same {key}; expected each once")
    first, last = min(numbers), max(numbers)
    every = last - first + 1 == len(numbers)
    # MMTracking counts from 0; converters that count from 1 list every frame from 1 on.
    start = int(every and first == 1 and num_frames in (None, len(numbers)))
    frames = {image["id"]: number - start for image, number in zip(images, numbers, strict=True)}
    return frames, len(numbers) if every and first == start else None


def _write_coco(tracks: Tracks, path: Path) -> None:
    width, height = tracks.resolution_wh
    categories, numbers = _categories(tracks)
    video = {"id": 1, "name": path.stem, "width": width, "height": height}
    head = {
        "videos": [video],
        "categories": categories,
        "tracks": [
            {"id": i, "category_id": numbers[tracks[i].label], "video_id": 1} for i in tracks
        ],
        "images": [
            {
                "id": frame + 1,
                "video_id": 1,
                "frame_id": frame,
                "file_name": f"{frame:06d}.jpg",
                "width": width,
                "height": height,
            }
            for frame in range(tracks.num_frames)
        ],
    }
    count = 0
    with whole_file(path) as file:
        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        for part in (tracks, tracks.ignored):
            for object_id in part or ():
                assert part is not None
                track = part[object_id]
                for frame in track.frames.tolist():
                    count += 1
                    entry = _coco_entry(track, frame, count, numbers[track.label])
                    if part is not tracks:
                        entry["ignore"] = 1
                    file.write(",\n" if count > 1 else "\n")
                    file.write(json.dumps(entry))
        file.write("\n]}\n")


def _coco_entry(track: Track, frame: int, number: int, category: int) -> dict[str, Any]:
    entry = {
        "id": number,
        "image_id": frame + 1,
        "video_id": 1,
        "instance_id": track.object_id,
        "category_id": category,
        "bbox": _bbox(track, frame),
        "area": track.area(frame),
        "iscrowd": 0,
    }
    if not track.is_box(frame):
        entry["segmentation"] = track.rle(frame)
    score = track.score(frame)
    if score is not None:
        entry["score"] = score
    return entry


def _bbox(track: Track, frame: int) -> list[float]:
    box = track.box_xyxy(frame)
    assert box is not None
    return [float(text) for text in xywh_of_xyxy(box.tolist())]


def _categories(tracks: Tracks) -> tuple[list[dict[str, Any]], dict[str | None, int]]:
    labels: dict[str | None, int] = {}
    for part in (tracks, tracks.ignored):
        for object_id in part or ():
            assert part is not None
            labels.setdefault(part[object_id].label, len(labels) + 1)
    categories: list[dict[str, Any]] = [
        {"id": number, "name": "object", _UNLABELLED: True}
        if label is None
        else {"id": number, "name": label}
        for label, number in labels.items()
    ]
    return categories, labels


# -- YouTube-VIS -----------------------------------------------------------------------------------


def _sniff_youtube(source: Source) -> bool:
    if _has(source, "videos", "annotations"):
        return any("segmentations" in a or "bboxes" in a for a in source.json["annotations"][:1])
    return (
        source.looks_like_json
        and isinstance(source.json, list)
        and all(
            isinstance(entry, dict) and "segmentations" in entry and "video_id" in entry
            for entry in source.json[:3]
        )
        and bool(source.json)
    )


def _read_youtube(source: Source) -> Tracks:
    data = source.json
    if isinstance(data, list):  # a submission: only objects, without the videos they belong to
        names = sorted({entry["video_id"] for entry in data}, key=str)
        data = {"videos": [{"id": name} for name in names], "annotations": data}
    video = _pick_video(source, data["videos"])
    if video is None:
        raise TracksError("no video in it; expected at least one")
    entries = [a for a in data["annotations"] if a["video_id"] == video["id"]]
    size, length = _size([video]), video.get("length") or len(video.get("file_names") or ()) or None
    for entry in entries:
        masks = entry.get("segmentations") or entry.get("bboxes") or []
        if length not in (None, len(masks)):
            raise TracksError(
                f"object {entry.get('id')} has {len(masks)} masks for {length} frames; "
                "expected as many, null where it is not visible"
            )
        length = len(masks)
        size = size or next(((m["size"][1], m["size"][0]) for m in masks if m), None)
    builder, apart = source.builder(size, length), source.builder(size, length)
    labels = _labels(data)
    seen: set[Any] = set()
    for index, entry in enumerate(entries, 1):
        object_id = entry.get("id", index)
        if object_id in seen:
            raise TracksError(f"object id {object_id} stands twice; expected once")
        seen.add(object_id)
        target = apart if entry.get("iscrowd") else builder
        target.add_object(object_id, labels.get(entry.get("category_id")))
        masks = entry.get("segmentations") or [None] * (length or 0)
        boxes = entry.get("bboxes") or [None] * len(masks)
        score = entry.get("score")
        _add_regions(
            (target, GivenMask(frame, object_id, mask, score), box)
            for frame, (mask, box) in enumerate(zip(masks, boxes, strict=True))
        )
    return build_both(builder, apart)


def _write_youtube(tracks: Tracks, path: Path) -> None:
    width, height = tracks.resolution_wh
    categories, numbers = _categories(tracks)
    video = {
        "id": 1,
        "width": width,
        "height": height,
        "length": tracks.num_frames,
        "file_names": [f"{path.stem}/{frame:05d}.jpg" for frame in range(tracks.num_frames)],
    }
    changing = []
    with whole_file(path) as file:
        head = {"videos": [video], "categories": categories}
        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        first = True
        for part in (tracks, tracks.ignored):
            for object_id in part or ():
                assert part is not None
                entry, one_score = _youtube_entry(part[object_id], numbers)
                entry["iscrowd"] = int(part is not tracks)
                if not one_score:
                    changing.append(object_id)
                file.write("\n" if first else ",\n")
                file.write(json.dumps(entry))
                first = False
        file.write("\n]}\n")
    shared = sorted(set(tracks.ignored or ()) & set(tracks))
    warn_lost(
        YOUTUBE_VIS.title,
        [
            f"scores that change from frame to frame: those of {changing} are left out"
            if changing
            else None,
            f"objects that are ignored in some frames only: {shared} will stand twice"
            if shared
            else None,
        ],
    )


def _youtube_entry(track: Track, numbers: dict[str | None, int]) -> tuple[dict[str, Any], bool]:
    frames = range(track.num_frames)
    visible = [track.is_visible(frame) for frame in frames]
    entry: dict[str, Any] = {
        "id": track.object_id,
        "video_id": 1,
        "category_id": numbers[track.label],
        "segmentations": [None if track.is_box(frame) else track.rle(frame) for frame in frames],
        "bboxes": [
            _bbox(track, f) if seen else None for f, seen in zip(frames, visible, strict=True)
        ],
        "areas": [track.area(f) if seen else None for f, seen in zip(frames, visible, strict=True)],
    }
    scores = np.unique(track.scores)  # NaN counts once
    if len(scores) == 1 and not np.isnan(scores[0]):
        entry["score"] = float(scores[0])
    return entry, len(scores) <= 1


COCO_VIDEO = Format(
    "coco_video",
    "COCO video JSON",
    lambda source: _has(source, "images", "annotations"),
    _read_coco,
    _write_coco,
)
YOUTUBE_VIS = Format(
    "youtube_vis", "YouTube-VIS JSON", _sniff_youtube, _read_youtube, _write_youtube
)
