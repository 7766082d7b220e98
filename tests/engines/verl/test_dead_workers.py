"""A worker of Ray's that dies while the trainer waits for it ends the run, and is named; verl would wait for ever."""

import re
from pathlib import Path

import pytest
from rl_engine import child

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


@pytest.mark.parametrize(("name", "called"), [("SimpleStorageUnit", "queue's storage"), ("Other", "Other")])
def test_a_run_that_waits_for_a_dead_worker_ends(name: str, called: str, tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text("trainer:\n  nnodes: 1\n")
    found = child("died_child.py", file, name)
    assert found["code"] == 1
    assert re.fullmatch(rf"virc: EngineError: its {called} died \(process \d+ on [\d.]+\)", found["last"])
