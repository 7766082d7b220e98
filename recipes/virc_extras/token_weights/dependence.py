"""How much tokens depend on pictures, and what follows from it for their advantages; all in torch.

Tensors of tokens have the shape (replies, longest reply); `mask` is 1 where the model drew the token.
"""

import torch
from torch import Tensor

_MOST_NATS, _MOST = 20.0, 10.0  # that a log-probability may change by, and a dependence be
_ALIKE = 1e-6


def dependence(seen: Tensor, blind: Tensor) -> Tensor:
    """Estimate of the distance of each token's distribution from the one without the picture, 0 to 10.

    Args:
        seen, blind: log-probabilities of the tokens with their pictures, and with pictures that are partly black.
    """
    change = (blind - seen).clamp(-_MOST_NATS, _MOST_NATS)
    return (change.exp() - change - 1).clamp(0, _MOST)


def most_dependent(dependences: Tensor, mask: Tensor, share: float) -> Tensor:
    """1 for that share of each reply's tokens that depend most, rounded up; 0 for others."""
    drawn = mask.bool()
    wanted = (drawn.sum(1) * share).ceil()
    order = dependences.masked_fill(~drawn, -torch.inf).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(mask.shape[1]).expand_as(order)
    chosen = torch.zeros_like(drawn).scatter_(1, order, places < wanted[:, None])
    return (chosen & drawn).to(dependences.dtype)


def scales(dependences: Tensor, mask: Tensor, least: float) -> Tensor:
    """What each reply's advantage is multiplied by: `least` for the least dependent one of the batch, in the mean 1."""
    counts = mask.sum(1)
    means = (dependences * mask).sum(1) / counts.clamp(min=1)
    found, there = torch.ones_like(means), counts > 0
    if not there.any():
        return found
    low, high = means[there].min(), means[there].max()
    if high - low > _ALIKE:
        between = (means[there] - low) / (high - low)
        found[there] = least + between * (1 - least) / (between.mean() + 1e-8)
    return found


def blackened(patches: Tensor, black: Tensor, share: float, drawn: torch.Generator) -> Tensor:
    """Pictures of which that share of patches is black, drawn anew for each.

    Args:
        patches: (patches, channels * pixels of each), normalised, one channel after the other.
        black: what black is in each channel, once normalised.
    """
    hidden = torch.rand(len(patches), generator=drawn) < share
    level = black.to(patches.dtype).repeat_interleave(patches.shape[1] // len(black))
    return torch.where(hidden[:, None], level, patches)
