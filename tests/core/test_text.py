"""Words and numbers in sentences, and seeds."""

import pytest

from virc.core import text
from virc.core.errors import DataError, NetworkError, VircError, error_of, fields_of
from virc.core.limits.problem import MAX_IMAGES, MAX_QUESTION, check_problem
from virc.core.seeds import derived


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("No such thing."), "no such thing"), (ValueError("JSON is bad"), "JSON is bad"),
        (OSError(2, "No such file", "/home/somebody"), "no such file"), (ValueError(), "ValueError"),
        (ValueError("a\x1b[31m\nb\u202ec"), "a [31m b c"), (ValueError("x" * 999), "x" * 200 + "…"),
    ],
)  # fmt: skip
def test_an_error_becomes_a_clause(error: Exception, said: str) -> None:
    assert text.clause(error) == said


def test_seeds_differ_by_every_part_and_are_the_same_everywhere() -> None:
    seeds = [derived(7, 1, 11), derived(7, 11, 1), derived(71, 11), derived(7), derived(7, "é\ud800")]
    assert seeds[:2] == [0x74312B27, 0xAB5EDABA % 2**31]  # printf '7 1 11' | sha256sum | cut -c1-8
    assert len(set(seeds)) == 5
    assert all(0 <= seed < 2**31 for seed in map(derived, range(200)))


@pytest.mark.parametrize("error", [DataError("wrong", "mend it"), NetworkError("down")])
def test_an_error_is_the_same_in_another_process(error: VircError) -> None:
    there = error_of(fields_of(error))
    assert (type(there), there.message, there.hint, there.code) == (type(error), error.message, error.hint, error.code)


def test_each_class_of_errors_has_its_exit_code() -> None:
    expected = {"usage": 2, "config": 3, "environment": 4, "data": 5, "network": 6, "engine": 7, "no_answer": 8}
    codes = {each.kind: each.code for each in VircError.__subclasses__()}
    assert {kind: codes[kind] for kind in expected} == expected


@pytest.mark.parametrize(
    ("images", "question", "says"),
    [
        (MAX_IMAGES, "What?", None), (MAX_IMAGES + 1, "What?", "17 images are too many"), (1, " \n", "is empty"),
        (1, "é" * (MAX_QUESTION // 2), None), (1, "é" * (MAX_QUESTION // 2 + 1), "over 1 MiB"),
        (1, None, "of type NoneType"),
    ],
)  # fmt: skip
def test_a_problem_is_bounded(images: int, question: object, says: str | None) -> None:
    if says is None:
        check_problem([None] * images, question)
    else:
        with pytest.raises(VircError, match=says):
            check_problem([None] * images, question)
