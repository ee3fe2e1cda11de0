"""One step's loss: the whole model on packed rows, answers only through the head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from gar_video.model import GARModel
from gar_video.train.recipe.rows import Batch


class TrainingStep(nn.Module):
    """Computes a batch's summed loss; what is wrapped where several devices train together.

    Args:
        model: The model, in training mode.
        checkpointing: Recompute the activations of every block in the backward pass.
    """

    def __init__(self, model: GARModel, checkpointing: bool = False) -> None:
        super().__init__()
        self.model = model
        if checkpointing:
            enable_checkpointing(model.language_model)
            model.mllm.model.vision_tower.timm_model.set_grad_checkpointing(True)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Run a batch.

        Args:
            batch: Rows of prompts and threads.

        Returns:
            The sum of weighted losses, and ``[A]`` bool: whether every token of each answer is the
            likeliest one given the true tokens before it.
        """
        model = self.model
        embeds = model.embed(batch.inputs)  # [B, L, D]
        hidden = model.language_model(
            inputs_embeds=embeds,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            use_cache=False,
        ).last_hidden_state  # [B, L, D]
        # Only what predicts answers goes through the head: its output is the vocabulary wide.
        logits = model.mllm.lm_head(hidden.flatten(0, 1)[batch.places])  # [M, V]
        losses = F.cross_entropy(logits.float(), batch.labels, reduction="none")
        wrong = torch.zeros(len(batch.kinds), device=losses.device).index_add_(
            0, batch.owners, (logits.detach().argmax(1) != batch.labels).float()
        )
        return (losses * batch.weights).sum(), wrong == 0


def enable_checkpointing(decoder: nn.Module) -> None:
    """Recompute the decoder's layers, by whichever name this transformers calls it."""
    newer = getattr(decoder, "activation_checkpointing_enable", None)
    enable = newer or decoder.gradient_checkpointing_enable
    enable({"use_reentrant": False})
