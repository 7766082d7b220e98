"""The functions of the process that `grade_answer` asks: SymPy reads what models wrote, and may loop."""

from typing import Any

MAX_BYTES = 2 * 2**30


def equal(answer: str, reference: str) -> bool:
    """Whether mathruler finds an answer equal to the reference; False where it raises."""
    try:
        return bool(_grader().grade_answer(answer, reference))
    except Exception:  # whatever a parser meets in such texts, it has not found them equal
        return False


def boxed_equal(text: str, reference: str) -> bool:
    """Whether what mathruler takes from the last box of a text is equal to the reference."""
    return equal(_grader().extract_boxed_content(text), reference)


def _grader() -> Any:
    from mathruler import grader  # type: ignore[import-untyped, unused-ignore]

    return grader


if __name__ == "__main__":  # before the time of the first question begins
    equal("2(x+1)", "2x+2")
