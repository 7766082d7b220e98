"""`virc train --stage rl --probe` with the real verl on `tiny`."""

import json
from pathlib import Path

import pytest
from support import workspaces

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]


def test_two_steps_are_measured_beside_the_estimate_and_leave_no_run(tmp_path: Path) -> None:
    workspaces.synth(tmp_path, 8, "rl")
    chosen = workspaces.sets({"n": 4, "devices": 1})
    done = workspaces.run(tmp_path, "train", "tiny", "--stage", "rl", "--from", "tiny", "--probe", "--json", *chosen)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["rows_a_step"] == 1
    assert said["seconds_a_step"] > 0
    assert said["gib"] == pytest.approx(said["estimated_gib"], rel=0.4)
    assert not (tmp_path / "runs").exists()
