from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import media
import numpy as np
import pytest
from PIL import Image

from gar_video import Video, VideoError

N = 48


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """Write a clip of media.CLIPS once a session: clip("h264") -> path."""
    folder = tmp_path_factory.mktemp("clips")
    written: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in written:
            written[name] = media.write(folder / name, media.CLIPS[name])
        return written[name]

    return get


# ---- the same frames under the same numbers, whatever the file -------------------------------------

UPRIGHT = [name for name in media.CLIPS if not name.startswith("rotated")]


@pytest.mark.parametrize("name", UPRIGHT)
def test_frames_have_their_numbers(clip, name):
    with Video(clip(name)) as video:
        assert not video.is_image
        assert len(video) == N
        assert video.resolution_wh == media.CLIPS[name].size
        assert media.numbers_of(list(video)) == list(range(N))
        asked = [N - 1, 0, 30, 7, 7, 6, N - 2, 31]
        assert media.numbers_of(video.frames(asked)) == asked
        for index in (20, 21, 3, 4, N - 1, 0, 40):
            assert media.number_of(video[index]) == index


@pytest.mark.parametrize(
    "name", ["h264-b-frames", "h264-open-gop", "hevc-open-gop", "vp9", "h264-ts"]
)
def test_any_order_gives_the_same_pixels_as_from_the_start(clip, name):
    rng = np.random.default_rng(0)
    with Video(clip(name), backend="pyav") as video:
        truth = list(video)
        for _ in range(12):
            asked = rng.integers(0, N, rng.integers(1, 12))
            for index, image in zip(asked, video.frames(asked), strict=True):
                np.testing.assert_array_equal(image, truth[index])
            start = int(rng.integers(0, N - 3))
            for index in range(start, start + 3):
                np.testing.assert_array_equal(video[index], truth[index])


@pytest.mark.parametrize(
    ("name", "quarter_turns"),
    [("rotated-90", 1), ("rotated-180", 2), ("rotated-270", 3)],
)
def test_rotation_is_applied(clip, name, quarter_turns):
    with Video(clip("h264")) as straight, Video(clip(name)) as video:
        width, height = straight.resolution_wh
        assert video.resolution_wh == ((width, height), (height, width))[quarter_turns % 2]
        turned = np.rot90(media.picture(5), quarter_turns).astype(int)
        assert np.abs(video[5] - turned).mean() < 12
        assert np.abs(video.frames([5, 9])[0] - turned).mean() < 12
        assert video[5].flags.c_contiguous


@pytest.mark.parametrize("name", ["h264", "bt709-limited", "bt709-full", "bt601-full", "mjpeg"])
def test_colours_follow_the_tagged_matrix_and_range(clip, name):
    image = Video(clip(name))[3]
    for colour, column in ((media.RED, 8), (media.BLUE, -8)):
        found = image[100:120, column - 4 : column + 4].reshape(-1, 3).mean(axis=0)
        np.testing.assert_allclose(found, colour, atol=6)


def test_each_frame_is_the_callers_own(clip):
    for video in (
        Video(clip("h264")),
        Video(clip("apng")),
        Video(np.zeros((3, 8, 8, 3), np.uint8)),
    ):
        first = video[1]
        kept = first.copy()
        first[:] = 77
        np.testing.assert_array_equal(video[1], kept)
        assert video[0].flags.writeable


# ---- length, rate, times ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fps", "first_times", "duration"),
    [
        ("h264", Fraction(30), [0, 1 / 30, 2 / 30], 1.6),
        ("ntsc", Fraction(30000, 1001), [0, 1001 / 30000, 2002 / 30000], 48 * 1001 / 30000),
        # Matroska counts milliseconds: the times are rounded, the rate is not.
        ("h264-mkv", Fraction(30000, 1001), [0, 0.033, 0.067], 1.601),
        ("h264-ts", Fraction(30), [0, 1 / 30, 2 / 30], 1.6),
        ("h264-raw", Fraction(30), [0, 1 / 30, 2 / 30], 1.6),
        ("mpeg4-avi", Fraction(30), [0, 1 / 30, 2 / 30], 1.6),
        ("gif", Fraction(10), [0, 0.1, 0.2], 4.8),
    ],
)
def test_rate_and_times(clip, name, fps, first_times, duration):
    with Video(clip(name)) as video:
        assert video.fps == fps
        np.testing.assert_allclose(video.times_s[:3], first_times, atol=1e-9)
        assert video.duration_s == pytest.approx(duration, abs=1e-3)
        assert video.times_s.shape == (N,)


def test_variable_rate_keeps_each_frames_time(clip):
    steps = media.CLIPS["variable-rate"].steps
    expected = np.concatenate([[0], np.cumsum(steps[:-1])]) / 30
    with Video(clip("variable-rate")) as video:
        np.testing.assert_allclose(video.times_s, expected, atol=1e-9)
        assert video.fps == (N - 1) / Fraction(int(sum(steps[:-1])), 30)
        for index in (0, 1, 7, N - 1):
            assert video.index_at(float(expected[index])) == index


def test_first_frame_stands_at_zero_wherever_the_file_starts(clip, tmp_path):
    def later(_, packet):
        packet.pts, packet.dts = packet.pts + 90000, packet.dts + 90000
        return [packet]

    shifted = media.remux(clip("h264"), tmp_path / "later.ts", later)
    assert Video(shifted).times_s[:2].tolist() == pytest.approx([0, 1 / 30], abs=1e-4)


@pytest.mark.parametrize(
    ("given", "fps"),
    [
        (10, Fraction(10)),
        (29.97, Fraction(30000, 1001)),
        (12.5, Fraction(25, 2)),
        (Fraction(24000, 1001), Fraction(24000, 1001)),
    ],
)
def test_given_rate_replaces_times(clip, given, fps):
    for video in (
        Video(clip("variable-rate"), fps=given),
        Video(np.zeros((48, 8, 8, 3), np.uint8), fps=given),
    ):
        assert video.fps == fps
        np.testing.assert_allclose(video.times_s, np.arange(48) / float(fps))
        assert video.duration_s == pytest.approx(48 / float(fps))


TEN = np.zeros((10, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("time_s", "index"),
    [(0, 0), (0.499, 0), (0.5, 1), (0.4999999, 1), (0.999, 1), (4.5, 9), (4.99, 9), (5.0, 9)],
)
def test_index_at(time_s, index):
    assert Video(TEN, fps=2).index_at(time_s) == index


@pytest.mark.parametrize("time_s", [-0.1, 5.1, float("nan"), float("inf")])
def test_index_at_refuses(time_s):
    with pytest.raises(VideoError, match=r"expected 0 to 5\.000"):
        Video(TEN, fps=2).index_at(time_s)


@pytest.mark.parametrize(
    ("start", "end", "indices"),
    [
        (0, 5, range(0, 10)),
        (0, 99, range(0, 10)),
        (0, float("inf"), range(0, 10)),
        (1, 2, range(2, 4)),
        (1.1, 2.1, range(3, 5)),
        (1.1, 1.2, range(2, 3)),  # no frame appears in between: the one on screen
        (4.6, 5, range(9, 10)),
    ],
)
def test_window(start, end, indices):
    assert Video(TEN, fps=2).window(start, end) == indices


@pytest.mark.parametrize(
    ("start", "end"),
    [(1, 1), (2, 1), (5, 6), (7, 8), (-1, 2), (0, float("nan")), (float("nan"), 1)],
)
def test_window_refuses(start, end):
    with pytest.raises(VideoError):
        Video(TEN, fps=2).window(start, end)


# ---- files whose header, packets and frames disagree -----------------------------------------------


def test_header_claims_more_frames_than_there_are(clip, tmp_path):
    video = Video(media.claim_more(clip("h264"), tmp_path / "claim.mp4", keep=31))
    assert media.numbers_of(list(video)) == list(range(31))
    assert media.numbers_of(video.frames([30, 2])) == [30, 2]
    assert video.backend == "pyav"


@pytest.mark.parametrize(
    ("name", "packets", "good"),
    [
        ("h264", [20], [19, 24]),
        ("h264-b-frames", [30], [29, 36]),
        ("hevc", [46, 47], [0, 40]),
        ("mjpeg", [30], [29, 31]),
    ],
)
def test_damaged_frame_raises_and_no_neighbour_stands_in(clip, tmp_path, name, packets, good):
    damaged = tmp_path / f"damaged{media.CLIPS[name].suffix}"
    lost = media.frames_of(clip(name), packets)
    video = Video(media.damage(clip(name), damaged, packets))
    assert len(video) == N
    assert media.numbers_of(video.frames(good)) == good
    for index in lost * 2:
        with pytest.raises(VideoError, match=rf"frame {index} of .* cannot be decoded"):
            video[index]
    assert media.numbers_of(video.frames(good)) == good
    with pytest.raises(VideoError, match="cannot be decoded"):
        list(video)


def test_packets_without_a_picture_are_not_counted(clip, tmp_path):
    def drop(position, packet):
        if position not in (10, 11, 30):
            return [packet]
        empty = av.Packet(b"\x7f")
        empty.pts, empty.dts, empty.time_base = packet.pts, packet.dts, packet.time_base
        return [empty]

    video = Video(media.remux(clip("mpeg4"), tmp_path / "dropped.avi", drop))
    assert len(video) == len(list(video)) == N - 3
    assert media.number_of(video[9]) == 9
    assert media.number_of(video[N - 4]) == N - 1


@pytest.mark.parametrize(
    ("name", "suffix", "skipped", "first"),
    [("h264-b-frames", ".ts", 5, 12), ("hevc-open-gop", ".mkv", 12, None)],
)
def test_start_within_a_group_of_pictures(clip, tmp_path, name, suffix, skipped, first):
    late = media.remux(
        clip(name), tmp_path / f"late{suffix}", lambda i, p: [p] if i >= skipped else []
    )
    with Video(late) as video:
        found = media.numbers_of(list(video))
        assert found == list(range(found[0], N))
        assert first is None or found[0] == first
        assert media.numbers_of(video.frames([len(video) - 1, 0])) == [found[-1], found[0]]


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("name", ["h264", "h264-mkv", "mjpeg", "index-in-front"])
def test_cut_off_files_are_refused(clip, tmp_path, name, share):
    source = clip("h264" if name == "index-in-front" else name)
    if name == "index-in-front":
        source = media.index_in_front(source, tmp_path / "front.mp4")
    with pytest.raises(VideoError, match="is cut off"):
        Video(media.cut(source, tmp_path / f"cut{source.suffix}", share))


# ---- bad input: one line, what was given, what was expected ----------------------------------------


def _folder(tmp_path: Path, **files: tuple[int, int] | None) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, size in files.items():
        path = folder / name.replace("_", ".")
        if size is None:
            path.write_text("no picture")
        else:
            Image.new("RGB", size, (9, 9, 9)).save(path)
    return folder


def _junk(tmp_path: Path) -> Path:
    path = tmp_path / "junk.mp4"
    path.write_bytes(bytes(range(256)) * 40)
    return path


def _with(tmp_path: Path, name: str, content: bytes) -> Path:
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


def _no_frames(tmp_path: Path) -> Path:
    with av.open(str(tmp_path / "none.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()
    return tmp_path / "none.mkv"


def _playlist(tmp_path: Path) -> Path:
    # FFmpeg would follow it, to any file or address it names.
    media.write(tmp_path / "clip.ts", media.CLIPS["h264-ts"])
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:1.6,", "clip.ts", "#EXT-X-ENDLIST", ""]
    return _with(tmp_path, "p.m3u8", "\n".join(lines).encode())


def _animated_webp(tmp_path: Path) -> Path:
    pictures = [Image.new("RGB", (16, 16), (i * 50, 0, 0)) for i in range(3)]
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:])
    return tmp_path / "a.webp"


def _cut_photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    return media.cut(tmp_path / "whole.jpg", tmp_path / "cut.jpg", 0.5)


BAD = {
    "missing": (lambda t: t / "no.mp4", "does not exist"),
    "empty file": (lambda t: _with(t, "e.mp4", b""), "is empty"),
    "empty path": (lambda t: "", "the path is empty"),
    "junk": (_junk, "not a video this build can read"),
    "text": (lambda t: _with(t, "t.txt", b"hello\n" * 99), "not a known video format"),
    "playlist": (_playlist, "not a video this build can read"),
    "sound only": (lambda t: media.write_sound(t / "s.mp4"), "sound but no video"),
    "no frames": (_no_frames, "ends before its first frame"),
    "empty folder": (lambda t: _folder(t), "holds no pictures"),
    "folder without pictures": (lambda t: _folder(t, a_txt=None), "holds no pictures"),
    "pictures of two sizes": (
        lambda t: _folder(t, a_png=(8, 6), b_png=(9, 6)),
        "b.png is 9x6 but a.png is 8x6",
    ),
    "damaged picture in a folder": (
        lambda t: _folder(t, a_png=(8, 6), b_png=None),
        "b.png is no picture",
    ),
    "two pictures of one name": (lambda t: _folder(t, a_png=(8, 6), a_jpg=(8, 6)), "holds both"),
    "cut photograph": (_cut_photo, "is no picture that can be read"),
    "animated WebP": (_animated_webp, "animated WebP"),
    "https": (lambda t: "https://example.org/a.mp4", "is an address"),
    "rtsp": (lambda t: "rtsp://camera/1", "is an address"),
    "device": (lambda t: os.devnull, "not a regular file"),
    "none": (lambda t: None, "expected a path"),
    "list of arrays": (lambda t: [np.zeros((4, 4, 3), np.uint8)], "np.stack"),
    "float array": (lambda t: np.zeros((2, 4, 4, 3)), "float64"),
    "gray array": (lambda t: np.zeros((2, 4, 4), np.uint8), r"\(2, 4, 4\)"),
    "four channels": (lambda t: np.zeros((2, 4, 4, 4), np.uint8), "uint8 in RGB order"),
    "no frames in the array": (lambda t: np.zeros((0, 4, 4, 3), np.uint8), "no pixels"),
    "no pixels": (lambda t: np.zeros((2, 0, 4, 3), np.uint8), "no pixels"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_source(tmp_path, case):
    make, message = BAD[case]
    with pytest.raises(VideoError, match=message) as caught:
        Video(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_unreadable_file(tmp_path, monkeypatch):
    path = _with(tmp_path, "u.mp4", b"x")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(VideoError, match=r"u\.mp4 cannot be read: Permission denied"):
        Video(path)


@pytest.mark.parametrize("index", [-1, N, 10**9, 1.0, "1", None, True, slice(0, 3)])
@pytest.mark.parametrize("source", ["file", "array"])
def test_bad_index(clip, source, index):
    video = Video(clip("h264")) if source == "file" else Video(np.zeros((N, 4, 4, 3), np.uint8))
    with pytest.raises(VideoError, match="frame"):
        video[index]
    with pytest.raises(VideoError, match="frame"):
        video.frames([0, index])


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), "fast"])
def test_bad_rate(fps):
    with pytest.raises(VideoError, match="positive number"):
        Video(TEN, fps=fps)


def test_bad_backend():
    with pytest.raises(VideoError, match="'opencv'"):
        Video(TEN, backend="opencv")


def test_closed(clip):
    with Video(clip("h264")) as video:
        assert len(video) == N
    for ask in (lambda: video[0], lambda: video.frames([0]), lambda: next(iter(video))):
        with pytest.raises(VideoError, match="is closed"):
            ask()
    video.close()


# ---- arrays, folders, photographs ------------------------------------------------------------------


def test_array():
    frames = np.random.default_rng(0).integers(0, 255, (5, 6, 8, 3), np.uint8)
    video = Video(frames)
    assert (len(video), video.width, video.height, video.fps) == (5, 8, 6, 25)
    assert not video.is_image
    np.testing.assert_array_equal(video.frames([4, 0, 0]), frames[[4, 0, 0]])
    np.testing.assert_array_equal(np.stack(list(video)), frames)
    assert video.frames([]).shape == (0, 6, 8, 3)


def test_array_of_one_picture():
    video = Video(np.full((6, 8, 3), 9, np.uint8))
    assert video.is_image
    assert (len(video), video.resolution_wh, video.index_at(0.0)) == (1, (8, 6), 0)
    assert not Video(np.zeros((1, 6, 8, 3), np.uint8)).is_image


def test_folder_in_natural_order(tmp_path):
    for number in (0, 1, 2, 9, 10, 11, 100):
        Image.fromarray(media.picture(number)).save(tmp_path / f"frame{number}.png")
    (tmp_path / ".hidden.png").write_bytes(b"junk")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "masks").mkdir()
    video = Video(tmp_path, fps=24)
    assert media.numbers_of(list(video)) == [0, 1, 2, 9, 10, 11, 100]
    assert media.numbers_of(video.frames([6, 3])) == [100, 9]
    assert (video.fps, video.is_image, video.name) == (24, False, tmp_path.name)


def test_folder_of_one_picture_is_a_video(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "0.png")
    assert not Video(tmp_path).is_image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("where", ["photograph", "folder"])
def test_exif_orientation(tmp_path, orientation, where):
    upright = media.picture(5)
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(upright, 3),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, quality=95)
    video = Video(path if where == "photograph" else tmp_path)
    assert video.resolution_wh == (media.WIDTH, media.HEIGHT)
    assert np.abs(video[0].astype(int) - upright).mean() < 6


GRAY = np.arange(256, dtype=np.uint8).reshape(16, 16)
RGB = np.stack([GRAY, GRAY[::-1], GRAY.T], axis=2)
PHOTOS = {
    "RGB PNG": (lambda p: Image.fromarray(RGB).save(p), ".png", RGB, 0),
    "RGB WebP": (lambda p: Image.fromarray(RGB).save(p, lossless=True), ".webp", RGB, 0),
    "BMP": (lambda p: Image.fromarray(RGB).save(p), ".bmp", RGB, 0),
    "TIFF": (lambda p: Image.fromarray(RGB).save(p), ".tif", RGB, 0),
    "alpha PNG": (lambda p: Image.fromarray(np.dstack([RGB, GRAY])).save(p), ".png", RGB, 0),
    "gray PNG": (lambda p: Image.fromarray(GRAY).save(p), ".png", np.dstack([GRAY] * 3), 0),
    "16-bit PNG": (lambda p: Image.fromarray(GRAY.astype(np.uint16) * 257).save(p), ".png", np.dstack([GRAY] * 3), 0),
    "dark 16-bit PNG": (lambda p: Image.fromarray(GRAY.astype(np.uint16)).save(p), ".png", np.zeros_like(RGB), 0),
    "palette PNG": (lambda p: Image.fromarray(GRAY).convert("P").save(p), ".png", np.dstack([GRAY] * 3), 0),
    "CMYK JPEG": (lambda p: Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(p, quality=95), ".jpg", np.full((16, 16, 3), (255, 0, 0)), 12),
    "gray JPEG": (lambda p: Image.fromarray(GRAY).save(p, quality=100), ".jpg", np.dstack([GRAY] * 3), 4),
    "one-frame GIF": (lambda p: Image.fromarray(GRAY).save(p), ".gif", np.dstack([GRAY] * 3), 0),
}  # fmt: skip


@pytest.mark.parametrize("case", PHOTOS)
def test_photographs_become_rgb(tmp_path, case):
    save, suffix, expected, tolerance = PHOTOS[case]
    path = tmp_path / f"photo{suffix}"
    save(path)
    video = Video(path)
    assert video.is_image
    assert video.backend == "none"
    assert video[0].dtype == np.uint8
    np.testing.assert_allclose(video[0].astype(int), expected, atol=tolerance)


def test_names_that_look_like_protocols(clip, tmp_path):
    path = tmp_path / "concat:a|b ü.mp4"
    path.write_bytes(clip("h264").read_bytes())
    assert media.number_of(Video(path)[7]) == 7


# ---- what it costs ---------------------------------------------------------------------------------


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("way", ["iterate", "by index"])
def test_memory_is_flat(tmp_path, way):
    path = media.write(tmp_path / "long", replace(media.H264, frames=2000, gop=100))
    with Video(path) as video:
        after_warm_up = 0.0
        images = iter(video) if way == "iterate" else (video[i] for i in range(len(video)))
        for index, _ in enumerate(images):
            if index == 200:
                after_warm_up = _resident_mb()
        # Kept, the remaining frames would be 105 MB.
        assert _resident_mb() - after_warm_up < 20


def test_import_is_light():
    code = (
        "import sys, gar_video.video; "
        "print([m for m in ('torch', 'av', 'decord', 'cv2', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_threads_share_a_video(clip):
    video = Video(clip("h264-b-frames"))
    wrong: list[int] = []

    def read(seed: int) -> None:
        for index in np.random.default_rng(seed).integers(0, N, 25).tolist():
            if media.number_of(video[index]) != index:
                wrong.append(index)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_frames_may_be_asked_for_while_iterating(clip):
    with Video(clip("h264-b-frames")) as video:
        for index, image in enumerate(video):
            assert media.number_of(image) == index
            assert media.number_of(video[N - 1 - index]) == N - 1 - index


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_forgotten_videos_close_their_files(clip):
    path = clip("h264")
    gc.collect()
    gc.disable()
    try:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            video = Video(path)
            next(iter(video))
            assert video[3].shape == (media.HEIGHT, media.WIDTH, 3)
        del video
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
    finally:
        gc.enable()
