"""Which frames a video file has, when they are shown and where decoding may start.

Read from the packets, without decoding: cheap, and nearer the truth than what the header claims.
Where packets cannot be taken for one frame each (time stamps missing or repeated, a start in the
middle of a group of pictures, hidden frames), the file is decoded once to learn the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gar_video.decoding import bitstreams
from gar_video.decoding.containers import open_container
from gar_video.errors import VideoError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_DEFAULT_RATE = Fraction(25)  # what FFmpeg assumes of streams that carry no times
# Every frame of an animated picture builds on the ones before, whatever its key flag says.
_ANIMATIONS = ("gif", "apng")


@dataclass(frozen=True)
class FrameIndex:
    """The frames of one video stream, in the order they are shown.

    Attributes:
        pts: ``(T,)`` time stamp of each frame in units of ``time_base``, ascending.
        order: ``(T,)`` position of each frame's packet in the order of decoding.
        key_order: ``(K,)`` positions of the packets where decoding may start, ascending from 0.
        key_pts: ``(K,)`` their time stamps, ascending.
        key_dts: ``(K,)`` their decoding time stamps.
        counted: True where frames carry no usable time stamps and can only be counted from the
            start; ``pts`` then holds 0, 1, 2, ...
        time_base: Seconds per unit of ``pts``.
        fps: The frame rate; the mean where the rate varies.
        last_duration: How long the last frame is shown, in units of ``time_base``.
        even: Whether all frames but the last are shown equally long, so that ``fps`` follows from
            ``pts`` alone.
        doubts: Why decord is not to be trusted with this file, as far as it was looked at; see
            ``examine``.
    """

    pts: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]
    key_order: npt.NDArray[np.int64]
    key_pts: npt.NDArray[np.int64]
    key_dts: npt.NDArray[np.int64]
    counted: bool
    time_base: Fraction
    fps: Fraction
    last_duration: int
    even: bool
    doubts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pts)

    def times_s(self) -> npt.NDArray[np.float64]:
        """Return ``(T,)`` seconds from the first frame."""
        ticks = (self.pts - self.pts[0]).astype(np.float64)
        return ticks * self.time_base.numerator / self.time_base.denominator

    def key_for(self, index: int) -> int:
        """Return the rank of the key packet from which decoding reaches frame ``index``."""
        # A frame coded after a key packet but shown before it needs the group before as well,
        # so the key is looked up by the time it is shown.
        return max(int(np.searchsorted(self.key_pts, self.pts[index], "right")) - 1, 0)


@dataclass
class _Packets:
    """The columns read from a stream's packets, in the order of decoding."""

    pts: list[int | None] = field(default_factory=list)
    dts: list[int | None] = field(default_factory=list)
    key: list[bool] = field(default_factory=list)
    shown: list[bool] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    doubts: set[str] = field(default_factory=set)


def build(container: InputContainer, stream: VideoStream, path: Path) -> FrameIndex:
    """Read the index of ``stream``, leaving ``container`` at its end.

    Raises:
        VideoError: If the stream has no frame that can be decoded.
    """
    packets = _read_packets(container, stream, bitstreams.pictures_only(stream))
    if not any(packets.shown):
        raise VideoError(f"{path} has a video stream but no frame in it; expected at least one")
    if stream.frames and stream.frames != len(packets.pts):
        packets.doubts.add(
            f"the header claims {stream.frames} frames but {len(packets.pts)} are there"
        )
    if not _one_frame_each(packets):
        packets.doubts.add("its frames could only be found by decoding")
        return _from_decoding(stream, path, packets)
    pts = [p for p, shown in zip(packets.pts, packets.shown, strict=True) if shown]
    return _by_pts(stream, packets, pts)  # type: ignore[arg-type]  # none is None here


def examine(path: Path) -> set[str]:
    """Look into every packet of a file's video stream; return what speaks against decord.

    Raises:
        VideoError: If the file cannot be opened.
    """
    container, stream = open_container(path)
    with container:
        return _read_packets(container, stream, bitstreams.checker(stream)).doubts


def _read_packets(
    container: InputContainer, stream: VideoStream, check: Callable[[Packet], bitstreams.Finding]
) -> _Packets:
    """Walk over the packets and note what they say, and what speaks against them."""
    import av

    packets = _Packets()
    try:
        for packet in container.demux(stream):
            if packet.size == 0 and packet.pts is None and packet.dts is None:
                continue  # PyAV's own mark of the end
            if packet.is_discard:
                packets.doubts.add("an edit list hides frames")
            if packet.is_corrupt:
                packets.doubts.add(bitstreams.DAMAGED)
            finding = check(packet)
            if finding is not None:
                packets.doubts.add(finding)
            packets.pts.append(packet.pts)
            packets.dts.append(packet.dts)
            packets.key.append(packet.is_keyframe)
            packets.shown.append(not packet.is_discard)
            packets.durations.append(packet.duration or 0)
    except av.FFmpegError as error:
        packets.doubts.add(f"reading its packets stops early: {error.strerror}")
    return packets


def _one_frame_each(packets: _Packets) -> bool:
    """Whether each packet can be taken for one frame, found by its time stamp."""
    if bitstreams.HIDDEN in packets.doubts or None in packets.pts:
        return False
    if len(set(packets.pts)) != len(packets.pts) or not packets.key[0]:
        return False
    # Frames shown before the first keyframe refer to frames that are not in the file.
    return packets.pts[0] == min(packets.pts)  # type: ignore[type-var]


def _by_pts(stream: VideoStream, packets: _Packets, shown_pts: Sequence[int]) -> FrameIndex:
    """Index frames by time stamp; ``shown_pts`` are the time stamps of those that exist."""
    position = {pts: at for at, pts in enumerate(packets.pts)}
    pts = np.array(sorted(shown_pts), dtype=np.int64)
    order = np.array([position[p] for p in pts.tolist()], dtype=np.int64)
    key_order, key_pts, key_dts = _keys(stream, packets)
    time_base = stream.time_base or Fraction(1, 90000)
    fps = _rate(stream, pts, time_base)
    doubts = set(packets.doubts)
    # In a closed group of pictures everything before the key packet is shown before it.
    if all(packets.shown) and (np.searchsorted(pts, key_pts) != key_order).any():
        doubts.add("its groups of pictures are open")
    last = packets.durations[int(order[-1])]
    return FrameIndex(
        pts=pts,
        order=order,
        key_order=key_order,
        key_pts=key_pts,
        key_dts=key_dts,
        counted=False,
        time_base=time_base,
        fps=fps,
        last_duration=last if last > 0 else max(1, round(1 / (fps * time_base))),
        even=_even(pts),
        doubts=tuple(sorted(doubts)),
    )


def _keys(stream: VideoStream, packets: _Packets) -> tuple[npt.NDArray[np.int64], ...]:
    """Return order, pts and dts of the packets where decoding may start, the first one included."""
    first = packets.pts[0] if packets.pts[0] is not None else 0
    rows = [(0, first, packets.dts[0] if packets.dts[0] is not None else first)]
    animation = stream.codec_context.name in _ANIMATIONS
    for at in range(1, 0 if animation else len(packets.pts)):
        pts, dts = packets.pts[at], packets.dts[at]
        if packets.key[at] and pts is not None and pts > rows[-1][1]:
            rows.append((at, pts, pts if dts is None else dts))
    columns = np.array(rows, dtype=np.int64).T
    return columns[0].copy(), columns[1].copy(), columns[2].copy()


def _rate(stream: VideoStream, pts: npt.NDArray[np.int64], time_base: Fraction) -> Fraction:
    """Return the exact frame rate, or the mean rate where the rate varies."""
    claimed = [r for r in (stream.average_rate, stream.guessed_rate, stream.base_rate) if r]
    if len(pts) < 2:
        return Fraction(claimed[0]) if claimed else _DEFAULT_RATE
    if _even(pts):
        return 1 / (int(pts[1] - pts[0]) * time_base)
    # Containers that count in milliseconds round a constant rate; the claimed one then fits.
    for rate in claimed:
        ticks = np.arange(len(pts)) / float(rate * time_base)
        if np.abs(pts - pts[0] - ticks).max() <= 1.001:
            return Fraction(rate)
    return (len(pts) - 1) / (int(pts[-1] - pts[0]) * time_base)


def _even(pts: npt.NDArray[np.int64]) -> bool:
    """Whether there are equal steps between all frames, and at least one."""
    steps = np.diff(pts)
    return len(steps) > 0 and bool((steps == steps[0]).all())


def _from_decoding(stream: VideoStream, path: Path, packets: _Packets) -> FrameIndex:
    """Decode the whole stream once to learn which frames there are."""
    decoded = _decode_all(path)
    if not decoded:
        raise VideoError(
            f"{path}: none of its {len(packets.pts)} packets can be decoded; the file is damaged"
        )
    known = set(packets.pts)
    if all(p is not None and p in known for p in decoded):
        pts = [p for p in decoded if p is not None]
        if len(set(packets.pts)) == len(packets.pts) and pts == sorted(set(pts)):
            return _by_pts(stream, packets, pts)
    # Guessed first: it reads the coded stream, where the container has nothing to say.
    fps = Fraction(stream.guessed_rate or stream.average_rate or _DEFAULT_RATE)
    count = np.arange(len(decoded), dtype=np.int64)
    start = np.zeros(1, dtype=np.int64)
    return FrameIndex(
        pts=count,
        order=count,
        key_order=start,
        key_pts=start,
        key_dts=start,
        counted=True,
        time_base=1 / fps,
        fps=fps,
        last_duration=1,
        even=False,
        doubts=tuple(sorted(packets.doubts)),
    )


def _decode_all(path: Path) -> list[int | None]:
    """Return the time stamp of every frame that comes out of the decoder, in order."""
    import av

    container, stream = open_container(path)
    # One frame at a time, so that an error loses its own frame and no other.
    stream.thread_type = "SLICE"
    found: list[int | None] = []
    with container:
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return found
                found.extend(frame.pts for frame in packet.decode())
            except av.FFmpegError:
                if packet is None or packet.size == 0:
                    return found
