"""Where frames come from: files through PyAV or decord, pictures, arrays.

``gar_video.video.Video`` is the public face; nothing else needs this package. Every backend
answers the same question, "the frames of these ascending indices, one after the other", and keeps
no frame that was handed out.
"""

from __future__ import annotations
