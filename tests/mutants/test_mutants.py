"""The planted faults fit the code as it is, and a sample of them is seen."""

import ast
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from mutants import run

FAULTS = run.read()


@cache
def text_of(file: str) -> str:
    """The text of a file of this repository."""
    return (run.ROOT / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("room", sorted({fault.room for fault in FAULTS}))
def test_faults_of_a_room_can_be_planted_and_name_tests(room: str) -> None:
    for fault in (fault for fault in FAULTS if fault.room == room):
        assert run.planted(fault, text_of(fault.file)) != text_of(fault.file), fault.name
        for test in fault.tests:
            file, _, name = test.partition("::")
            assert (run.ROOT / file).exists(), test
            assert name.partition("[")[0] in text_of(file) if name else True, test


@pytest.mark.integration
@pytest.mark.parametrize("room", sorted({fault.room for fault in FAULTS}))
def test_what_is_planted_is_python(room: str) -> None:
    for fault in (fault for fault in FAULTS if fault.room == room and fault.file.endswith(".py")):
        ast.parse(run.planted(fault, text_of(fault.file)), fault.name)


def test_names_of_faults_are_their_own() -> None:
    assert [name for name, count in Counter(fault.name for fault in FAULTS).items() if count > 1] == []


@pytest.mark.slow
@pytest.mark.timeout(1200)  # it plants and runs twenty, two at a time, beside other tests
def test_a_sample_of_faults_is_seen() -> None:
    command = [sys.executable, Path(run.__file__), "--sample", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.integration
@pytest.mark.parametrize(("instead", "seen"), [("1", True), ("2  # as before", False)])
def test_a_fault_is_seen_where_a_test_fails(tmp_path: Path, instead: str, seen: bool) -> None:
    (tmp_path / "two.py").write_text("TWO = 2\n")
    (tmp_path / "test_two.py").write_text("from two import TWO\n\n\ndef test_two() -> None:\n    assert TWO == 2\n")
    assert run.is_seen(tmp_path, run.Fault("two", "two.py", "2", instead, "sums are wrong", ("test_two.py",))) == seen
    assert (tmp_path / "two.py").read_text() == "TWO = 2\n"
