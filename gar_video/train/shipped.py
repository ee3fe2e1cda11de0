"""What belongs to nano beside its weights: tokenizer, image settings, processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from gar_video.processor import GARProcessor
from gar_video.train.architecture import NanoSizes, build_config
from gar_video.train.corpus import corpus
from gar_video.train.tokenizer import build_tokenizer


def image_settings(sizes: NanoSizes | None = None) -> dict[str, Any]:
    """Return nano's ``preprocessor_config.json``: a photograph is a thumbnail and one tile."""
    side = (sizes or NanoSizes()).tile
    return {
        "image_processor_type": "PerceptionLMImageProcessor",
        "processor_class": "PerceptionLMProcessor",
        "tile_size": side,
        "max_num_tiles": 1,
        "vision_input_type": "thumb+tile",
        "size": {"height": side, "width": side},
        "resample": 3,
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_convert_rgb": True,
    }


def nano_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Return nano's tokenizer, making it on the first call."""
    if not (folder / "tokenizer.json").is_file():
        build_tokenizer(corpus()).save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def nano_processor(folder: Path, sizes: NanoSizes | None = None) -> GARProcessor:
    """Return nano's processor."""
    tokenizer = nano_tokenizer(folder)
    config = build_config(dict(tokenizer.get_vocab()), sizes)
    return GARProcessor(config, tokenizer, image_settings(sizes))
