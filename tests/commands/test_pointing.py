from __future__ import annotations

import numpy as np
import pytest
import typer
from PIL import Image

from gar_video.commands.options import BoxList, FrameList, MaskFiles, ObjectList, PointList
from gar_video.commands.pointing import (
    PointingCommand,
    group_events,
    make_prompts,
    pointing_events,
)
from gar_video.errors import PromptError
from gar_video.visual_prompts import Box, Mask, Points

BOX, OTHER = "1,2,30,40", "5,6,50,60"
A, B = (1.0, 2.0, 30.0, 40.0), (5.0, 6.0, 50.0, 60.0)


def parse(argv: list[str]) -> list[tuple[str, str]]:
    """Run argv through a real command of the shape that the tool's commands have."""
    app, seen = typer.Typer(), []

    @app.command(cls=PointingCommand)
    def command(
        ctx: typer.Context,
        source: str,
        box: BoxList = None,
        point: PointList = None,
        mask: MaskFiles = None,
        frame: FrameList = None,
        object: ObjectList = None,
        other: int = 0,
    ) -> None:
        seen.extend(pointing_events(ctx))

    top = typer.main.get_command(app)
    with top.make_context("test", ["clip.mp4", *argv]) as context:
        top.invoke(context)
    return seen


def summary(events):
    """Groups as {(object, frame): [what, …]}."""
    return {(g.object_id, g.frame): [*g.boxes, *g.points, *g.masks] for g in group_events(events)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(f"--box {BOX}", {(1, 0): [A]}, id="box"),
        pytest.param(f"--box={BOX}", {(1, 0): [A]}, id="box-equals"),
        pytest.param("--point 3,4", {(1, 0): [(3, 4, 1)]}, id="point"),
        pytest.param("--mask m.png", {(1, 0): ["m.png"]}, id="mask"),
        pytest.param(f"--box {BOX} --box {OTHER}", {(1, 0): [A], (2, 0): [B]}, id="two-boxes"),
        pytest.param(
            "--point 3,4 --point 5,6", {(1, 0): [(3, 4, 1)], (2, 0): [(5, 6, 1)]}, id="two-clicks"
        ),
        pytest.param(
            "--point 3,4 --point 5,6,0",
            {(1, 0): [(3, 4, 1), (5, 6, 0)]},
            id="negative-joins-the-click-before",
        ),
        pytest.param(
            f"--box {BOX} --point 5,6,0",
            {(1, 0): [A, (5, 6, 0)]},
            id="negative-joins-the-box-before",
        ),
        pytest.param(
            f"--box {BOX} --point 5,6,0 --point 7,8",
            {(1, 0): [A, (5, 6, 0)], (2, 0): [(7, 8, 1)]},
            id="next-click-is-the-next-object",
        ),
        pytest.param(f"--frame 7 --box {BOX}", {(1, 7): [A]}, id="frame-before"),
        pytest.param(f"--box {BOX} --frame 7", {(1, 7): [A]}, id="only-frame-may-stand-last"),
        pytest.param(
            f"--box {BOX} --box {OTHER} --frame 7",
            {(1, 7): [A], (2, 7): [B]},
            id="only-frame-last-is-everyones",
        ),
        pytest.param(
            f"--box {BOX} --frame 7 --box {OTHER}",
            {(1, 0): [A], (2, 7): [B]},
            id="frame-between-is-for-what-follows",
        ),
        pytest.param(
            f"--frame 3 --box {BOX} --frame 7 --box {OTHER}",
            {(1, 3): [A], (2, 7): [B]},
            id="a-frame-each",
        ),
        pytest.param(
            f"--frame 3 --box {BOX} --point 3,4 --frame 7 --mask m.png",
            {(1, 3): [A], (2, 3): [(3, 4, 1)], (3, 7): ["m.png"]},
            id="kinds-mixed",
        ),
        pytest.param(
            f"--object 5 --box {BOX} --frame 7 --box {OTHER}",
            {(5, 0): [A], (5, 7): [B]},
            id="object-refined-later",
        ),
        pytest.param(
            "--object 5 --point 3,4 --point 5,6 --point 7,8,0 --object 2 --point 1,1",
            {(5, 0): [(3, 4, 1), (5, 6, 1), (7, 8, 0)], (2, 0): [(1, 1, 1)]},
            id="several-clicks-on-one-object",
        ),
        pytest.param(f"--box {BOX} --object 9", {(9, 0): [A]}, id="only-object-may-stand-last"),
        pytest.param(
            f"--box {BOX} --object 9 --frame 4", {(9, 4): [A]}, id="object-and-frame-last"
        ),
        pytest.param(
            f"--box {BOX} --frame 4 --point 6,7,0",
            {(1, 0): [A], (1, 4): [(6, 7, 0)]},
            id="negative-on-a-later-frame",
        ),
        pytest.param(
            f"--object 1 --box {BOX} --object 2 --box {OTHER} --object 1 --frame 8 --point 9,9",
            {(1, 0): [A], (2, 0): [B], (1, 8): [(9, 9, 1)]},
            id="back-to-an-object",
        ),
        pytest.param(
            f"--other 3 --frame 2 --other 4 --box {BOX}", {(1, 2): [A]}, id="other-options-between"
        ),
        pytest.param("", {}, id="nothing"),
    ],
)
def test_what_belongs_to_what(line, expected):
    assert summary(parse(line.split())) == expected


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param(
            f"--frame 3 --box {BOX} --frame 7", "--frame 7 stands after the last", id="frame-late"
        ),
        pytest.param(
            f"--box {BOX} --frame 3 --box {OTHER} --frame 7",
            "--frame 7 stands after the last",
            id="frames-after-their-boxes",
        ),
        pytest.param("--frame 7", "belongs to no --box", id="frame-alone"),
        pytest.param("--object 7", "belongs to no --box", id="object-alone"),
        pytest.param("--point 3,4,0", "off an object", id="negative-first"),
        pytest.param(f"--frame -1 --box {BOX}", "--frame -1", id="frame-negative"),
        pytest.param(f"--frame x --box {BOX}", "--frame x", id="frame-word"),
        pytest.param(f"--frame 1.5 --box {BOX}", "--frame 1.5", id="frame-fraction"),
        pytest.param(f"--object -2 --box {BOX}", "--object -2", id="object-negative"),
        pytest.param("--box 1,2,3", "3 values", id="box-of-three"),
    ],
)
def test_what_belongs_to_nothing(line, says):
    with pytest.raises(PromptError) as caught:
        group_events(parse(line.split()))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_prompts_are_made(tmp_path):
    Image.fromarray((np.eye(8, 10) * 255).astype(np.uint8)).save(tmp_path / "m.png")
    events = [
        ("frame", "2"), ("box", "1,2,3,4"), ("point", "5,6,0"),
        ("point", "7,1"), ("mask", str(tmp_path / "m.png")),
    ]  # fmt: skip
    box, off, click, mask = make_prompts(group_events(events), (10, 8))
    assert box == Box(2, (1, 2, 3, 4), 1)
    assert off == Points(2, [(5, 6)], [0], 1)
    assert click == Points(2, [(7, 1)], [1], 2)
    assert isinstance(mask, Mask)
    assert (mask.frame, mask.object_id, int(mask.mask.sum())) == (2, 3, 8)


def _save(path, array):
    Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda d: d / "none.png", "does not exist", id="missing"),
        pytest.param(lambda d: d, "use --masks", id="folder"),
        pytest.param(
            lambda d: _save(d / "m.png", np.zeros((8, 10), np.uint8)), "is empty", id="empty-mask"
        ),
        pytest.param(
            lambda d: _save(d / "m.png", np.ones((9, 9), np.uint8)),
            "expected 10x8",
            id="other-size",
        ),
        pytest.param(
            lambda d: _save(d / "m.jpg", np.ones((8, 10), np.uint8)), "is no PNG", id="jpeg"
        ),
        pytest.param(
            lambda d: (d / "m.png").write_bytes(b"junk") and d / "m.png", "no PNG", id="junk"
        ),
    ],
)
def test_bad_masks(tmp_path, make, says):
    with pytest.raises(PromptError, match="--mask") as caught:
        make_prompts(group_events([("mask", str(make(tmp_path)))]), (10, 8))
    assert says in str(caught.value)


def test_only_points_off_an_object():
    with pytest.raises(PromptError, match="only points off it"):
        make_prompts(group_events([("object", "1"), ("point", "1,1,0")]), (10, 8))
