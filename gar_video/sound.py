"""The sound of a video file, carried into another: as it is where mp4 holds it, as AAC if not."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gar_video.video import Video

_HELD_BY_MP4 = frozenset(("aac", "mp3", "ac3", "eac3", "alac", "opus"))
_AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


class Sound:
    """The first sound track of a video file, on its way into a container.

    Use it as a context manager, ``add_to`` before the container's header is written, and
    ``write_until`` as the pictures go on, so that sound and pictures lie beside each other.

    Attributes:
        there: Whether there is any sound to carry.
        why_not: Why sound that is there cannot be carried; empty otherwise.

    Args:
        video: The video.
    """

    def __init__(self, video: Video) -> None:
        self.there = False
        self.why_not = ""
        self._container: Any = None
        self._packets: Iterator[tuple[float, Any]] = iter(())
        self._waiting: tuple[float, Any] | None = None
        self._end_s = video.duration_s
        reader = video._pyav
        if reader is None:
            return
        index = reader.index
        self._start = Fraction(int(index.pts[0])) * index.time_base
        import av

        try:
            self._container = av.open(f"file:{reader.path}", metadata_errors="ignore")
        except (av.FFmpegError, OSError):
            return
        if not self._container.streams.audio:
            return
        if not np.allclose(index.times_s(), video.times_s, atol=1e-3):
            self.why_not = "its frames were given another rate than the file's"
            return
        self._stream = self._container.streams.audio[0]
        self.there = True

    def __enter__(self) -> Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def add_to(self, container: Any) -> None:
        """Add a track to a container that is about to be written."""
        if not self.there:
            return
        if self._stream.codec_context.name.removesuffix("float") in _HELD_BY_MP4:
            self._target = container.add_stream_from_template(self._stream)
            self._packets = self._copied()
        else:
            # Raw sound may name no layout, and AAC has no rates beyond these.
            layout, rate = self._stream.codec_context.layout, self._stream.codec_context.sample_rate
            self._layout = {1: "mono", 2: "stereo"}.get(layout.nb_channels, layout.name)
            self._target = container.add_stream(
                "aac", rate=rate if rate in _AAC_RATES else 48_000, layout=self._layout
            )
            self._packets = self._encoded()
        self._out = container

    def write_until(self, time_s: float) -> None:
        """Write what sounds before a time, in seconds of the video."""
        if not self.there:
            return
        import av

        try:
            while True:
                if self._waiting is None:
                    self._waiting = next(self._packets, None)
                if self._waiting is None or self._waiting[0] >= time_s:
                    return
                self._out.mux(self._waiting[1])
                self._waiting = None
        except av.FFmpegError as error:
            self.there = False
            warnings.warn(f"the sound is damaged ({error}); what follows is silent", stacklevel=2)

    def finish(self) -> None:
        """Write what is left, as far as there are pictures."""
        self.write_until(self._end_s)

    def _copied(self) -> Iterator[tuple[float, Any]]:
        base = self._stream.time_base
        shift = round(self._start / base)
        for packet in self._container.demux(self._stream):
            if packet.pts is None or packet.dts is None:
                continue
            packet.pts -= shift
            packet.dts -= shift
            if packet.dts < 0:  # before the first picture
                continue
            packet.stream = self._target
            yield float(packet.pts * base), packet

    def _encoded(self) -> Iterator[tuple[float, Any]]:
        import av

        context = self._target.codec_context
        resampler = av.AudioResampler(
            format=context.format.name if context.format else "fltp",
            layout=self._layout,
            rate=context.sample_rate,
        )
        rate = Fraction(1, context.sample_rate)
        for frame in chain(self._decoded(), [None]):
            for piece in resampler.resample(frame):
                for packet in self._target.encode(piece):
                    yield float(packet.pts * packet.time_base), packet
        with contextlib.suppress(av.FFmpegError, EOFError):
            for packet in self._target.encode(None):
                yield float(packet.pts * (packet.time_base or rate)), packet

    def _decoded(self) -> Iterator[Any]:
        for frame in self._container.decode(self._stream):
            if frame.pts is None:
                continue
            frame.pts -= round(self._start / frame.time_base)
            if frame.pts >= 0:
                yield frame
