"""Groups that never differ end a run, where verl would draw for ever."""

import pytest
from rl_engine import child

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def test_drawing_for_groups_that_differ_has_an_end_for_each_step() -> None:
    said = child("equal_child.py")
    assert said == (
        "dynamic_sampling found too few groups for step 2: in each of 41 others all replies have the same reward"
    )
