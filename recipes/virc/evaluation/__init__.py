"""Benchmarks, scored answers and reports. `evaluate` is the function of the Python API."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from virc.evaluation.api import evaluate

__all__ = ["evaluate"]


def __getattr__(name: str) -> Any:
    """Load the API when it is asked for: a benchmark or its summary needs little of it."""
    if name == "evaluate":
        from virc.evaluation.api import evaluate

        return evaluate
    raise AttributeError(name)
