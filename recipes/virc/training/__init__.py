"""Trains stages: checks rows and machine, begins runs, follows and resumes them. `train` does all of it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from virc.training.api import train

__all__ = ["train"]


def __getattr__(name: str) -> Any:
    """Import `train` on use: the engines' interpreters import parts of this package, and lack what it needs."""
    if name == "train":
        from virc.training.api import train

        return train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
