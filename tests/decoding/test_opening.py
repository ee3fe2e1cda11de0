"""Files whose header tells all are opened without decoding their first frames, to the same end."""

from __future__ import annotations

import media
import numpy as np
import pytest

from gar_video import Video
from gar_video.decoding import containers, frame_index
from gar_video.decoding.pyav_reader import PyavReader

UNPROBED = {
    "h264": True,
    "h264-b-frames": True,
    "h264-all-intra": True,
    "h264-fragments": True,
    "hevc": True,
    "rotated-90": True,
    "with-sound": True,
    "bt709-full": True,
    "variable-rate": False,  # its rate is what the header claims
    "h264-mkv": False,  # times in milliseconds
    "mpeg4": False,
    "vp9": False,
    "mjpeg-mov": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.mark.parametrize("name", UNPROBED)
def test_opening_without_decoding_gives_the_same(folder, monkeypatch, name):
    path = media.write(folder / name, media.CLIPS[name])
    with Video(path) as video:
        assert video._pyav._unprobed is UNPROBED[name]
        seen = [video.fps, video.duration_s, video.resolution_wh, video._pyav.pixel_format]
        times, frames = video.times_s, video.frames(range(len(video)))
    monkeypatch.setattr(containers, "tells_all", lambda path: False)
    with Video(path) as video:
        assert [
            video.fps, video.duration_s, video.resolution_wh, video._pyav.pixel_format
        ] == seen  # fmt: skip
        np.testing.assert_array_equal(video.times_s, times)
        np.testing.assert_array_equal(video.frames(range(len(video))), frames)


def test_frames_that_do_not_come_out_are_looked_for_with_decoding(folder, monkeypatch):
    path = media.write(folder / "again", media.CLIPS["h264"])
    opened = []
    own = containers.open_container

    def spy(path, decode=True):
        opened.append(decode)
        return own(path, decode)

    monkeypatch.setattr(containers, "open_container", spy)
    reader = PyavReader(path)
    reader._careful = True
    reader._open()
    assert opened == [False, True]
    reader.close()


def test_packets_are_looked_into_only_when_somebody_asks(folder, monkeypatch):
    path = media.write(folder / "asked", media.CLIPS["h264"])
    asked = []
    monkeypatch.setattr(frame_index, "examine", lambda path: asked.append(path) or {"odd"})
    with Video(path) as video:
        video.frames([3])
        assert not asked
        assert video._why_not_decord == ("odd",)
        assert video._why_not_decord == ("odd",)
    assert asked == [path]
