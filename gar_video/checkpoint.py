"""Finding, loading and saving GAR checkpoints: safetensors and JSON, never code, never pickle."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedTokenizerFast

from gar_video.config import GARConfig
from gar_video.devices import resolve_device, resolve_dtype
from gar_video.errors import CheckpointError
from gar_video.model import GARModel

# Checkpoints that come with the package, by the short name that users type.
SHIPPED = {"nano": "gar-nano"}
_WEIGHTS = Path(__file__).parent / "weights"

_WANTED = ("*.json", "*.safetensors", "*.jinja")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        model: The model, in evaluation mode.
        tokenizer: Its tokenizer, with the checkpoint's chat template.
        image_settings: ``preprocessor_config.json`` as a dictionary.
        name: The name or path it was asked for by.
    """

    model: GARModel
    tokenizer: PreTrainedTokenizerFast
    image_settings: dict[str, Any]
    name: str


def locate(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the folder of a checkpoint: shipped, local, or fetched from the hub.

    Raises:
        CheckpointError: If there is no such folder and the hub cannot give it.
    """
    name = os.fspath(name_or_path)
    if name in SHIPPED and not Path(name).is_dir():
        folder = _WEIGHTS / SHIPPED[name]
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"the checkpoint {name!r} is not in this installation (looked in "
                f"gar_video/weights/{SHIPPED[name]}); reinstall the package, or name another model"
            )
        return folder
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError(f"{name} is a file; expected a checkpoint folder or a hub id")
    if name.count("/") != 1 or name.startswith((".", "~", "/")):
        raise CheckpointError(
            f"no checkpoint folder at {name}; expected a folder, a hub id such as "
            f"HaochenWang/GAR-1B, or one of {', '.join(SHIPPED)}"
        )
    return _fetch(name)


def _fetch(repo_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo_id, allow_patterns=list(_WANTED)))
    except HFValidationError:
        raise CheckpointError(f"{repo_id!r} is neither a folder nor a valid hub id") from None
    except LocalEntryNotFoundError:
        raise CheckpointError(
            f"{repo_id} is not in the local cache and the hub cannot be reached; connect to the "
            "network (and unset HF_HUB_OFFLINE), or give a local folder"
        ) from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "no")
        raise CheckpointError(
            f"the hub refused {repo_id} (status {status}); check the name, and log in with "
            "`hf auth login` if it is private"
        ) from None
    except OSError as error:
        raise CheckpointError(f"fetching {repo_id} failed: {_one_line(error)}") from None


def read_config(folder: Path) -> GARConfig:
    """Read a checkpoint's configuration.

    Raises:
        CheckpointError: If ``config.json`` is missing, no JSON, or not GAR's.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"no config.json in {folder}; expected a GAR checkpoint folder")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {_one_line(error)}") from None
    kind = raw.get("model_type") if isinstance(raw, dict) else None
    if kind != "GAR" or "mllm_config" not in raw:
        raise CheckpointError(
            f"{folder} holds a model of type {kind!r}; expected GAR, such as HaochenWang/GAR-1B"
        )
    try:
        return GARConfig(**raw)
    except CheckpointError:
        raise
    except Exception as error:  # transformers validates with several exception types
        raise CheckpointError(f"{path} is no usable GAR config: {_one_line(error)}") from None


def load_checkpoint(
    name_or_path: str | os.PathLike[str],
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    quantization_config: Any = None,
    attn_implementation: str = "auto",
) -> Checkpoint:
    """Load model, tokenizer and image settings of a GAR checkpoint.

    Args:
        name_or_path: ``"nano"``, a folder, or a hub id.
        device: See ``devices.resolve_device``.
        dtype: See ``devices.resolve_dtype``.
        quantization_config: Passed to transformers, for 4- and 8-bit loading.
        attn_implementation: ``"auto"`` takes FlashAttention where it is installed and fits, SDPA
            elsewhere; any other name is passed to transformers.

    Raises:
        CheckpointError: If the checkpoint is missing, not GAR, incomplete or damaged, or has its
            weights in pickle files only.
        DeviceError: If the device is not there.
    """
    where = resolve_device(device)
    number_type = resolve_dtype(dtype, where)
    folder = locate(name_or_path)
    config = read_config(folder)
    _check_weight_files(folder)
    model = _load_model(folder, config, where, number_type, quantization_config)
    _use_attention(model, attn_implementation, where, number_type)
    return Checkpoint(
        model=model.eval(),
        tokenizer=load_tokenizer(folder),
        image_settings=_image_settings(folder, config),
        name=os.fspath(name_or_path),
    )


def _check_weight_files(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            shards = sorted(
                set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CheckpointError(
                f"{index} is no usable index of weights; fetch it again"
            ) from None
        # A name with a folder in it would read outside the checkpoint.
        odd = [shard for shard in shards if Path(str(shard)).name != shard]
        if odd:
            raise CheckpointError(f"{index} names {odd[0]!r}; expected plain file names")
        missing = [shard for shard in shards if not (folder / shard).is_file()]
        if missing:
            raise CheckpointError(
                f"{folder} lacks {len(missing)} of {len(shards)} weight files, the first "
                f"{missing[0]}; fetch the checkpoint again"
            )
    elif not (folder / "model.safetensors").is_file():
        pickles = [path.name for pattern in _PICKLES for path in sorted(folder.glob(pattern))]
        if pickles:
            raise CheckpointError(
                f"{folder} has its weights in pickle files only ({pickles[0]}), which can run "
                "code when read; convert them to model.safetensors"
            )
        raise CheckpointError(f"no model.safetensors in {folder}; expected GAR's weights there")


def _load_model(
    folder: Path, config: GARConfig, device: torch.device, dtype: torch.dtype, quantization: Any
) -> GARModel:
    extra: dict[str, Any] = {}
    if quantization is not None:
        extra = {"quantization_config": quantization, "device_map": {"": device}}
    try:
        model, info = GARModel.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **extra,
        )
    except SafetensorError as error:
        raise CheckpointError(
            f"a weight file in {folder} is damaged or cut short ({_one_line(error)}); "
            "fetch the checkpoint again"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {_one_line(error)}") from None
    problems = {
        "missing": info["missing_keys"],
        "unexpected": info["unexpected_keys"],
        "of another shape": [name for name, *_ in info["mismatched_keys"]],
    }
    for kind, names in problems.items():
        if names:
            raise CheckpointError(
                f"{len(names)} weights are {kind} in {folder}, the first {sorted(names)[0]}; "
                "expected exactly those that its config.json describes"
            )
    return model if quantization is not None else model.to(device)


def _use_attention(model: GARModel, wanted: str, device: torch.device, dtype: torch.dtype) -> None:
    if wanted == "auto":
        from transformers.utils import is_flash_attn_2_available

        half = dtype in (torch.bfloat16, torch.float16)
        fits = device.type == "cuda" and half and is_flash_attn_2_available()
        wanted = "flash_attention_2" if fits else "sdpa"
    if wanted != "sdpa":
        model.language_model.set_attn_implementation(wanted)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load a checkpoint's tokenizer.

    Raises:
        CheckpointError: If it is missing or unreadable.
    """
    if not (folder / "tokenizer.json").is_file():
        raise CheckpointError(f"no tokenizer.json in {folder}; expected the checkpoint's tokenizer")
    try:
        # The class by name: the automatic one would ask whether to run the checkpoint's code.
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception
        raise CheckpointError(f"the tokenizer in {folder} is damaged: {_one_line(error)}") from None


def _image_settings(folder: Path, config: GARConfig) -> dict[str, Any]:
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise CheckpointError(f"no preprocessor_config.json in {folder}; expected it there")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        tile = int(settings["tile_size"])
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path} is no usable image configuration") from None
    if tile != config.tile_size:
        raise CheckpointError(
            f"{path} cuts tiles of {tile} px but the vision tower takes {config.tile_size} px"
        )
    return dict(settings)


def save_checkpoint(
    folder: str | os.PathLike[str],
    model: GARModel,
    tokenizer: PreTrainedTokenizerFast,
    image_settings: dict[str, Any],
    *,
    max_shard_size: str | int = "5GB",
) -> Path:
    """Write a checkpoint in the published format, whole or not at all.

    Args:
        folder: Where to; replaced if it already holds a GAR checkpoint.
        model: The model; its parameters are written in their own dtype.
        tokenizer: The tokenizer with its chat template.
        image_settings: Contents of ``preprocessor_config.json``.
        max_shard_size: Largest weight file, as transformers reads it.

    Raises:
        CheckpointError: If the folder exists and holds something else.
    """
    target = Path(folder)
    if target.exists() and not (target / "config.json").is_file() and any(target.iterdir()):
        raise CheckpointError(f"{target} holds other files; give an empty or new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        model.save_pretrained(temporary, max_shard_size=max_shard_size)
        tokenizer.save_pretrained(temporary)
        settings = json.dumps(image_settings, indent=1)
        (temporary / "preprocessor_config.json").write_text(settings + "\n", encoding="utf-8")
        # Temporary folders and weight files are made for their owner's eyes alone.
        temporary.chmod(0o755)
        for path in temporary.iterdir():
            path.chmod(0o644)
        if target.exists():
            shutil.rmtree(target)
        temporary.replace(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return target


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
