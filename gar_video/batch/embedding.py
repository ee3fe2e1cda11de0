"""Sentences as vectors, by a checkpoint that the user names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gar_video.errors import CheckpointError

_AT_ONCE = 32


class Embedder:
    """Turns texts into unit vectors: the mean of a sentence model's last states.

    Args:
        name: A folder or a hub name of a checkpoint that ``transformers`` knows by itself, with
            weights as safetensors. Code beside the weights is never run.
        device: Torch's name of a device, or ``"auto"``.

    Raises:
        CheckpointError: If there is none, or it is of another kind.
    """

    def __init__(self, name: str, device: str = "auto") -> None:
        from transformers import AutoModel, AutoTokenizer

        from gar_video.bench.identity import hash_weights
        from gar_video.devices import resolve_device

        self._device = resolve_device(device)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            model = AutoModel.from_pretrained(name, use_safetensors=True, trust_remote_code=False)
        except Exception as error:  # whatever a broken checkpoint makes its readers raise
            text = " ".join(str(error).split())[:300] or type(error).__name__
            raise CheckpointError(
                f"{name!r} is no sentence model that can be used ({text}); expected a checkpoint "
                "of transformers with safetensors and a tokenizer"
            ) from None
        self._model = model.eval().to(self._device)
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.unk_token
        #: Tells this model's vectors from others'.
        self.identity = hash_weights(model)

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return vectors ``(N, D)`` float32 of length 1, in the order of the texts."""
        import torch

        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        limit = min(512, self._tokenizer.model_max_length)
        parts: dict[int, npt.NDArray[np.float32]] = {}
        for start in range(0, len(order), _AT_ONCE):
            places = order[start : start + _AT_ONCE]
            given = self._tokenizer(
                [texts[place] for place in places],
                padding=True, truncation=True, max_length=limit, return_tensors="pt",
            ).to(self._device)  # fmt: skip
            with torch.inference_mode():
                states = self._model(**given).last_hidden_state.float()
            mask = given["attention_mask"].unsqueeze(-1)
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            unit = torch.nn.functional.normalize(mean, dim=-1).cpu().numpy()
            parts.update(zip(places, unit, strict=True))
        return np.stack([parts[place] for place in range(len(texts))]).astype(np.float32)
