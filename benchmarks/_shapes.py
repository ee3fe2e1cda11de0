"""Models of known size with random weights: what they cost does not depend on what they know."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks._results import Options
    from gar_video import GARVideo


@dataclass(frozen=True)
class Shape:
    """How large a GAR is; the defaults are GAR-1B's."""

    name: str = "GAR-1B's shape"
    tile: int = 448
    patch: int = 14
    pool: int = 2
    vision_width: int = 1024
    vision_depth: int = 23
    vision_heads: int = 16
    width: int = 2048
    depth: int = 16
    heads: int = 32
    kv_heads: int = 8
    mlp: int = 8192
    vocabulary: int = 128263
    context: int = 11520

    @property
    def tokens_per_tile(self) -> int:
        """Tokens of a frame."""
        return (self.tile // self.patch // self.pool) ** 2


ONE_B = Shape()
# A quarter of the widths and of the decoder's depth, a sixth of the tower's, half the tile.
SMALL = Shape(
    "GAR-1B scaled down", tile=224, vision_width=256, vision_depth=4, vision_heads=4,
    width=512, depth=4, heads=8, kv_heads=2, mlp=2048, vocabulary=16384,
)  # fmt: skip
TINY = Shape(
    "tiny", tile=112, vision_width=64, vision_depth=2, vision_heads=2,
    width=64, depth=2, heads=4, kv_heads=2, mlp=128, vocabulary=8192,
)  # fmt: skip


def shape_for(options: Options) -> Shape:
    """Return the shape a benchmark uses."""
    if options.quick:
        return TINY
    return SMALL if options.device == "cpu" else ONE_B


def gar_of(shape: Shape, device: str = "cpu", **settings: Any) -> GARVideo:
    """Return a GARVideo of a shape with random weights; nano's tokenizer words it.

    Args:
        shape: How large.
        device: Where; bfloat16 on CUDA, float32 on the CPU.
        **settings: GARVideo's.
    """
    import torch
    from transformers import PreTrainedTokenizerFast

    from gar_video import GARVideo
    from gar_video.checkpoint import locate
    from gar_video.config import GARConfig
    from gar_video.model import GARModel
    from gar_video.processor import GARProcessor

    folder = locate("nano")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = GARConfig(**_resized(raw, shape))
    images = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    images.update(tile_size=shape.tile, size={"height": shape.tile, "width": shape.tile})
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = GARModel(config)
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():
        # The stock initialisation makes all answers one repeated token; this makes them lively.
        model.get_output_embeddings().weight.normal_(0, 1.0)
        model.get_input_embeddings().weight.normal_(0, 1.0)
    model.config._attn_implementation = "sdpa"
    return GARVideo(model.eval(), GARProcessor(config, tokenizer, images), **settings)


def _resized(raw: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """Return nano's configuration with another shape's sizes."""
    mllm = raw["mllm_config"]
    mllm["text_config"].update(
        hidden_size=shape.width, num_hidden_layers=shape.depth, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads, head_dim=shape.width // shape.heads,
        intermediate_size=shape.mlp, vocab_size=shape.vocabulary,
        max_position_embeddings=shape.context,
    )  # fmt: skip
    patches = shape.tile // shape.patch
    mllm["vision_config"]["model_args"].update(
        patch_size=shape.patch, embed_dim=shape.vision_width, depth=shape.vision_depth,
        num_heads=shape.vision_heads, mlp_ratio=4.0, img_size=[shape.tile, shape.tile],
        ref_feat_shape=[patches, patches],
    )  # fmt: skip
    mllm["projector_pooling_ratio"] = shape.pool
    for config in (mllm, mllm["vision_config"], mllm["text_config"], raw):
        config.pop("torch_dtype", None)
        config.pop("dtype", None)
    raw.update(
        kernel_size=[shape.patch, shape.patch],
        mask_path_embedding_out_channels=shape.vision_width,
        num_frames=16,
    )
    return raw
