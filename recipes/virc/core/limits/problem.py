"""What one problem may hold: as much as leaves memory for others at the same time."""

from collections.abc import Sequence

from virc.core.errors import DataError, UsageError

MAX_IMAGES = 16
MAX_PARTS = 128
"""Most pictures of a problem, with those of its clips and documents."""


def check_problem(sources: Sequence[object], question: object) -> None:
    """Refuse a problem that is too large or asks nothing.

    Raises:
        UsageError: the question is no text.
        DataError: over `MAX_IMAGES` images, or an empty question.
    """
    if len(sources) > MAX_IMAGES:
        raise DataError(f"{len(sources)} images are too many for one problem, which has at most {MAX_IMAGES}")
    if not isinstance(question, str):
        raise UsageError(f"the question is of type {type(question).__name__}, not str")
    if not question.strip():
        raise DataError("the question is empty")


def check_parts(count: int) -> None:
    """Refuse a problem whose clips and documents have too many pictures together. Raises DataError."""
    if count > MAX_PARTS:
        sentence = f"the clips and documents have {count} pictures together, over {MAX_PARTS}"
        raise DataError(sentence, "--frames and --page show fewer")
