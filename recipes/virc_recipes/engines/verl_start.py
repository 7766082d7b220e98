"""The engine's process: verl 0.9.1 on settings from a file, and an end that leaves nothing of Ray behind.

`python -m virc_recipes.engines.verl_start FILE.yaml`, in the engine's environment. The file maps keys of verl's
`ppo_trainer` to values, nested or joined by dots; a key that is not there yet has a `+` before it, as Hydra writes it.
Where RAY_ADDRESS names a cluster, that is used and outlives the run.
"""

import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import psutil  # type: ignore[import-untyped, import-not-found, unused-ignore]
import yaml

from virc_recipes.orphans import adopt_orphans, end_with_parent

_ADDED = "+"
_OWN_CLUSTER = ("_temp_dir", "num_cpus", "num_gpus", "include_dashboard", "object_store_memory", "resources")
_TO_WORKERS = ("VERL_", "VIRC_", "VLLM_", "HF_", "TRANSFORMERS_", "OMP_", "WANDB_", "MLFLOW_", "TENSORBOARD_",
               "PYTHONPATH", "PYTHONUNBUFFERED", "DO_NOT_TRACK", "RAY_DEDUP_LOGS", "TOKENIZERS_")  # fmt: skip
_GRACE = 10.0  # seconds


def flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Keys joined by dots, and their values; an empty mapping is a value."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def composed(settings: Mapping[str, Any]) -> Any:
    """verl's own configuration with these settings in it.

    Raises:
        ValueError: a key is unknown, or has a `+` and is there already.
    """
    from hydra import compose, initialize_config_module  # type: ignore[import-not-found]
    from omegaconf import DictConfig, OmegaConf  # type: ignore[import-not-found]

    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer")
    for name, value in flat(settings):
        key = name.removeprefix(_ADDED)
        around, _, last = key.rpartition(".")
        inside = OmegaConf.select(config, around) if around else config
        known = isinstance(inside, DictConfig) and last in inside.keys()  # noqa: SIM118: `in` is false of ???
        if known is (key != name):
            sentence = "is there already: take its + away" if known else "is no key of verl 0.9.1"
            raise ValueError(f"{key} {sentence}")
        OmegaConf.update(config, key, value, force_add=not known)
    return config


def run(config: Any) -> None:
    """Train.

    Raises:
        Exception: whatever stopped it, of verl or of Ray.
    """
    from verl.trainer.main_ppo import TaskRunnerV1, run_ppo  # type: ignore[import-not-found]
    from verl.trainer.ppo.utils import need_critic, need_reference_policy  # type: ignore[import-not-found]
    from verl.utils.config import validate_config  # type: ignore[import-not-found]
    from verl.utils.device import auto_set_device  # type: ignore[import-not-found]

    auto_set_device(config)
    validate_config(config, need_reference_policy(config), need_critic(config))
    run_ppo(config, TaskRunnerV1)


def for_ray(config: Any, folder: str) -> None:
    """Say how Ray is started, or that it runs.

    Args:
        folder: for its files; its name must be short, since the paths of sockets hold 107 bytes.
    """
    from omegaconf import open_dict

    with open_dict(config):
        init = config.ray_kwargs.ray_init
        if os.environ.get("RAY_ADDRESS"):
            for key in _OWN_CLUSTER:
                init.pop(key, None)
            variables = {key: value for key, value in os.environ.items() if key.startswith(_TO_WORKERS)}
            init.runtime_env.env_vars = variables | dict(init.runtime_env.get("env_vars") or {})
        else:
            init._temp_dir = folder
            init.include_dashboard = False


def cause(error: BaseException) -> str:
    """The error that others were raised for, in one line; Ray's carry that of another process."""
    while (inner := getattr(error, "cause", None) or error.__cause__) is not None:
        error = inner
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"


def stop_ray(folder: str) -> None:
    """End Ray, where this process has started it, and remove its files."""
    import ray  # type: ignore[import-not-found]

    ray.shutdown()
    if not os.environ.get("RAY_ADDRESS"):
        _end(psutil.Process().children(recursive=True))
    shutil.rmtree(folder, ignore_errors=True)


def _end(processes: Sequence[psutil.Process]) -> None:
    """Kill what is left; those that Ray has started are this process's once their own parent has ended."""
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, _GRACE)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # one is enough
    sys.exit(128 + number)


def main(file: str) -> int:
    """Train on the settings of a file.

    Returns:
        The exit code.
    """
    end_with_parent()
    adopt_orphans()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    folder = tempfile.mkdtemp(prefix="virc-ray-", dir="/tmp")
    try:
        config = composed(yaml.safe_load(Path(file).read_text(encoding="utf-8")))
        for_ray(config, folder)
        run(config)
    except Exception as error:
        traceback.print_exc()
        sys.stdout.flush()
        print(f"virc: {cause(error)}", file=sys.stderr, flush=True)
        return 1
    finally:
        stop_ray(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
