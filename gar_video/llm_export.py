"""The language model inside a checkpoint, as a plain Llama in transformers' format.

Engines that serve Llamas run it on prompt embeddings that this package computes: frames, regions
and all. ``gar-video export-llm`` writes it with the checkpoint's extended vocabulary.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gar_video.commands import options as opt
from gar_video.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

    from gar_video.pipeline import GARVideo

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

OutFolder = Annotated[str, typer.Option("--out", metavar="FOLDER", help="A new or empty folder.")]


def language_model(gar: GARVideo) -> LlamaForCausalLM:
    """Return a checkpoint's language model as transformers' own class; weights are shared.

    Args:
        gar: The model.

    Raises:
        CheckpointError: If it is no Llama.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    inner = gar.model.config.mllm_config.text_config
    if inner.model_type != "llama":
        raise CheckpointError(
            f"the language model is of type {inner.model_type!r}; only Llamas are exported"
        )
    settings = inner.to_dict()
    processor = gar.processor
    known = gar.model.get_input_embeddings().weight
    tied = bool(gar.model.config.tie_word_embeddings)
    settings.update(
        vocab_size=int(known.shape[0]),
        tie_word_embeddings=tied,
        bos_token_id=processor.tokenizer.bos_token_id,
        eos_token_id=list(processor.stop_ids),
    )
    for name in ("model_type", "architectures", "transformers_version", "dtype", "torch_dtype"):
        settings.pop(name, None)
    config = LlamaConfig(**settings)
    with torch.device("meta"):
        llama = LlamaForCausalLM(config)
    weights = {f"model.{name}": value for name, value in
               gar.model.language_model.state_dict().items()}  # fmt: skip
    weights["lm_head.weight"] = gar.model.mllm.lm_head.weight.detach()
    missing, unexpected = llama.load_state_dict(weights, strict=False, assign=True)
    if missing or unexpected:
        raise CheckpointError(
            f"the language model is no plain Llama: {[*missing, *unexpected][:3]} do not fit"
        )
    # Buffers of positions are not in the weights; they follow from the configuration.
    rotary = type(llama.model.rotary_emb)(config=config)
    llama.model.rotary_emb = rotary.to(known.device)
    return llama.to(known.dtype).eval()


def export_language_model(gar: GARVideo, folder: str | os.PathLike[str]) -> Path:
    """Write a checkpoint's language model, whole or not at all.

    Args:
        gar: The model.
        folder: Where to; a new or empty folder.

    Returns:
        The folder.

    Raises:
        CheckpointError: If the folder holds something, or the model is no Llama.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(f"{target} exists and is not empty; give a new or empty folder")
    llama = language_model(gar)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        llama.save_pretrained(temporary)
        gar.processor.tokenizer.save_pretrained(temporary)
        _make_plain(temporary / "config.json")
        temporary.chmod(0o755)
        for path in temporary.iterdir():
            path.chmod(0o644)
        if target.exists():
            target.rmdir()
        temporary.replace(target)
    except OSError as error:
        raise CheckpointError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _make_plain(path: Path) -> None:
    """Name the one class that the folder is for."""
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    config["architectures"] = ["LlamaForCausalLM"]
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def prompt_embeddings(gar: GARVideo, prompt: Any, suffix: Any) -> torch.Tensor:
    """Return what the language model is given instead of tokens: ``[L, D]``.

    Args:
        gar: The model.
        prompt: A ``RegionPrompt``: frames and regions.
        suffix: Tokens of the question.
    """
    import torch

    with torch.inference_mode():
        table = gar.model.get_input_embeddings()
        inputs = gar.processor(prompt).to(table.weight.device, gar.model.floating_dtype)
        before = gar.model.embed(inputs)[0]
        ids = torch.tensor(list(suffix), device=before.device)
        return torch.cat([before, table(ids)])


@app.command("export-llm")
def export_llm(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="nano, a folder, or a hub id.")],
    out: OutFolder,
    dtype: opt.Dtype = "auto",
    quiet: opt.Quiet = False,
) -> None:
    """Write a checkpoint's language model as a plain Llama, for engines such as vLLM."""
    from gar_video.commands.console import Voice, quiet_libraries

    voice = Voice(quiet)
    with voice.progress(f"loading {model}"):
        quiet_libraries(voice)
        from gar_video.pipeline import GARVideo

        gar = GARVideo.from_pretrained(model, device="cpu", dtype=dtype)
    voice.note(f"wrote {export_language_model(gar, out)}")
