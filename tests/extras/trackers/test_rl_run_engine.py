"""A run of verl with a tracker: rollouts of its steps and validations are there with pictures."""

import subprocess
from pathlib import Path

import pytest
from support import workspaces
from support.engine_python import interpreter

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

TAGS = (
    "import sys; from tensorboard.backend.event_processing.event_accumulator import EventAccumulator as Events; "
    "found = Events(sys.argv[1]); found.Reload(); print(*sorted(found.Tags()['images']))"
)


def test_a_run_shows_rollouts_of_its_steps_and_validations(tmp_path: Path) -> None:
    workspaces.synth(tmp_path, 6, "prompts")
    rows = "data/polygons/prompts.parquet"
    settings = {"steps": 1, "train_batch_size": 2, "ppo_mini_batch_size": 2, "n": 2, "rollouts": 1, "test_freq": 1,
                "validate_first": "false", "validation": rows, "trackers": "[tensorboard]"}  # fmt: skip
    words = ("--from", "tiny", "--with", "multi-turn", "--data", rows, "--name", "seen")
    run = workspaces.trained(tmp_path, "tiny", "rl", *words, **settings)
    done = subprocess.run([interpreter("rl"), "-c", TAGS, run / "tensorboard"], capture_output=True, text=True)
    counts = {"train": 4, "val": 6}
    assert done.stdout.split() == [f"{part}/rollouts/{at}" for part in counts for at in range(1, counts[part] + 1)]
