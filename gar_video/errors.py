"""Errors, by what the user can mend.

Every message says what was given, what was expected and what to do, in one line. The command line
prints that line and exits with status 2; a traceback always means a bug in this package.
"""

from __future__ import annotations


class GARVideoError(Exception):
    """Base of every error that is the input's fault and can be mended by the caller."""


class VideoError(GARVideoError):
    """A video or picture cannot be opened, has no frames, or is damaged."""


class TracksError(GARVideoError):
    """Tracks cannot be read, contradict themselves, or do not fit their video."""


class PromptError(GARVideoError):
    """What the user points at or asks cannot be meant: box outside the frame, unknown object."""


class CheckpointError(GARVideoError):
    """A checkpoint is missing, of another kind, incomplete or unsafe to load."""


class DeviceError(GARVideoError):
    """The asked device is not there, or its memory does not suffice."""


class Cancelled(GARVideoError):  # noqa: N818 - an outcome the caller asked for, not a failure
    """The caller's ``cancel`` hook asked to stop; nothing was written."""
