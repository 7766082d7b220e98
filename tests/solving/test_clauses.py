"""What others said becomes a part of our sentence."""

import pytest

from virc.core.text import clause, plain


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("Something broke."), "something broke"),
        (ValueError("JSON is malformed: byte 3"), "JSON is malformed: byte 3"),
        (PermissionError(13, "Permission denied", "a"), "permission denied"),
        (ValueError("one\n two\x1b[31m"), "one two [31m"),
        (ZeroDivisionError(), "ZeroDivisionError"),
    ],
)
def test_a_reason_begins_small_unless_it_is_an_acronym(error: Exception, said: str) -> None:
    assert clause(error) == said


def test_foreign_text_is_one_bounded_line() -> None:
    assert plain("a\r\nb\u202ec. ") == "a b c"
    assert plain("x" * 1000, 10) == "x" * 10 + "…"
