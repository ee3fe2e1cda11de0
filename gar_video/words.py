"""PromptWords: what is said around the pictures, as token ids.

Words that somebody typed never become control tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from gar_video.config import GARConfig
from gar_video.errors import CheckpointError, PromptError
from gar_video.prompt import LETTERS, ObjectMention, QuestionPart, RegionPrompt, RegionSlot

# A private-use character that no template writes and no trim removes.
_HERE = "\ue000"

# PerceptionLM's, for a checkpoint that comes without a template of its own.
_TEMPLATE = (
    "{{- bos_token }}"
    "{%- if messages[0]['role'] == 'system' -%}"
    "{%- set system = messages[0]['content']|trim %}{%- set messages = messages[1:] %}"
    "{%- else %}{%- set system = 'You are a helpful language and vision assistant. "
    "You are able to understand the visual content that the user provides, and assist the user "
    "with a variety of tasks using natural language.' %}{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' + system + '<|eot_id|>' }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{%- for part in message['content'] %}"
    "{{- '<|image|>' if part['type'] == 'image' else part['text']|trim }}{%- endfor %}"
    "{{- '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)


@dataclass(frozen=True)
class Turns:
    """The chat template's words around what is said.

    Attributes:
        opening: Everything before the first picture.
        before_text: Between the last picture and the user's text.
        to_assistant: From the user's text to the assistant's.
        to_user: From the assistant's text to the user's next.
    """

    opening: str
    before_text: str
    to_assistant: str
    to_user: str


class PromptWords:
    """Words of prompts, questions and answers, by the checkpoint's tokenizer and chat template.

    Args:
        config: The checkpoint's configuration.
        tokenizer: The checkpoint's tokenizer.

    Raises:
        CheckpointError: If the tokenizer lacks a token that the configuration implies.
    """

    def __init__(self, config: GARConfig, tokenizer: PreTrainedTokenizerFast) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.image_id = self._token_id("<|image|>")
        self.prompt_ids = [self._token_id(f"<Prompt{n}>") for n in range(config.prompt_numbers)]
        self.stop_ids = tuple(
            self._token_id(token)
            for token in ("<|eot_id|>", "<|end_of_text|>")
            if token in self._vocabulary
        )
        if not self.stop_ids:
            raise CheckpointError("the tokenizer has no <|eot_id|>; expected GAR's tokenizer")
        # Video frame t stands as reserved token 2 + t, as in the published code. The id at a
        # replayed place has no effect, so frames beyond the last one share it.
        self._frame_ids: list[int] = []
        while (
            token := f"<|reserved_special_token_{2 + len(self._frame_ids)}|>"
        ) in self._vocabulary:
            self._frame_ids.append(self._vocabulary[token])
        if not self._frame_ids:
            raise CheckpointError("the tokenizer has no <|reserved_special_token_2|>")

    @property
    def num_prompts(self) -> int:
        """How many objects the checkpoint has names for."""
        return len(self.prompt_ids)

    @property
    def context_length(self) -> int:
        """Tokens the language model was trained to."""
        return self.config.context_length

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        return dict(self.tokenizer.get_vocab())

    def _token_id(self, token: str) -> int:
        if token not in self._vocabulary:
            raise CheckpointError(f"the tokenizer lacks {token}; expected GAR's tokenizer")
        return self._vocabulary[token]

    @cached_property
    def _plain(self) -> Tokenizer:
        """The tokenizer without its added tokens: nothing typed can become a control token."""
        state = json.loads(self.tokenizer.backend_tokenizer.to_str())
        state["added_tokens"] = []
        state["post_processor"] = None
        return Tokenizer.from_str(json.dumps(state))

    def encode_plain(self, text: str) -> list[int]:
        """Tokenise words that somebody typed; spellings of control tokens stay words."""
        return list(self._plain.encode(text, add_special_tokens=False).ids) if text else []

    def encode_control(self, text: str) -> list[int]:
        """Tokenise our own template's text, control tokens included."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def decode(self, token_ids: Sequence[int]) -> str:
        """Turn an answer's tokens into text, without control tokens."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True)).strip()

    @cached_property
    def turns(self) -> Turns:
        """The chat template's words around what is said."""
        template = self.tokenizer.chat_template or _TEMPLATE
        said = [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": _HERE}]},
            {"role": "assistant", "content": [{"type": "text", "text": _HERE}]},
            {"role": "user", "content": [{"type": "text", "text": _HERE}]},
        ]
        text = str(
            self.tokenizer.apply_chat_template(
                said, chat_template=template, tokenize=False, add_generation_prompt=True
            )
        )
        pieces = text.split(_HERE)
        if len(pieces) != 4 or pieces[0].count("<|image|>") != 1:
            raise CheckpointError(
                "the checkpoint's chat template does not keep one picture and the texts in order"
            )
        opening, before_text = pieces[0].split("<|image|>")
        if pieces[1] != pieces[3]:
            # The last piece is the generation prompt; a template must open turns alike.
            raise CheckpointError("the checkpoint's chat template opens turns in two ways")
        return Turns(opening, before_text, to_assistant=pieces[3], to_user=pieces[2])

    def _name(self, writer: TokenWriter, number: int) -> None:
        """Write an object's name: a token, or plain words beyond the checkpoint's prompts."""
        if number < len(self.prompt_ids):
            writer.control([self.prompt_ids[number]])
        else:
            writer.plain(f"<Prompt{number}>")

    def question_ids(
        self, parts: Sequence[QuestionPart], prompt: RegionPrompt, *, first: bool = True
    ) -> list[int]:
        """Return a question's tokens, from the end of what is before it to the answer's start.

        Args:
            parts: The question.
            prompt: The prompt it is asked about.
            first: Whether it follows the prompt itself, or an earlier answer.

        Raises:
            PromptError: If it mentions an object that is not in the prompt.
        """
        writer = TokenWriter(self)
        if not first:
            writer.control(self.encode_control(self.turns.to_user))
        elif prompt.slots and not self._inline(prompt.slots, prompt.described):
            writer.plain("\n\n")
        self._write_parts(writer, parts, prompt)
        writer.control(self.encode_control(self.turns.to_assistant))
        return writer.ids

    def _write_parts(
        self, writer: TokenWriter, parts: Sequence[QuestionPart], prompt: RegionPrompt
    ) -> None:
        numbers = {slot.object_id: slot.number for slot in prompt.slots}
        for part in _trimmed(parts):
            if not isinstance(part, ObjectMention):
                writer.plain(part)
            elif part.object_id in numbers:
                self._name(writer, numbers[part.object_id])
            else:
                raise PromptError(
                    f"the text mentions <{part.object_id}>, but the objects here are "
                    f"{', '.join(f'<{i}>' for i in numbers) or 'none'}"
                )

    def answer_ids(self, parts: Sequence[QuestionPart], prompt: RegionPrompt) -> list[int]:
        """Return the tokens of a given answer, its stop token included.

        Args:
            parts: The answer's words and the objects it mentions.
            prompt: The prompt it belongs to.
        """
        writer = TokenWriter(self)
        self._write_parts(writer, parts, prompt)
        writer.control([self.stop_ids[0]])
        return writer.ids

    def letter_ids(self, count: int) -> list[int]:
        """Return the first tokens of the answers A, B, C …, as this tokenizer writes them.

        Raises:
            CheckpointError: If two letters begin with the same token.
        """
        ids = [self.encode_plain(LETTERS[n])[0] for n in range(count)]
        if len(set(ids)) != count:
            raise CheckpointError(
                "the tokenizer does not tell option letters apart; choose by text instead"
            )
        return ids

    def _inline(self, slots: Sequence[RegionSlot], described: bool) -> bool:
        """Whether the question follows the only object's tokens without a break.

        GAR's training data writes descriptions so; questions that name their object always have
        the form for several, also with one.
        """
        always = self.config.single_object_questions == "inline"
        return len(slots) == 1 and (described or always)

    def preamble_length(self, numbers: Sequence[int], described: bool = False) -> int:
        """Return the tokens before the question, frames and regions not counted.

        Args:
            numbers: Prompt numbers of the objects.
            described: Whether the only object is to be described.
        """
        writer = TokenWriter(self)
        writer.control(self.encode_control(self.turns.opening + self.turns.before_text))
        if numbers:
            slots = [RegionSlot(0, number, ()) for number in numbers]
            self.write_preamble(writer, slots, False, described)
        return len(writer.ids)

    def write_preamble(
        self,
        writer: TokenWriter,
        slots: Sequence[RegionSlot],
        is_image: bool,
        described: bool = False,
    ) -> list[range]:
        """Introduce the objects in the words of GAR's training data; return the replayed places."""
        spans = []
        writer.plain("There are some objects I am curious about: ")
        for slot in slots:
            self._name(writer, slot.number)
            writer.plain(";" if self._inline(slots, described) else "; ")
        for slot in slots:
            writer.plain("\n")
            self._name(writer, slot.number)
            writer.plain(": ")
            for frame, rle in enumerate(slot.masks):
                if rle is not None:
                    token = self._placeholder(is_image, slot.number, frame)
                    spans.append(writer.placeholders(token, self.config.tokens_per_tile))
        return spans

    def _placeholder(self, is_image: bool, number: int, frame: int) -> int:
        if is_image:
            known = self.config.crop_tokens_ids
            return known[number] if number < len(known) else self._frame_ids[-1]
        return self._frame_ids[min(frame, len(self._frame_ids) - 1)]


class TokenWriter:
    r"""Token ids in the making; plain text between control tokens is tokenised in one piece.

    Tokenising ``"; "`` and then ``"\n"`` gives other tokens than ``"; \n"``.
    """

    def __init__(self, words: PromptWords) -> None:
        self._words = words
        self._ids: list[int] = []
        self._text = ""

    def plain(self, text: str) -> None:
        """Append words that somebody typed, or our own."""
        self._text += text

    def control(self, ids: Sequence[int]) -> None:
        """Append finished tokens."""
        self._flush()
        self._ids += ids

    def placeholders(self, token_id: int, count: int) -> range:
        """Append one token many times; return the places."""
        self._flush()
        start = len(self._ids)
        self._ids += [token_id] * count
        return range(start, start + count)

    def _flush(self) -> None:
        self._ids += self._words.encode_plain(self._text)
        self._text = ""

    @property
    def ids(self) -> list[int]:
        """All tokens so far."""
        self._flush()
        return self._ids


def _trimmed(parts: Sequence[QuestionPart]) -> list[QuestionPart]:
    """Cut white space off both ends of a question."""
    trimmed = list(parts)
    if trimmed and isinstance(trimmed[0], str):
        trimmed[0] = trimmed[0].lstrip()
    if trimmed and isinstance(trimmed[-1], str):
        trimmed[-1] = trimmed[-1].rstrip()
    return trimmed
