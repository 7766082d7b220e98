"""The functions of the process that `graders` asks: SymPy reads what models wrote, and may loop."""

import logging
from typing import Any

MAX_BYTES = 2 * 2**30


def equal(answer: str, reference: str) -> bool:
    """Whether mathruler finds an answer equal to the reference; False where it raises."""
    try:
        return bool(_mathruler().grade_answer(answer, reference))
    except Exception:  # whatever a parser meets in such texts, it has not found them equal
        return False


def boxed_equal(text: str, reference: str) -> bool:
    """Whether what mathruler takes from the last box of a text is equal to the reference."""
    return equal(_mathruler().extract_boxed_content(text), reference)


def texts_agree(one: str, other: str) -> bool:
    """Whether math-verify finds the same formula or number in two whole texts; False where it raises."""
    from math_verify import parse, verify  # type: ignore[import-untyped, unused-ignore]

    try:
        # None: its time limits raise, and what they interrupt may catch that
        read = [parse(text, parsing_timeout=None) for text in (one, other)]
        return bool(verify(*read, timeout_seconds=None))
    except Exception:
        return False


def _mathruler() -> Any:
    from mathruler import grader  # type: ignore[import-untyped, unused-ignore]

    return grader


if __name__ == "__main__":  # before the time of the first question begins
    logging.disable(logging.CRITICAL)
    for prepare in (equal, texts_agree):
        try:
            prepare("2(x+1)", "2x+2")
        except ImportError:
            continue
