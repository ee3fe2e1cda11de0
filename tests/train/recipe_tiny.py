"""A tiny untrained GAR checkpoint and small data files, for the recipe's tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from gar_video import Tracks, Video, masks
from gar_video.checkpoint import save_checkpoint
from gar_video.config import GARConfig
from gar_video.model import GARModel
from gar_video.train.recipe.config import TrainConfig, from_dict

TILE, PROMPTS = 56, 5
CONTROL = (
    "<|begin_of_text|>", "<|eot_id|>", "<|end_of_text|>", "<|image|>", "<|video|>",
    *(f"<|reserved_special_token_{2 + n}|>" for n in range(12)),
    "<|start_header_id|>", "<|end_header_id|>", *(f"<Prompt{n}>" for n in range(PROMPTS)),
    "<NO_Prompt>",
)  # fmt: skip


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, and the control tokens of the published layout."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: n for n, c in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>",
        pad_token="<|end_of_text|>", clean_up_tokenization_spaces=False,
    )  # fmt: skip
    fast.add_special_tokens({"additional_special_tokens": list(CONTROL)})
    return fast


def make_config(
    vocabulary: dict[str, int], width: int = 48, depth: int = 2, vision: int = 32, tile: int = TILE,
    context: int = 1024,
) -> GARConfig:  # fmt: skip
    """Return a configuration in the published layout."""
    text = {
        "model_type": "llama", "vocab_size": len(vocabulary), "hidden_size": width,
        "num_hidden_layers": depth, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": width // 4, "intermediate_size": 2 * width,
        "max_position_embeddings": context, "tie_word_embeddings": True,
        "bos_token_id": vocabulary["<|begin_of_text|>"],
        "eos_token_id": [vocabulary["<|eot_id|>"], vocabulary["<|end_of_text|>"]],
        "pad_token_id": vocabulary["<|end_of_text|>"],
    }  # fmt: skip
    eyes = {
        "model_type": "timm_wrapper", "architecture": "vit_pe_core_large_patch14_336",
        "do_pooling": False, "num_labels": 0,
        "model_args": {
            "patch_size": 14, "embed_dim": vision, "depth": depth, "num_heads": 2, "mlp_ratio": 2.0,
            "img_size": [tile, tile], "ref_feat_shape": [tile // 14, tile // 14],
            "class_token": False, "global_pool": "", "use_post_transformer_norm": False,
        },
    }  # fmt: skip
    return GARConfig(
        mllm_config={
            "model_type": "perception_lm", "text_config": text, "vision_config": eyes,
            "projector_pooling_ratio": 2, "vision_use_cls_token": False,
            "image_token_id": vocabulary["<|image|>"], "video_token_id": vocabulary["<|video|>"],
        },
        prompt_numbers=PROMPTS,
        crop_tokens_ids=[vocabulary[f"<|reserved_special_token_{2 + n}|>"] for n in range(PROMPTS)],
        kernel_size=[14, 14],
        replay_convention="true",
        choice_scoring="text",
        num_frames=4,
    )  # fmt: skip


def make_checkpoint(folder: Path) -> Path:
    """Write an untrained checkpoint in the published format."""
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    model = GARModel(make_config(tokenizer.get_vocab()))
    with torch.no_grad():
        # Loud enough for what is seen to matter from the first step.
        model.get_input_embeddings().weight.normal_(0, 0.3)
    settings = {
        "image_processor_type": "PerceptionLMImageProcessorFast", "tile_size": TILE,
        "max_num_tiles": 4, "vision_input_type": "thumb+tile", "do_resize": True,
        "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255, "resample": 3,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    }  # fmt: skip
    return save_checkpoint(folder, model, tokenizer, settings)


def make_clip(
    seed: int, side: int = 56, frames: int = 6
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Draw two squares that move; returns frames and masks by object id."""
    rng = np.random.default_rng(seed)
    pictures = np.full((frames, side, side, 3), 40, np.uint8)
    found = {}
    for object_id, color in ((1, (220, 30, 30)), (2, (30, 60, 220))):
        x, y = rng.integers(2, side // 2, 2)
        mask = np.zeros((frames, side, side), bool)
        for t in range(frames):
            mask[t, y : y + 14, x + 2 * t : x + 2 * t + 14] = True
        pictures[mask] = color
        found[object_id] = mask
    found[1] &= ~found[2]
    return pictures, found


def write_clip(folder: Path, name: str, seed: int) -> tuple[str, dict[str, dict[str, dict]]]:
    """Write a clip as a folder of pictures; returns its name and its masks as RLE."""
    import cv2

    pictures, found = make_clip(seed)
    (folder / name).mkdir(parents=True)
    for t, picture in enumerate(pictures):
        cv2.imwrite(str(folder / name / f"{t:03d}.png"), picture[:, :, ::-1])
    rles = {
        str(i): {str(t): masks.encode(m) for t, m in enumerate(stack)} for i, stack in found.items()
    }
    return name, rles


def write_jsonl(folder: Path, records: list[dict], name: str = "data.jsonl") -> Path:
    """Write JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def two_squares(folder: Path, count: int = 3) -> Path:
    """Write a data set of our own format: clips of a red and a blue square."""
    records = []
    for n in range(count):
        name, rles = write_clip(folder, f"clip{n}", n)
        records.append(
            {
                "video": name,
                "objects": rles,
                "questions": [
                    {"question": "What color is <1>?", "answer": "red"},
                    {"question": "Which way does <1> move?", "answer": "right"},
                    {"question": "What color is <2>?", "answer": "blue"},
                ],
                "descriptions": {"1": "It is red."},
            }
        )
    return write_jsonl(folder, records)


def as_video(seed: int) -> tuple[Video, Tracks]:
    """Return a clip as video and tracks."""
    pictures, found = make_clip(seed)
    return Video(pictures, fps=8), Tracks.from_masks(found)


def config(model: Path, output: Path, data: list[dict], **more: object) -> TrainConfig:
    """Return a configuration of a short run on the CPU."""
    fields = {
        "model": str(model), "output": str(output), "data": data, "steps": 4, "device": "cpu",
        "learning_rate": 2e-3, "log_every": 1, "save_every": 2, "loss_per": "answer",
        "plot": False, **more,
    }  # fmt: skip
    return from_dict(fields)
