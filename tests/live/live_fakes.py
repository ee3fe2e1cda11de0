"""Stand-ins for the model, and streams whose truth is known."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import supervision as sv

from gar_video.answer import Answer
from gar_video.errors import DeviceError

W, H = 64, 48


class FakeGar:
    """Answers with the median colour of each object's region in the last frame, after a while."""

    def __init__(self, seconds=0.0, fail=(), num_frames=4, tile_size=112):
        config = SimpleNamespace(num_frames=num_frames, tile_size=tile_size)
        self.model = SimpleNamespace(config=config)
        self.seconds, self.fail = seconds, set(fail)
        self.gate = threading.Event()
        self.gate.set()
        self.calls = []  # (object, number of views)

    def describe(self, video, tracks, *, frames, **generation):
        (object_id,) = tracks.object_ids
        self.calls.append((object_id, len(video)))
        self.gate.wait(20)
        time.sleep(self.seconds)
        if object_id in self.fail:
            raise DeviceError("out of memory")
        tracks.check_fits(video)
        seen = [int(frame) for frame in tracks[object_id].frames]
        pixels = np.median(video[seen[-1]][tracks[object_id].mask(seen[-1])], axis=0)
        text = ",".join(str(int(value)) for value in pixels)
        return [self._answer("Describe", object_id, video, text)]

    def ask_many(self, video, tracks, questions, *, frames, **generation):
        (object_id,) = tracks.object_ids
        return [self._answer(question, object_id, video, "yes") for question in questions]

    def _answer(self, question, object_id, video, text):
        return Answer(
            question=question, objects=(object_id,), frames=tuple(range(len(video))),
            times_s=tuple(video.times_s.tolist()), visible={object_id: 1.0}, model="fake",
            text=text, token_ids=(), finish_reason="stop",
        )  # fmt: skip


def color_of(object_id):
    return (object_id * 40 % 250, object_id * 7 % 250, 255 - object_id * 13 % 200)


def text_of(object_id):
    return ",".join(str(value) for value in color_of(object_id))


def frame_with(ids, size=10, wh=(W, H)):
    """A frame in which each id is a square of its own colour, and its detections."""
    frame = np.full((wh[1], wh[0], 3), 128, np.uint8)
    boxes = []
    for at, object_id in enumerate(ids):
        x, y = (
            2 + (at * (size + 2)) % (wh[0] - size - 2),
            2 + (at * (size + 2)) // (wh[0] - size - 2) * (size + 2),
        )
        frame[y : y + size, x : x + size] = color_of(object_id)
        boxes.append((x, y, x + size, y + size))
    return frame, detections(boxes, ids)


def detections(boxes, ids, **more):
    return sv.Detections(
        xyxy=np.array(boxes, np.float64).reshape(-1, 4),
        tracker_id=None if ids is None else np.array(ids),
        **more,
    )
