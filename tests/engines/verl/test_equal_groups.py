"""Groups that never differ end a run, where verl would draw for ever."""

import pytest
from rl_engine import child

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def test_drawing_for_groups_that_differ_has_an_end_for_each_step() -> None:
    assert child("equal_child.py")["said"] == (
        "dynamic_sampling found too few groups for step 2: in each of 41 others all replies have the same reward"
    )


def test_rollouts_of_a_group_that_was_left_out_are_not_learnt_from() -> None:
    found = child("equal_child.py")
    prompts = ("second", "first", "third", "fourth")
    assert (
        found["kept"] == found["with equal ones"] == [f"{prompt}_0_{number}" for prompt in prompts for number in (0, 1)]
    )
