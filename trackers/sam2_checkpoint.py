"""Finding, loading and saving SAM 2 checkpoints: tensors and YAML, never pickled objects."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from gar_video.trackers.sam2_build import build_predictor
from gar_video.trackers.sam2_config import HUB_MODELS, Config, load_config, shipped_config
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gar_video.errors import CheckpointError

if TYPE_CHECKING:
    from sam2.sam2_video_predictor import SAM2VideoPredictor

#: Checkpoints that come with the package: name -> folder below ``gar_video/weights``.
SHIPPED = {"nano": "sam2-nano"}
CONFIG_NAME, WEIGHTS_NAME = "config.yaml", "model.safetensors"

StateDict = dict[str, torch.Tensor]


def load_predictor(
    name_or_path: str | os.PathLike[str], config: Config | None = None
) -> tuple[SAM2VideoPredictor, Config]:
    """Load a predictor, on the CPU in float32.

    Args:
        name_or_path: ``"nano"``, a hub id, a folder with ``config.yaml`` and
            ``model.safetensors``, or a file with SAM 2's weights (``.pt``, ``.safetensors``).
        config: The architecture, for a file of weights whose architecture sam2 does not ship.

    Returns:
        The predictor and its configuration.

    Raises:
        CheckpointError: If there is no such checkpoint, it is not SAM 2's, weights are missing,
            unexpected or of another shape, the file is damaged, or it holds pickled objects.
    """
    weights_path, found = _locate(os.fspath(name_or_path))
    weights = _read_weights(weights_path)
    config = config or found or _recognise(weights, weights_path)
    predictor = build_predictor(config)
    _fill(predictor, weights, weights_path)
    return predictor, config


def save_predictor(predictor: torch.nn.Module, config: Config, folder: Path, *, half: bool) -> None:
    """Write ``config.yaml`` and ``model.safetensors``, each whole or not at all.

    Args:
        predictor: The model.
        config: Its configuration.
        folder: Where to; made if missing.
        half: Store float16 (half the size; about three decimal digits).

    Raises:
        CheckpointError: If the folder cannot be written.
    """
    from omegaconf import OmegaConf

    weights = {
        name: value.detach().to("cpu", torch.float16 if half else torch.float32).contiguous()
        for name, value in predictor.state_dict().items()
    }
    tree = {**config, "_target_": "sam2.modeling.sam2_base.SAM2Base"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{WEIGHTS_NAME}.partial"
        save_file(weights, partial, metadata={"format": "pt"})
        partial.chmod(0o644)  # weight files are made for their owner's eyes alone
        partial.replace(folder / WEIGHTS_NAME)
        partial = folder / f".{CONFIG_NAME}.partial"
        partial.write_text(OmegaConf.to_yaml(OmegaConf.create({"model": tree})), encoding="utf-8")
        partial.replace(folder / CONFIG_NAME)
    except (OSError, SafetensorError) as error:
        for name in (WEIGHTS_NAME, CONFIG_NAME):
            (folder / f".{name}.partial").unlink(missing_ok=True)
        raise CheckpointError(f"cannot write a checkpoint to {folder}: {error}") from None


def _locate(name: str) -> tuple[Path, Config | None]:
    """Return the file of weights and, where one lies beside it, the configuration."""
    path = Path(name).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        beside = path.with_suffix(".yaml")
        if not beside.is_file():
            beside = path.parent / CONFIG_NAME
        return path, load_config(beside) if beside.is_file() else None
    if name in SHIPPED:
        return _shipped(name)
    if name in HUB_MODELS:
        yaml, file = HUB_MODELS[name]
        return _download(name, file), shipped_config(yaml)
    if name.count("/") == 1 and not name.startswith((".", "~", "/")) and not path.suffix:
        config = load_config(_download(name, CONFIG_NAME))
        return _download(name, WEIGHTS_NAME), config
    raise CheckpointError(
        f"no SAM 2 checkpoint at {name}; expected a file, a folder, {', '.join(SHIPPED)}, or a hub "
        "id such as facebook/sam2.1-hiera-small"
    )


def _in_folder(folder: Path) -> tuple[Path, Config | None]:
    config, weights = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    if config.is_file() and weights.is_file():
        return weights, load_config(config)
    official = sorted(folder.glob("*.pt"))
    if len(official) == 1 and not weights.is_file():
        return official[0], load_config(config) if config.is_file() else None
    missing = WEIGHTS_NAME if config.is_file() else CONFIG_NAME
    raise CheckpointError(
        f"{folder} has no {missing}; expected {CONFIG_NAME} and {WEIGHTS_NAME} as save_pretrained "
        "writes them, or one of SAM 2's own .pt files"
    )


def _shipped(name: str) -> tuple[Path, Config]:
    import gar_video

    folder = Path(gar_video.__file__).parent / "weights" / SHIPPED[name]
    if not ((folder / CONFIG_NAME).is_file() and (folder / WEIGHTS_NAME).is_file()):
        raise CheckpointError(
            f"the {name} SAM 2 weights are not in this installation (expected them in "
            f"gar_video/weights/{SHIPPED[name]}); reinstall, or name another checkpoint"
        )
    return folder / WEIGHTS_NAME, load_config(folder / CONFIG_NAME)


def _download(repo: str, file: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    try:
        return Path(hf_hub_download(repo_id=repo, filename=file))
    except HFValidationError:
        raise CheckpointError(f"no SAM 2 checkpoint at {repo}; not a hub id either") from None
    except LocalEntryNotFoundError:
        raise CheckpointError(
            f"{repo} is not in the local cache and the hub cannot be reached; connect to the "
            "network, or give a local checkpoint"
        ) from None
    except EntryNotFoundError:
        raise CheckpointError(
            f"{repo} has no {file}; expected one of SAM 2's repositories or a folder saved here"
        ) from None
    except HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", "no")
        raise CheckpointError(
            f"the hub does not give {repo} (status {status}); check the name and your access"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{repo} cannot be fetched from the hub ({type(error).__name__}); connect to the "
            "network, or give a local checkpoint"
        ) from None


def _read_weights(path: Path) -> StateDict:
    """Read tensors by name; nothing else in the file is ever run."""
    refusal = CheckpointError(
        f"{path}: not a file of plain tensors, or cut off; expected SAM 2's .pt or .safetensors "
        "(files that need unpickling are refused; fetch the checkpoint again)"
    )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise CheckpointError(f"{path}: no permission to read it") from None
    except (SafetensorError, pickle.UnpicklingError, OSError, RuntimeError, EOFError, ValueError):
        raise refusal from None
    except (KeyError, AttributeError, IndexError, TypeError):
        raise refusal from None
    weights = loaded.get("model", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(weights, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in weights.items()
    ):
        raise CheckpointError(f"{path}: no weights by name in it; expected SAM 2's checkpoint")
    return weights


def _recognise(weights: StateDict, path: Path) -> Config:
    """Tell which of sam2's shipped configurations the weights belong to."""
    patches = weights.get("image_encoder.trunk.patch_embed.proj.weight")
    if patches is None or "maskmem_tpos_enc" not in weights:
        raise CheckpointError(f"{path}: not SAM 2 weights; expected SAM 2's names for them")
    prefix = "image_encoder.trunk.blocks."
    depth = len({name[len(prefix) :].split(".")[0] for name in weights if name.startswith(prefix)})
    wanted = (int(patches.shape[0]), depth, "no_obj_embed_spatial" in weights)
    for yaml, _ in HUB_MODELS.values():
        config = shipped_config(yaml)
        trunk = config["image_encoder"]["trunk"]
        shape = (
            trunk.get("embed_dim", 96),
            sum(trunk.get("stages", (2, 3, 16, 3))),
            bool(config.get("no_obj_embed_spatial", False)),
        )
        if shape == wanted:
            return config
    raise CheckpointError(
        f"{path}: SAM 2 weights of an unknown size (trunk {wanted[0]} wide, {depth} blocks); put "
        f"its {CONFIG_NAME} beside it"
    )


def _fill(predictor: torch.nn.Module, weights: StateDict, path: Path) -> None:
    """Load the weights; every one must be there, fit, and be known."""
    own = predictor.state_dict()
    missing = sorted(own.keys() - weights.keys())
    unexpected = sorted(weights.keys() - own.keys())
    misfits = sorted(k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape)
    for problem, names in (
        ("missing", missing),
        ("unexpected", unexpected),
        ("of another shape", misfits),
    ):
        if names:
            raise CheckpointError(
                f"{path}: {len(names)} weights are {problem}, such as {names[0]}; expected exactly "
                "those of its SAM 2 config"
            )
    predictor.load_state_dict(weights)
