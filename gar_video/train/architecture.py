"""Nano GAR before training: its configuration and its first weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gar_video.config import GARConfig
from gar_video.model import GARModel


@dataclass(frozen=True)
class NanoSizes:
    """How large nano GAR is."""

    tile: int = 112
    patch: int = 14
    vision_width: int = 128
    vision_depth: int = 4
    vision_mlp_ratio: float = 3.0
    vision_heads: int = 4
    pool: int = 2
    width: int = 128
    depth: int = 9
    heads: int = 4
    mlp: int = 384
    context: int = 2048
    prompts: int = 9
    rope_theta: float = 10000.0


def build_config(vocabulary: dict[str, int], sizes: NanoSizes | None = None) -> GARConfig:
    """Return nano's configuration in the published layout.

    Args:
        vocabulary: Token -> id of its tokenizer.
        sizes: How large the parts are.
    """
    sizes = sizes or NanoSizes()
    patches = sizes.tile // sizes.patch
    stops = [vocabulary["<|eot_id|>"], vocabulary["<|end_of_text|>"]]
    text: dict[str, Any] = {
        "model_type": "llama",
        "vocab_size": len(vocabulary),
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.depth,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.heads,
        "head_dim": sizes.width // sizes.heads,
        "intermediate_size": sizes.mlp,
        "max_position_embeddings": sizes.context,
        "rope_parameters": {"rope_type": "default", "rope_theta": sizes.rope_theta},
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "bos_token_id": vocabulary["<|begin_of_text|>"],
        "eos_token_id": stops,
        "pad_token_id": vocabulary["<|end_of_text|>"],
    }
    vision = {
        "model_type": "timm_wrapper",
        "architecture": "vit_pe_core_large_patch14_336",
        "do_pooling": False,
        "num_labels": 0,
        "model_args": {
            "patch_size": sizes.patch,
            "embed_dim": sizes.vision_width,
            "depth": sizes.vision_depth,
            "num_heads": sizes.vision_heads,
            "mlp_ratio": sizes.vision_mlp_ratio,
            "img_size": [sizes.tile, sizes.tile],
            "ref_feat_shape": [patches, patches],
            "class_token": False,
            "global_pool": "",
            "use_post_transformer_norm": False,
        },
    }
    return GARConfig(
        mllm_config={
            "model_type": "perception_lm",
            "text_config": text,
            "vision_config": vision,
            "projector_pooling_ratio": sizes.pool,
            "vision_use_cls_token": False,
            "image_token_id": vocabulary["<|image|>"],
            "video_token_id": vocabulary["<|video|>"],
        },
        prompt_numbers=sizes.prompts,
        single_object_questions="inline",
        crop_tokens_ids=[
            vocabulary[f"<|reserved_special_token_{2 + n}|>"] for n in range(sizes.prompts)
        ],
        kernel_size=[sizes.patch, sizes.patch],
        mask_path_embedding_out_channels=sizes.vision_width,
        replay_convention="true",
        choice_scoring="text",
    )


def build_model(config: GARConfig, seed: int = 0) -> GARModel:
    """Return an untrained model, initialised for fast training of something this small."""
    torch.manual_seed(seed)
    model = GARModel(config)
    tower = model.mllm.model.vision_tower.timm_model
    with torch.no_grad():
        side = config.tile_size // config.kernel_size[0]
        table = position_waves(side, tower.pos_embed.shape[-1]) * 0.3 / 0.7071
        tower.pos_embed.copy_(table[None])
        model.get_input_embeddings().weight.normal_(0, 0.3)
        pixels, mask = patch_filters(config.kernel_size[0], tower.embed_dim)
        tower.patch_embed.proj.weight.copy_(pixels)
        model.mask_patch_embedding.weight.copy_(mask)
    return model


def position_waves(side: int, width: int) -> torch.Tensor:
    """Return smooth position embeddings ``[side*side, width]``, rows first."""
    quarter = width // 4
    rates = np.pi * np.geomspace(0.5, side / 2, quarter)
    place = (np.arange(side) + 0.5) / side
    waves = np.concatenate([np.sin(np.outer(place, rates)), np.cos(np.outer(place, rates))], 1)
    rows = np.repeat(waves, side, axis=0)
    columns = np.tile(waves, (side, 1))
    return torch.from_numpy(np.concatenate([columns, rows], 1)).float()


def patch_filters(side: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return first filters for pixels and for the mask: smooth waves instead of noise.

    Outlines show in low frequencies. With random filters a tower this small needs many times as
    long to see the first shape. Pixels and mask get channels of their own, as their tokens are
    added.

    Args:
        side: Of a patch, in pixels.
        width: Channels.

    Returns:
        Two weights ``[width, 3, side, side]``.
    """
    steps = (np.arange(side) + 0.5) * np.pi / side
    waves = np.cos(np.outer(np.arange(side), steps))
    order = sorted(np.ndindex(side, side), key=lambda uv: (uv[0] + uv[1], uv))

    def filters(count: int, color: tuple[float, float, float]) -> list[np.ndarray]:
        made = []
        for u, v in order[:count]:
            wave = np.outer(waves[u], waves[v])
            # High frequencies are rarer in pictures; scaled up they start as loud as the low.
            wave = wave / np.linalg.norm(wave) * (1 + 2 * min(u + v, 3) + 0.5 * (u + v)) / side
            made.append(np.asarray(color)[:, None, None] * wave)
        return made

    light, tint = int(width * 0.28), int(width * 0.16)
    pixels = filters(light, (0.5, 0.5, 0.5))
    pixels += filters(tint, (0.8, -0.8, 0.0)) + filters(tint, (0.5, 0.5, -1.0))
    shape = filters(width - len(pixels), (0.5, 0.5, 0.5))
    weights = np.zeros((2, width, 3, side, side))
    weights[0, : len(pixels)] = pixels
    weights[1, len(pixels) :] = shape
    both = torch.from_numpy(weights).float()
    return both[0], both[1]
