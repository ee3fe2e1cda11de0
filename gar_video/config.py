"""GARConfig: the published configuration of GAR, read and written.

The keys are those of the published checkpoints (``model_type: "GAR"``), to which this project adds
four that older files do not have: ``replay_convention``, ``choice_scoring``, ``num_frames`` and
``single_object_questions``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from transformers import PerceptionLMConfig, PreTrainedConfig

from gar_video.errors import CheckpointError

ReplayConvention = Literal["as_released", "true"]
ChoiceScoring = Literal["letter", "text"]
QuestionForm = Literal["listed", "inline"]

REPLAY_CONVENTIONS: tuple[str, ...] = ("as_released", "true")
CHOICE_SCORINGS: tuple[str, ...] = ("letter", "text")
QUESTION_FORMS: tuple[str, ...] = ("listed", "inline")


class GARConfig(PreTrainedConfig):
    """Configuration of a GAR checkpoint.

    Attributes:
        mllm_config: The PerceptionLM inside: vision tower, projector, language model.
        prompt_numbers: How many prompts ``<Prompt0>`` … the vocabulary has.
        crop_tokens_ids: Placeholder token ids of replayed regions, one per prompt.
        kernel_size: ``[height, width]`` of the mask embedding's kernel, equal to its stride.
        mask_path_embedding_out_channels: Output channels of the mask embedding.
        replay_convention: ``"as_released"`` scales the box twice before RoI-Align, as the published
            code does and the published weights were trained with; ``"true"`` scales it once, as the
            paper (arXiv 2510.18876) says. Files without the key are published ones.
        choice_scoring: How ``choose`` scores options by default: the option's ``"letter"`` after
            the listed options, or the likelihood of its ``"text"`` as an answer.
        num_frames: How many frames of a video are looked at by default.
        single_object_questions: How a question about one object was worded in training:
            ``"listed"`` like one about several, as GAR's data does, or ``"inline"`` like a
            description.
    """

    if TYPE_CHECKING:  # transformers makes a dataclass field of every annotation it finds
        mllm_config: PerceptionLMConfig

    model_type = "GAR"
    sub_configs = {"mllm_config": PerceptionLMConfig}  # noqa: RUF012 - transformers' own protocol

    def __init__(
        self,
        mllm_config: dict[str, Any] | PerceptionLMConfig | None = None,
        prompt_numbers: int = 5,
        crop_tokens_ids: list[int] | None = None,
        kernel_size: list[int] | None = None,
        mask_path_embedding_out_channels: int | None = None,
        replay_convention: ReplayConvention = "as_released",
        choice_scoring: ChoiceScoring = "letter",
        num_frames: int = 16,
        single_object_questions: QuestionForm = "listed",
        **kwargs: Any,
    ) -> None:
        if replay_convention not in REPLAY_CONVENTIONS:
            raise CheckpointError(
                f"replay_convention is {replay_convention!r}; expected one of {REPLAY_CONVENTIONS}"
            )
        if single_object_questions not in QUESTION_FORMS:
            raise CheckpointError(
                f"single_object_questions is {single_object_questions!r}; "
                f"expected one of {QUESTION_FORMS}"
            )
        if choice_scoring not in CHOICE_SCORINGS:
            raise CheckpointError(
                f"choice_scoring is {choice_scoring!r}; expected one of {CHOICE_SCORINGS}"
            )
        if isinstance(mllm_config, PerceptionLMConfig):
            mllm = mllm_config
        else:
            given = dict(mllm_config or {})
            given.pop("model_type", None)
            mllm = PerceptionLMConfig(**given)
        # Published files name the code to run; nothing here ever runs it, nor writes it again.
        for remote in ("auto_map", "patch_size_h", "patch_size_w"):
            kwargs.pop(remote, None)
        kwargs.setdefault("architectures", ["GARModel"])
        text: Any = mllm.text_config
        kwargs.setdefault("tie_word_embeddings", bool(text.tie_word_embeddings))
        self.mllm_config = mllm
        self.prompt_numbers = int(prompt_numbers)
        self.crop_tokens_ids = [] if crop_tokens_ids is None else [int(i) for i in crop_tokens_ids]
        self.kernel_size = [14, 14] if kernel_size is None else [int(k) for k in kernel_size]
        self.mask_path_embedding_out_channels = (
            self.vision_width
            if mask_path_embedding_out_channels is None
            else int(mask_path_embedding_out_channels)
        )
        self.replay_convention = replay_convention
        self.choice_scoring = choice_scoring
        self.num_frames = int(num_frames)
        self.single_object_questions = single_object_questions
        super().__init__(**kwargs)

    @property
    def _vision_args(self) -> dict[str, Any]:
        return dict(getattr(self.mllm_config.vision_config, "model_args", None) or {})

    @property
    def vision_width(self) -> int:
        """Channels of the vision tower's tokens."""
        return int(self._vision_args.get("embed_dim", 1024))

    @property
    def tile_size(self) -> int:
        """Side of the square the vision tower looks at, in pixels."""
        size = self._vision_args.get("img_size", 448)
        return int(size[0] if isinstance(size, (list, tuple)) else size)

    @property
    def grid_size(self) -> int:
        """Side of a tile's projected feature grid: 448 px / 14 px patches / 2 pooled = 16."""
        return self.tile_size // self.kernel_size[0] // self.mllm_config.projector_pooling_ratio

    @property
    def tokens_per_tile(self) -> int:
        """Tokens of a tile in the language model, and of a replayed region in a frame."""
        return self.grid_size**2

    @property
    def context_length(self) -> int:
        """Tokens the language model was trained to."""
        return int(self.mllm_config.text_config.max_position_embeddings)

    @property
    def replay_spatial_scale(self) -> float:
        """``spatial_scale`` of RoI-Align for boxes already in units of the feature grid."""
        if self.replay_convention == "true":
            return 1.0
        return 1.0 / (self.kernel_size[0] * self.mllm_config.projector_pooling_ratio)
