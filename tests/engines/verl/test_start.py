"""The engine's process: what Ray is told at its start, what ends it, and how it says so."""

import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rl_engine import child

from virc.engines.verl.start import ray_arguments


@pytest.mark.parametrize("joins", [True, False])
def test_a_cluster_is_told_of_no_key(joins: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    container = {"num_cpus": 16, "address": None, "runtime_env": {"env_vars": {"OMP_NUM_THREADS": "2"}}}
    own = {"env_vars": {"OMP_NUM_THREADS": "1", "NCCL_DEBUG": "WARN"}}
    for name, fields in {
        "omegaconf": {"OmegaConf": SimpleNamespace(to_container=lambda *_, **__: dict(container))},
        "verl": {},
        "verl.trainer": {},
        "verl.trainer.constants_ppo": {"get_ppo_ray_runtime_env": lambda _: own},
    }.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**fields))
    given = {"VIRC_PATH": "/code", "VIRC_JUDGE_KEY": "sk-1", "WANDB_API_KEY": "sk-2", "WANDB_MODE": "online",
             "TRACKIO_DIR": "/tracked"}  # fmt: skip
    for name, value in {**given, "RAY_ADDRESS": "head:1" if joins else "", "RAY_AUTH_TOKEN": "t"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TQ_NUM_THREADS", "1")
    config: Any = SimpleNamespace(ray_kwargs=SimpleNamespace(ray_init=None))
    variables = {"OMP_NUM_THREADS": "2", "NCCL_DEBUG": "WARN"}  # a user's win
    found = ray_arguments(config, "/tmp/ray")
    told = found.pop("runtime_env")["env_vars"]
    assert not any("sk-" in value for value in told.values())
    if joins:
        assert (
            told.items()
            >= (variables | {"VIRC_PATH": "/code", "WANDB_MODE": "online", "TRACKIO_DIR": "/tracked"}).items()
        )
        assert found == {"address": None}
    else:
        assert told == variables
        assert found == {"num_cpus": 16, "address": None, "_temp_dir": "/tmp/ray", "include_dashboard": False}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "engine.yaml"
    made.write_text("trainer:\n  nnodes: 1\n")
    return made


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_the_exit_code_is_that_of_the_signal(file: Path) -> None:
    """Ray would make 1 of it."""
    assert child("asked_child.py", file) == 128 + signal.SIGTERM


@pytest.mark.engine
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "called"), [("SimpleStorageUnit", "queue's storage"), ("Other", "Other")])
def test_a_run_that_waits_for_a_dead_worker_ends(name: str, called: str, file: Path) -> None:
    """verl would wait for ever."""
    found = child("died_child.py", file, name)
    assert found["code"] == 1
    assert re.fullmatch(rf"virc: EngineError: its {called} died \(process \d+ on [\d.]+\)", found["last"])
