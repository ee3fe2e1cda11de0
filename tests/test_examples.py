"""Examples that take longer than a line: an hour, and the notebook."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_a_timeline_of_an_hour(tmp_path, capsys):
    """A minute and a half of it: what an hour costs in memory is tests/test_timeline.py's."""
    spec = importlib.util.spec_from_file_location("hour", EXAMPLES / "06_timeline_of_an_hour.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    clip, tracks = module.render(tmp_path, seconds=30.0)
    made = module.main(str(clip), str(tracks), every_s=10.0)
    assert made.duration_s == pytest.approx(30.0)
    assert {segment.object_id for segment in made.segments} == {1, 2, 3}
    assert "peak memory" in capsys.readouterr().out
    assert {path.suffix for path in tmp_path.glob("hour.*")} >= {".srt", ".vtt", ".csv", ".json"}


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(EXAMPLES / "gar_video.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # kept without outputs
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute(env={**os.environ, "OMP_NUM_THREADS": "1"})
    shown = [
        output["data"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output["output_type"] == "execute_result"
    ]
    assert sum("text/html" in data for data in shown) == 6
    assert sum("image/png" in data for data in shown) == 2
    kept = os.environ.get("GAR_VIDEO_NOTEBOOK")  # to look at it
    if kept:
        Path(kept).write_text(json.dumps(notebook), encoding="utf-8")
