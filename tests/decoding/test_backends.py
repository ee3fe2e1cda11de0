"""decord where it is sound, PyAV everywhere else, and the same frames from both."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import types
from pathlib import Path

import media
import numpy as np
import pytest

from gar_video import Video, VideoError
from gar_video.decoding import decord_reader
from gar_video.decoding.pyav_reader import PyavReader

N = 48

try:
    import decord
except ImportError:
    decord = None
needs_decord = pytest.mark.skipif(decord is None, reason="decord is not installed")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    written: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in written:
            written[name] = media.write(folder / name, media.CLIPS[name])
        return written[name]

    return get


@pytest.fixture
def served(monkeypatch):
    """Frames that decord itself gave out."""
    indices: list[int] = []
    one = decord_reader.DecordReader._one

    def spy(self, index):
        image = one(self, index)
        if image is not None:
            indices.append(index)
        return image

    monkeypatch.setattr(decord_reader.DecordReader, "_one", spy)
    return indices


SOUND = [
    "h264", "h264-b-frames", "h264-all-intra", "h264-mkv", "h264-fragments", "hevc", "vp9", "mpeg4",
    "mjpeg", "mjpeg-mov", "rotated-90", "rotated-180", "rotated-270", "variable-rate", "ntsc",
    "with-sound", "bt709-limited", "bt709-full", "bt601-full",
]  # fmt: skip


@needs_decord
@pytest.mark.parametrize("name", SOUND)
def test_both_backends_give_the_same_frames(clip, served, name):
    with Video(clip(name), backend="decord") as one, Video(clip(name), backend="pyav") as other:
        assert (one.backend, other.backend) == ("decord", "pyav")
        assert one.resolution_wh == other.resolution_wh
        np.testing.assert_array_equal(one.times_s, other.times_s)
        a, b = one.frames(range(N)).astype(int), other.frames(range(N))
        assert np.abs(a - b).max() <= 2
        for index in range(3, 20):
            assert np.abs(one[index].astype(int) - b[index]).max() <= 2
    # All but the last group of pictures, which is never decord's.
    assert served[:20] == list(range(20))
    assert set(served) == set(range(max(served) + 1))
    assert N - 13 <= max(served) < N - 1 or name in ("h264-all-intra", "mjpeg", "mjpeg-mov")


@needs_decord
def test_frames_are_the_same_whatever_bridge_others_set(clip, served):
    """sam2 tells decord to give out torch tensors, for the whole process."""
    decord.bridge.set_bridge("torch")
    try:
        with Video(clip("h264"), backend="decord") as video:
            assert media.numbers_of(video.frames(range(N))) == list(range(N))
    finally:
        decord.bridge.reset_bridge()
    assert served[:20] == list(range(20))


UNSOUND = {
    "av1": "codec is libdav1d",
    "vp8": "codec is vp8",
    "h264-open-gop": "groups of pictures are open",
    "hevc-open-gop": "groups of pictures are open",
    "mpeg4-b-frames": "groups of pictures are open",
    "mpeg4-avi": "groups of pictures are open",
    "h264-intra-refresh": "no clean start",
    "h264-one-gop": "one single group",
    "h264-ts": "container is mpegts",
    "h264-raw": "only be found by decoding",
    "h264-10-bit": "pixels are yuv420p10le",
    "prores": "codec is prores",
    "gif": "codec is gif",
}


@needs_decord
@pytest.mark.parametrize("name", UNSOUND)
def test_decord_is_kept_from_files_it_would_count_wrongly(clip, served, name):
    with pytest.raises(VideoError, match=rf"cannot be trusted .*{UNSOUND[name]}"):
        Video(clip(name), backend="decord")
    with Video(clip(name)) as video:
        assert video.backend == "pyav"
        assert media.numbers_of(video.frames(range(N))) == list(range(N))
    assert not served


DISAGREEING = {
    "header claims more": lambda c, t: media.claim_more(c("h264"), t / "a.mp4", keep=31),
    "damaged frame": lambda c, t: media.damage(c("h264"), t / "a.mp4", [20]),
    "damaged end": lambda c, t: media.damage(c("hevc"), t / "a.mp4", range(40, N)),
    "damaged end, MPEG-4": lambda c, t: media.damage(c("mpeg4"), t / "a.mp4", range(40, N)),
    "damaged end, MJPEG": lambda c, t: media.damage(c("mjpeg"), t / "a.avi", range(40, N)),
    "lost keyframe": lambda c, t: media.damage(c("h264"), t / "a.mp4", [24]),
    "starts late": lambda c, t: media.remux(
        c("h264"), t / "a.mkv", lambda i, p: [p] if i > 4 else []
    ),
}


@needs_decord
@pytest.mark.timeout(60, method="thread")
@pytest.mark.parametrize("case", DISAGREEING)
def test_what_could_hang_decord_never_reaches_it(clip, served, tmp_path, case):
    path = DISAGREEING[case](clip, tmp_path)
    with pytest.raises(VideoError, match="decord cannot be trusted"):
        Video(path, backend="decord")
    video = Video(path)
    assert video.backend == "pyav"
    right = wrong = 0
    for index in (len(video) - 1, 0, 3, len(video) - 1):
        try:
            right += video[index].shape == (media.HEIGHT, media.WIDTH, 3)
        except VideoError:
            wrong += 1
    assert right >= 2
    assert right + wrong == 4
    assert not served


class _Broken:
    """Stands for decord: gives two frames, then what ``then`` does."""

    def __init__(self, path, then):
        self._video, self._then = Video(path, backend="pyav"), then

    def __len__(self):
        return len(self._video)

    def __getitem__(self, index):
        image = self._video[index] if index < 2 else self._then(index)
        return types.SimpleNamespace(asnumpy=lambda: image)


def _raise(index):
    raise RuntimeError("Error sending packet")


@pytest.mark.parametrize(
    "then",
    [_raise, lambda i: np.zeros((5, 5, 3), np.uint8), lambda i: np.zeros((), np.uint8)],
    ids=["raises", "another shape", "nothing"],
)
def test_pyav_takes_over_when_decord_fails(clip, monkeypatch, then):
    module = types.SimpleNamespace(VideoReader=lambda path: _Broken(clip("h264"), then))
    monkeypatch.setattr(decord_reader, "load", lambda **_: module)
    with Video(clip("h264"), backend="decord") as video:
        assert media.numbers_of(video.frames(range(N))) == list(range(N))
        assert video.backend == "pyav"
        assert media.number_of(video[5]) == 5


def test_everything_works_without_decord(clip, monkeypatch):
    monkeypatch.setattr(decord_reader.importlib.util, "find_spec", lambda name: None)
    with Video(clip("h264")) as video:
        assert video.backend == "pyav"
        assert media.numbers_of(video.frames(range(N))) == list(range(N))
    with pytest.raises(VideoError, match="decord is not installed"):
        Video(clip("h264"), backend="decord")


def test_torch_is_imported_before_decord(tmp_path):
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "decord.py").write_text(
        "import sys, types\nassert 'torch' in sys.modules\n"
        "logging = types.SimpleNamespace(QUIET=0, set_level=print)\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "from gar_video.decoding import decord_reader as d; "
        "assert 'torch' not in sys.modules; print(d.load().__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "decord"]


# ---- forked processes ------------------------------------------------------------------------------


def _read_in_child(video: Video, results) -> None:
    found = media.numbers_of(video.frames(range(10, 20)))
    results.put((found, [media.number_of(video[i]) for i in (30, 31, 5)], video.backend))


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("backend", [pytest.param("decord", marks=needs_decord), "pyav"])
def test_reading_goes_on_after_a_fork(clip, backend):
    context = multiprocessing.get_context("fork")
    with Video(clip("h264"), backend=backend) as video:
        assert media.numbers_of(video.frames(range(12))) == list(range(12))
        results = context.SimpleQueue()
        child = context.Process(target=_read_in_child, args=(video, results), daemon=True)
        child.start()
        child.join(60)
        alive = child.is_alive()
        if alive:
            child.kill()
        assert not alive, "the child hangs"
        assert not results.empty(), "the child failed"
        assert results.get() == (list(range(10, 20)), [30, 31, 5], "pyav")
        assert media.numbers_of(video.frames(range(12, 24))) == list(range(12, 24))


# ---- the work done ---------------------------------------------------------------------------------


@pytest.fixture
def fed(monkeypatch):
    """Packets given to PyAV's decoder."""
    packets: list[int] = []
    feed = PyavReader._feed

    def spy(self, packet, wanted):
        if packet is not None and packet.size:
            packets.append(self._fed)
        feed(self, packet, wanted)

    monkeypatch.setattr(PyavReader, "_feed", spy)
    return packets


def test_each_group_of_pictures_is_decoded_once(tmp_path, fed):
    path = media.write(tmp_path / "long", media.Clip(frames=200, gop=50, options=media.X264))
    with Video(path, backend="pyav") as video:
        fed.clear()
        asked = [195, 60, 52, 62, 150, 190, 60]
        assert media.numbers_of(video.frames(asked)) == asked
    assert len(fed) == len(set(fed))
    # From 50 to a little behind 62, from 150 on to the end; nothing of 0 to 49 and 100 to 149.
    assert not set(fed) & {*range(0, 50), *range(100, 150)}
    assert len([p for p in fed if p < 100]) < 20


def test_ascending_single_frames_do_not_seek(clip, fed):
    with Video(clip("h264-one-gop"), backend="pyav") as video:
        fed.clear()
        for index in range(0, N, 5):
            assert media.number_of(video[index]) == index
    assert len(fed) <= N


def test_consecutive_batches_do_not_decode_twice(clip, fed):
    with Video(clip("h264-one-gop"), backend="pyav") as video:
        fed.clear()
        for start in range(0, N, 6):
            asked = [start, start + 2, start + 5]
            assert media.numbers_of(video.frames(asked)) == asked
    assert len(fed) <= N


def test_large_frames_that_are_held_never_change(tmp_path):
    large = media.Clip(frames=12, size=(800, 480), options={**media.X264, "bf": "2"})
    with Video(media.write(tmp_path / "large", large)) as video:
        assert media.numbers_of(list(video)) == list(range(12))
        held = [video[index][10:] for index in range(12)]
        for index, image in enumerate(held):
            np.testing.assert_array_equal(image, video[index][10:])
