from __future__ import annotations

import os
import time
from pathlib import Path

import av
import numpy as np
import pytest

from gar_video import Video, VideoError
from gar_video.batch.guarded import GuardedVideo, Keeper


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(12):
            frame = np.full((48, 64, 3), 20 * level, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    return path


# Openers run in the child: functions of this module, found by its name there.


class _Hanging(Video):
    """Never gives frame 5 with the first decoder, as native code that holds the interpreter."""

    def __getitem__(self, index: int) -> np.ndarray:
        if index == 5 and self._wanted_backend == "auto":
            time.sleep(600)
        return super().__getitem__(index)


def hangs_at_first(source: str, backend: str) -> Video:
    return _Hanging(source, backend=backend)


def never_opens(source: str, backend: str) -> Video:
    time.sleep(600)
    raise AssertionError


def dies(source: str, backend: str) -> Video:
    os._exit(11)


def eats(source: str, backend: str) -> Video:
    raise MemoryError


def test_it_is_the_video(clip: Path) -> None:
    plain = Video(clip)
    with GuardedVideo(clip) as video:
        assert (len(video), video.resolution_wh, video.fps) == (12, (64, 48), plain.fps)
        assert video.duration_s == pytest.approx(plain.duration_s)
        assert (video.times_s == plain.times_s).all()
        assert (video.frames([7, 0, 7]) == plain.frames([7, 0, 7])).all()
        assert (video[3] == plain[3]).all()
        assert [frame[0, 0, 0] for frame in video] == [frame[0, 0, 0] for frame in plain]
        assert video.window(0.2, 0.5) == plain.window(0.2, 0.5)


def test_a_decoder_that_hangs_is_replaced(clip: Path) -> None:
    with GuardedVideo(clip, opener=hangs_at_first, frame_s=6) as video:
        assert (video.frames([4, 5, 6]) == Video(clip).frames([4, 5, 6])).all()


@pytest.mark.parametrize(
    ("opener", "said"),
    [
        pytest.param(never_opens, "gave nothing for 0.5 s", id="never opens"),
        pytest.param(dies, "died with exit code 11", id="dies"),
        pytest.param(eats, "more memory than allowed", id="eats memory"),
    ],
)
def test_what_cannot_be_decoded_is_said(clip: Path, opener, said: str) -> None:
    with pytest.raises(VideoError) as caught:
        GuardedVideo(clip, opener=opener, open_s=0.5 if opener is never_opens else 60)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "name"), [(b"junk" * 99, "junk.mp4"), (b"", "empty.mp4"), (None, "none.mp4")]
)
def test_errors_are_those_of_videos(tmp_path: Path, data: bytes | None, name: str) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(VideoError) as plain:
        Video(path)
    with pytest.raises(VideoError) as guarded:
        GuardedVideo(path)
    assert str(guarded.value) == str(plain.value)


def test_a_wrong_frame_leaves_it_usable(clip: Path) -> None:
    with GuardedVideo(clip) as video:
        with pytest.raises(VideoError):
            video.frames([99])
        assert video[1].shape == (48, 64, 3)


def brightness(video: Video, least: int):
    """Runs in the child: yields the level of each frame."""
    for frame in video:
        level = int(frame.mean())
        yield level if level >= least else None


def stops_halfway(video: Video, least: int):
    for number, level in enumerate(brightness(video, least)):
        if number == 5 and video._wanted_backend == "auto":
            os._exit(11)
        yield level


@pytest.mark.parametrize("function", [brightness, stops_halfway])
def test_work_is_done_in_the_child(clip: Path, function) -> None:
    with GuardedVideo(clip) as video:
        told = list(video.run(function, 90))[-12:]
        assert told[:4] == [None] * 4
        assert told[6] == pytest.approx(120, abs=3)
        assert len(told) == 12
        assert video[1].shape == (48, 64, 3)


def test_a_child_serves_one_video_after_the_other(clip: Path, tmp_path: Path) -> None:
    keeper = Keeper()
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"junk" * 99)
    pids = set()
    for source in (clip, junk, clip):
        try:
            with GuardedVideo(source, keeper=keeper) as video:
                pids.add(video._reader._child._process.pid)
                assert (video[2] == Video(clip)[2]).all()
        except VideoError:
            assert source == junk
    assert len(pids) == 1
    keeper.close()


def test_a_child_that_is_not_through_is_not_kept(clip: Path) -> None:
    keeper = Keeper()
    with GuardedVideo(clip, keeper=keeper) as video:
        next(iter(video.run(brightness, 0)))
    with GuardedVideo(clip, keeper=keeper) as video:
        assert (video[3] == Video(clip)[3]).all()
    keeper.close()
