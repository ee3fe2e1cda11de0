"""OpenAI's chat request, as far as it is understood here, with what is asked beyond it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gar_video.server.regions import FrameIndex, Number, Region

Url = Annotated[str, Field(min_length=1, description="data:…;base64,…, upload:ID, or https://…")]
FramesField = Annotated[
    Annotated[int, Field(ge=1, le=10_000)]
    | Annotated[list[FrameIndex], Field(min_length=1, max_length=1024)]
    | None,
    Field(description="how many frames to look at, or which"),
]
TimeField = Annotated[
    list[Annotated[Number, Field(ge=0, le=1e9)]] | None,
    Field(min_length=2, max_length=2, description="[start, end] in seconds to look at"),
]
OptionList = Annotated[list[Annotated[str, Field(max_length=2000)]],
                       Field(min_length=2, max_length=26)]  # fmt: skip


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore")


class TextPart(_Loose):
    """Words."""

    type: Literal["text"]
    text: str


class NamedMedia(_Loose):
    """Where a picture or video is."""

    url: Url


class ImagePart(_Loose):
    """A picture."""

    type: Literal["image_url"]
    image_url: NamedMedia


class VideoPart(_Loose):
    """A video."""

    type: Literal["video_url"]
    video_url: NamedMedia


Part = Annotated[TextPart | ImagePart | VideoPart, Field(discriminator="type")]


class ChatMessage(_Loose):
    """One turn. What clients echo beside role and content is passed over."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None


class PlainText(_Loose):
    """An answer in words."""

    type: Literal["text"]


class ChoiceFormat(_Strict):
    """One of some options, scored instead of generated."""

    type: Literal["choice"]
    options: OptionList
    by: Literal["letter", "text"] | None = None


class EnumSchema(_Loose):
    """The one JSON schema that is understood: some texts of which the answer is one."""

    type: Literal["string"] = "string"
    enum: OptionList


class NamedSchema(_Loose):
    """A JSON schema with its name."""

    name: Annotated[str, Field(max_length=100)] = "choice"
    enum_schema: Annotated[EnumSchema, Field(alias="schema")]


class SchemaFormat(_Loose):
    """As JSON by a schema, which has to be an enum of texts."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


Format = Annotated[PlainText | ChoiceFormat | SchemaFormat, Field(discriminator="type")]


class StreamOptions(_Loose):
    """What else a stream tells."""

    include_usage: bool | None = None


class ChatRequest(_Strict):
    """A conversation about a picture or a video."""

    model: Annotated[str, Field(max_length=500)]
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    regions: Annotated[list[Region], Field(description="objects; the text means them as <id>")] = []
    track: Annotated[
        bool, Field(description="follow a region on one frame through the video with SAM 2")
    ] = True
    frames: FramesField = None
    time: TimeField = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    temperature: Annotated[Number | None, Field(ge=0, le=2, description="0 by default")] = None
    top_p: Annotated[Number | None, Field(gt=0, le=1)] = None
    seed: Annotated[int | None, Field(ge=-(2**63), lt=2**63)] = None
    stop: (
        Annotated[str, Field(min_length=1, max_length=200)]
        | Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=4)]
        | None
    ) = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int | None, Field(ge=0, le=20)] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: Format | None = None
    # Only what changes nothing; other values are refused rather than passed over.
    n: Literal[1] | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None
    user: Annotated[str | None, Field(max_length=500)] = None
    safety_identifier: Annotated[str | None, Field(max_length=500)] = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: Annotated[str | None, Field(max_length=100)] = None
