"""Stock models behind common servers: each way in which they speak ends in the right answer, or in an exact error.

The model of these servers looks at the pixels that it is sent (see `server`), so that a right answer means that the
picture, the unit of the box, the call and the crop were all understood. Where a name alone says what the model is, one
request more asks how it counts boxes.
"""

from pathlib import Path

import pytest
from asked import ask
from cases import Case, cases
from speeches import LOOKING, READING

CASES = cases()
"""Every dialect, each way that it is sent."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_dialect_ends_in_the_right_answer(case: Case, picture: Path, photo: Path) -> None:
    asked = ask(case.scene, photo if case.picture == "photo" else picture, *case.words)
    assert not asked.faults, asked.faults
    assert (asked.done.code, asked.done.out) == (0, "73\n"), asked.done.err
    assert len(asked.turns) == 2, f"{len(asked.turns)} replies for two turns: {asked.done.err}"
    if case.scene.speech.thinks:
        assert LOOKING in asked.errors
        assert READING in asked.errors
