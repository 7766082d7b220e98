"""What virc mends in verl, with its mends and without: where verl alone does it right, a mend can go."""

import pytest
from rl_engine import CPU, TINY, child

from virc.engines.verl import plan as verl

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def test_places_of_tokens_of_sequences_of_one_length_come_apart() -> None:
    found = child("positions_child.py")
    assert len(found) == 10
    assert set(found.values()) == {"same"}, found
    alone = child("positions_child.py", VERL_USE_EXTERNAL_MODULES=CPU)
    assert alone["differ"] == "same"
    assert "split_with_sizes" in alone["equal"]


def test_logits_of_text_alone_are_those_of_the_plain_model() -> None:
    found = child("text_alone_child.py", TINY, verl.MODEL_LIB)
    assert found["text"] < 1e-5, found
    assert found["picture"] < 1e-5, found
    alone = child("text_alone_child.py", TINY)
    assert "mean" in str(alone["text"]), alone
    assert alone["picture"] < 1e-5, alone


def test_drawing_for_groups_that_differ_has_an_end_and_leaves_the_others_out() -> None:
    found = child("equal_child.py")
    assert found["said"] == (
        "dynamic_sampling found too few groups for step 2: in each of 41 others all replies have the same reward"
    )
    prompts = ("second", "first", "third", "fourth")
    wanted = [f"{prompt}_0_{number}" for prompt in prompts for number in (0, 1)]
    assert found["kept"] == found["with equal ones"] == wanted
