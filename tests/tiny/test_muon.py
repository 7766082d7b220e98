"""Muon without bfloat16 descends as torch's own does."""

import pytest

SHAPES = [(24, 24), (48, 16), (1, 24)]


@pytest.mark.parametrize("shape", SHAPES)
def test_steps_are_those_of_torch_within_the_error_of_bfloat16(shape: tuple[int, int]) -> None:
    import torch

    from tiny.muon import Muon

    torch.manual_seed(0)
    begin, rate = torch.randn(shape), 0.02
    ours, theirs = (torch.nn.Parameter(begin.clone()) for _ in range(2))
    optimizers = (Muon([ours], lr=rate, weight_decay=0.1), torch.optim.Muon([theirs], lr=rate, weight_decay=0.1))
    for _ in range(6):
        gradient = torch.randn(shape)
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    moved = (theirs - begin).norm()
    assert (ours - theirs).norm() < 0.02 * moved
