"""Bodies of the native interface."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gar_video.server.chat_schema import FramesField, OptionList, TimeField
from gar_video.server.regions import Number, Region


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewVideo(_Strict):
    """A video to upload, or a file in an allowed folder."""

    bytes: Annotated[int | None, Field(ge=1, lt=2**63, description="its size")] = None
    sha256: Annotated[str | None, Field(pattern=r"^[0-9a-fA-F]{64}$")] = None
    name: Annotated[str, Field(max_length=200, description="what answers call it")] = "video"
    path: Annotated[
        str | None,
        Field(min_length=1, max_length=1000, description="relative to an allowed folder"),
    ] = None

    @model_validator(mode="after")
    def _one_way(self) -> NewVideo:
        if (self.bytes is None) == (self.path is None):
            raise ValueError("expected either bytes, to upload it, or path, to refer to it")
        return self


class NewTracks(_Strict):
    """Objects to follow."""

    video: Annotated[str, Field(max_length=100, description="id of a video")]
    regions: Annotated[list[Region], Field(min_length=1)]
    track: Annotated[bool, Field(description="follow regions on one frame with SAM 2")] = True


class AskedFor(_Strict):
    """Questions about a clip and its objects.

    `describe` needs nothing more; `ask` needs `questions`; `choose` needs `questions` and for each
    its `options`; `timeline` may have one question, whose `<id>` stands for each object in turn.
    """

    task: Literal["describe", "ask", "choose", "timeline"]
    video: Annotated[str | None, Field(max_length=100, description="id of a video")] = None
    url: Annotated[str | None, Field(min_length=1, description="as in image_url")] = None
    tracks: Annotated[str | None, Field(max_length=100, description="id of tracks")] = None
    regions: list[Region] = []
    track: bool = True
    objects: Annotated[
        list[Annotated[int, Field(ge=0, lt=2**31)]] | None,
        Field(min_length=1, description="which to describe; all by default"),
    ] = None
    questions: list[str] = []
    options: list[OptionList] = []
    by: Literal["letter", "text"] | None = None
    every_s: Annotated[Number, Field(gt=0, le=1e6, description="a timeline's step")] = 5.0
    frames: FramesField = None
    time: TimeField = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    temperature: Annotated[Number, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[Number, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int | None, Field(ge=-(2**63), lt=2**63)] = None

    @model_validator(mode="after")
    def _fits(self) -> AskedFor:
        if self.video is not None and self.url is not None:
            raise ValueError("both video and url are given; expected one of them")
        if self.tracks is not None and (self.video or self.url or self.regions):
            raise ValueError("tracks know their video and objects; give neither beside them")
        if self.tracks is None and self.video is None and self.url is None:
            raise ValueError("expected video, url or tracks")
        if self.task in ("ask", "choose") and not self.questions:
            raise ValueError(f"task {self.task} needs questions")
        if self.task == "choose" and len(self.options) != len(self.questions):
            raise ValueError("task choose needs a list of options for each question")
        if self.task == "describe" and (self.questions or self.options):
            raise ValueError("task describe takes no questions")
        if self.task == "timeline" and len(self.questions) > 1:
            raise ValueError("task timeline takes one question at most")
        return self
