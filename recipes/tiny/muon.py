"""Muon in the precision of its gradients (Jordan et al., 2024, "Muon: An optimizer for hidden layers").

`torch.optim.Muon` orthogonalises in bfloat16, which a CPU without such arithmetic emulates: at this model's size its
step took 1.49 s, this one .075 s, next to 1.4 s for the gradients of 16 trajectories.
"""

from collections.abc import Iterable
from typing import Any

import torch

_QUINTIC = (3.4445, -4.7750, 2.0315)  # coefficients of the published iteration
_STEPS = 5
_MOMENTUM = 0.95


class Muon(torch.optim.Optimizer):
    """Gradient descent along orthogonalised momentum, for matrices.

    Args:
        weights: matrices.
        lr: times sqrt(rows / columns) where there are more rows.
        weight_decay: decoupled.
    """

    def __init__(self, weights: Iterable[Any], lr: float, weight_decay: float) -> None:
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step; weights without a gradient do not change."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"]
                momentum.lerp_(weight.grad, 1 - _MOMENTUM)
                along = orthogonal(weight.grad.lerp(momentum, _MOMENTUM))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(along, alpha=-group["lr"] * max(1, weight.shape[0] / weight.shape[1]) ** 0.5)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """About the nearest matrix with singular values of 1 (they come out between .5 and 1.5), by Newton-Schulz."""
    first, third, fifth = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    found = matrix.T if tall else matrix
    found = found / found.norm().clamp(min=1e-7)
    for _ in range(_STEPS):
        gram = found @ found.T
        found = torch.addmm(found, torch.addmm(gram, gram, gram, beta=third, alpha=fifth), found, beta=first)
    return found.T if tall else found
