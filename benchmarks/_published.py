"""The published way of answering, written out: every question from the pixels, one at a time.

Encode the frames, replay region by region and frame by frame in a loop, prefill, decode greedily
with transformers' own ``generate``. It runs on the same weights and reads the same inputs as ours.
"""

from __future__ import annotations

from typing import Any

import torch
from torchvision.ops import roi_align

from gar_video.encoding import Look
from gar_video.model import GARModel, ModelInputs
from gar_video.processor import GARProcessor
from gar_video.prompt import parse_question


def loop_replay(model: GARModel, features: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Sample regions one by one: ``[R, g*g, D]`` from ``features [N, g*g, D]``."""
    side, scale = model.config.grid_size, model.config.replay_spatial_scale
    replayed = []
    for box in boxes:
        frame = features[int(box[0])].T.reshape(1, -1, side, side).float()  # [1, D, g, g]
        corners = (box[1:] * side)[None]
        region = roi_align(
            frame, [corners.float()], output_size=side, spatial_scale=scale,
            sampling_ratio=2, aligned=True,
        )  # fmt: skip
        replayed.append(region.flatten(2).transpose(1, 2).to(features.dtype))
    return torch.cat(replayed)


def embeds_of(model: GARModel, inputs: ModelInputs, suffix: list[int]) -> torch.Tensor:
    """Return ``[1, L, D]`` of a prompt and its question, replayed in a loop."""
    ids = torch.cat([inputs.input_ids[0], inputs.input_ids.new_tensor(suffix)])
    embeds = model.get_input_embeddings()(ids).clone()  # [L, D]
    features = model.encode_tiles(inputs.pixel_values, inputs.mask_values)
    places = inputs.image_positions[0].nonzero().squeeze(1)
    embeds[places] = features.flatten(0, 1).to(embeds.dtype)
    if len(inputs.boxes):
        places = inputs.region_positions[0].nonzero().squeeze(1)
        regions = loop_replay(model, features, inputs.boxes)
        for number, region in enumerate(regions):
            own = places[number * len(region) : (number + 1) * len(region)]
            embeds[own] = region.to(embeds.dtype)
    return embeds[None]


@torch.inference_mode()
def answer(
    model: GARModel,
    processor: GARProcessor,
    view: Look,
    question: str,
    *,
    max_new_tokens: int,
    **generation: Any,
) -> tuple[int, ...]:
    """Answer one question about a view from nothing; return the tokens before the stop token."""
    prompt = view.prompt()
    device = model.get_input_embeddings().weight.device
    inputs = processor(prompt).to(device, model.floating_dtype)
    suffix = processor.question_ids(parse_question(question), prompt)
    embeds = embeds_of(model, inputs, suffix)
    stops = list(processor.stop_ids)
    tokens = model.mllm.generate(
        inputs_embeds=embeds,
        attention_mask=torch.ones(embeds.shape[:2], dtype=torch.int64, device=device),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=stops,
        pad_token_id=stops[0],
        **generation,
    )[0].tolist()
    return tuple(tokens[:-1] if tokens and tokens[-1] in stops else tokens)
