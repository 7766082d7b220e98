"""Each test here runs on the CPU with networks of few layers, and with the mark `gpu` on an accelerator in real sizes.

Nothing is needed but torch, transformers, pytest and what virc itself depends on.
"""

import gc
import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
NONE_HERE = "no accelerator: torch finds no CUDA device here"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs an accelerator where there is none, all of it for one reason."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip(NONE_HERE)


@pytest.fixture(autouse=True)
def _of_this_room(one_thread: None) -> None:
    """All tests here do their small sums on one thread."""


@pytest.fixture
def gpu_memory() -> Iterator[None]:
    """Free the GPU of what earlier tests left, and lift again what the test limits."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    yield
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
