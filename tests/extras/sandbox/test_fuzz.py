"""Random hostile programs: nothing gets out, and the process that runs them goes on."""

import pytest
from fuzzed_programs import run


@pytest.mark.integration
def test_hundreds_of_random_programs_stay_inside() -> None:
    ends = run(300, seed=1)
    assert ends.total() == 300
    assert ends["a result"] > 20
    assert ends["an error"] > 50


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_thousands_of_random_programs_stay_inside() -> None:
    assert run(2_000, seed=3).total() == 2_000
