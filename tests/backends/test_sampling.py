from typing import TYPE_CHECKING, Any

import pytest

from virc.backends.interface import Sampling
from virc.backends.sampling import Text, penalised, pick, seeded

if TYPE_CHECKING:
    import torch

VALUES = [0.5, 2.0, -1.0, 1.5, float("-inf")]


def logits() -> "torch.Tensor":
    import torch

    return torch.tensor(VALUES)


def drawn(sampling: Sampling, times: int = 400, seed: int = 0) -> list[int]:
    values, generator = logits(), seeded(seed)
    return [pick(values, sampling, generator) for _ in range(times)]


@pytest.mark.integration
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_ids_are_drawn_in_proportion_to_the_softmax(temperature: float) -> None:
    import torch

    ids = drawn(Sampling(temperature=temperature), 4000)
    shares = torch.bincount(torch.tensor(ids), minlength=5) / len(ids)
    torch.testing.assert_close(shares, (logits() / temperature).softmax(0), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(temperature=3.0), {0, 1, 2, 3}),
        (Sampling(temperature=3.0, top_k=0), {0, 1, 2, 3}),
        (Sampling(temperature=3.0, top_p=0.60), {1, 3}),
        (Sampling(temperature=3.0, top_k=3, top_p=0.85), {1, 3, 0}),
        (Sampling(temperature=3.0, min_p=0.7), {1, 3}),
        (Sampling(temperature=3.0, min_p=1.0), {1}),
    ],
)
def test_top_k_top_p_and_min_p_cut_the_unlikely_off(sampling: Sampling, kept: set[int]) -> None:
    assert set(drawn(sampling)) == kept


def test_a_seed_draws_the_same_again_and_none_draws_by_chance() -> None:
    warm = Sampling(temperature=3.0)
    assert drawn(warm, 30, seed=7) == drawn(warm, 30, seed=7)
    assert drawn(warm, 30, seed=7) != drawn(warm, 30, seed=8)
    assert seeded(None).initial_seed() != seeded(None).initial_seed()


@pytest.mark.parametrize("penalty", [1.05, 0.5])
def test_the_penalty_is_that_of_transformers(penalty: float) -> None:
    import torch
    from transformers import RepetitionPenaltyLogitsProcessor

    generator = seeded(3)
    for _ in range(20):
        scores = torch.randn(300, generator=generator)
        ids = torch.randint(0, 300, (150,), generator=generator)
        expected = RepetitionPenaltyLogitsProcessor(penalty)(ids[None], scores[None].clone())[0]
        assert torch.equal(penalised(scores, ids.tolist(), penalty), expected)


def spoken(words: Any, ids: list[int]) -> tuple[list[str], str]:
    pieces: list[str] = []
    text = Text(words, pieces.append)
    for token in ids:
        text.add(token)
    return pieces, text.finish()


def test_characters_are_passed_on_whole(words: Any) -> None:
    said = "naïve: 数学 🙂 m∠H = 97°"
    ids = words.encode(said, add_special_tokens=False)
    assert len(ids) > len(said)
    pieces, text = spoken(words, ids)
    assert text == "".join(pieces) == said
    assert not any("\ufffd" in piece for piece in pieces)
    assert len(pieces) > 15
