"""Errors of training, beside those of ``gar_video.errors``."""

from __future__ import annotations

from gar_video.errors import GARVideoError


class TrainingError(GARVideoError):
    """A training run cannot begin or go on: its configuration, data, disk or loss."""


class SampleError(GARVideoError):
    """One sample cannot be used; it is counted and the next one taken."""
