from __future__ import annotations

import numpy as np
import pytest

from gar_video import Tracks
from gar_video.synth.pointing import box_around, click_on, early_clear_frame


def _track(widths: list[int]) -> Tracks:
    """A thing of 6 rows and growing width, with a thin tail that a middle of mass would miss."""
    masks = np.zeros((len(widths), 24, 32), bool)
    for frame, width in enumerate(widths):
        masks[frame, 4:10, 2 : 2 + width] = True
        masks[frame, 22, 2 : 2 + width] = width > 0
    return Tracks.from_masks({7: masks})


@pytest.mark.parametrize(
    ("widths", "frame"),
    [
        pytest.param([10, 10, 10], 0, id="whole from the start"),
        pytest.param([0, 2, 5, 10, 10], 3, id="comes in slowly"),
        pytest.param([10, 1, 10], 0, id="hidden later"),
    ],
)
def test_the_first_clear_frame(widths: list[int], frame: int) -> None:
    assert early_clear_frame(_track(widths)[7]) == frame


def test_click_and_box() -> None:
    track = _track([0, 10])[7]
    click, box = click_on(track), box_around(track)
    (x, y), *_ = click.xy
    assert (click.frame, click.object_id, box.frame, box.object_id) == (1, 7, 1, 7)
    assert 4 <= x <= 9
    assert 6 <= y <= 7
    assert box.xyxy == (2.0, 4.0, 12.0, 23.0)
