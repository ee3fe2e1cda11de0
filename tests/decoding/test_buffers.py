from __future__ import annotations

import numpy as np
import pytest
import torch

from gar_video.decoding.buffers import FrameBuffers

HOLD = {
    "array": lambda a: a,
    "view": lambda a: a[1:, ::2],
    "view of a view": lambda a: a[1:][..., 0].T,
    "reshaped": lambda a: a.reshape(-1),
    "memoryview": memoryview,
    "tensor": torch.from_numpy,
    "iterator": iter,
}


def _image(value: int) -> np.ndarray:
    return np.full((6, 8, 3), value, np.uint8)


@pytest.mark.parametrize("how", HOLD)
def test_what_is_held_never_changes(how):
    buffers = FrameBuffers(smallest=0)
    held = [HOLD[how](buffers.moved(_image(value))) for value in range(6)]
    for value, holder in enumerate(held):
        if how == "iterator":
            assert (next(holder) == value).all()
        else:
            assert (np.asarray(holder) == value).all()


def test_memory_is_used_again_when_nothing_holds_it():
    buffers = FrameBuffers(smallest=0)
    places = set()
    image = None
    for value in range(20):
        image = buffers.moved(_image(value))
        places.add(image.ctypes.data)
        assert (image == value).all()
    assert len(places) <= 2


def test_another_size_gets_memory_of_its_own():
    buffers = FrameBuffers(smallest=0)
    buffers.moved(_image(1))
    assert buffers.moved(np.zeros((2, 2, 3), np.uint8)).shape == (2, 2, 3)


def test_copies_are_contiguous_and_writable():
    copy = FrameBuffers(smallest=0).moved(np.broadcast_to(_image(3)[:, :1], (6, 8, 3)))
    assert copy.flags.c_contiguous
    assert copy.flags.writeable


def test_small_frames_stay_as_they_are():
    image = _image(1)
    assert FrameBuffers().moved(image) is image
