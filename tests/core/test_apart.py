from pathlib import Path

import pytest
from support.apart import files_of

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("count", [1, 3, 9])
def test_every_test_file_belongs_to_one_process_of_the_suite(count: int) -> None:
    parts = [files_of(TESTS, number, count) for number in range(count)]
    assert sorted(file for part in parts for file in part) == sorted(TESTS.rglob("test_*.py"))
    sizes = [sum(file.stat().st_size for file in part) for part in parts]
    assert max(sizes) < 1.1 * min(sizes)
