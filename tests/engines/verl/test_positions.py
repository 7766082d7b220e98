"""Places of tokens come apart into those of their sequences, of one length or not (`verl_positions`)."""

import pytest
from rl_engine import child

from virc.engines.verl import plan as verl

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def test_sequences_of_one_length_come_apart() -> None:
    found = child("positions_child.py")
    assert len(found) == 10
    assert set(found.values()) == {"same"}, found


def test_verl_itself_cannot_take_them_apart() -> None:
    """Else the module, and every place that names it, can go."""
    found = child("positions_child.py", VERL_USE_EXTERNAL_MODULES=verl.PLUG_INS_CPU.removeprefix(f"{verl.PLUG_IN},"))
    assert found["differ"] == "same"
    assert "split_with_sizes" in found["equal"]
