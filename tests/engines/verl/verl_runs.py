"""Runs of verl on settings made by hand: what they log, and what they leave behind."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from rl_engine import HERE, TINY, environment
from support.engine_python import interpreter

FP32 = {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}
EQUAL = 2e-5
"""How far probabilities of sampled ids differ at most between rollout and trainer, computed from the same weights."""
_ENGINE = {"strategy": "fsdp2", "fsdp_config": {"use_torch_compile": False, "mixed_precision": FP32}}
_NUMBER = re.compile(r"(\S+):(?:np\.\w+\()?(-?[\d.]+(?:e-?\d+)?)")
_LIMIT = 480.0  # seconds; a rollout with stale weights or a dead worker would wait for ever


class Ended(NamedTuple):
    """A run that is over."""

    code: int
    log: str
    checkpoints: Path

    @property
    def steps(self) -> dict[int, dict[str, float]]:
        """What was logged of each step."""
        lines = (line for line in self.log.splitlines() if re.search(r"\bstep:\d+ - ", line))
        logged = [{name: float(number) for name, number in _NUMBER.findall(line)} for line in lines]
        return {int(each["step"]): each for each in logged}


def settings(folder: Path, data: Path, rollout: str) -> dict[str, Any]:
    """Keys of a run of two steps on `tiny`, with rollouts by transformers.

    Args:
        folder: of the run.
        data: with `prompts.parquet` and `rl.parquet`.
        rollout: `multi_turn` or `per_cru`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    agent = {
        "name": "virc",
        "_target_": "virc.engines.verl.agent.VircLoop",
        "protocol": str(TINY / "virc_protocol.json"),
        "folder": str(data),
        "rollout": rollout,
        "max_turns": 6,
    }
    (folder / "agents.yaml").write_text(json.dumps([agent]))
    rows = str(data / ("prompts.parquet" if rollout == "multi_turn" else "rl.parquet"))
    room = 640 if rollout == "multi_turn" else 96
    sizes = {"train_batch_size": 2, "max_prompt_length": 1024, "max_response_length": room}
    return {
        "algorithm": {"adv_estimator": "grpo"},
        "data": {
            "train_files": rows,
            "val_files": rows,
            "val_max_samples": 2,
            "dataloader_num_workers": 0,
            "filter_overlong_prompts": False,
            "return_raw_chat": True,
            **sizes,
        },
        "actor_rollout_ref": {
            "model": {
                "path": str(TINY),
                "use_remove_padding": False,
                "enable_gradient_checkpointing": False,
                "override_config": {"attn_implementation": "sdpa"},
            },
            "actor": {**_ENGINE, "optim": {"lr": 1e-4}, "ppo_mini_batch_size": 2, "ppo_micro_batch_size_per_gpu": 4},
            "ref": {**_ENGINE, "log_prob_micro_batch_size_per_gpu": 8},
            "rollout": {
                "name": "virc",
                "n": 4,
                "temperature": 1.5,  # so warm that replies differ, and not so warm that they cannot be read
                "tensor_model_parallel_size": 1,
                "dtype": "float32",
                "free_cache_engine": False,
                "calculate_log_probs": True,
                "log_prob_micro_batch_size_per_gpu": 8,
                "val_kwargs": {"temperature": 0, "n": 1},
                "agent": {
                    "num_workers": 1,
                    "default_agent_loop": "virc",
                    "agent_loop_config_path": str(folder / "agents.yaml"),
                },
            },
        },
        "reward": {
            "num_workers": 1,
            "custom_reward_function": {"path": str(HERE / "rl_rewards.py"), "name": "compute_score"},
        },
        "trainer": {
            "device": "cpu",
            "n_gpus_per_node": 1,
            "nnodes": 1,
            "logger": ["console"],
            "val_before_train": False,
            "save_freq": 1,
            "total_training_steps": 2,
            "resume_mode": "disable",
            "default_local_dir": str(folder / "checkpoints"),
            "v1": {
                "sampler": {
                    "custom_sampler": {"path": "pkg://virc.engines.verl.agent_failures", "name": "Strict"},
                    "sampler_kwargs": {"poll_interval": 0.1},
                }
            },
        },
        "transfer_queue": {"backend": {"SimpleStorage": {"num_data_storage_units": 1}}},
        "ray_kwargs": {"ray_init": {"num_cpus": 6, "num_gpus": 1}},
    }


def changed(config: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """The settings with others in some places, whose names have `__` for dots."""
    for name, value in keys.items():
        *path, last = name.split("__")
        inside = config
        for key in path:
            inside = inside.setdefault(key, {})
        inside[last] = value
    return config


class Started:
    """verl on these settings, as the child of a process that can be killed.

    Args:
        folder: of the run; its log lies there.
        config: verl's keys.
        variables: of its environment.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], **variables: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file, self._log = folder / "engine.yaml", folder / "log"
        file.write_text(json.dumps(config))  # which is YAML
        self._checkpoints = folder / "checkpoints"
        self.mark = f"{folder}-{uuid.uuid4()}"
        argv = [str(interpreter("rl")), "-m", "virc.engines.verl.start", str(file)]
        parent = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
        with self._log.open("wb") as log:
            self.parent = subprocess.Popen(
                [sys.executable, "-c", parent, *argv],
                env=environment(VIRC_RUN=self.mark, **variables),
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
            )

    @property
    def log(self) -> str:
        """What it has printed, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self._log.read_text(errors="replace"))

    def ended(self) -> Ended:
        """Wait for its end."""
        return Ended(self.parent.wait(_LIMIT), self.log, self._checkpoints)

    def until(self, line: str) -> None:
        """Wait until a text is printed."""
        wait_for(lambda: line in self.log or self.parent.poll() is not None)
        assert line in self.log, self.log[-3000:]

    def left(self) -> list[str]:
        """Commands of its processes that run, wherever they hang."""
        return [command for pid, command in processes() if self.mark.encode() in environ(pid)]

    def folders(self) -> list[Path]:
        """Folders of Ray that it has left."""
        return ray_folders(self.mark)


def kill_worker(mark: str, name: str) -> int:
    """Kill one of Ray's processes of a run by the name of its class; returns its id."""
    titles = {pid: command for pid, command in processes() if mark.encode() in environ(pid)}
    found = [pid for pid, title in titles.items() if re.match(rf"ray::{name}\b", title)]
    assert len(found) == 1, titles
    os.kill(found[0], signal.SIGKILL)
    return found[0]


def ray_folders(mark: str) -> list[Path]:
    """Folders of Ray of a run whose VIRC_RUN says so."""
    number = hashlib.blake2s(mark.encode()).hexdigest()[:8]
    return list(Path("/tmp").glob(f"virc-ray-{number}-*"))


def processes() -> Iterator[tuple[int, str]]:
    """The id and the command of every process that is no zombie."""
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if command:
                yield int(place.name), command


def environ(pid: int) -> bytes:
    """The environment that a process began with; empty where it is over, or another's."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""


def wait_for(done: Callable[[], bool]) -> None:
    """Look every half second."""
    end = time.monotonic() + _LIMIT
    while not done():
        assert time.monotonic() < end
        time.sleep(0.5)
