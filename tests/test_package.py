"""The package as it is installed: what is in it, what importing it costs, who owns which name."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import gar_video

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parent.parent
HEAVY = (
    "torch",
    "torchvision",
    "transformers",
    "timm",
    "sam2",
    "cv2",
    "supervision",
    "av",
    "decord",
)


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def python(code: str, cwd: Path, *path: Path) -> str:
    """Run code in a fresh interpreter elsewhere; what it prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_all_packages_are_listed():
    """A package that is not listed would be missing from the wheel, and only there."""
    found = {
        ".".join(folder.relative_to(ROOT).parts)
        for folder in (path.parent for path in (ROOT / "gar_video").rglob("*.py"))
    }
    settings = project()["tool"]["setuptools"]
    assert set(settings["packages"]) == found | {"gar_video.trackers"}
    assert settings["package-dir"] == {"gar_video.trackers": "trackers"}
    without = [
        name for name in found if not (ROOT / Path(*name.split(".")) / "__init__.py").is_file()
    ]
    assert without == []


def test_version_is_one():
    assert project()["project"]["version"] == gar_video.__version__


def test_wheel_holds_what_it_should(tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    # From a copy: building leaves folders behind.
    import shutil

    source = tmp_path / "source"
    kept = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("gar_video", "trackers"):
        shutil.copytree(ROOT / name, source / name, ignore=kept)
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    code = (
        "from setuptools.build_meta import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        names = wheel.namelist()
        entry = next(name for name in names if name.endswith("entry_points.txt"))
        assert "gar-video = gar_video.cli:main" in wheel.read(entry).decode()
    for package, folder in (
        ("gar_video", ROOT / "gar_video"),
        ("gar_video/trackers", ROOT / "trackers"),
    ):
        modules = {
            f"{package}/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*.py")
        }
        assert modules - set(names) == set()
    weights = ROOT / "gar_video" / "weights"
    files = {
        f"gar_video/{p.relative_to(ROOT / 'gar_video').as_posix()}"
        for p in weights.rglob("*")
        if p.is_file()
    }
    assert files - set(names) == set()
    assert "gar_video/py.typed" in names
    assert not [name for name in names if name.startswith(("trackers/", "tests/", "examples/"))]


def test_trackers_is_ours_only_under_our_name(tmp_path):
    ours = python("import gar_video.trackers as t; print(t.__file__)", tmp_path)
    assert Path(ours) == ROOT / "trackers" / "__init__.py"
    theirs = python(
        "import importlib.util; s = importlib.util.find_spec('trackers'); print(s and s.origin)",
        tmp_path,
    )
    assert theirs != ours


def test_trackers_beside_another_package_of_that_name(tmp_path):
    """Roboflow's package is imported as `trackers`; both must work in one process."""
    other = tmp_path / "elsewhere" / "trackers"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("class ByteTrackTracker: ...\n")
    code = (
        "import trackers, gar_video as gv\n"
        "from gar_video.trackers import Sam2Tracker\n"
        "import gar_video.trackers as ours\n"
        "assert trackers.ByteTrackTracker and not hasattr(trackers, 'Sam2Tracker')\n"
        "assert gv.trackers is ours and ours is not trackers\n"
        "print(trackers.__file__, Sam2Tracker.__module__)"
    )
    file, module = python(code, tmp_path, other.parent).split()
    assert Path(file) == other / "__init__.py"
    assert module == "gar_video.trackers.sam2"


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import gar_video", id="import"),
        pytest.param("import gar_video; dir(gar_video); gar_video.trackers", id="names"),
        pytest.param(
            "import gar_video; gar_video.Answer, gar_video.GARVideoError", id="answers-and-errors"
        ),
        pytest.param("from gar_video.cli import run; run(['--help'])", id="help"),
        pytest.param(
            "from gar_video.cli import run; run(['ask', '--help'])", id="help-of-a-command"
        ),
        pytest.param("from gar_video.cli import run; run(['--version'])", id="version"),
        pytest.param(
            "from gar_video.cli import run; run(['track', '--bx', '1'])", id="usage-error"
        ),
    ],
)
def test_nothing_heavy_is_imported(code, tmp_path):
    tail = f"\nimport sys; print(); print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    assert python(code + tail, tmp_path).splitlines()[-1] == "[]"


def test_help_brings_no_numpy(tmp_path):
    """It takes a third of the time that help may take."""
    code = (
        "from gar_video.cli import run; run(['--help'])\nimport sys; print('numpy' in sys.modules)"
    )
    assert python(code, tmp_path).splitlines()[-1] == "False"


def test_import_is_quick(tmp_path):
    """Processor time, so that a busy machine does not decide; the best of three."""
    code = "import time; a = time.process_time(); import gar_video; print(time.process_time() - a)"
    assert min(float(python(code, tmp_path)) for _ in range(3)) < 0.3


@pytest.mark.parametrize("name", [n for n in gar_video.__all__ if not n.startswith("_")])
def test_public_names_are_documented(name):
    value = getattr(gar_video, name)
    text = inspect.getdoc(value)
    assert text
    assert text.strip()
    if inspect.isclass(value) and value.__module__.startswith("gar_video"):
        public = [
            member
            for key, member in vars(value).items()
            if not key.startswith("_")
            and (inspect.isfunction(member) or isinstance(member, property))
        ]
        missing = [m for m in public if not inspect.getdoc(m)]
        assert missing == []


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'Vidoe'"):
        gar_video.Vidoe  # noqa: B018


def test_nothing_of_this_machine_is_in_the_files():
    """Paths of whoever wrote a file are of no use to whoever reads it."""
    pattern = re.compile(r"/(?:work|root|home/\w+)/")
    files = [
        path
        for folder in ("gar_video", "trackers", "examples", "docs", "tests", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".md", ".json", ".yaml", "")
        and path.is_file()
        and ".hypothesis" not in path.parts
    ]
    files += [
        ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "pyproject.toml")
    ]
    told = [
        str(path.relative_to(ROOT))
        for path in files
        if path != Path(__file__)
        and pattern.search(path.read_text(encoding="utf-8", errors="ignore"))
    ]
    assert told == []
