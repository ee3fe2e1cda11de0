"""What docs/batch.md shows is run as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from gar_video.batch.results import COLUMNS
from gar_video.cli import run

pytest.importorskip("pyarrow")
PAGE = (Path(__file__).parents[2] / "docs/batch.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_quick_start(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("tasks.yaml").write_text(blocks("yaml")[0])
    for line in blocks("sh")[0].splitlines():
        assert run(shlex.split(line)[1:]) == 0, (line, capsys.readouterr().err)
    told = capsys.readouterr().out
    assert "on this machine" in told
    assert "recordings: 1 (1 done)" in told
    exec(compile(blocks("python")[0], "docs/batch.md", "exec"), {})
    rows = capsys.readouterr().out.splitlines()
    assert any(row.startswith("2026-11-21T22:00:00") and " what " in row for row in rows)


def test_every_column_is_described():
    table = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", PAGE, re.MULTILINE)
    named = {name for row in table for name in re.findall(r"`(\w+)`", row)}
    assert named == set(COLUMNS)
