"""Files, cameras, streams that vanish, and pushed frames."""

import threading

import numpy as np
import pytest

from gar_video import Video
from gar_video.errors import VideoError
from gar_video.live.sources import CaptureSource, FileSource, PushSource, open_source, shown


class Camera:
    """What OpenCV's capture would do: some frames, then none until it is opened again."""

    def __init__(self, script):
        self.script = script  # frames each opening gives; None refuses to open
        self.opened = 0
        self.released = 0

    def __call__(self, address):
        frames = self.script[min(self.opened, len(self.script) - 1)]
        self.opened += 1
        return Capture(self, frames)


class Capture:
    def __init__(self, camera, frames):
        self.camera, self.left = camera, frames or 0
        self.there = frames is not None

    def isOpened(self):
        return self.there

    def get(self, what):
        return 25.0

    def release(self):
        self.camera.released += 1

    def read(self):
        if self.left <= 0:
            return False, None
        self.left -= 1
        frame = np.zeros((4, 6, 3), np.uint8)
        frame[..., 0] = 200  # blue, in OpenCV's order
        return True, frame


def capture(script, **more):
    waits = []
    camera = Camera(script)
    source = CaptureSource("rtsp://host/a", open_capture=camera, sleep=waits.append, **more)
    return source, camera, waits


def test_a_stream_that_vanishes_is_sought_again():
    source, camera, waits = capture([2, 0, None, 3, 0], retries=3)
    frames = []
    with pytest.raises(VideoError, match=r"rtsp://host/a was lost .* 3 attempts"):
        frames.extend(iter_into(source, frames))
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    times = [frame.time_s for frame in frames]
    assert times == sorted(times)
    assert times[0] == 0
    assert waits == [0.5, 1.0, 2.0, 0.5, 1.0, 2.0]
    assert source.reconnections == 1
    assert camera.released == camera.opened
    assert frames[0].image[0, 0].tolist() == [0, 0, 200]


def iter_into(source, frames):
    for frame in source:
        frames.append(frame)
    return []


def test_waits_grow_to_half_a_minute():
    source, _, waits = capture([0], retries=9)
    with pytest.raises(VideoError):
        list(source)
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_camera_that_is_not_there():
    with pytest.raises(VideoError, match="cannot open camera 3; check"):
        CaptureSource(3, open_capture=Camera([None]))


def test_gray_cameras():
    class Gray(Camera):
        def __call__(self, address):
            made = super().__call__(address)
            made.read = lambda: (True, np.full((4, 6), 9, np.uint8))
            return made

    source = CaptureSource(0, open_capture=Gray([1]))
    assert next(iter(source)).image.shape == (4, 6, 3)
    source.close()
    assert list(source) == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        pytest.param(0, "camera 0", id="camera"),
        pytest.param("rtsp://host/a", "rtsp://host/a", id="plain"),
        pytest.param("rtsp://me:secret@host:554/a", "rtsp://***@host:554/a", id="password"),
    ],
)
def test_addresses_are_shown_without_passwords(address, expected):
    assert shown(address) == expected


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param("ftp://me:pw@host/a.mp4", "expected one of rtsp", id="scheme"),
        pytest.param("missing.mp4", "missing.mp4", id="missing-file"),
    ],
)
def test_sources_that_cannot_be_opened(source, says):
    with pytest.raises(VideoError, match=says) as caught:
        open_source(source)
    assert "pw" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_at_its_own_pace_or_not(tmp_path):
    import time

    from PIL import Image

    for number in range(4):
        Image.fromarray(np.full((8, 8, 3), number * 20, np.uint8)).save(tmp_path / f"{number}.png")
    began = time.monotonic()
    quick = list(open_source(tmp_path, pace=False))
    assert time.monotonic() - began < 2
    assert [frame.number for frame in quick] == [0, 1, 2, 3]
    assert [int(frame.image[0, 0, 0]) for frame in quick] == [0, 20, 40, 60]
    slow = FileSource(Video(np.zeros((3, 8, 8, 3), np.uint8), fps=5))
    began = time.monotonic()
    assert [frame.time_s for frame in slow] == pytest.approx([0, 0.2, 0.4])
    assert time.monotonic() - began >= 0.39


def test_pushed_frames_newest_win():
    source = PushSource(queue=2)
    for number in range(5):
        source.push(np.full((2, 2, 3), number, np.uint8), float(number))
    source.close()
    assert [frame.time_s for frame in source] == [3.0, 4.0]
    assert source.dropped == 3
    with pytest.raises(VideoError, match="after close"):
        source.push(np.zeros((2, 2, 3), np.uint8))


def test_pushed_from_another_thread():
    source = PushSource(queue=100)

    def push():
        for number in range(20):
            source.push(np.full((2, 2, 3), number, np.uint8))
        source.close()

    thread = threading.Thread(target=push)
    thread.start()
    frames = list(source)
    thread.join()
    assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(20))
    times = [frame.time_s for frame in frames]
    assert times == sorted(times)
