from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from gar_video import Tracks, Video
from gar_video.sound import Sound
from gar_video.visuals import write_annotated_video

RATE = 16_000


def clip(path, codec, seconds=2.0, fps=10, click_s=1.0):
    """A clip with a tone that begins at one second."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        if codec is not None:
            audio = container.add_stream(codec, rate=RATE, layout="mono")
        for n in range(round(seconds * fps)):
            picture = np.full((48, 64, 3), 10 * n % 250, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        if codec is not None:
            times = np.arange(round(seconds * RATE)) / RATE
            tone = np.where(times >= click_s, 0.5 * np.sin(2 * np.pi * 440 * times), 0.0)
            for first in range(0, len(tone), 1024):
                part = (tone[None, first : first + 1024] * 32000).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


def begins(path):
    """Return the codec of the sound, when its tone begins and when it ends, in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        loud, end = None, 0.0
        for frame in container.decode(stream):
            samples = np.abs(frame.to_ndarray().astype(float))
            samples = samples[0] / (1.0 if samples.max() <= 1.5 else 32768.0)
            start = float(frame.pts * frame.time_base)
            end = start + frame.samples / frame.sample_rate
            if loud is None and (samples > 0.2).any():
                loud = start + int(np.argmax(samples > 0.2)) / frame.sample_rate
        return stream.codec_context.name, loud, end


def tracks_for(video):
    return Tracks.from_masks({1: np.ones((len(video), 48, 64), bool)})


@pytest.mark.parametrize(
    ("name", "codec", "expected"),
    [
        pytest.param("a.mp4", "aac", "aac", id="copied"),
        pytest.param("a.mkv", "pcm_s16le", "aac", id="encoded-from-pcm"),
        pytest.param("a.mkv", "flac", "aac", id="encoded-from-flac"),
    ],
)
def test_sound_is_kept_in_time(name, codec, expected, tmp_path):
    video = Video(clip(tmp_path / name, codec))
    write_annotated_video(tmp_path / "out.mp4", video, tracks_for(video), {1: "gray"})
    kind, loud, end = begins(tmp_path / "out.mp4")
    assert kind == expected
    assert loud == pytest.approx(1.0, abs=0.08)
    assert end == pytest.approx(2.0, abs=0.15)
    written = Video(tmp_path / "out.mp4")
    assert np.allclose(written.times_s, video.times_s, atol=2e-3)


def test_a_silent_clip_stays_silent(tmp_path):
    video = Video(clip(tmp_path / "a.mp4", None))
    write_annotated_video(tmp_path / "out.mp4", video, tracks_for(video))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


def test_sound_that_no_longer_fits_is_left_out_and_said(tmp_path):
    video = Video(clip(tmp_path / "a.mp4", "aac"), fps=5)
    with pytest.warns(UserWarning, match="sound was left out"):
        write_annotated_video(tmp_path / "out.mp4", video, tracks_for(video))
    with Sound(Video(np.zeros((2, 48, 64, 3), np.uint8))) as sound:
        assert not sound.there
