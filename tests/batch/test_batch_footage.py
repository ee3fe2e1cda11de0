from __future__ import annotations

import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from gar_video.batch.clock import NameSays, from_name, read_time, zone_named
from gar_video.batch.footage import Recording, find_footage
from gar_video.errors import GARVideoError

UTC = timezone.utc
AT = datetime(2026, 11, 21, 11, 2, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("gate/cam01_20261121_110240.mp4", NameSays("cam01", AT), id="camera then time"),
        pytest.param("gate/20261121110240-cam 7.mkv", NameSays("cam 7", AT), id="time then camera"),
        pytest.param("gate/2026-11-21T11-02-40.mp4", NameSays("gate", AT), id="time alone"),
        pytest.param("gate/2026-11-21_12.02.40+0100.mp4", NameSays("gate", AT), id="zone of its own"),
        pytest.param("gate/yard_2026.11.21 11:02:40.500.ts", NameSays("yard", AT + timedelta(seconds=0.5)), id="half a second"),
        pytest.param("gate/yard.mp4", NameSays("gate", None), id="no time"),
        pytest.param("gate/20261345_996199.mp4", NameSays("gate", None), id="no such day"),
        pytest.param("gate/serial_120261121110240.mp4", NameSays("gate", None), id="a longer number"),
    ],
)  # fmt: skip
def test_names(name: str, says: NameSays) -> None:
    assert from_name(Path("/disk") / name, UTC) == says


@pytest.mark.parametrize(
    ("pattern", "name", "says"),
    [
        pytest.param("{camera}@{start:%d.%m.%Y %H-%M}", "a_b@21.11.2026 11-02.mp4", NameSays("a_b", AT.replace(second=0)), id="day first"),
        pytest.param("{any}-{camera}", "x-y.mp4", NameSays("y", None), id="camera only"),
        pytest.param("{camera}@{start:%H}", "other.mp4", NameSays("disk", None), id="another name"),
        pytest.param("{start:%Y}", "abcd.mp4", NameSays("disk", None), id="no such time"),
    ],
)  # fmt: skip
def test_patterns(pattern: str, name: str, says: NameSays) -> None:
    assert from_name(Path("/disk") / name, UTC, pattern) == says


@pytest.mark.parametrize("pattern", ["{cam}", "{start}", "clip", "{camera}{camera}", "{camera"])
def test_patterns_that_cannot_be_meant(pattern: str) -> None:
    with pytest.raises(GARVideoError, match="pattern"):
        from_name(Path("/disk/a.mp4"), UTC, pattern)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2026-11-21T11:02:40Z", 0), ("2026-11-21 11:02:40", -3600), ("1795258960", 0),
     ("2026-11-21T11:02:40+00:00", 0)],
)  # fmt: skip
def test_times(text: str, seconds: int) -> None:
    assert read_time(text, zone_named("+01:00")) == AT + timedelta(seconds=seconds)


@pytest.mark.parametrize("name", ["Mars/Base", "", "+99:00", "../etc"])
def test_zones_that_are_none(name: str) -> None:
    with pytest.raises(GARVideoError, match="time zone"):
        zone_named(name)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    for name in ("a/cam_20261121_110240.mp4", "a/b/late.MKV", "a/line\nbreak 🎥.mp4", "p.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "a/cam_20261121_110240.json").write_text("{}")
    (tmp_path / "a/.hidden").mkdir()
    (tmp_path / "a/.hidden/trash.mp4").write_bytes(b"x")
    (tmp_path / "a/empty.mp4").touch()
    (tmp_path / "a/clip.dat").write_bytes(b"x")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/round.mp4").symlink_to(tmp_path / "a/round.mp4")
    return tmp_path


def test_a_folder(disk: Path) -> None:
    footage = find_footage([disk / "a"])
    assert [Path(r.source).name for r in footage.recordings] == [
        "late.MKV", "cam_20261121_110240.mp4", "line\nbreak 🎥.mp4",
    ]  # fmt: skip
    assert footage.recordings[1] == Recording(str(disk / "a/cam_20261121_110240.mp4"), "cam", AT)
    reasons = {Path(u.source).name: u.reason for u in footage.unusable}
    assert set(reasons) == {"empty.mp4", "clip.dat", "round.mp4"}
    assert reasons["empty.mp4"] == "is empty"
    assert "no video by its name" in reasons["clip.dat"]
    assert "symbolic links" in reasons["round.mp4"]


def test_what_is_named_itself_is_tried(disk: Path) -> None:
    footage = find_footage([disk / "a/clip.dat", f"{disk}/*.jpg", disk / "a/clip.dat"])
    assert [Path(r.source).name for r in footage.recordings] == ["clip.dat", "p.jpg"]
    assert not footage.unusable


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(disk: Path) -> None:
    (disk / "a/b/late.MKV").chmod(0)
    reasons = {Path(u.source).name: u.reason for u in find_footage([disk]).unusable}
    assert reasons["late.MKV"] == "cannot be read: Permission denied"


def test_manifests(disk: Path) -> None:
    rows = [
        {"path": "a/b/late.MKV", "camera": "north", "start": "2026-11-21T12:02:40+01:00",
         "tracks": "a/cam_20261121_110240.json", "region": [[0, 0], [9, 0], [9, 9]]},
        {"path": "p.jpg"},
    ]  # fmt: skip
    lines = disk / "list.jsonl"
    lines.write_text("\n".join(json.dumps(row) for row in rows))
    table = disk / "list.csv"
    table.write_text(
        "path,camera,start,tracks,region\n"
        "a/b/late.MKV,north,2026-11-21 11:02:40,a/cam_20261121_110240.json,"
        '"[[0,0],[9,0],[9,9]]"\np.jpg,,,,\n'
    )
    first, second = (find_footage(manifest=path).recordings for path in (lines, table))
    assert first == second
    assert first[0] == Recording(
        str(disk / "a/b/late.MKV"), "north", AT, str(disk / "a/cam_20261121_110240.json"),
        ((0, 0), (9, 0), (9, 9)),
    )  # fmt: skip
    assert first[1].camera == disk.name


BAD = [
    pytest.param("m.csv", "video,camera\na.mp4,x\n", "unknown column 'video'", id="column"),
    pytest.param("m.csv", "path,start\na.mp4,noon\n", "row 1: 'noon' is no time", id="time"),
    pytest.param("m.csv", "path,camera\n,x\n", "no path", id="no path"),
    pytest.param("m.csv", 'path,region\na.mp4,"[[0,0]]"\n', "three or more corners", id="region"),
    pytest.param("m.jsonl", "[1]\n", "row 1: expected a JSON object", id="list"),
    pytest.param("m.jsonl", '{"path": "s3://b/a.mp4"}\n', "allow fetching", id="no consent"),
    pytest.param("m.xls", "", "expected .csv", id="another kind"),
    pytest.param("m.parquet", "junk", "cannot read the manifest", id="broken Parquet"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "said"), BAD)
def test_manifests_that_cannot_be_meant(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(GARVideoError) as caught:
        find_footage(manifest=tmp_path / name)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [("none.mp4", "there is no"), ("no*.mp4", "nothing matches"), ("s3://b/a.mp4", "allow")],
)
def test_names_that_lead_nowhere(name: str, said: str) -> None:
    with pytest.raises(GARVideoError, match=said):
        find_footage([name])


def test_addresses_with_consent() -> None:
    (found,) = find_footage(["s3://yard/cam_20261121_110240.mp4"], remote=True).recordings
    assert found.is_remote
    assert (found.camera, found.start) == ("cam", AT)
