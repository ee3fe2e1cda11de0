"""What a training run is to do: one YAML file, every field of it also an option."""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gar_video.train.recipe.errors import TrainingError

PARTS = ("language_model", "vocabulary", "projector", "vision", "mask_embedding")
KINDS = ("rendered", "jsonl", "videorefer", "gar", "descriptions")

# What may differ between a run and its continuation: nothing that the weights depend on.
_FREE = ("output", "save_every", "keep", "log_every", "tensorboard", "plot", "workers", "device")


def _about(text: str, default: Any = MISSING, **more: Any) -> Any:
    """Return a field with its description, which the command line shows."""
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: default.copy(), metadata={"help": text}, **more)
    return field(default=default, metadata={"help": text}, **more)


@dataclass(frozen=True)
class DataSection:
    """One source of samples.

    Attributes are described by their ``help``; which ones a kind heeds, by ``docs/training.md``.
    """

    kind: Literal["rendered", "jsonl", "videorefer", "gar", "descriptions"] = _about(
        "what it is: " + ", ".join(KINDS)
    )
    path: str = _about("file or folder of annotations", "")
    media: str = _about("folder that videos and pictures are named from; path's by default", "")
    weight: float = _about("share of the samples, relative to the other sources", 1.0)
    frames: tuple[int, ...] = _about(
        "frames looked at in a video; of several numbers one is drawn; the checkpoint's if empty",
        (),
    )
    questions: int = _about("most questions packed on one clip", 8)
    level: Literal["basic", "full"] = _about("rendered: which world", "basic")
    objects: tuple[int, ...] = _about("rendered: how many objects are pointed at", (1, 2, 3))
    photos: float = _about("rendered: share looked at as one photograph", 0.1)
    choices: float = _about("rendered: share of questions asked as multiple choices", 0.25)
    kinds: tuple[str, ...] = _about("rendered: kinds of questions asked; all if empty", ())
    side: int = _about("rendered: pixels of a side; the checkpoint's tile if 0", 0)
    cache: int = _about("how many decoded samples are kept in memory", 0)


@dataclass(frozen=True)
class LoraSection:
    """Low-rank adapters, through peft."""

    rank: int = _about("rank of the adapters", 16)
    alpha: float = _about("scale of the adapters, over the rank", 32.0)
    dropout: float = _about("dropout before the adapters", 0.0)
    whole: tuple[str, ...] = _about("parts trained whole beside the adapters", ())
    merge: bool = _about("write the merged checkpoint as well as the adapter", True)


@dataclass(frozen=True)
class TrainConfig:
    """Everything a run depends on."""

    model: str = _about("checkpoint to begin from: nano, a folder, or a hub id")
    output: str = _about("folder of the run")
    data: tuple[DataSection, ...] = _about("where samples come from")
    steps: int = _about("optimiser steps", 1000)
    seed: int = _about("seed of everything drawn", 0)
    method: Literal["full", "lora"] = _about("train weights themselves, or adapters", "full")
    parts: tuple[str, ...] = _about("what is trained: " + ", ".join(PARTS) + ", or all", ("all",))
    lora: LoraSection = field(default_factory=LoraSection)
    optimizer: Literal["adamw", "muon"] = _about(
        "adamw, or muon for the matrices inside blocks with AdamW for the rest", "adamw"
    )
    learning_rate: float = _about("highest learning rate of AdamW", 1e-5)
    muon_rate: float = _about("highest learning rate of Muon, where it is the optimizer", 0.005)
    slow: tuple[str, ...] = _about("parts trained at a tenth of these rates", ())
    weight_decay: float = _about("decoupled weight decay of matrices", 0.0)
    betas: tuple[float, ...] = _about("AdamW's two betas", (0.9, 0.999))
    grad_norm: float = _about("gradients are clipped to this norm; 0 for never", 1.0)
    warmup: float = _about("share of the steps that warms up", 0.03)
    schedule: Literal["cosine", "constant"] = _about("the rate after warm-up", "cosine")
    final_rate: float = _about("where the cosine ends, as a share of the highest rate", 0.0)
    batch: int = _about("clips a device works on at once", 1)
    accumulate: int = _about("batches summed up before a step", 1)
    context: int = _about("longest sequence in tokens; the checkpoint's if 0", 0)
    loss_per: Literal["token", "answer"] = _about(
        "what counts the same in the loss: every token, or every answer", "token"
    )
    precision: Literal["auto", "float32", "bfloat16"] = _about(
        "what is computed in; trained weights stay float32", "auto"
    )
    checkpointing: bool = _about("recompute activations in the backward pass", False)
    device: str = _about("auto, cpu, cuda, cuda:1 or mps", "auto")
    workers: int = _about("threads that prepare samples ahead", 0)
    max_skipped: int = _about("unusable samples passed over before the run stops", 100)
    save_every: int = _about("steps between checkpoints of the run", 200)
    keep: int = _about("how many checkpoints are kept", 2)
    log_every: int = _about("steps between lines of metrics", 10)
    tensorboard: bool = _about("write TensorBoard events too", False)
    plot: bool = _about("draw the loss as a PNG", True)

    def __post_init__(self) -> None:
        _check(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Say in what another run's configuration differs where that changes the weights."""
        mine, theirs = _flat(self.to_dict()), _flat(other)
        names = [name for name in {**mine, **theirs} if name.split(".")[0] not in _FREE]
        return [
            f"{name} was {theirs.get(name, 'not there')} and is {mine.get(name, 'not there')}"
            for name in names
            if mine.get(name, _ABSENT) != theirs.get(name, _ABSENT) and not name.endswith(".cache")
        ]


_ABSENT = object()


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested data to dotted names."""
    if isinstance(value, Mapping):
        pairs = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        pairs = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in pairs:
        flat.update(_flat(item, f"{prefix}.{key}" if prefix else key))
    return flat


# ---------------------------------------------------------------- reading


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """Read a configuration.

    Args:
        path: YAML file. Paths in it are meant from the current folder, as on the command line.
        overrides: Dotted names to values that replace the file's, such as
            ``{"lora.rank": 8, "data.0.weight": 2}``; texts are read as YAML.

    Raises:
        TrainingError: If the file is missing or no YAML, or a field is unknown, missing or of the
            wrong kind.
    """
    import yaml

    source = Path(path)
    if not source.is_file():
        raise TrainingError(f"no configuration file at {source}; expected a YAML file")
    try:
        raw = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise TrainingError(f"{source} is no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise TrainingError(f"{source} holds {type(raw).__name__}; expected fields and values")
    return from_dict(raw, overrides)


def from_dict(raw: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """Make a configuration of plain data; see ``load``."""
    data = json.loads(json.dumps(dict(raw), default=str))
    for name, value in (overrides or {}).items():
        _put(data, name, value)
    made: TrainConfig = _build(TrainConfig, data, "")
    return made


def _put(data: Any, dotted: str, value: Any) -> None:
    """Replace one value by its dotted name."""
    import yaml

    if isinstance(value, str):
        try:
            value = yaml.safe_load(value) if value else ""
        except yaml.YAMLError:
            raise TrainingError(f"{dotted}={value!r} is no valid YAML value") from None
    *way, last = dotted.split(".")
    place = data
    for step in way:
        if isinstance(place, list):
            place = place[_index(place, step, dotted)]
        else:
            place = place.setdefault(step, {})
        if not isinstance(place, (dict, list)):
            raise TrainingError(f"{dotted}: {step} is a single value and has no fields")
    if isinstance(place, list):
        place[_index(place, last, dotted)] = value
    else:
        place[last] = value


def _index(items: list[Any], text: str, dotted: str) -> int:
    if not text.isdecimal() or int(text) >= len(items):
        raise TrainingError(
            f"{dotted}: {text!r} is no place in a list of {len(items)}; they are counted from 0"
        )
    return int(text)


def _build(kind: type, raw: Any, where: str) -> Any:
    """Make a dataclass of plain data, naming what is wrong with it."""
    label = where or "the configuration"
    if not isinstance(raw, Mapping):
        raise TrainingError(f"{label} is {raw!r}; expected fields and values")
    known = {entry.name: entry for entry in fields(kind)}
    for name in raw:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise TrainingError(f"unknown field {name!r} in {label}; {hint}")
    hints = typing.get_type_hints(kind)
    values = {}
    for name, entry in known.items():
        if name in raw:
            full = f"{where}.{name}" if where else name
            values[name] = _convert(hints[name], raw[name], full)
        elif _required(entry):
            near = difflib.get_close_matches(name, [str(key) for key in raw], n=1, cutoff=0.5)
            hint = f" (is {near[0]!r} meant for it?)" if near else ""
            raise TrainingError(f"{label} lacks the field {name!r}{hint}: {_help(entry)}")
    return kind(**values)


def _required(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _help(entry: Field[Any]) -> str:
    return str(entry.metadata.get("help", entry.name))


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Check a value against its type, and turn YAML's kinds into ours."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, where)
    if origin is Literal:
        if value not in args:
            near = difflib.get_close_matches(str(value), [str(a) for a in args], n=1, cutoff=0.5)
            hint_text = f"; did you mean {near[0]!r}?" if near else ""
            listed = ", ".join(map(str, args))
            raise TrainingError(f"{where} is {value!r}; expected one of {listed}{hint_text}")
        return value
    if origin is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_convert(args[0], item, f"{where}.{n}") for n, item in enumerate(items))
    if isinstance(value, bool) is not (hint is bool):
        raise TrainingError(f"{where} is {value!r}; expected {_KINDS[hint]}")
    if hint is float and isinstance(value, (int, str)):
        try:
            return float(value)  # YAML reads 1e-5 as text
        except ValueError:
            raise TrainingError(f"{where} is {value!r}; expected a number") from None
    if not isinstance(value, hint):
        raise TrainingError(f"{where} is {value!r}; expected {_KINDS[hint]}")
    return value


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


# ---------------------------------------------------------------- checking


def _check(config: TrainConfig) -> None:
    """Refuse values that cannot be meant."""
    least = {
        "steps": 1, "batch": 1, "accumulate": 1, "save_every": 1, "keep": 1, "log_every": 1,
        "workers": 0, "max_skipped": 0, "context": 0, "learning_rate": 0, "muon_rate": 0,
        "weight_decay": 0, "grad_norm": 0, "warmup": 0, "final_rate": 0, "seed": 0,
    }  # fmt: skip
    for name, lowest in least.items():
        value = getattr(config, name)
        if not lowest <= value < float("inf"):
            raise TrainingError(f"{name} is {value}; expected {lowest} or more")
    if config.warmup > 1 or config.final_rate > 1:
        raise TrainingError("warmup and final_rate are shares; expected 0 to 1")
    if len(config.betas) != 2 or not all(0 <= beta < 1 for beta in config.betas):
        raise TrainingError(f"betas is {list(config.betas)}; expected two numbers, each below 1")
    _check_parts("parts", config.parts, (*PARTS, "all"))
    _check_parts("lora.whole", config.lora.whole, PARTS)
    _check_parts("slow", config.slow, PARTS)
    if not config.parts:
        raise TrainingError("parts is empty; expected at least one part to train, or all")
    if config.lora.rank < 1 or not 0 <= config.lora.dropout < 1:
        raise TrainingError("lora.rank must be 1 or more and lora.dropout from 0 to below 1")
    if not config.data:
        raise TrainingError("data is empty; expected at least one source, such as kind: rendered")
    for n, section in enumerate(config.data):
        _check_source(f"data.{n}", section)
    if not any(section.weight for section in config.data):
        raise TrainingError("every source has weight 0; expected at least one above")


def _check_parts(name: str, parts: Sequence[str], known: Sequence[str]) -> None:
    for part in parts:
        if part not in known:
            near = difflib.get_close_matches(part, known, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TrainingError(f"{name} names {part!r}; expected some of {', '.join(known)}{hint}")


def _check_source(name: str, section: DataSection) -> None:
    if not 0 <= section.weight < float("inf"):
        raise TrainingError(f"{name}.weight is {section.weight}; expected 0 or more")
    if section.kind != "rendered" and not section.path:
        raise TrainingError(f"{name} of kind {section.kind} lacks its path")
    if section.questions < 1 or any(count < 1 for count in section.frames):
        raise TrainingError(f"{name}: questions and frames must be 1 or more")
    if section.kind == "rendered" and not (
        section.objects and all(1 <= count <= 9 for count in section.objects)
    ):
        raise TrainingError(f"{name}.objects is {list(section.objects)}; expected numbers 1 to 9")
    for share in ("photos", "choices"):
        if not 0 <= getattr(section, share) <= 1:
            raise TrainingError(f"{name}.{share} is {getattr(section, share)}; expected 0 to 1")


# ---------------------------------------------------------------- for the command line


@dataclass(frozen=True)
class OptionSpec:
    """A field that is a single value, as the command line needs it.

    Attributes:
        dotted: Its name in the configuration: ``"lora.rank"``.
        flag: Its option: ``"--lora-rank"``.
        kind: bool, int, float or str; lists are given as text with commas.
        help: What it is.
        default: What it is unless said otherwise; None if it must be said.
    """

    dotted: str
    flag: str
    kind: type
    help: str
    default: Any


def option_specs() -> list[OptionSpec]:
    """Return an option for every field but those of the data's sources."""
    specs = []
    for prefix, kind in (("", TrainConfig), ("lora", LoraSection)):
        hints = typing.get_type_hints(kind)
        for entry in fields(kind):
            if entry.name in ("data", "lora"):
                continue
            dotted = f"{prefix}.{entry.name}" if prefix else entry.name
            hint = hints[entry.name]
            single = hint if hint in _KINDS else str
            default = None if entry.default is MISSING else entry.default
            flag = "--" + dotted.replace(".", "-").replace("_", "-")
            specs.append(OptionSpec(dotted, flag, single, _help(entry), default))
    return specs


def as_value(spec: OptionSpec, value: Any) -> Any:
    """Turn what the command line gives into what ``from_dict`` takes."""
    if isinstance(spec.default, tuple) and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def with_output(config: TrainConfig, output: str | Path) -> TrainConfig:
    """Return the same configuration with another output folder."""
    return replace(config, output=str(output))
