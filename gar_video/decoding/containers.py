"""Opening a video file with PyAV, and saying in one line what is wrong with it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from gar_video.errors import VideoError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Named one by one: playlist formats (HLS, DASH, ffconcat, ...) would let a small text file make
# us read other files, and the network.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpegtsraw,mpeg,mpegvideo,flv,live_flv,asf,"
    "ogg,mxf,nut,rm,dv,ivf,obu,av1,h264,hevc,vvc,m4v,mjpeg,mjpeg_2000,gif,apng,vc1,yuv4mpegpipe,"
    "wtv,swf,gxf,nsv,rawvideo,mp3,aac,ac3,flac,wav,amr,caf,aiff,webp_pipe,webp_anim"
)
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS, "fflags": "+genpts"}
# Opening then asks the decoders nothing: by themselves they decode up to twenty frames of H.264.
_UNDECODED = {"skip_frame": "all", "probesize": "32768", "fpsprobesize": "0"}
_ISO_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"pnot")


def check_file(path: Path) -> None:
    """Raise VideoError unless ``path`` is a readable file that is not empty."""
    if not path.exists():
        raise VideoError(f"{path} does not exist; expected a video file, a picture or a folder")
    if not path.is_file():
        raise VideoError(f"{path} is not a regular file; expected a video file or a picture")
    try:
        with path.open("rb") as file:
            first = file.read(1)
    except OSError as error:
        raise VideoError(f"{path} cannot be read: {error.strerror or error}") from None
    if not first:
        raise VideoError(f"{path} is empty (0 bytes); expected a video file or a picture")


def open_container(path: Path, decode: bool = True) -> tuple[InputContainer, VideoStream]:
    """Open ``path`` and find its video stream.

    Args:
        path: The file.
        decode: Let FFmpeg decode the first frames, as it does by default, to learn what the
            container does not tell. Without, pixel format and claimed rates are not to be used.

    Raises:
        VideoError: If the file is junk, cut off, holds no video stream, or its codec is unknown.
    """
    import av

    check_complete(path)
    try:
        # The prefix keeps names such as "concat:a|b" or "C:clip.mp4" from being read as protocols.
        options = _OPTIONS | ({} if decode else _UNDECODED)
        container = av.open(f"file:{path}", metadata_errors="ignore", options=options)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise VideoError(
            f"{path} is not a video this build can read ({_reason(error)}); "
            "expected e.g. MP4, MKV, WebM, AVI or MOV, or a picture"
        ) from None
    try:
        return container, _video_stream(container, path)
    except BaseException:
        container.close()
        raise


def tells_all(path: Path) -> bool:
    """Whether the file is of a kind (MP4, MOV) whose header tells what decoders need."""
    with path.open("rb") as file:
        return file.read(8)[4:8] in _ISO_BOXES


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    """Pick the stream FFmpeg itself would show, but never an audio file's cover picture."""
    streams = [s for s in container.streams.video if not _is_cover(s)]
    if not streams:
        if len(container.streams.audio) or len(container.streams.video):
            raise VideoError(
                f"{path} holds sound but no video; expected a file with a video stream"
            )
        raise VideoError(f"{path} holds no video stream; expected a file with one")
    best = container.streams.best("video")
    stream = next((s for s in streams if best is not None and s.index == best.index), streams[0])
    if stream.codec_context is None:
        raise VideoError(
            f"{path}: no decoder for its video codec here; convert it, "
            "e.g. with: ffmpeg -i INPUT -c:v libx264 OUTPUT.mp4"
        )
    return stream


def _is_cover(stream: VideoStream) -> bool:
    """Whether the stream is the cover picture of an audio file."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _reason(error: Exception) -> str:
    """Return FFmpeg's own words for an error, without errno and file name."""
    if getattr(error, "errno", None) == errno.EINVAL:  # what a refused format ends in
        return "not a known video format"
    if isinstance(error, EOFError):
        return "it ends before its first frame"
    return str(getattr(error, "strerror", None) or error).strip().rstrip(".").lower()


def check_complete(path: Path) -> None:
    """Raise VideoError if the container's own sizes say that the end of the file is missing.

    MP4 and MOV, Matroska and WebM, and AVI state how long they are. A file without its end would
    otherwise look like a shorter video, or like junk when the index stood at the end.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
        if head[4:8] in _ISO_BOXES:
            _check_iso(path, size)
        elif head[:4] == b"\x1aE\xdf\xa3":
            stated = _matroska_end(head)
            if stated is not None and stated > size:
                raise _cut_off(path, size, stated)
        elif head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            stated = 8 + int.from_bytes(head[4:8], "little")
            if stated > size + 1:  # some writers do not count the last padding byte
                raise _cut_off(path, size, stated)


def _cut_off(path: Path, size: int, stated: int) -> VideoError:
    return VideoError(
        f"{path} is cut off: it has {size} of {stated} bytes; get the whole file again, "
        "or keep what is there with: ffmpeg -i INPUT -c copy OUTPUT.mkv"
    )


def _check_iso(path: Path, size: int) -> None:
    """Walk the top-level boxes of an MP4 or MOV file, reading their headers alone."""
    offset, kinds = 0, set()
    with path.open("rb") as file:
        while offset + 8 <= size:
            file.seek(offset)
            header = file.read(16)
            kind, length = header[4:8], int.from_bytes(header[:4], "big")
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            elif length == 0:  # reaches to the end of the file
                length = size - offset
            if length < 8 or not kind.isascii():
                break  # not a box: leave the judgement to FFmpeg
            kinds.add(kind)
            if offset + length > size and kind in (b"mdat", b"moov", b"moof"):
                raise _cut_off(path, size, offset + length)
            offset += length
    if b"moov" not in kinds and b"ftyp" in kinds:
        raise VideoError(
            f"{path} is cut off: its index (the moov box) is missing; the recording was not "
            "finished or the download broke: get the whole file again"
        )


def _matroska_end(head: bytes) -> int | None:
    """Return where a Matroska file's segment says it ends, or None where it does not say."""
    offset = 4
    header_size, used = _vint(head, offset)
    if header_size is None:
        return None
    segment = offset + used + header_size
    if head[segment : segment + 4] != b"\x18\x53\x80\x67":
        return None
    body, used = _vint(head, segment + 4)
    return None if body is None else segment + 4 + used + body


def _vint(data: bytes, offset: int) -> tuple[int | None, int]:
    """Read one of Matroska's variable-length numbers: its value (None = unknown) and width."""
    if offset >= len(data) or data[offset] == 0:
        return None, 1
    width = 9 - data[offset].bit_length()
    raw = int.from_bytes(data[offset : offset + width], "big")
    value = raw & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), width
