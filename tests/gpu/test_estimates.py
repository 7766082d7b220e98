"""The estimate of a training stage, held against the memory of steps in plain torch.

On the CPU tensors are counted: of steps on text in the real width with two layers, and with an image in a small model.
tests/training/test_estimate.py measures steps on pairs; here the same code measures a GPU.
"""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from support import sized

WITHIN = 0.15
TEXT = ("full, checkpointing", "full", "LoRA, checkpointing", "LoRA")
IMAGE = ("full with the vision tower, checkpointing", "full with the vision tower")
MODELS = (sized.NAMES[0], sized.NAMES[2])


def cases() -> Iterator[Any]:
    """Model, kind of step and device."""
    for name in MODELS:
        for case in TEXT:
            yield pytest.param(name, case, "cpu", marks=pytest.mark.integration)
        for case in IMAGE:
            yield pytest.param(name, case, "cpu", marks=pytest.mark.slow)
        for case in (*TEXT, *IMAGE):
            yield pytest.param(name, case, "cuda", marks=pytest.mark.gpu)


@pytest.mark.usefixtures("gpu_memory")
@pytest.mark.parametrize(("name", "case", "device"), list(cases()))
def test_a_step_holds_what_is_estimated(name: str, case: str, device: str) -> None:
    from support import training_memory

    from benchmarks.gpu_memory import fitting

    changes = training_memory.CASES[case]
    if device == "cpu" and case in IMAGE:
        config = training_memory.settings(**changes)
        step = training_memory.Step(sized.fields(name, scaled=True), config, 256, 16, device)
    else:
        step = fitting(name, changes, 2048, device, 2 if device == "cpu" else None)
    rows = {row.part: row for row in training_memory.measured(step)}
    for part in training_memory.STATE:
        assert rows[part].estimated == pytest.approx(rows[part].measured, rel=0.01)
    for part in ("all that a pass adds", "peak"):
        assert rows[part].estimated == pytest.approx(rows[part].measured, rel=WITHIN), part
    gc.collect()
