"""What each function that reads a server's texts and counts promises, at its bounds."""

import math

import pytest

from virc.backends.openai.received.texts import Text
from virc.backends.openai.received.usage import Usage, usage

SHORT, LONG = "012345678901234", "0123456789012345"  # 15 and 16 characters: too few, and enough, to be sure


@pytest.mark.parametrize(
    ("pieces", "said", "whole", "doubtful"),
    [
        (["4", "42"], ["4", "2"], "42", True),
        (["4", "42", "427"], ["4", "2", "7"], "427", False),
        (["4", "42", "7"], ["4", "2", "7"], "4427", False),
        (["4", "4"], ["4", "4"], "44", True),
        ([LONG, f"{LONG}g"], [LONG, "g"], f"{LONG}g", False),
        ([SHORT, f"{SHORT}g", "h"], [SHORT, "g", "h"], f"{SHORT}{SHORT}gh", False),
        (["ha", "ha", "haha"], ["ha", "ha", ""], "haha", True),
    ],
)
def test_a_piece_goes_on_or_says_all_again(pieces: list[str], said: list[str], whole: str, doubtful: bool) -> None:
    text, never = Text(), Text(may_repeat=False)
    assert [text.add(piece) for piece in pieces] == said
    assert (text.whole, text.is_doubtful) == (whole, doubtful)
    assert [never.add(piece) for piece in pieces] == pieces
    assert (never.whole, never.is_doubtful, never.size) == ("".join(pieces), False, sum(map(len, pieces)))


BEGUN, TURN = "<|channel|>analysis<|message|>", "<|start|>assistant"


@pytest.mark.parametrize(
    ("said", "read"),
    [
        *((value, 7) for value in (7.9, "7.0")),
        (1, 1),
        (2**40, 2**40),
        *((value, None) for value in (0, True, "many", math.nan, 2**40 + 1)),
        (10**400, None),  # too large for a number with a fraction
    ],
)
def test_what_is_no_count_is_not_counted(said: object, read: int | None) -> None:
    assert usage({"prompt_tokens": said, "completion_tokens": said}, Usage()) == Usage(read, read)
    assert usage({"prompt_tokens": said, "completion_tokens": said}, Usage(3, 4, 5)) == Usage(read or 3, read or 4, 5)


def test_what_came_from_a_cache_is_counted_once() -> None:
    kinds = {"cache_read_input_tokens": 80, "cached_tokens": 70, "cache_creation_input_tokens": 5}
    assert usage({"input_tokens": 9, **kinds}, Usage()) == Usage(9, None, 85)
    assert usage({"input_tokens": 9, "input_tokens_details": kinds}, Usage()) == Usage(9, None, 85)
    assert usage([9], Usage(3, 4, 5)) == Usage(3, 4, 5)
    counted = [(None, 0), (None, 80), (20, 80), (79, 80), (80, 80), (81, 80), (20, 0)]
    assert [Usage(read, None, cached).prompt for read, cached in counted] == [None, 80, 100, 159, 80, 81, 20]
