"""What one problem may hold: no more than leaves memory for the others that are in work beside it."""

from collections.abc import Sequence

from virc.core.errors import DataError

MOST_IMAGES = 16
MOST_QUESTION = 2**20
"""Bytes of UTF-8."""


def check_problem(sources: Sequence[str], question: str) -> None:
    """Refuse a problem that is too large or asks nothing.

    Raises:
        DataError: over `MOST_IMAGES` images, or a question that is empty or over `MOST_QUESTION`.
    """
    if len(sources) > MOST_IMAGES:
        raise DataError(f"{len(sources)} images are too many for one problem, which has at most {MOST_IMAGES}")
    if not question.strip():
        raise DataError("the question is empty")
    if len(question.encode(errors="surrogatepass")) > MOST_QUESTION:
        raise DataError(f"the question is over {MOST_QUESTION >> 20} MiB")
