"""SAM 2 configurations: the ones the sam2 package ships, and the small one trained here.

A configuration is the ``model`` tree of sam2's YAML files as plain Python containers: dicts with
``_target_`` name a class, everything else is its arguments.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from gar_video.errors import CheckpointError

Config = dict[str, Any]

# Hub id -> (YAML below sam2/configs, checkpoint file in the repository). Facts of sam2 1.1.0,
# written down here so that looking one up does not import sam2.
HUB_MODELS = {
    f"facebook/sam2{dot}-hiera-{size}": (
        f"sam2{dot}/sam2{dot}_hiera_{short}.yaml",
        f"sam2{dot}_hiera_{size.replace('-', '_')}.pt",
    )
    for dot in ("", ".1")
    for size, short in (("tiny", "t"), ("small", "s"), ("base-plus", "b+"), ("large", "l"))
}


def load_config(path: str | Path) -> Config:
    """Read the ``model`` tree of a YAML file in sam2's layout.

    Raises:
        CheckpointError: If the file is missing, not YAML, has no ``model`` mapping, or uses
            interpolation (``${...}``), which could read the environment.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        if "${" in text:
            raise CheckpointError(f"{path}: interpolation (${{...}}) is not allowed in a config")
        # OmegaConf and not PyYAML: to PyYAML the 1e-6 in sam2's files is a string.
        tree = OmegaConf.to_container(OmegaConf.create(text))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read the SAM 2 config ({error.strerror})") from None
    except (UnicodeDecodeError, YAMLError, OmegaConfBaseException, AssertionError, ValueError):
        raise CheckpointError(f"{path}: not a YAML config; expected sam2's layout") from None
    model = tree.get("model") if isinstance(tree, dict) else None
    if not isinstance(model, dict):
        raise CheckpointError(f"{path}: no 'model' section; expected a SAM 2 config")
    return model


def shipped_config(name: str) -> Config:
    """Return a configuration that the sam2 package ships.

    Args:
        name: Path below ``sam2/configs``, such as ``"sam2.1/sam2.1_hiera_t.yaml"``.

    Raises:
        CheckpointError: If the installed sam2 package does not have it.
    """
    spec = importlib.util.find_spec("sam2")  # finds the folder without running the package
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError("the sam2 package is not installed; run: pip install sam2")
    return load_config(Path(spec.submodule_search_locations[0]) / "configs" / name)


def nano_config(image_size: int = 192) -> Config:
    """Return the configuration of nano SAM 2: sam2.1_hiera_t with everything made small.

    Args:
        image_size: Side of the square input in pixels, a multiple of 64.

    Returns:
        A ``model`` tree with a trunk of width 24, neck and memory attention of width 64 and
        memories of 16 channels.
    """
    width, memory, trunk_width = 64, 16, 24
    model = shipped_config("sam2.1/sam2.1_hiera_t.yaml")
    model["image_size"] = image_size

    trunk = model["image_encoder"]["trunk"]
    trunk["embed_dim"] = trunk_width
    trunk["stages"], trunk["global_att_blocks"] = [1, 2, 3, 1], [4, 5]
    # The shipped windows of 14 and 7 would be padded to far more than maps this small.
    trunk["window_spec"] = [8, 4, image_size // 16, image_size // 32]
    neck = model["image_encoder"]["neck"]
    neck["d_model"] = width
    neck["position_encoding"]["num_pos_feats"] = width
    neck["backbone_channel_list"] = [trunk_width * 8, trunk_width * 4, trunk_width * 2, trunk_width]

    attention = model["memory_attention"]
    attention["d_model"] = width
    attention["num_layers"] = 2
    layer = attention["layer"]
    layer["d_model"] = width
    layer["dim_feedforward"] = 4 * width
    layer["dropout"] = 0.0  # a model this small underfits
    for name in ("self_attention", "cross_attention"):
        layer[name]["embedding_dim"] = width
        layer[name]["feat_sizes"] = [image_size // 16, image_size // 16]
        layer[name]["dropout"] = 0.0
    layer["cross_attention"]["kv_in_dim"] = memory

    # One mask a prompt: in a world of separate things a click is not ambiguous, and a model
    # offered three masks learns to tell things apart without looking at the click.
    for name in ("in_sam", "for_tracking"):
        model[f"multimask_output_{name}"] = False
    model["use_multimask_token_for_obj_ptr"] = False
    model["sam_mask_decoder_extra_args"] = {"dynamic_multimask_via_stability": False}

    encoder = model["memory_encoder"]
    encoder["in_dim"] = width
    encoder["out_dim"] = memory
    # Two steps of four instead of four of two: a third of the memory encoder's time.
    encoder["mask_downsampler"] |= {
        "embed_dim": width,
        "kernel_size": 4,
        "stride": 4,
        "padding": 0,
    }
    encoder["position_encoding"]["num_pos_feats"] = memory
    encoder["fuser"]["layer"]["dim"] = width
    encoder["fuser"]["layer"]["layer_scale_init_value"] = 0.1  # 1e-6 takes long to wake up
    return model
