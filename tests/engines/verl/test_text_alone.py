"""Rows without pictures are computed by verl as by the plain model (`virc.engines.verl.external`)."""

import pytest
from rl_engine import TINY, child

from virc.engines.verl.plan import MODEL_LIB

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def test_logits_of_text_alone_are_those_of_the_plain_model() -> None:
    found = child("text_alone_child.py", TINY, MODEL_LIB)
    assert found["text"] < 1e-5, found
    assert found["picture"] < 1e-5, found


def test_verl_itself_ends_on_text_alone() -> None:
    """Else the mend can go."""
    found = child("text_alone_child.py", TINY)
    assert "mean" in str(found["text"]), found
    assert found["picture"] < 1e-5, found
