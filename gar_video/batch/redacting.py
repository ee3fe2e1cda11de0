"""Making faces or people unrecognisable in pictures, for good.

What cannot be looked through is made unrecognisable as a whole: a picture with too little in it
does no harm, one with too much does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from gar_video.errors import GARVideoError
from gar_video.files import replacing

Image = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float64]
What = Literal["faces", "people"]

_PEOPLE = frozenset(
    (
        "person", "people", "pedestrian", "human", "man", "woman", "child", "boy", "girl", "rider",
        "worker", "player", "baby", "face", "head",
    )
)  # fmt: skip
_FACES = frozenset(("face", "head"))
_CASCADES = ("haarcascade_frontalface_default", "haarcascade_frontalface_alt2",
             "haarcascade_profileface")  # fmt: skip
_MARGIN = {"faces": 0.3, "people": 0.12}
_BLOCKS = 5  # across the shorter side of what is made unrecognisable
_WHOLE_BLOCKS = 8
_LEVELS = 16
_QUALITY = 80


class Redactor:
    """Makes pictures unrecognisable.

    Args:
        what: ``"faces"`` or ``"people"``.
        detector: Name of a detector of people or of faces, as ``Following.detector``. By default
            OpenCV's own (Haar cascades, histograms of gradients), where this OpenCV has them: 4
            has, 5 has not. Without any, pictures are made unrecognisable as a whole.

    Raises:
        GARVideoError: If there is nothing of that name.
    """

    def __init__(self, what: str, detector: str | None = None) -> None:
        if what not in get_args(What):
            raise GARVideoError(f"{what!r} cannot be redacted; expected faces or people")
        self.what = what
        self._detect = _named(what, detector) if detector is not None else _embedded(what)

    @property
    def looks(self) -> bool:
        """Whether it can tell where somebody is; otherwise all of a picture goes."""
        return self._detect is not None

    def picture(
        self, image: Image, labels: Sequence[str | None], boxes: Boxes | None = None
    ) -> Image:
        """Return a picture in which nobody can be recognised.

        Args:
            image: ``(H, W, 3)`` uint8 RGB.
            labels: Labels of the objects that it shows.
            boxes: Where these are, ``(N, 4)`` x1, y1, x2, y2 in its pixels; None if nobody knows.
        """
        if self._detect is None:
            return pixelate(image)
        found = self._detect(image)
        # An object without a label may be anybody.
        somebody = [label is None or is_person(label) for label in labels]
        if boxes is not None:
            own = boxes[somebody]
            if self.what == "faces":
                own = np.array([box for box in map(_head, own) if not _inside(found, box)])
            found = np.concatenate([found, own.reshape(-1, 4)])
        elif any(somebody) and (self.what == "people" or not len(found)):
            return pixelate(image)
        return pixelate(image, _wider(found, _MARGIN[self.what]))

    def jpeg(self, data: bytes, labels: Sequence[str | None]) -> bytes | None:
        """Return a JPEG in which nobody can be recognised, or None if it is no picture.

        Args:
            data: The JPEG.
            labels: Labels of the objects that it shows.
        """
        read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if read is None:
            return None
        done = self.picture(np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8), labels)
        quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
        return bytes(cv2.imencode(".jpg", cv2.cvtColor(done, cv2.COLOR_RGB2BGR), quality)[1])


def redact(image: Image, what: str, labels: Sequence[str | None] = ()) -> Image:
    """Return a picture without recognisable faces or people; see ``Redactor``."""
    return Redactor(what).picture(image, labels)


def redact_thumbnails(run: str | os.PathLike[str], what: str, detector: str | None = None) -> int:
    """Replace the thumbnails of a run by such in which nobody can be recognised, for good.

    Args:
        run: The run's folder.
        what: ``"faces"`` or ``"people"``.
        detector: See ``Redactor``.

    Returns:
        How many there are; those that are no pictures are removed.

    Raises:
        GARVideoError: If there is no run, or it is in use.
    """
    from gar_video.batch.lock import FolderLock
    from gar_video.batch.results import open_state, read_rows

    redactor = Redactor(what, detector)
    open_state(run).close()
    done: set[str] = set()
    with FolderLock(Path(run)):
        for row in read_rows(run):
            path = Path(run) / (row["thumbnail"] or "")
            if row["thumbnail"] in done or not path.is_file():
                continue
            done.add(row["thumbnail"])
            data = redactor.jpeg(path.read_bytes(), row["labels"])
            if data is None:
                path.unlink()
                continue
            with replacing(path) as temporary:
                temporary.write_bytes(data)
    return len(done)


def is_person(label: str) -> bool:
    """Return whether a label is a word for a person, also with words before it."""
    return any(word in _PEOPLE for word in label.lower().replace("-", " ").split())


def pixelate(image: Image, boxes: Boxes | None = None) -> Image:
    """Replace boxes, or all, by few large squares of one colour each.

    Args:
        image: ``(H, W, 3)`` uint8.
        boxes: ``(N, 4)`` x1, y1, x2, y2; None for the whole picture.
    """
    out = image.copy()
    height, width = image.shape[:2]
    whole = boxes is None
    for box in [np.array([0, 0, width, height])] if boxes is None else boxes:
        x1, y1 = np.floor(np.clip(box[:2], 0, [width, height])).astype(int)
        x2, y2 = np.ceil(np.clip(box[2:], 0, [width, height])).astype(int)
        if x2 <= x1 or y2 <= y1:
            continue
        wide, tall = x2 - x1, y2 - y1
        block = max(1.0, min(wide, tall) / (_WHOLE_BLOCKS if whole else _BLOCKS))
        size = (max(1, int(wide / block)), max(1, int(tall / block)))
        # From the picture as it was: overlapping boxes do not sharpen each other.
        few = cv2.resize(image[y1:y2, x1:x2], size, interpolation=cv2.INTER_AREA)
        step = 256 // _LEVELS
        few = (few // step * step + step // 2).astype(np.uint8)
        out[y1:y2, x1:x2] = cv2.resize(few, (wide, tall), interpolation=cv2.INTER_NEAREST)
    return out


# ---------------------------------------------------------------- who is where


def _named(what: str, name: str) -> Callable[[Image], Boxes]:
    from gar_video.batch.autotrack import make_detector

    detect = make_detector(name)
    wanted = _FACES if what == "faces" else _PEOPLE

    def find(image: Image) -> Boxes:
        seen = detect(image)
        classes = seen.data.get("class_name") if len(seen) else None
        boxes = np.asarray(seen.xyxy, np.float64).reshape(-1, 4)
        if classes is None:
            return boxes
        return boxes[[bool(wanted & set(str(one).lower().split())) for one in classes]]

    return find


def _embedded(what: str) -> Callable[[Image], Boxes] | None:
    """Return OpenCV's own detector, or None where this OpenCV has none."""
    cv: Any = cv2
    if not hasattr(cv, "CascadeClassifier") or not hasattr(cv, "HOGDescriptor"):
        return None
    paths = [Path(cv.data.haarcascades) / f"{name}.xml" for name in _CASCADES]
    if not all(path.is_file() for path in paths):
        return None
    cascades = [cv.CascadeClassifier(str(path)) for path in paths]

    def faces(image: Image) -> Boxes:
        return _scaled(image, 480, lambda big: _faces(cascades, big))

    if what == "faces":
        return faces
    gradients: Any = cv.HOGDescriptor()
    gradients.setSVMDetector(cv.HOGDescriptor_getDefaultPeopleDetector())

    def people(image: Image) -> Boxes:
        # Gradients find whole people only; of those whom the edge cuts, the face is often seen.
        upright = _scaled(image, 512, lambda big: _gradients(gradients, big))
        return np.concatenate([upright, _bodies(faces(image))])

    return people


def _scaled(image: Image, least: int, find: Callable[[Image], list[Any]]) -> Boxes:
    """Look for something in a picture made so large that it can be found."""
    scale = max(1.0, least / min(image.shape[:2]))
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    big = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC) if scale > 1 else image
    found = np.array(find(np.asarray(big, np.uint8)), np.float64).reshape(-1, 4) / scale
    found[:, 2:] += found[:, :2]
    return found


def _gradients(people: Any, image: Image) -> list[Any]:
    found, _ = people.detectMultiScale(image, winStride=(8, 8), padding=(16, 16), scale=1.05)
    return [*found]


def _faces(cascades: Sequence[Any], image: Image) -> list[Any]:
    grey = cv2.equalizeHist(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    found: list[Any] = []
    for mirrored in (False, True):
        seen = cv2.flip(grey, 1) if mirrored else grey
        # Only the profile tells left from right.
        for cascade in cascades[-1:] if mirrored else cascades:
            for x, y, w, h in cascade.detectMultiScale(seen, 1.1, 3, minSize=(24, 24)):
                found.append((grey.shape[1] - x - w if mirrored else x, y, w, h))
    return found


def _bodies(faces: Boxes) -> Boxes:
    """Return where the people are whose faces these are: below, and to both sides."""
    width, height = (faces[:, 2:] - faces[:, :2]).T
    return np.stack(
        [faces[:, 0] - width, faces[:, 1] - 0.3 * height, faces[:, 2] + width,
         faces[:, 3] + 6 * height], 1,
    )  # fmt: skip


def _head(box: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return where a person's head is: in the upper part."""
    return np.array([box[0], box[1], box[2], box[1] + 0.35 * (box[3] - box[1])])


def _inside(found: Boxes, box: npt.NDArray[np.float64]) -> bool:
    middle = (found[:, :2] + found[:, 2:]) / 2
    return bool(((middle >= box[:2]) & (middle <= box[2:])).all(1).any()) if len(found) else False


def _wider(boxes: Boxes, share: float) -> Boxes:
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate([boxes[:, :2] - share * sides, boxes[:, 2:] + share * sides], 1)
