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


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int]) -> None:
    import torch

    from tiny.muon import orthogonal

    torch.manual_seed(1)
    matrix = torch.randn(shape) * 1e-3
    found = orthogonal(matrix)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    assert found.shape == matrix.shape
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5
    assert values.max() < 1.5
    turned = left.T @ found @ right.T
    assert (turned - turned.diagonal().diag()).abs().max() < 1e-3


def test_weights_without_a_gradient_stay() -> None:
    import torch

    from tiny.muon import Muon

    weight = torch.nn.Parameter(torch.ones(4, 4))
    Muon([weight], lr=1.0, weight_decay=0.5).step()
    assert torch.equal(weight, torch.ones(4, 4))


def test_a_gradient_of_zero_decays_the_weights_and_nothing_else() -> None:
    import torch

    from tiny.muon import Muon

    weight = torch.nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.zeros(4, 4)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(weight, torch.full((4, 4), 0.95))
