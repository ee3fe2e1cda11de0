"""Losses that teach nano SAM 2 what belongs together and what a prompt means."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional


class Grouping(torch.nn.Module):
    """Teaches directly what belongs together, and what a prompt means, each by itself.

    Used in training only. Every pixel gets a code from the encoder's feature maps; pixels of one
    object are to have one code, and the decoder's object pointer is to name the code of the
    prompted object. Through the masks alone both are learned far more slowly.

    Args:
        channels: Of the three feature maps together.
        pointer: Width of an object pointer.
        width: Of the code that each pixel gets.
    """

    def __init__(self, channels: int, pointer: int, width: int = 16) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Conv2d(channels, 64, 1), torch.nn.GELU(), torch.nn.Conv2d(64, width, 1)
        )
        self.point = torch.nn.Linear(pointer, width)
        self.bias = torch.nn.Parameter(torch.tensor(2.0))
        self.scale = torch.nn.Parameter(torch.tensor(0.5))

    def codes(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return codes ``[B, width, h, w]`` of feature maps ``[B, C, h, w]``, the largest first.

        They have the second map's size; on the largest's they would cost a fifth of a step.
        """
        size = maps[1].shape[-2:]
        # Normalised, or the maps would grow without end to put codes further apart.
        even = [functional.layer_norm(m, m.shape[1:]) for m in maps]
        finest = functional.adaptive_avg_pool2d(even[0], size)
        coarsest = functional.interpolate(even[2], size=size, mode="bilinear")
        return self.net(torch.cat([finest, even[1], coarsest], dim=1))

    def forward(
        self,
        codes: torch.Tensor,
        index: torch.Tensor,
        masks: torch.Tensor,
        pointers: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both losses: of codes (dice and cross entropy) and of pointers (1 - cosine).

        Args:
            codes: Of the images, ``[B, width, h, w]``.
            index: Image of each object in each frame, ``[T, O]``.
            masks: ``[T, O, S, S]`` bool.
            pointers: Object pointers ``[T, O, C]``; without them their loss is 0.
        """
        codes = codes[index.flatten()]
        share = functional.adaptive_avg_pool2d(
            masks.flatten(0, 1)[:, None].float(), codes.shape[-2:]
        )[:, 0]
        seen = share.flatten(1).sum(1) > 2
        codes, share = codes[seen], share[seen]
        pointing = codes.new_zeros(())
        if len(codes) == 0:
            return codes.sum(), pointing
        weight = share / share.flatten(1).sum(1)[:, None, None]
        middle = (codes * weight[:, None]).flatten(2).sum(2)
        if pointers is not None:
            # The codes are the goal here, not to be moved towards what pointers name so far; and
            # only their direction counts, which keeps the loss bounded.
            goal = middle.detach() - middle.detach().mean(dim=0)
            named = self.point(pointers.flatten(0, 1)[seen])
            pointing = (1 - functional.cosine_similarity(named, goal)).mean()
        return _near_the_middle(codes, share, middle, self.bias, 1.3), pointing

    def apart(self, pixels: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Return the loss of the decoder's own pixel embeddings, one map an object.

        A mask is the product of these with what the decoder makes of the prompt. Neither learns
        while the other does not tell things apart, so this one is taught to.

        Args:
            pixels: ``[O, C, h, w]``.
            masks: ``[O, S, S]`` bool.
        """
        share = functional.adaptive_avg_pool2d(masks[:, None].float(), pixels.shape[-2:])[:, 0]
        seen = share.flatten(1).sum(1) > 2
        pixels, share = pixels[seen], share[seen]
        if len(pixels) == 0:
            return pixels.sum()
        weight = share / share.flatten(1).sum(1)[:, None, None]
        middle = (pixels * weight[:, None]).flatten(2).sum(2)
        scale = functional.softplus(self.scale)
        return _near_the_middle(pixels, share, middle, self.bias, scale)


def _near_the_middle(
    codes: torch.Tensor,
    share: torch.Tensor,
    middle: torch.Tensor,
    bias: torch.Tensor,
    scale: float | torch.Tensor,
) -> torch.Tensor:
    """Return dice and cross entropy of "this pixel's code is near the object's middle one"."""
    logits = bias - scale * (codes - middle[..., None, None]).square().sum(1)
    guess = logits.sigmoid()
    overlap = 2 * (guess * share).flatten(1).sum(1) + 1
    dice = 1 - overlap / ((guess + share).flatten(1).sum(1) + 1)
    return dice.mean() + 5 * functional.binary_cross_entropy_with_logits(logits, share)
