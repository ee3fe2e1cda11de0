"""Nano's tokenizer: a small byte-level BPE with the published special tokens."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SYSTEM = "You answer questions about videos."

# PerceptionLM's layout of turns with a shorter system message: what it says costs tokens in every
# prompt, and something this small learns nothing from it.
TEMPLATE = (
    "{{- bos_token }}"
    "{%- if messages[0]['role'] == 'system' -%}"
    "{%- set system = messages[0]['content']|trim %}{%- set messages = messages[1:] %}"
    "{%- else %}{%- set system = '" + SYSTEM + "' %}{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' + system + '<|eot_id|>' }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{%- for part in message['content'] %}"
    "{{- '<|image|>' if part['type'] == 'image' else part['text']|trim }}{%- endfor %}"
    "{{- '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)


def special_tokens(prompts: int, reserved: int) -> list[str]:
    """Return the control tokens in the order of their ids; the prompts come last."""
    return [
        "<|begin_of_text|>",
        "<|eot_id|>",
        "<|end_of_text|>",
        "<|image|>",
        "<|video|>",
        *(f"<|reserved_special_token_{2 + n}|>" for n in range(reserved)),
        "<|start_header_id|>",
        "<|end_header_id|>",
        *(f"<Prompt{n}>" for n in range(prompts)),
        "<NO_Prompt>",
    ]


def build_tokenizer(
    texts: Iterable[str], vocab_size: int = 1400, prompts: int = 9, reserved: int = 40
) -> PreTrainedTokenizerFast:
    """Train the tokenizer.

    Args:
        texts: What the model is going to read and write.
        vocab_size: Tokens at most, the control tokens not counted.
        prompts: Names of objects.
        reserved: Placeholders of replayed regions, one per frame.
    """
    tokenizer = Tokenizer(models.BPE())
    # Digits stand alone, so that numbers unseen in training are spelled like any other.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    names = special_tokens(prompts, reserved)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin_of_text|>",  # noqa: S106
        eos_token="<|eot_id|>",  # noqa: S106
        pad_token="<|end_of_text|>",  # noqa: S106
        additional_special_tokens=names,
        clean_up_tokenization_spaces=False,
    )
    # In order, so that ids follow the list whatever their roles are.
    fast.add_special_tokens({"additional_special_tokens": names})
    fast.chat_template = TEMPLATE
    return fast
