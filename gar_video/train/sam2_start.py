"""The model that nano SAM 2's training starts from."""

from __future__ import annotations

from typing import Any

import torch

from gar_video.trackers.sam2_build import instantiate
from gar_video.trackers.sam2_config import nano_config


def training_model(image_size: int, **changes: Any) -> torch.nn.Module:
    """Return a ``SAM2Train`` of the nano configuration, freshly initialised.

    Args:
        image_size: Side of the input in pixels.
        **changes: Further arguments of ``SAM2Train``.
    """
    config = {
        **nano_config(image_size),
        "_target_": "training.model.sam2.SAM2Train",
        "prob_to_use_pt_input_for_train": 0.8,
        "prob_to_use_box_input_for_train": 0.5,
        "prob_to_sample_from_gt_for_train": 0.1,
        "num_frames_to_correct_for_train": 2,
        "rand_frames_to_correct_for_train": True,
        "num_init_cond_frames_for_train": 1,
        "add_all_frames_to_correct_as_cond": True,
        "num_correction_pt_per_frame": 1,
        **changes,
    }
    model = instantiate(config)
    start_by_place(model)
    return model


@torch.no_grad()
def start_by_place(model: Any) -> None:
    """Let prompts look at their own place in the picture from the first step.

    With sam2's own initial weights a model of this size ignores the prompt for thousands of steps:
    position codes are drowned by image features and projected at random. Here each head of the
    attention between tokens and image starts by comparing two waves of the position code that
    run across each other, so that a prompt meets its own place, and what would drown them starts
    small.
    """
    decoder = model.sam_mask_decoder.transformer
    waves = model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix  # [2, C // 2]
    for attention in [
        decoder.final_attn_token_to_image,
        *(layer.cross_attn_token_to_image for layer in decoder.layers),
        *(layer.cross_attn_image_to_token for layer in decoder.layers),
    ]:
        weight = torch.randn_like(attention.q_proj.weight) * 0.02
        per_head = attention.internal_dim // attention.num_heads
        for head, pair in enumerate(_crossing_waves(waves, attention.num_heads)):
            for number, wave in enumerate(pair):
                row = head * per_head + 2 * number
                weight[row, wave] = weight[row + 1, wave + waves.shape[1]] = 2.5
        attention.q_proj.weight.copy_(weight)
        attention.k_proj.weight.copy_(weight)
        attention.q_proj.bias.zero_()
        attention.k_proj.bias.zero_()
    for layer in decoder.layers:
        for norm in (layer.norm1, layer.norm2, layer.norm3):
            norm.weight.fill_(0.3)
    for embedding in model.sam_prompt_encoder.point_embeddings:
        embedding.weight.mul_(0.1)
    for lateral in model.image_encoder.neck.convs[:2]:  # what the decoder gets is their sum
        lateral.conv.weight.mul_(0.1)
        lateral.conv.bias.mul_(0.1)
    # The trunk's own position code starts as low waves instead of zeros.
    place = model.image_encoder.trunk.pos_embed
    height, width = place.shape[-2:]
    y, x = torch.meshgrid(
        torch.linspace(-1.5, 1.5, height), torch.linspace(-1.5, 1.5, width), indexing="ij"
    )
    for channel in range(place.shape[1]):
        along = x if channel % 4 < 2 else y
        wave_of = torch.sin if channel % 2 == 0 else torch.cos
        place[0, channel] = 0.3 * wave_of(along * (1 + channel // 4))


def _crossing_waves(waves: torch.Tensor, count: int) -> list[tuple[int, int]]:
    """Return pairs of waves ``[2, N]``, about a picture long and as square as can be."""
    length = waves.norm(dim=0)
    pairs = []
    for a in range(waves.shape[1]):
        for b in range(a):
            cosine = float((waves[:, a] * waves[:, b]).sum().abs() / (length[a] * length[b]))
            odd = float((length[a] - 0.5).abs() + (length[b] - 0.5).abs())
            pairs.append((cosine + odd, a, b))
    return [(a, b) for _, a, b in sorted(pairs)[:count]]
