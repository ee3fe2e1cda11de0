from __future__ import annotations

import os
import stat

import pytest

from gar_video.errors import GARVideoError
from gar_video.files import check_writable, replacing, write_text


def test_a_file_appears_when_it_is_whole(tmp_path):
    target = tmp_path / "a.json"
    target.write_text("before")
    with replacing(target) as temporary:
        temporary.write_text("after")
        assert temporary.suffix == ".json"
        assert target.read_text() == "before"
    assert target.read_text() == "after"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError(28, "No space left")])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    target = tmp_path / "a.json"
    target.write_text("before")
    expected = GARVideoError if isinstance(error, OSError) else error

    def fail() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(expected):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert target.read_text() == "before"


def test_permissions_are_the_users(tmp_path):
    write_text(tmp_path / "a.txt", "é")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~mask
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "é"


@pytest.mark.parametrize(
    ("name", "suffixes", "says"),
    [
        pytest.param("", (), "is a folder", id="folder"),
        pytest.param("none/a.txt", (), "no folder", id="no-folder"),
        pytest.param("a.gif", (".mp4",), "ending in .mp4", id="ending"),
        pytest.param("a", (".png", ".jpg"), "ending in .png or .jpg", id="no-ending"),
        pytest.param("a.PNG", (".png",), None, id="capital-ending"),
    ],
)
def test_places(tmp_path, name, suffixes, says):
    if says is None:
        assert check_writable(tmp_path / name, suffixes=suffixes) == tmp_path / name
    else:
        with pytest.raises(GARVideoError, match=says):
            check_writable(tmp_path / name, suffixes=suffixes)
    assert not list(tmp_path.iterdir())
