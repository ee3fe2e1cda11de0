"""What of a model is trained: all of it, some parts, or low-rank adapters beside its weights."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gar_video.errors import CheckpointError
from gar_video.model import GARModel
from gar_video.train.recipe.config import PARTS, TrainConfig
from gar_video.train.recipe.errors import TrainingError

# The first that fits: what a word is, going in and coming out, is a part within the language model.
_PREFIXES = {
    "vocabulary": ("mllm.model.language_model.embed_tokens.", "mllm.lm_head."),
    "language_model": ("mllm.model.language_model.",),
    "projector": ("mllm.model.multi_modal_projector.",),
    "vision": ("mllm.model.vision_tower.",),
    "mask_embedding": ("mask_patch_embedding.",),
}
_WHOLE = "whole_parts.safetensors"


def part_of(name: str) -> str | None:
    """Return the part that a parameter belongs to."""
    for part, prefixes in _PREFIXES.items():
        if name.startswith(prefixes):
            return part
    return None


def with_inner(parts: Iterable[str]) -> set[str]:
    """Return the parts with those within them: the vocabulary belongs to the language model."""
    return {*parts, *(("vocabulary",) if "language_model" in parts else ())}


def prepare(model: GARModel, config: TrainConfig, compute: torch.dtype) -> Any:
    """Freeze what is not trained, add adapters, and set number types.

    Trained weights are float32, so that steps far smaller than they are not lost; frozen ones are
    in what is computed in.

    Args:
        model: The model; changed in place.
        config: The run's configuration.
        compute: What is computed in.

    Returns:
        The peft model around it, or None without adapters.

    Raises:
        TrainingError: If peft is needed and missing, or nothing would be trained.
    """
    parts = PARTS if "all" in config.parts else config.parts
    adapters = None
    if config.method == "lora":
        model.requires_grad_(False)
        adapters = _add_adapters(model, config, parts)
        # The mask embedding is a few hundred thousand numbers: an adapter would save nothing.
        whole = with_inner(config.lora.whole) | ({"mask_embedding"} & set(parts))
    else:
        whole = with_inner(parts)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            continue
        parameter.requires_grad_(part_of(name.replace("base_layer.", "")) in whole)
    for parameter in model.parameters():
        if parameter.is_floating_point():
            wanted = torch.float32 if parameter.requires_grad else compute
            parameter.data = parameter.data.to(wanted)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError(f"nothing would be trained with parts {list(config.parts)}")
    return adapters


def _add_adapters(model: GARModel, config: TrainConfig, parts: Any) -> Any:
    """Put adapters beside every linear layer of the parts."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise TrainingError(
            "method: lora needs peft; install it with pip install 'gar-video[train]'"
        ) from None
    prefixes = [p for part in parts if part not in config.lora.whole for p in _PREFIXES[part]]
    # Exact names with the layers' numbers left open: "proj" alone would meet the patches' too.
    patterns = {
        re.sub(r"(?<=\.)\d+(?=\.|$)", r"\\d+", name)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and name.startswith(tuple(prefixes))
        and part_of(f"{name}.weight") != "vocabulary"
    }
    if not patterns:
        raise TrainingError(
            f"lora has no linear layers to adapt in parts {list(config.parts)}; expected some of "
            "language_model, projector, vision"
        )
    # What peft writes down as the base is the name that was given, not a folder of this machine.
    model.name_or_path = config.model
    settings = LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,  # type: ignore[arg-type]  # any number will do
        lora_dropout=config.lora.dropout,
        target_modules="|".join(sorted(patterns)).replace(".", r"\."),
        base_model_name_or_path=config.model,
    )
    return get_peft_model(model, settings)


def trained_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the trained parameters by name."""
    return {
        name: parameter.detach()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def load_trained(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Take trained parameters back.

    Raises:
        TrainingError: If they are not those that this model trains.
    """
    own = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if set(own) != set(state) or any(own[n].shape != state[n].shape for n in own):
        raise TrainingError(
            f"the run's checkpoint holds {len(state)} trained weights, not the {len(own)} that "
            "this configuration trains; was the model exchanged?"
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(state[name])


# ---------------------------------------------------------------- adapters as files


def save_adapter(adapters: Any, folder: str | os.PathLike[str]) -> None:
    """Write adapters as peft does, and beside them the parts that were trained whole."""
    target = Path(folder)
    adapters.save_pretrained(target, safe_serialization=True, save_embedding_layers=False)
    model = adapters.base_model.model
    whole = {
        name.replace("base_layer.", ""): parameter.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and "lora_" not in name
    }
    if whole:
        save_file(whole, target / _WHOLE, metadata={"format": "pt"})


def attach_adapter(model: GARModel, folder: str | os.PathLike[str], *, merge: bool = False) -> Any:
    """Put a trained adapter on a model, in place.

    Args:
        model: The checkpoint that it was trained on, such as ``GARVideo.model``.
        folder: ``adapter`` of a run.
        merge: Add the adapter to the weights, and be rid of it.

    Returns:
        The peft model around it, or the model itself when merged.

    Raises:
        CheckpointError: If there is no adapter, or it belongs to another model.
        TrainingError: If peft is missing.
    """
    source = Path(folder)
    if not (source / "adapter_model.safetensors").is_file():
        raise CheckpointError(f"no adapter_model.safetensors in {source}; expected a run's adapter")
    try:
        from peft import PeftModel
    except ImportError:
        raise TrainingError(
            "adapters need peft; install it with pip install 'gar-video[train]'"
        ) from None
    if (source / _WHOLE).is_file():
        own = dict(model.named_parameters())
        for name, tensor in load_file(source / _WHOLE).items():
            if name not in own or own[name].shape != tensor.shape:
                raise CheckpointError(f"{source} was trained on another model: {name} does not fit")
            own[name].data.copy_(tensor)
    try:
        adapted = PeftModel.from_pretrained(model, str(source))
    except (RuntimeError, ValueError, KeyError) as error:
        text = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{source} does not fit this model: {text}") from None
    model.eval()
    return adapted.merge_and_unload() if merge else adapted
