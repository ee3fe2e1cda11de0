"""``--engine vllm``: our encoder and replay make the prompt, vLLM runs the language model.

vLLM gets embeddings in place of tokens (``enable_prompt_embeds``) and pages, batches and shards as
it does for any Llama. Scoring of options stays with the pipeline's own decoder.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from gar_video.devices import memory_guard
from gar_video.encoding import Encoded
from gar_video.errors import GARVideoError
from gar_video.generation import PrefixCache
from gar_video.llm_export import export_language_model
from gar_video.pipeline import GARVideo
from gar_video.prompt import RegionPrompt
from gar_video.server.engine import Asked, LocalEngine
from gar_video.server.row import Row, TokenChance


@dataclass(frozen=True, eq=False)
class Embedded(Encoded):
    """A prompt whose embeddings are held, beside keys and values once options were scored on it.

    Attributes:
        embeds: ``[L, D]``.
        made: Whether the keys and values are there.
    """

    embeds: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    made: threading.Event = field(default_factory=threading.Event)


class VllmEngine(LocalEngine):
    """Runs the language model in vLLM.

    Args:
        gar: The model; its encoder makes the prompts.
        make: Makes vLLM's ``LLM`` of a folder with the language model; vLLM's own by default.
        share: Share of the accelerator's memory that vLLM may take.

    Raises:
        GARVideoError: If vLLM is not installed.
    """

    def __init__(
        self, gar: GARVideo, make: Callable[..., Any] | None = None, share: float = 0.6
    ) -> None:
        super().__init__(gar)
        sampling: Any = dict
        if make is None:
            try:
                from vllm import LLM, SamplingParams
            except ImportError:
                raise GARVideoError(
                    "--engine vllm needs vLLM, which needs a GPU; install it with pip install "
                    "'gar-video[vllm]', or use --engine local"
                ) from None
            make, sampling = LLM, SamplingParams
        self._sampling = sampling
        self._folder = tempfile.TemporaryDirectory(prefix="gar-video-llm-")
        folder = export_language_model(gar, Path(self._folder.name) / "llm")
        self._llm = make(
            model=str(folder),
            enable_prompt_embeds=True,
            enable_prefix_caching=True,
            max_model_len=gar.processor.context_length,
            gpu_memory_utilization=share,
            dtype=str(gar.model.floating_dtype).removeprefix("torch."),
            max_logprobs=20,
        )

    @torch.inference_mode()
    def encode(self, prompt: RegionPrompt) -> Embedded:
        """Embed a clip with its objects; the language model is not run.

        Raises:
            DeviceError: If memory runs out.
        """
        model = self.gar.model
        with memory_guard(f"encoding {len(prompt.frames)} frames"):
            table = model.get_input_embeddings()
            inputs = self.gar.processor(prompt).to(table.weight.device, model.floating_dtype)
            embeds = model.embed(inputs)[0]
        slim = RegionPrompt(
            prompt.frames[:, :1, :1], prompt.slots, prompt.is_image, prompt.described
        )
        cache = PrefixCache(model.config.mllm_config.text_config.num_hidden_layers)
        return Embedded(slim, cache, embeds)

    @torch.inference_mode()
    def answer(self, encoded: Encoded, rows: Sequence[Row]) -> None:
        """Generate answers; vLLM batches them with whatever else it runs.

        Raises:
            DeviceError: If memory runs out.
        """
        assert isinstance(encoded, Embedded)
        table = self.gar.model.get_input_embeddings()
        device = table.weight.device
        prompts = []
        for row in rows:
            words = table(torch.tensor(list(row.suffix), device=device))
            prompts.append({"prompt_embeds": torch.cat([encoded.embeds, words]).cpu()})
        with memory_guard(f"answering {len(rows)} questions"):
            outputs = self._llm.generate(
                prompts, [self._params(row) for row in rows], use_tqdm=False
            )
        for row, output in zip(rows, outputs, strict=True):
            said = output.outputs[0]
            for place, token in enumerate(said.token_ids):
                if row.wish.top_logprobs is not None and said.logprobs:
                    row.chances.append(_chance(token, said.logprobs[place], row.wish.top_logprobs))
                row.take(int(token))
            row.finish("length" if said.finish_reason == "length" else "stop")

    def _params(self, row: Row) -> Any:
        wish = row.wish
        return self._sampling(
            max_tokens=wish.max_tokens,
            temperature=wish.temperature,
            top_p=wish.top_p,
            seed=wish.seed,
            stop_token_ids=sorted(row.stop_ids),
            logprobs=wish.top_logprobs,
            detokenize=False,  # stop texts are looked for here
        )

    def score(self, encoded: Encoded, questions: Sequence[Asked], by: str) -> list[torch.Tensor]:
        """Score options with the pipeline's own decoder.

        Raises:
            DeviceError: If memory runs out.
        """
        assert isinstance(encoded, Embedded)
        if not encoded.made.is_set():
            filled = self.decoder.prefill(encoded.embeds[None])
            encoded.cache.layers[:] = filled.layers
            encoded.made.set()
        return super().score(encoded, questions, by)

    def size(self, encoded: Encoded) -> int:
        """Return the bytes of embeddings, and of keys and values if they are there."""
        assert isinstance(encoded, Embedded)
        held = encoded.cache.num_bytes if encoded.made.is_set() else 0
        return int(encoded.embeds.nbytes) + held

    def length(self, encoded: Encoded) -> int:
        """Return the tokens of an embedded clip."""
        assert isinstance(encoded, Embedded)
        return len(encoded.embeds)


def _chance(token: int, at: Any, most: int) -> TokenChance:
    """Read vLLM's log-probabilities of one place: token id to an object that has ``logprob``."""
    ordered = sorted(((int(i), float(one.logprob)) for i, one in at.items()), key=lambda p: -p[1])
    own = next((logprob for i, logprob in ordered if i == token), float("-inf"))
    return TokenChance(int(token), own, tuple(ordered[:most]))
