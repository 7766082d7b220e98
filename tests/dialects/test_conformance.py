"""Stock models behind common servers: each way in which they speak ends in the right answer, or in an exact error.

The model of these servers looks at the pixels that it is sent (see `server`), so that a right answer means that the
picture, the unit of the box, the call and the crop were all understood. Where a name alone says what the model is, one
request more asks how it counts boxes.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from asked import Asked, ask
from cases import Case, cases
from speeches import LOOKING, READING

pytestmark = pytest.mark.integration

CASES = cases()
"""Every dialect, each way that it is sent."""

_LEAST_CASES, _LEAST_SHARE = 45, 38 / 40

Run = Callable[[Case], Asked]


@pytest.fixture(scope="module")
def outcome(picture: Path, photo: Path) -> Run:
    """Ask a case once; what came of it is kept for the table."""

    @cache
    def of(name: str) -> Asked:
        case = next(case for case in CASES if case.name == name)
        return ask(case.scene, photo if case.picture == "photo" else picture, *case.words)

    return lambda case: of(case.name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_dialect_ends_in_the_right_answer(case: Case, outcome: Run) -> None:
    asked = outcome(case)
    assert not asked.faults, asked.faults
    assert (asked.done.code, asked.done.out) == (0, "73\n"), asked.done.err
    assert len(asked.turns) == 2, f"{len(asked.turns)} replies for two turns: {asked.done.err}"
    if case.scene.speech.thinks:
        assert LOOKING in asked.errors
        assert READING in asked.errors


def test_nearly_all_dialects_end_right_and_none_silently_wrong(outcome: Run) -> None:
    asked = {case.name: outcome(case) for case in CASES}
    wrong = {name: each.done for name, each in asked.items() if not each.is_right}
    silent = [name for name, each in asked.items() if each.is_silently_wrong]
    assert len(asked) >= _LEAST_CASES
    assert not silent
    assert len(asked) - len(wrong) >= _LEAST_SHARE * len(asked), "\n".join(wrong)
    assert {done.code for done in wrong.values()} <= {3, 6, 7, 8}
