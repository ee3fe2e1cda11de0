"""What sam2 computes anew on every frame although its weights alone decide it, kept.

The position embeddings of the trunk and the mask decoder, and the embedding of the prompt that
unprompted frames are given. What is kept is what sam2's own code returned, so that nothing changes
in the results.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch

_MOST = 4  # things kept at a time, per place: sizes of input hardly ever change


class _Kept:
    """A method whose results are kept as long as the weights stay as they are.

    Args:
        method: The module's own.
        weights: What its results depend on.
        key: Arguments to what the results depend on besides, None where they are not to be kept.
    """

    def __init__(
        self,
        method: Callable[..., Any],
        weights: Callable[[], list[torch.Tensor]],
        key: Callable[..., Hashable | None],
    ) -> None:
        self._method, self._weights, self._key = method, weights, key
        self._results: dict[Hashable, Any] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # sam2's predictor infers in inference mode; training goes past.
        wanted = self._key(*args, **kwargs) if torch.is_inference_mode_enabled() else None
        if wanted is None:
            return self._method(*args, **kwargs)
        # A weight's version rises with each change in place.
        state = tuple((weight.data_ptr(), weight._version) for weight in self._weights())
        autocast = torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
        whole = (wanted, autocast, state)
        if whole not in self._results:
            while len(self._results) >= _MOST:
                self._results.pop(next(iter(self._results)))
            self._results[whole] = self._method(*args, **kwargs)
        return self._results[whole]

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        raise TypeError("a predictor in use by Sam2Tracker cannot be copied; copy its weights")


def keep_constants(predictor: Any) -> None:
    """Let a predictor keep what its weights alone decide; doing it twice does no harm."""
    trunk, prompts = predictor.image_encoder.trunk, predictor.sam_prompt_encoder
    if isinstance(vars(trunk).get("_get_pos_embed"), _Kept):
        return
    trunk._get_pos_embed = _Kept(
        trunk._get_pos_embed, lambda: [trunk.pos_embed, trunk.pos_embed_window], tuple
    )
    prompts.get_dense_pe = _Kept(prompts.get_dense_pe, lambda: list(prompts.buffers()), lambda: 0)
    prompts.forward = _Kept(prompts.forward, lambda: list(prompts.parameters()), _no_prompt)


def _no_prompt(points: Any = None, boxes: Any = None, masks: Any = None) -> Hashable | None:
    """Return the batch's size if these are the empty prompt that unprompted frames are given."""
    if points is None or boxes is not None or masks is not None:
        return None
    xy, labels = points
    # On an accelerator, looking would be a round trip dearer than embedding.
    if labels.device.type != "cpu" or labels.shape[1] != 1:
        return None
    return len(labels) if bool((labels == -1).all() and (xy == 0).all()) else None
