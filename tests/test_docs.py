"""What the README, the documentation and the examples show is run as it stands there."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from gar_video import checkpoint
from gar_video.cli import run

ROOT = Path(__file__).parent.parent
SAM2_NANO = Path(checkpoint.__file__).parent / "weights" / "sam2-nano"


def blocks(file: str, language: str) -> list[str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def shell(file: str) -> list[str]:
    return [
        line
        for block in blocks(file, "sh")
        for line in block.splitlines()
        if line.startswith("gar-video ")
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the commands run one after another, each using what those before it wrote."""
    from gar_video.synth.write import write_clip

    place = tmp_path_factory.mktemp("docs")
    write_clip(place / "clip.mp4", seed=0, num_objects=2)
    return place


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    monkeypatch.chdir(folder)
    if not SAM2_NANO.is_dir():
        from gar_video.trackers.sam2 import Sam2Tracker
        from gar_video.trackers.sam2_config import nano_config

        untrained = staticmethod(
            lambda name, device="auto", dtype="auto": Sam2Tracker.from_config(
                nano_config(), device="cpu"
            )
        )
        monkeypatch.setattr(Sam2Tracker, "from_pretrained", untrained)


def test_the_two_lines_stand_first():
    first = blocks("README.md", "sh")[0].splitlines()
    assert first == ["pip install -e . && gar-video demo", "pip install -e '.[test]' && pytest"]


@pytest.mark.parametrize("line", [pytest.param(line, id=line[:60]) for line in shell("README.md")])
def test_readme_shell(line, capsys):
    assert run(shlex.split(line, comments=True)[1:]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, id=line[:60]) for line in shell("docs/command-line.md")],
)
def test_command_line_page(line, capsys):
    assert run(shlex.split(line, comments=True)[1:]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "line", [pytest.param(line, id=line[:60]) for line in shell("docs/timeline.md")]
)
def test_timeline_page(line, capsys):
    assert run(shlex.split(line, comments=True)[1:]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "line", [pytest.param(line, id=line[:60]) for line in shell("docs/live.md")]
)
def test_live_page(line, capsys):
    assert run(shlex.split(line, comments=True)[1:]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "file", ["README.md", "docs/tracks.md", "docs/live.md", "docs/timeline.md"]
)
def test_python_shown(file, capsys):
    for code in blocks(file, "python"):
        exec(compile(code, file, "exec"), {})
    assert capsys.readouterr().out


def test_an_example_describes_a_click(capsys):
    answer = _example("01_describe_a_click").main("clip.mp4", 135, 114)
    assert answer.objects == (1,)
    assert answer.text in capsys.readouterr().out


def test_an_example_asks_about_time(capsys):
    from gar_video import Video

    answers = _example("05_temporal_questions").main("clip.mp4", "clip.tracks.json")
    half = Video("clip.mp4").duration_s / 2
    whole, first, second, ends = answers
    assert max(first.times_s) <= half <= min(second.times_s)
    assert len(whole.frames) > 2
    assert len(ends.frames) == 2
    assert whole.text in capsys.readouterr().out


def _example(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_commands_in_the_table_are_those_there_are(capsys):
    assert run(["--help"]) == 0
    shown = set(re.findall(r"^│ (\w+)\s", capsys.readouterr().out, re.MULTILINE))
    table = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == shown


def test_the_map_names_what_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name in re.findall(r"^\| (.+?) \|", text, re.MULTILINE)[2:]:
        for path in re.findall(r"`([\w./]+)`", name):
            at_home = ROOT / "gar_video" / path
            assert (ROOT / path).exists() or at_home.exists(), path


def test_the_readme_promises_no_name_that_is_not_public():
    import gar_video

    for code in blocks("README.md", "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "gv":
                assert node.attr in gar_video.__all__
