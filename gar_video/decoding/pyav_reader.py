"""Frames of a video file by index, through PyAV.

Frames are found by their time stamps, never by counting, so that lost, hidden or reordered frames
cannot shift the numbering: a frame that cannot be decoded is an error, not its neighbour.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from gar_video.decoding import bitstreams, containers, frame_index
from gar_video.decoding.buffers import FrameBuffers
from gar_video.decoding.frame_index import FrameIndex
from gar_video.decoding.orientation import Orientation
from gar_video.errors import VideoError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame

Image = npt.NDArray[np.uint8]

# Decoding on over so many packets is about as cheap as seeking to a keyframe behind them.
_SEEK_PAYS = 6
# Pixels to decode from which threads are worth starting; they cost CPU time on every frame, too.
_THREADS_PAY = 32 * 10**6


class _Missing(Exception):  # noqa: N818 - control flow inside this module
    """Decoding went past a frame without giving it out."""


class PyavReader:
    """Decode frames of one file by index, keeping the decoder's place between calls.

    Ascending indices never seek backwards, and each needed group of pictures is decoded once.

    Args:
        path: The video file.
        like: A reader of the same file, whose findings save looking again.

    Raises:
        VideoError: If the file cannot be opened or has no frame that can be decoded.
    """

    index: FrameIndex
    orientation: Orientation
    resolution_wh: tuple[int, int]  # upright
    pixel_format: str  # as stored, in FFmpeg's words
    _size: tuple[int, int]  # as stored
    _unprobed: bool  # opened without decoding the first frames, since the header tells all
    _container: InputContainer

    def __init__(self, path: Path, like: PyavReader | None = None) -> None:
        self.path = path
        self._careful = False
        self._threads = like is not None  # made to read everything
        self._pixels = 0  # decoded so far, while there are no threads
        self._may_skip = True
        self._last_wanted = 0
        self._buffers = FrameBuffers()
        self._lost: set[int] = set()  # frames that were tried in every way already
        self._unprobed = containers.tells_all(path) if like is None else like._unprobed
        self._open()
        if like is not None:
            self.index, self._size = like.index, like._size
            self.orientation, self.resolution_wh = like.orientation, like.resolution_wh
            self.pixel_format = like.pixel_format
            return
        try:
            self._find_frames()
            self._orient()
        except BaseException:
            self._container.close()
            raise

    def _find_frames(self) -> None:
        """Read the index; open the file anew where the header alone did not tell all."""
        if self._unprobed:
            codec = bitstreams.name_of(self.stream)
            if codec in ("h264", "hevc"):
                self.index = frame_index.build(self._container, self.stream, self.path)
                # What H.264 does not say is how many frames to wait for before showing one.
                in_order = codec == "hevc" or bool((np.diff(self.index.order) > 0).all())
                if self.index.even and (in_order or self._context.has_b_frames):
                    return
            self._unprobed = False
            self._container.close()
            self._open()
        self.index = frame_index.build(self._container, self.stream, self.path)

    def _open(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._pid = os.getpid()
        self._container, self.stream = containers.open_container(
            self.path, decode=self._careful or not self._unprobed
        )
        # With threads over frames an error shows up some packets late and may cost other frames.
        threads: Literal["AUTO", "NONE"] = "AUTO" if self._threads else "NONE"
        self.stream.thread_type = "SLICE" if self._careful else threads
        self._context = self.stream.codec_context
        # One for all frames: a fresh one per frame costs as much as the conversion itself.
        self._reformatter = VideoReformatter()
        self._rewind_state()

    def _rewind_state(self) -> None:
        self._ready: deque[tuple[int, VideoFrame]] = deque()  # decoded, not yet asked for
        self._packets: Iterator[Packet] = iter(())
        self._fed = -1  # position of the next packet; -1: not placed in the file yet
        self._shown = -1  # the last frame that came out
        self._drained = False
        self._count = 0  # frames that came out, where they can only be counted
        self._left_out: set[int] = set()  # time stamps that may not come out: see _feed

    def _orient(self) -> None:
        """Decode the first frame: it tells size and rotation, and whether decoding works at all."""
        frame = self._get(0, drain=True, wanted=None)
        self._size = (frame.width, frame.height)
        self.orientation = Orientation.of_frame(frame)
        self.resolution_wh = self.orientation.turned(self._size)
        self.pixel_format = frame.format.name
        self._ready.appendleft((0, frame))  # for whoever asks for frame 0 first
        self._shown = -1

    def close(self) -> None:
        """Close the file."""
        if os.getpid() != self._pid:
            self._abandon()
            return
        self._rewind_state()
        self._container.close()

    def __del__(self) -> None:
        # PyAV's containers and streams refer to each other: left to the garbage collector, dozens
        # of decoders and their frames would pile up first.
        # At the interpreter's own end modules are half gone, and so is every need to tidy up.
        if hasattr(self, "_container") and not sys.is_finalizing():
            self.close()

    def read(self, indices: Sequence[int]) -> Iterator[Image]:
        """Yield the frames of ascending, distinct ``indices``, each ``(H, W, 3)`` uint8 RGB.

        Raises:
            VideoError: If a frame cannot be decoded.
        """
        if os.getpid() != self._pid:
            self._reopen_after_fork()
        if not self._threads and self._would_pay(indices):
            self._threads = True
            self._container.close()
            self._open()
        wanted = None
        if len(indices) > 1 and not self.index.counted:
            wanted = set(self.index.pts[np.asarray(indices)].tolist())
            self._last_wanted = int(self.index.pts[indices[-1]])
        for at, index in enumerate(indices):
            following = indices[at + 1] if at + 1 < len(indices) else None
            # Before a jump elsewhere the decoder is emptied instead of being fed further.
            drain = following is not None and self._jumps(index, following)
            image = self._convert(self._get(index, drain, wanted))
            # Of several frames the caller copies each away at once.
            yield image if len(indices) > 1 else self._buffers.moved(image)

    def _would_pay(self, indices: Sequence[int]) -> bool:
        """Whether threads pay with what is asked for now and was before."""
        asked = np.asarray(indices)
        order = self.index.order[asked]
        ranks = np.searchsorted(self.index.key_pts, self.index.pts[asked], "right") - 1
        keys = self.index.key_order[np.maximum(ranks, 0)]
        before = np.concatenate([[self._fed], order[:-1]])
        start = np.where(before > order, keys, np.maximum(before, keys))
        width, height = self._size
        self._pixels += width * height * int((order - start + 1).sum())
        return self._pixels > _THREADS_PAY

    def _convert(self, frame: VideoFrame) -> Image:
        """Return a decoded frame as an upright RGB array of its own."""
        width, height = self._size
        rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24")
        plane = rgb.planes[0]
        rows = np.frombuffer(plane, dtype=np.uint8).reshape(-1, plane.line_size)[:height]  # type: ignore[call-overload]
        image = rows[:, : 3 * width].reshape(height, width, 3)
        if rgb is frame:  # stored as RGB: the decoder may still refer to it
            image = image.copy()
        return self.orientation.apply(image)

    # ---- finding a frame ----------------------------------------------------------------------

    def _get(self, index: int, drain: bool, wanted: set[int] | None) -> VideoFrame:
        """Return frame ``index``, trying harder step by step.

        Raises:
            VideoError: If the frame does not come out of the decoder in any way.
        """
        key = self.index.key_for(index)
        for attempt, start in enumerate((key, key, key, max(key - 1, 0), 0)):
            if index in self._lost:
                break
            try:
                if attempt == 0:
                    return self._fetch(index, drain, wanted if self._may_skip else None)
                self._may_skip = False
                self._seek(start)
                return self._fetch(index, drain=False, wanted=None, placed=True)
            except _Missing:
                if attempt == 1 and not self._careful:
                    self._careful = True
                    self._container.close()
                    self._open()
        self._lost.add(index)
        raise VideoError(
            f"frame {index} of {self.path} cannot be decoded: the file is damaged there; use "
            "frames before or after it, or repair the file, e.g. with: "
            "ffmpeg -i INPUT -c:v libx264 OUTPUT.mp4"
        )

    def _fetch(
        self, index: int, drain: bool, wanted: set[int] | None, placed: bool = False
    ) -> VideoFrame:
        """Decode on to frame ``index``; raise _Missing if it does not come out.

        ``placed`` says that decoding begins where the caller has put it, however far ahead of it.
        """
        if not placed and not any(at == index for at, _ in self._ready) and self._must_seek(index):
            self._seek(self.index.key_for(index))
        while True:
            while self._ready:
                at, frame = self._ready.popleft()
                if at > index:
                    self._ready.appendleft((at, frame))
                    raise _Missing
                self._shown = at
                if at == index:
                    return frame
            if self._drained:
                raise _Missing
            enough = drain and self._fed > self.index.order[index]
            self._feed(None if enough else self._next_packet(), wanted)

    def _must_seek(self, index: int) -> bool:
        if self._fed < 0 or self._drained or index <= self._shown:
            return True
        if int(self.index.pts[index]) in self._left_out:
            return True
        key_order = int(self.index.key_order[self.index.key_for(index)])
        return key_order - self._fed > _SEEK_PAYS

    def _jumps(self, index: int, following: int) -> bool:
        """Whether the decoder will seek between two wanted frames."""
        key_order = int(self.index.key_order[self.index.key_for(following)])
        return key_order - max(int(self.index.order[index]) + 1, self._fed) > _SEEK_PAYS

    # ---- the decoder --------------------------------------------------------------------------

    def _feed(self, packet: Packet | None, wanted: set[int] | None) -> None:
        """Give the decoder one packet, or the end, and take what comes out.

        Frames that are neither wanted nor referred to by others are left out, which saves about a
        third of the work with B-frames.
        """
        import av

        frames: list[Any] = []
        try:
            if packet is None or (packet.size == 0 and packet.pts is None):
                self._drained = True
                frames = self._context.decode(None)
            else:
                self._fed += 1
                pts = packet.pts
                # Behind the last wanted frame everything is decoded: it may be asked for next.
                leave_out = False
                if wanted is not None and pts is not None:
                    leave_out = pts not in wanted and pts < self._last_wanted
                self._context.skip_frame = "NONREF" if leave_out else "DEFAULT"
                if leave_out and pts is not None:
                    self._left_out.add(pts)
                frames = packet.decode()
        except av.FFmpegError:
            pass  # whichever frame this costs is missed where it is asked for
        for frame in frames:
            at = self._number(frame)
            if at is not None:
                self._ready.append((at, frame))

    def _next_packet(self) -> Packet | None:
        import av

        try:
            return next(self._packets, None)
        except av.FFmpegError:  # unreadable from here on: the same as the end
            return None

    def _number(self, frame: VideoFrame) -> int | None:
        """Return the index of a frame that came out of the decoder."""
        if self.index.counted:
            self._count += 1
            return self._count - 1
        if frame.pts is None:
            return None
        at = int(np.searchsorted(self.index.pts, frame.pts))
        return at if at < len(self.index) and self.index.pts[at] == frame.pts else None

    def _seek(self, rank: int) -> None:
        """Place the demuxer on a key packet, wherever the container's own seeking lands."""
        import av

        order = int(self.index.key_order[rank])
        pts, dts = int(self.index.key_pts[rank]), int(self.index.key_dts[rank])
        self._rewind_state()
        if not self.index.counted:
            # Matroska's index holds presentation times, that of the others decoding times.
            stamps = (pts, dts) if "matroska" in self._container.format.name else (dts, pts)
            for stamp in dict.fromkeys(stamps):
                try:
                    self._container.seek(stamp, stream=self.stream)
                except (av.FFmpegError, OSError):
                    continue
                if self._land(pts):
                    self._fed = order
                    return
        # No index, or one that misses: from the start of the file, without decoding.
        self._container.close()
        self._open()
        self._packets = self._container.demux(self.stream)
        for _ in range(order):
            self._next_packet()
        self._fed = order

    def _land(self, pts: int) -> bool:
        """Skip forward to the packet with this time stamp; False if it is already behind."""
        import av

        packets = self._container.demux(self.stream)
        try:
            for packet in packets:
                if packet.pts == pts:
                    self._packets = _chain(packet, packets)
                    return True
                if packet.pts is not None and packet.is_keyframe and packet.pts > pts:
                    return False
        except av.FFmpegError:
            pass
        return False

    def _reopen_after_fork(self) -> None:
        self._abandon()
        self._open()

    def _abandon(self) -> None:
        # In a forked process the parent's decoder threads are not there, and waiting for them to
        # end would never end: its objects are kept for good instead of being closed.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(dict(self.__dict__)))


def _chain(first: Packet, rest: Iterator[Packet]) -> Iterator[Packet]:
    yield first
    yield from rest
