"""Words and numbers in sentences, and seeds."""

import pytest

from virc.core import text
from virc.core.errors import DataError, NetworkError, UsageError, VircError, as_virc_error, error_of, fields_of
from virc.core.events import Event, Reporter
from virc.core.limits.problem import MAX_IMAGES, MAX_QUESTION, check_problem
from virc.core.seeds import derived


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 bytes"), (999, "999 bytes"), (1_000, "1 KB"), (1_234_567, "1.235 MB"), (7.5e9, "7.5 GB")]
)
def test_bytes_are_in_the_unit_that_fits(count: float, said: str) -> None:
    assert text.sized(count) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (119, "119 s"), (120, "2 min"), (3_540, "59 min"), (3_600, "1 h 0 min"), (9_000, "2 h 30 min"),
     (100_000, "27 h 47 min"), (200_000, "2 d 7 h")],
)  # fmt: skip
def test_times_are_in_the_units_that_fit(seconds: float, said: str) -> None:
    assert text.duration(seconds) == said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("No such thing."), "no such thing"), (ValueError("JSON is bad"), "JSON is bad"),
        (OSError(2, "No such file", "/home/somebody"), "no such file"), (ValueError(), "ValueError"),
        (ValueError("a\x1b[31m\nb\u202ec"), "a [31m b c"), (ValueError("x" * 999), "x" * 200 + "…"),
        (ValueError("x" * 200), "x" * 200),
    ],
)  # fmt: skip
def test_an_error_becomes_a_clause(error: Exception, said: str) -> None:
    assert text.clause(error) == said


def test_one_thing_has_no_plural() -> None:
    assert [text.counted(count, "row") for count in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]


@pytest.mark.parametrize(
    ("word", "otherwise", "said"),
    [
        ("solv", None, "did you mean 'solve'?"),
        ("SOLVE", None, "did you mean 'solve'?"),
        ("grpo", None, "did you mean 'GRPO'?"),
        ("zzz", None, "there are GRPO, batch, solve"),
        ("zzz", "look", "look"),
    ],
)
def test_a_wrong_word_gets_the_nearest_or_all(word: str, otherwise: str | None, said: str) -> None:
    assert text.did_you_mean(word, {"solve", "batch", "GRPO"}, otherwise) == said


def test_seeds_differ_by_every_part_and_are_the_same_everywhere() -> None:
    seeds = [derived(7, 1, 11), derived(7, 11, 1), derived(71, 11), derived(7), derived(7, "é\ud800")]
    assert seeds[:2] == [0x74312B27, 0xAB5EDABA % 2**31]  # printf '7 1 11' | sha256sum | cut -c1-8
    assert len(set(seeds)) == 5
    assert all(0 <= seed < 2**31 for seed in map(derived, range(200)))


@pytest.mark.parametrize(
    "error", [DataError("wrong", "mend it"), NetworkError("down"), UsageError("typed"), VircError("x")]
)
def test_an_error_is_the_same_in_another_process(error: VircError) -> None:
    there = error_of(fields_of(error))
    assert (type(there), there.message, there.hint, there.code) == (type(error), error.message, error.hint, error.code)


def test_a_failure_is_a_warning_with_its_hint_and_a_fault_of_ours_says_so() -> None:
    events: list[Event] = []
    report = Reporter(events.append)
    report.failure(DataError("wrong", "mend it"), "row 3: ")
    report.failure(KeyError("x"))
    assert events == [Event("warning", "row 3: wrong", "mend it"), Event("warning", "internal: KeyError: 'x'")]
    assert as_virc_error(KeyError("x"), "tell us").hint == "tell us"


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
