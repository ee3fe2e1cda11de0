"""Folders of mask PNGs as other tools make them."""

import numpy as np
import pytest
from format_samples import WH, Clip, H, T, W, blob
from PIL import Image

from gar_video.errors import TracksError
from gar_video.tracks import Tracks


def save(path, values, mode=None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values))
    if mode == "P":
        image = Image.fromarray(np.asarray(values, np.uint8), mode="L").convert("P")
        image.putdata(np.asarray(values).ravel().tolist())
        image.putpalette([v for i in range(256) for v in (i * 7 % 256, i * 3 % 256, i)])
    image.save(path)


def ids(frame: int, void: bool = False) -> np.ndarray:
    values = np.zeros((H, W), np.uint8)
    values[blob(2 + frame, 2)] = 1
    if frame != 3:
        values[blob(20, 2 + frame)] = 38
    if void:
        values[blob(30, 15)] = 255
    return values


def check(tracks: Tracks) -> None:
    assert tracks.source_format == "davis"
    assert tracks.object_ids == (1, 38)
    assert tracks.num_frames == T
    assert tracks[38].frames.tolist() == [0, 1, 2, 4, 5, 6]
    assert np.array_equal(tracks[1].mask(4), blob(6, 2))


@pytest.mark.parametrize("mode", ["P", "L"])
@pytest.mark.parametrize("names", ["{:05d}.png", "frame_{}.png", "mask{:03d}_v2x.PNG"])
def test_a_png_per_frame(tmp_path, mode, names):
    if names.endswith("PNG"):
        names = names.replace("_v2x", "")
    for frame in range(T):
        save(tmp_path / names.format(frame), ids(frame), "P" if mode == "P" else None)
    check(Tracks.load(tmp_path))
    check(Tracks.load(tmp_path, Clip()))


def test_void_is_kept_apart_in_palettes_only(tmp_path):
    for frame in range(T):
        save(tmp_path / "p" / f"{frame:05d}.png", ids(frame, True), "P")
        save(tmp_path / "l" / f"{frame:05d}.png", ids(frame, True))
    check(Tracks.load(tmp_path / "p"))
    assert np.array_equal(Tracks.load(tmp_path / "p").ignored[255].mask(2), blob(30, 15))
    assert Tracks.load(tmp_path / "l").object_ids == (1, 38, 255)


def test_black_and_white_is_one_object(tmp_path):
    for frame in range(T):
        save(tmp_path / f"{frame:05d}.png", blob(2 + frame, 2) * np.uint8(255))
    tracks = Tracks.load(tmp_path)
    assert tracks.object_ids == (1,)
    assert np.array_equal(tracks[1].mask(2), blob(4, 2))
    save(tmp_path / "00000.png", blob(2, 2))  # one bit a pixel
    assert Tracks.load(tmp_path).object_ids == (1,)


def test_a_sequence_in_a_folder_of_sequences(tmp_path):
    for frame in range(T):
        save(tmp_path / "bear" / f"{frame:05d}.png", ids(frame), "P")
    check(Tracks.load(tmp_path, format="davis", sequence="bear"))
    check(Tracks.load(tmp_path, sequence="bear"))
    with pytest.raises(TracksError, match="pass format='davis', sequence='bear'"):
        Tracks.load(tmp_path)


@pytest.mark.parametrize(
    ("numbers", "num_frames", "expected"),
    [
        ([0, 1, 2], None, ([0, 1, 2], 3)),
        ([1, 2, 3], None, ([0, 1, 2], 3)),
        ([0, 5, 10], None, ([0, 5, 10], 11)),
        ([0, 5, 10], 3, ([0, 1, 2], 3)),
        ([0, 5, 10], 20, ([0, 5, 10], 20)),
        ([7, 8, 9], 3, ([0, 1, 2], 3)),
        ([7, 8, 9], 10, ([7, 8, 9], 10)),
        ([0, 1, 2], 5, "masks for 3 frames, but the video has 5"),
        ([1, 2, 3], 2, "masks for 3 frames, but the video has 2"),
        ([0, 5, 10], 4, "a mask for frame 10, but the video has frames 0 to 3"),
    ],
)
def test_which_frame_a_number_means_with_a_png_per_frame(tmp_path, numbers, num_frames, expected):
    for number in numbers:
        save(tmp_path / f"{number:05d}.png", ids(0), "P")
    if isinstance(expected, str):
        with pytest.raises(TracksError, match=expected):
            Tracks.load(tmp_path, num_frames=num_frames)
    else:
        tracks = Tracks.load(tmp_path, num_frames=num_frames)
        assert (tracks[1].frames.tolist(), tracks.num_frames) == expected


@pytest.mark.parametrize(
    ("numbers", "num_frames", "expected"),
    [
        ([0, 1, 4], None, [0, 1, 4]),
        ([1, 2, 3], None, [1, 2, 3]),
        ([1, 2, 3], 4, [1, 2, 3]),
        ([1, 2, 3], 3, [0, 1, 2]),
        ([2, 9], 20, [2, 9]),
        ([0, 3], 3, "a mask for frame 3, but the video has frames 0 to 2"),
        ([1, 5], 3, "a mask for frame 5, but the video has frames 0 to 2"),
    ],
)
@pytest.mark.parametrize("layout", ["{number:05d}_mask_{name}.png", "{name}/{number:05d}.png"])
def test_a_png_per_object_and_frame(tmp_path, numbers, num_frames, expected, layout):
    for name in ("2", "10"):
        for number in numbers:
            path = tmp_path / layout.format(number=number, name=name)
            save(path, blob(3, 3 + number % 9) * np.uint8(255))
    if isinstance(expected, str):
        with pytest.raises(TracksError, match=expected):
            Tracks.load(tmp_path, num_frames=num_frames)
        return
    tracks = Tracks.load(tmp_path, num_frames=num_frames)
    assert tracks.source_format == ("mask_folders" if "/" in layout else "mask_files")
    assert tracks.object_ids == (2, 10)
    assert tracks[10].frames.tolist() == expected
    assert np.array_equal(tracks[2].mask(expected[-1]), blob(3, 3 + numbers[-1] % 9))


def test_names_of_folders_and_kinds_of_pictures(tmp_path):
    mask = blob(3, 3)
    colour = np.zeros((H, W, 3), np.uint8)
    colour[mask] = (0, 9, 0)
    transparent = np.dstack([np.full((H, W, 3), 200, np.uint8), mask * np.uint8(255)])
    for index, values in enumerate([mask, mask * np.uint8(3), colour, transparent]):
        save(tmp_path / "the dog" / f"{index}.png", values)
        save(tmp_path / "007" / f"{index}.png", values)
    tracks = Tracks.load(tmp_path)
    assert tracks.source_ids == {1: "the dog"}
    assert set(tracks) == {1, 7}
    for frame in range(4):
        assert np.array_equal(tracks[1].mask(frame), mask), frame


def broken(path):
    save(path / "00000.png", ids(0), "P")
    whole = (path / "00000.png").read_bytes()
    (path / "00001.png").write_bytes(whole[: len(whole) // 2])


def wrong_size(path):
    save(path / "00000.png", ids(0), "P")
    save(path / "00001.png", ids(0)[:, :20], "P")


def bomb(path):
    """A tiny file whose header claims a picture of 90,000 x 90,000 pixels."""
    import struct
    import zlib

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 90_000, 90_000, 8, 0, 0, 0, 0)
    (path / "00000.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )


BAD = {
    "cut_off": (broken, "00001.png is damaged"),
    "junk": (lambda p: (p / "00000.png").write_bytes(b"junk" * 99), "00000.png is no PNG"),
    "jpeg": (lambda p: Image.new("L", WH).save(p / "00000.png", "JPEG"), "is no PNG"),
    "mixed_sizes": (wrong_size, "00001.png has 20x24 pixels; expected 40x24"),
    "colour": (
        lambda p: Image.new("RGB", WH, (9, 0, 0)).save(p / "00000.png"),
        "colour picture; expected palette or gray",
    ),
    "photograph": (
        lambda p: save(p / "00000.png", np.arange(H * W).reshape(H, W).astype(np.uint8)),
        "holds 255 values; expected 200 ids at most",
    ),
    "depth_map": (
        lambda p: save(p / "00000.png", np.arange(2400, dtype=np.uint16).reshape(40, 60)),
        "holds 2399 values; expected 1000 ids at most",
    ),
    "bomb": (bomb, "claims 8,100,000,000 pixels"),
    "number_twice": (
        lambda p: [save(p / name, ids(0), "P") for name in ("a0.png", "b0.png")],
        "same frame number",
    ),
    "no_number": (lambda p: save(p / "mask.png", ids(0), "P"), "of no known format"),
    "empty_mask_file": (
        lambda p: save(p / "00000_mask_4.png", np.zeros((H, W), np.uint8)),
        "mask of object 4 is empty in every frame",
    ),
    "frame_and_id_twice": (
        lambda p: [save(p / f"{n}_mask_1.png", blob(3, 3)) for n in ("0", "00")],
        "object 1 stands twice in frame 0",
    ),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_bad_folders_are_refused(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(TracksError, match=message) as caught:
        Tracks.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_other_size_than_the_video(tmp_path):
    save(tmp_path / "00000.png", ids(0), "P")
    with pytest.raises(TracksError, match="has 40x24 pixels; expected 99x24 like the frames"):
        Tracks.load(tmp_path, Clip(width=99, num_frames=1))
