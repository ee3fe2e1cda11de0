"""What docs/batch.md shows of searching, reporting and forgetting is run as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from batch_runs import make_run

from gar_video import batch
from gar_video.cli import run as cli

pytest.importorskip("pyarrow")

PAGE = Path(__file__).parents[2] / "docs" / "batch.md"
PART = re.search(
    r"^## Searching\n(.*?)^## When things go wrong", PAGE.read_text("utf-8"), re.M | re.S
)[1]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PART, re.M | re.S)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    batch.export(make_run(folder / "night"))
    return folder


@pytest.fixture(autouse=True)
def _there(place, monkeypatch):
    monkeypatch.chdir(place)


@pytest.mark.parametrize("line", [line for block in blocks("sh") for line in block.splitlines()])
def test_commands(line, capsys):
    assert cli(shlex.split(line)[1:]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "code", [pytest.param(code, id=code.split()[1]) for code in blocks("python")]
)
def test_python(code, capsys):
    if "duckdb" in code:
        pytest.importorskip("duckdb", reason="duckdb is not installed")
    exec(compile(code, "docs/batch.md", "exec"), {})
    assert capsys.readouterr().out
