"""The estimate of a conversation in this process, held against the memory that it takes."""

from collections.abc import Iterator
from typing import Any

import pytest
from support import sized

WITHIN = 0.15
ABOVE = 0.2
"""How far the estimate may be over a first turn on a GPU: it counts keys and values of the whole conversation beside
the vision tower, as a later turn with a picture holds them."""


def cases() -> Iterator[Any]:
    """Model, device, type of numbers, side of the image in pixels, words; on the CPU with few layers."""
    for name in sized.NAMES[::2]:
        for dtype in ("float32", "bfloat16"):
            yield pytest.param(name, "cpu", dtype, 252, 1500, marks=pytest.mark.integration)
    for name in sized.NAMES:
        for side, words in ((3000, 100), (400, 12_000)):  # the image takes the most, or the text
            yield pytest.param(name, "cuda", "bfloat16", side, words, marks=pytest.mark.gpu)


@pytest.mark.usefixtures("gpu_memory")
@pytest.mark.parametrize(("name", "device", "dtype", "side", "words"), list(cases()))
def test_a_turn_holds_what_is_estimated(name: str, device: str, dtype: str, side: int, words: int) -> None:
    from support import inference_memory

    found = inference_memory.peak(name, device, dtype, side, words, scaled=device == "cpu")
    assert found.weights[0] == pytest.approx(found.weights[1], rel=0.001)
    print(f"{name} {dtype} {side} {words}: {found.beside[0] / 2**30:.2f} GiB, {found.beside[1] / 2**30:.2f} measured")
    assert 1 - WITHIN <= found.beside[0] / found.beside[1] <= 1 + (ABOVE if device == "cuda" else WITHIN)
