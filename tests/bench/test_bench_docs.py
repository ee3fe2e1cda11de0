"""Every command on the benchmarks' page is one that there is, with options that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from gar_video.bench.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
LINES = [line[2:] for block in BLOCKS for line in block.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("gar-video bench ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_on_the_page_are_understood(line):
    group = typer.main.get_command(app)
    name, *arguments = shlex.split(line)[2:]
    command = group.commands[name]
    with command.make_context(name, arguments) as context:
        assert context.params


def test_the_page_shows_all_benchmarks_commands():
    shown = {line.split()[2] for line in COMMANDS}
    assert shown >= {"videorefer-q", "gar-bench-vqa", "gar-bench-cap", "dlc-bench", "compare",
                     "judges", "show", "merge"}  # fmt: skip


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`(--[a-z][a-z0-9-]+)", PAGE))))
def test_options_on_the_page_exist(option):
    from gar_video.bench.cli_options import _ALL, _CHOICE, _JUDGED, _VIDEO

    known = {"--" + name.replace("_", "-") for name, *_ in (*_ALL, *_VIDEO, *_CHOICE, *_JUDGED)}
    assert option in known | {"--wrong"}
