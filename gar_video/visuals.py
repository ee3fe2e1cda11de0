"""Pictures of tracks: annotated video, contact sheets, words that can be read.

Objects are drawn into the picture with mask, outline and id; words stand beside them, where they
hide nothing, or on a panel below.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from gar_video.captions import Captions
from gar_video.errors import GARVideoError
from gar_video.files import replacing
from gar_video.lettering import (
    INK,
    RGB,
    Entry,
    Picture,
    label,
    object_colors,
    panel,
    wrap,
)
from gar_video.sheets import clearest_frames, contact_sheet, write_contact_sheet, write_picture
from gar_video.sound import Sound

if TYPE_CHECKING:
    import supervision as sv

    from gar_video.tracks import Tracks
    from gar_video.video import Video

__all__ = [
    "Place",
    "clearest_frames",
    "contact_sheet",
    "draw_objects",
    "object_colors",
    "write_annotated_video",
    "write_contact_sheet",
    "write_picture",
]

_TICKS_PER_S = 90_000

Place = Literal["beside", "below"]


def draw_objects(
    picture: Picture,
    detections: sv.Detections,
    colors: Mapping[int, RGB],
    *,
    opacity: float = 0.25,
    boxes: bool = False,
    untagged: Collection[int] = (),
    places: dict[int, int] | None = None,
) -> Picture:
    """Draw objects into a picture: a tint, an outline and the id beside each.

    Args:
        picture: ``(H, W, 3)`` uint8 RGB; not changed.
        detections: With ``tracker_id``, and masks or boxes.
        colors: RGB by object id.
        opacity: How strong the tint is, 0 to 1.
        boxes: Draw boxes around masks as well.
        untagged: Ids that are written elsewhere.
        places: Where ids stood in the frame before; changed. Ids then stay on their side of an
            object as long as it is not much worse than another.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    import supervision as sv

    drawn = picture.copy()
    if len(detections) == 0:
        return drawn
    ids = [int(object_id) for object_id in _ids(detections)]
    # supervision blends channels as they come, so RGB stays RGB.
    palette = sv.ColorPalette([sv.Color(*colors[object_id]) for object_id in ids])
    lookup = np.arange(len(ids))
    line = max(1, round(min(picture.shape[:2]) / 240))
    masks = detections.mask
    covered: npt.NDArray[np.bool_]
    if masks is None:
        box = sv.BoxAnnotator(color=_swapped(palette), thickness=line + 1)
        drawn = box.annotate(drawn, detections, custom_color_lookup=lookup)
        covered = _filled(detections.xyxy, picture.shape[:2])
    else:
        tint = sv.MaskAnnotator(color=_swapped(palette), opacity=opacity)
        drawn = tint.annotate(drawn, detections, custom_color_lookup=lookup)
        covered = np.asarray(masks, dtype=bool)
        for object_id, mask in zip(ids, covered, strict=True):
            outlines, _ = cv2.findContours(
                mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )
            cv2.drawContours(drawn, outlines, -1, colors[object_id], line, cv2.LINE_AA)
        if boxes:
            frame = sv.BoxCornerAnnotator(
                color=_swapped(palette), thickness=line, corner_length=4 + 4 * line
            )
            drawn = frame.annotate(drawn, detections, custom_color_lookup=lookup)
    shown = [at for at, object_id in enumerate(ids) if object_id not in untagged]
    taken = np.asarray(covered.any(axis=0))
    return _tag(drawn, [ids[at] for at in shown], detections.xyxy[shown], taken, colors, places)


def _ids(detections: sv.Detections) -> npt.NDArray[Any]:
    ids = detections.tracker_id
    return np.arange(len(detections)) if ids is None else ids


def _swapped(palette: sv.ColorPalette) -> sv.ColorPalette:
    """Exchange red and blue: supervision writes colours as BGR, and the pictures here are RGB."""
    import supervision as sv

    return sv.ColorPalette([sv.Color(color.b, color.g, color.r) for color in palette.colors])


def _filled(boxes_xyxy: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    masks = np.zeros((len(boxes_xyxy), *shape[:2]), dtype=bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes_xyxy, strict=True):
        mask[max(0, int(y1)) : int(y2) + 1, max(0, int(x1)) : int(x2) + 1] = True
    return masks


def _tag(
    picture: Picture,
    ids: Sequence[int],
    boxes_xyxy: npt.NDArray[Any],
    covered: npt.NDArray[np.bool_],
    colors: Mapping[int, RGB],
    places: dict[int, int] | None = None,
) -> Picture:
    """Put each id beside its object, where it covers least of any object or other id."""
    height, width = covered.shape
    size = int(np.clip(min(height, width) / 18, 11, 40))
    taken = covered.copy()
    for object_id, (x1, y1, x2, y2) in zip(ids, boxes_xyxy, strict=True):
        tag = label(str(object_id), size, colors[object_id])
        tall, wide = tag.shape[:2]
        if tall > height or wide > width:
            continue
        middle_x, middle_y = (x1 + x2 - wide) / 2, (y1 + y2 - tall) / 2
        around = [
            (x1, y1 - tall - 2), (x2 - wide, y1 - tall - 2), (x1, y2 + 2), (x2 - wide, y2 + 2),
            (x2 + 2, y1), (x1 - wide - 2, y1), (x2 + 2, middle_y), (x1 - wide - 2, middle_y),
            (middle_x, y1 - tall - 2), (middle_x, y2 + 2), (x1 + 2, y1 + 2),
        ]  # fmt: skip
        costs: list[tuple[float, int, int, int]] = []
        for place_x, place_y in around:
            x = int(np.clip(round(place_x), 0, width - wide))
            y = int(np.clip(round(place_y), 0, height - tall))
            cost = float(taken[y : y + tall, x : x + wide].sum())
            # Where it stood before, it may cover a little more.
            if places is not None and places.get(object_id) == len(costs):
                cost -= 0.3 * tall * wide
            costs.append((cost, len(costs), x, y))
        _, side, x, y = min(costs)
        if places is not None:
            places[object_id] = side
        picture[y : y + tall, x : x + wide] = tag
        taken[y : y + tall, x : x + wide] = True
    return picture


class _Panel:
    """Words below the picture, as tall as all that is ever said there, so that nothing jumps."""

    def __init__(
        self, tracks: Tracks, captions: Captions, colors: Mapping[int, RGB], width: int
    ) -> None:
        self._captions, self._colors, self._width = captions, colors, width
        self._size = int(np.clip(width / 44, 12, 30))
        self._room = width - 3 * max(4, self._size // 2) - self._size
        self._labels = {i: tracks[i].label for i in tracks}
        self._lines = {
            i: max((len(self._wrapped(i, text)) for text in captions.texts(i) or ("",)), default=0)
            for i in tracks
        }
        self._last: tuple[tuple[str, ...], Picture] | None = None

    def _wrapped(self, object_id: int, text: str) -> list[str]:
        said = [part for part in (self._labels[object_id], text) if part]
        return wrap(f"{object_id}: {'. '.join(said)}", self._room, self._size) if said else []

    def at(self, time_s: float) -> Picture | None:
        """Return the panel of a time; None if nothing is ever said."""
        if not any(self._lines.values()):
            return None
        texts = tuple(self._captions.at(i, time_s) for i in self._lines)
        if self._last is None or self._last[0] != texts:
            entries = []
            for (i, tall), text in zip(self._lines.items(), texts, strict=True):
                lines = self._wrapped(i, text)
                lines += [""] * (tall - len(lines))
                if lines:
                    entries.append(Entry(self._colors[i], tuple((line, INK) for line in lines)))
            self._last = (texts, panel(self._width, self._size, entries))
        return self._last[1]


def write_annotated_video(
    path: str | os.PathLike[str],
    video: Video,
    tracks: Tracks,
    words: Mapping[int, str] | Captions | None = None,
    *,
    place: Place = "beside",
    boxes: bool = False,
    colors: Mapping[int, RGB] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the video as H.264 mp4 with its objects and words drawn in, and its sound kept.

    Every frame keeps its time. One frame is held at a time.

    Args:
        path: The file to write, ending in ``.mp4``; replaced only when the new one is whole.
        video: The video.
        tracks: Its objects.
        words: What is said about objects, by id, or ``Captions`` that change over time.
        place: ``"beside"`` the objects, with a line to them, five lines at most; or ``"below"``
            the picture, all of it.
        boxes: Draw boxes around masks as well.
        colors: RGB by object id, of all objects; apart from each other by default.
        progress: Called with (frames done, frames in all).

    Raises:
        TracksError: If the tracks do not fit the video.
        VideoError: If a frame cannot be decoded.
        GARVideoError: If the file cannot be written.
    """
    import av

    tracks.check_fits(video)
    captions = words if isinstance(words, Captions) else Captions.always(words or {})
    draw = _Drawing(video, tracks, captions, place, boxes, colors)
    times = video.times_s
    with (
        replacing(path) as temporary,
        Sound(video) as sound,
        av.open(str(temporary), "w", format="mp4") as container,
    ):
        # A rate is asked for but the frames' own times are what is written.
        stream: Any = container.add_stream("libx264", rate=max(Fraction(1), Fraction(video.fps)))
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)
        sound.add_to(container)
        for index, picture in enumerate(video):
            drawn = _even(draw(index, picture))
            if index == 0:
                stream.height, stream.width = drawn.shape[:2]
            frame = av.VideoFrame.from_ndarray(drawn, format="rgb24")
            frame.time_base = Fraction(1, _TICKS_PER_S)
            frame.pts = round(float(times[index]) * _TICKS_PER_S)
            container.mux(stream.encode(frame))
            sound.write_until(float(times[index]))
            if progress is not None:
                progress(index + 1, len(video))
        container.mux(stream.encode(None))
        sound.finish()
    if sound.why_not:
        warnings.warn(f"the sound was left out: {sound.why_not}", stacklevel=2)
    if draw.crowded_out:
        shown = ", ".join(f"<{object_id}>" for object_id in sorted(draw.crowded_out)[:12])
        warnings.warn(
            f"there was no room beside the objects for words about {shown} all the time; put them "
            "below (--words below), or draw fewer objects",
            stacklevel=2,
        )


class _Drawing:
    """Draws the frames of a video, one after the other."""

    def __init__(
        self,
        video: Video,
        tracks: Tracks,
        captions: Captions,
        place: Place,
        boxes: bool,
        colors: Mapping[int, RGB] | None = None,
    ) -> None:
        from gar_video.callouts import Callouts

        if place not in ("beside", "below"):
            raise GARVideoError(f"place is {place!r}; expected 'beside' or 'below'")
        self._tracks, self._boxes, self._times = tracks, boxes, video.times_s
        self._colors = dict(colors or object_colors(tracks.object_ids))
        self._places: dict[int, int] = {}
        self._callouts = self._panel = None
        if place == "beside":
            self._callouts = Callouts(tracks, captions, video.times_s, self._colors)
        else:
            self._panel = _Panel(tracks, captions, self._colors, max(video.width, 2))

    @property
    def crowded_out(self) -> set[int]:
        """Ids of objects whose words found no room at some time."""
        return set() if self._callouts is None else self._callouts.crowded_out

    def __call__(self, index: int, picture: Picture) -> Picture:
        """Return a frame with all that is drawn in it."""
        drawn, words = picture, self._callouts
        if index < self._tracks.num_frames:
            if words is not None:
                words.step(index)
            drawn = draw_objects(
                picture, self._tracks.detections(index), self._colors, boxes=self._boxes,
                untagged=() if words is None else words.shown(), places=self._places,
            )  # fmt: skip
            if words is not None:
                if drawn is picture:
                    drawn = picture.copy()
                words.draw(drawn, index)
        below = None if self._panel is None else self._panel.at(float(self._times[index]))
        return drawn if below is None else np.vstack([drawn, below])


def _even(picture: Picture) -> Picture:
    """Repeat the last row and column where a side is odd: H.264 stores colour for 2x2 pixels."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
