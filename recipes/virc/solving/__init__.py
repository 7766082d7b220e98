"""One problem or many: rows in, answers and traces out. `solve` is the function of the Python API."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from virc.solving.api import Solution, solve

__all__ = ["Solution", "solve"]


def __getattr__(name: str) -> Any:
    """Load the API when it is asked for: most callers need single modules."""
    if name in __all__:
        from virc.solving import api

        return getattr(api, name)
    raise AttributeError(name)
