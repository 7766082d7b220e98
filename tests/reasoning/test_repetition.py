"""The repetition test gives the verdict of the published regular expression."""

import re
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.tables import each_case

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


@each_case("times", [2, 3, 4])
def test_every_short_text_has_the_published_verdict(times: int) -> None:
    for length in range(12):
        for letters in product("ab", repeat=length):
            text = "".join(letters)
            assert repeats(text, times) == published(text, times), text


@each_case("period", [1, 2, 3, 7, 8, 50, 499, 500])
def test_long_words_are_found_wherever_they_start(period: int) -> None:
    word = "".join(chr(0x4E00 + at) for at in range(period))
    assert not repeats("x" + word * 7 + word[:-1], 8)
    assert not repeats(word * 4 + "\n" + word * 4, 8)
    for before in ("", "x", "x" * 5 + "y" * 5 + "z", word[1:]):
        assert repeats(before + word * 8, 8)
        assert repeats("first line\n" + before + word * 8 + "end", 8)


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
