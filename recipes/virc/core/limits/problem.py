"""What one problem may hold: as much as leaves memory for others at the same time."""

from collections.abc import Sequence

from virc.core.errors import DataError, UsageError

MAX_IMAGES = 128


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
