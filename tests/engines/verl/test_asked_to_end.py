"""The engine's process says by its exit code that it was asked to end; Ray would make 1 of it."""

import signal
from pathlib import Path

import pytest
from rl_engine import child

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def test_the_exit_code_is_that_of_the_signal(tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text("trainer:\n  nnodes: 1\n")
    assert child("asked_child.py", file) == 128 + signal.SIGTERM
