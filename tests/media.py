"""Small media files for tests, written with PyAV, whose pixels say which frame they are.

Every frame carries its number as black and white blocks along its upper half, so large that the
number survives any codec here, over a gray that grows with the number. The corners of the lower
half are coloured, so that a turned or mirrored picture shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 10
WIDTH, HEIGHT = 160, 128  # wide enough for decord, which misreads narrow rows
RED, BLUE = (220, 40, 40), (40, 40, 220)


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Draw frame ``number``: (height, width, 3) uint8 RGB."""
    image = np.full((height, width, 3), 60 + number * 7 % 120, np.uint8)
    half, cell = height // 2, width // BITS
    for bit in range(BITS):
        image[:half, bit * cell : (bit + 1) * cell] = 235 if number >> bit & 1 else 20
    corner = width // 5
    image[half:, :corner] = RED
    image[half:, width - corner :] = BLUE
    return image


def number_of(image: np.ndarray) -> int:
    """Read the number out of an upright frame."""
    height, width = image.shape[:2]
    half, cell = height // 2, width // BITS
    number = 0
    for bit in range(BITS):
        block = image[
            half // 4 : half - half // 4, bit * cell + cell // 4 : (bit + 1) * cell - cell // 4
        ]
        number |= int(block.mean() > 128) << bit
    return number


def numbers_of(images: Sequence[np.ndarray] | np.ndarray) -> list[int]:
    return [number_of(image) for image in images]


@dataclass(frozen=True)
class Clip:
    """What to write. ``gop`` frames from keyframe to keyframe; ``steps`` the ticks of each frame."""

    codec: str = "libx264"
    suffix: str = ".mp4"
    frames: int = 48
    gop: int = 12
    rate: Fraction | int = 30
    size: tuple[int, int] = (WIDTH, HEIGHT)
    pixels: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    container: dict[str, str] = field(default_factory=dict)
    rotation: int | None = None
    steps: Sequence[int] | None = None
    audio: bool = False
    colour: tuple[int, int] | None = None  # (colorspace, color_range) as FFmpeg counts them
    first: int = 0  # the number of the first frame
    format: str | None = None


X264 = {"preset": "veryfast", "crf": "18"}
H264 = Clip(options={**X264, "bf": "0"})
CLIPS = {
    "h264": H264,
    "h264-b-frames": Clip(options={**X264, "bf": "3"}),
    "h264-open-gop": Clip(options={**X264, "bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
    "h264-intra-refresh": Clip(options={**X264, "x264-params": "intra-refresh=1:bframes=0"}),
    "h264-one-gop": Clip(gop=250, options={**X264, "bf": "2"}),
    "h264-all-intra": Clip(gop=1, options=X264),
    "h264-mkv": Clip(suffix=".mkv", rate=Fraction(30000, 1001), options={**X264, "bf": "2"}),
    "h264-ts": Clip(suffix=".ts", options={**X264, "bf": "2"}),
    "h264-raw": Clip(suffix=".h264", format="h264", options={**X264, "bf": "2"}),
    "h264-fragments": Clip(options=X264, container={"movflags": "frag_keyframe+empty_moov"}),
    "h264-10-bit": Clip(pixels="yuv420p10le", options=X264),
    "hevc": Clip(
        "libx265",
        options={
            "preset": "ultrafast",
            "x265-params": "log-level=none:open-gop=0:keyint=12:crf=16",
        },
    ),
    "hevc-open-gop": Clip(
        "libx265",
        options={
            "preset": "ultrafast",
            "x265-params": "log-level=none:open-gop=1:keyint=12:bframes=3:crf=16",
        },
    ),
    "vp9": Clip(
        "libvpx-vp9",
        ".webm",
        options={"cpu-used": "8", "deadline": "realtime", "crf": "15", "b": "0"},
    ),
    "vp9-two-pass-like": Clip(
        "libvpx-vp9",
        ".webm",
        options={
            "cpu-used": "8",
            "deadline": "good",
            "auto-alt-ref": "1",
            "lag-in-frames": "16",
            "crf": "15",
            "b": "0",
        },
    ),
    "vp8": Clip(
        "libvpx",
        ".webm",
        options={
            "cpu-used": "8",
            "deadline": "realtime",
            "auto-alt-ref": "1",
            "lag-in-frames": "10",
            "crf": "8",
            "b": "2M",
            "threads": "1",  # several wait for one another longer than they work, this small
        },
    ),
    "mpeg4": Clip("mpeg4", options={"qmin": "2", "qmax": "4"}),
    "mpeg4-b-frames": Clip("mpeg4", options={"bf": "2", "qmin": "2", "qmax": "4"}),
    "mpeg4-avi": Clip("mpeg4", ".avi", options={"bf": "2", "qmin": "2", "qmax": "4"}),
    "mjpeg": Clip("mjpeg", ".avi", pixels="yuvj420p", options={"qmin": "2", "qmax": "4"}),
    "mjpeg-mov": Clip("mjpeg", ".mov", pixels="yuvj420p", options={"qmin": "2", "qmax": "4"}),
    "av1": Clip(
        "libsvtav1", options={"preset": "12", "crf": "25", "svtav1-params": "lookahead=0:lp=1"}
    ),
    "prores": Clip("prores_ks", ".mov", pixels="yuv422p10le"),
    "gif": Clip("gif", ".gif", rate=10, pixels="rgb8"),
    "apng": Clip("apng", ".png", rate=10, pixels="rgb24", format="apng"),
    "rotated-90": Clip(options=X264, rotation=90),
    "rotated-180": Clip(options=X264, rotation=180),
    "rotated-270": Clip(options=X264, rotation=-90),
    "variable-rate": Clip(
        options={**X264, "bf": "2"}, steps=[1 + i % 3 * (i % 5) for i in range(48)]
    ),
    "ntsc": Clip(rate=Fraction(30000, 1001), options=X264),
    "odd-size": Clip(size=(161, 127), pixels="yuv444p", options=X264),
    "with-sound": Clip(options=X264, audio=True),
    "bt709-limited": Clip(options=X264, colour=(1, 1)),
    "bt709-full": Clip(options=X264, colour=(1, 2)),
    "bt601-full": Clip(options=X264, colour=(5, 2)),
}


def write(path: Path, clip: Clip = H264) -> Path:
    """Write a clip; ``path`` without a suffix gets the clip's own."""
    path = path if path.suffix else path.with_suffix(clip.suffix)
    step = 1 / Fraction(clip.rate)
    with av.open(str(path), "w", format=clip.format, options=dict(clip.container)) as container:
        stream = container.add_stream(clip.codec, rate=clip.rate, options=dict(clip.options))
        (stream.width, stream.height), stream.pix_fmt = clip.size, clip.pixels
        context = stream.codec_context
        context.gop_size, context.time_base = clip.gop, step
        if clip.colour is not None:
            context.colorspace, context.color_range = clip.colour
        if clip.rotation is not None:
            stream.set_display_rotation(clip.rotation)
        sound = _add_sound(container) if clip.audio else None
        steps = clip.steps or [1] * clip.frames
        pts = 0
        for number in range(clip.frames):
            image = picture(clip.first + number, *clip.size)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if clip.colour is not None:
                frame = frame.reformat(
                    format=clip.pixels,
                    dst_colorspace=clip.colour[0],
                    dst_color_range=clip.colour[1],
                )
                frame.colorspace, frame.color_range = clip.colour
            frame.pts, frame.time_base = pts, step
            pts += steps[number]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    return path


def _add_sound(container: av.container.OutputContainer) -> av.AudioStream:
    stream = container.add_stream("aac", rate=44100, layout="mono")
    for start in range(0, 1024 * 40, 1024):
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = 44100, start, Fraction(1, 44100)
        container.mux(stream.encode(frame))
    return stream


def write_sound(path: Path) -> Path:
    """Write a file with sound and no video."""
    with av.open(str(path), "w") as container:
        stream = _add_sound(container)
        container.mux(stream.encode(None))
    return path


def remux(source: Path, target: Path, change) -> Path:
    """Copy a clip's packets into another file; ``change(position, packet)`` returns those to write."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        packets = [p for p in reader.demux(stream) if p.size]
        for position, packet in enumerate(packets):
            for changed in change(position, packet):
                changed.stream = copy
                writer.mux(changed)
    return target


def packet_spans(path: Path) -> list[tuple[int, int]]:
    """Where each video packet lies in the file: (offset, size)."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size) for p in container.demux(video=0) if p.size]


def damage(source: Path, target: Path, packets: Sequence[int], value: bytes = b"\0") -> Path:
    """Copy a clip with some packets' bytes overwritten, everything else as it was."""
    data = bytearray(source.read_bytes())
    spans = packet_spans(source)
    for position in packets:
        offset, size = spans[position]
        data[offset : offset + size] = value * size
    target.write_bytes(data)
    return target


def cut(source: Path, target: Path, share: float) -> Path:
    """Copy the first part of a file."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def index_in_front(source: Path, target: Path) -> Path:
    """Copy an MP4 with its index before its data."""
    with av.open(str(source)) as reader:
        stream = reader.streams.video[0]
        with av.open(str(target), "w", options={"movflags": "faststart"}) as writer:
            copy = writer.add_stream_from_template(stream)
            for packet in reader.demux(stream):
                if packet.size:
                    packet.stream = copy
                    writer.mux(packet)
    return target


def claim_more(source: Path, target: Path, keep: int) -> Path:
    """Copy an MP4 that ends after ``keep`` packets, though its index lists all of them.

    The data box says it is as long as it is, so that nothing but the index claims more.
    """
    index_in_front(source, target)
    offset, size = packet_spans(target)[keep - 1]
    data = bytearray(target.read_bytes()[: offset + size])
    start = data.rindex(b"mdat") - 4
    data[start : start + 4] = (len(data) - start).to_bytes(4, "big")
    target.write_bytes(data)
    return target


def frames_of(path: Path, packets: Sequence[int]) -> list[int]:
    """Which frames, counted as they are shown, lie in the packets at these positions."""
    with av.open(str(path)) as container:
        stamps = [p.pts for p in container.demux(video=0) if p.size]
    order = sorted(stamps)
    return [order.index(stamps[position]) for position in packets]
