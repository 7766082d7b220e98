"""The repetition test gives the verdict of the published regular expression."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from virc.reasoning.repetition import repeats


def published(text: str, times: int) -> bool:
    return re.search(rf"(.+?)\1{{{times - 1}}}", text) is not None


@st.composite
def nearly_repeating(draw: st.DrawFn) -> tuple[str, int]:
    """Texts over a small alphabet that hold some word about as often as the limit."""
    times = draw(st.integers(2, 9))
    alphabet = draw(st.sampled_from(["ab", "abc", "a\n", "ab\r\x85"]))
    short, word = st.text(alphabet, max_size=12), draw(st.text(alphabet, min_size=1, max_size=9))
    count = times + draw(st.integers(-1, 1))
    return draw(short) + word * count + word[: draw(st.integers(0, 8))] + draw(short), times


@given(nearly_repeating())
@example(("a" * 7, 8))
@example(("a" * 8, 8))
@example(("ab" * 4 + "\n" + "ab" * 4, 8))
@example((" " * 8, 8))
def test_the_verdict_is_that_of_the_regular_expression(case: tuple[str, int]) -> None:
    text, times = case
    assert repeats(text, times) == published(text, times)


@pytest.mark.integration
def test_hostile_texts_without_repetition_stay_cheap() -> None:
    """Each is answered in well under a second; a quadratic algorithm would meet the suite's time limit."""
    nested, letter = "a", ord("b")
    while len(nested) < 100_000:
        nested, letter = nested * 7 + chr(letter), letter + 1
    one, two = "a", "ab"
    while len(two) < 100_000:
        one, two = two, two + one
    for text in (nested[:100_000], two[:200_000]):
        assert not repeats(text, 8)
