"""A look at a packet's first bytes: does it hold one whole picture, and may decoding start there?

No decoding. The findings decide whether packets can be taken for frames, and whether decord, which
counts frames instead of reading their time stamps, can be trusted with a file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

HIDDEN = "some packets do not hold exactly one picture"
DAMAGED = "some packets are damaged"
UNCLEAN = "some keyframes are no clean start for decoding"
UNKNOWN = "its packets cannot be checked"

Finding = str | None

_VOP = b"\x00\x00\x01\xb6"  # MPEG-4: a picture starts


def checker(stream: VideoStream) -> Callable[[Packet], Finding]:
    """Return the check for the stream's codec: packet -> None, or what is odd about it."""
    extradata = stream.codec_context.extradata or b""
    name = name_of(stream)
    if name == "h264":
        framed = len(extradata) > 6 and extradata[0] == 1
        return _nal_check((extradata[4] & 3) + 1, _h264_kind) if framed else _nothing_known
    if name == "hevc":
        framed = len(extradata) > 22 and extradata[0] == 1
        return _nal_check((extradata[21] & 3) + 1, _hevc_kind) if framed else _nothing_known
    return {"vp9": _vp9, "vp8": _vp8, "mpeg4": _mpeg4, "mjpeg": _mjpeg}.get(name, _fine)


def pictures_only(stream: VideoStream) -> Callable[[Packet], Finding]:
    """Return the part of the check that tells whether a packet holds exactly one picture.

    Other findings do not matter to who finds frames by their time stamps, and NAL units take time.
    """
    return _fine if name_of(stream) in ("h264", "hevc") else checker(stream)


def name_of(stream: VideoStream) -> str:
    """Return the coding's name: AV1's is "av1", whichever decoder reads it."""
    context = stream.codec_context
    named = hasattr(context.codec, "canonical_name")
    name: str = context.codec.canonical_name if named else context.name
    return name


def _fine(packet: Packet) -> Finding:
    return HIDDEN if packet.size == 0 else None


def _nothing_known(packet: Packet) -> Finding:
    return HIDDEN if packet.size == 0 else UNKNOWN


def _h264_kind(header: int) -> tuple[bool, bool]:
    """Return (holds picture data, is a clean start) for a NAL unit's first byte."""
    kind = header & 31
    return 1 <= kind <= 5, kind == 5


def _hevc_kind(header: int) -> tuple[bool, bool]:
    """Return (holds picture data, is a clean start) for a NAL unit's first byte."""
    kind = header >> 1 & 63
    return kind < 32, kind in (19, 20)


def _nal_check(
    length_size: int, kind_of: Callable[[int], tuple[bool, bool]]
) -> Callable[[Packet], Finding]:
    """Check packets made of NAL units, each with its length before it."""

    def check(packet: Packet) -> Finding:
        data = memoryview(packet)
        offset, size = 0, len(data)
        picture = clean = False
        while offset + length_size < size:
            length = int.from_bytes(data[offset : offset + length_size], "big")
            offset += length_size
            if length == 0 or offset + length > size:
                return DAMAGED
            is_picture, is_clean = kind_of(data[offset])
            picture |= is_picture
            clean |= is_clean
            offset += length
        if not picture:
            return HIDDEN if size == 0 else DAMAGED
        if offset != size:
            return DAMAGED
        return UNCLEAN if packet.is_keyframe and not clean else None

    return check


def _vp9(packet: Packet) -> Finding:
    if packet.size == 0:
        return HIDDEN
    data = memoryview(packet)
    first = data[0]
    if first >> 6 != 2:
        return DAMAGED
    if data[-1] & 0xE0 == 0xC0 or first >> 4 & 3 == 3:
        return None  # a superframe shows its last frame; profile 3 is laid out otherwise
    shows_earlier, shown = first >> 3 & 1, first >> 1 & 1
    return None if shows_earlier or shown else HIDDEN


def _vp8(packet: Packet) -> Finding:
    if packet.size == 0:
        return HIDDEN
    return None if memoryview(packet)[0] >> 4 & 1 else HIDDEN


def _mpeg4(packet: Packet) -> Finding:
    data = bytes(packet)
    at = data.find(_VOP)
    # Shorter ones say "nothing changed" (not coded) and give no frame; two at once are packed.
    if at < 0 or len(data) <= 8 or data.find(_VOP, at + 4) >= 0:
        return HIDDEN
    return None


def _mjpeg(packet: Packet) -> Finding:
    data = memoryview(packet)
    if packet.size == 0:
        return HIDDEN
    return None if bytes(data[:2]) == b"\xff\xd8" else DAMAGED
