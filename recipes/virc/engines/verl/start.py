"""The engine's process: verl 0.9.1 on settings from a file, and an end that leaves nothing of Ray behind.

`python -m virc.engines.verl.start FILE.yaml`, in the engine's environment. The file has nested
keys of verl's (`verl.config`). Where RAY_ADDRESS names a cluster, that is used and outlives the run.
"""

import hashlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from virc.core import entry_points
from virc.core.credentials import is_secret
from virc.core.errors import SetupError
from virc.core.orphans import adopt_orphans, end_with_parent
from virc.engines.verl import private
from virc.engines.verl.cause import TRAINER, ended_by_deaths, last_cause

_OF_A_START = (private.RAY_FOLDER, "num_cpus", "num_gpus", "include_dashboard", "object_store_memory", "resources")
_FOR_WORKERS = ("VERL_", "VIRC_", "VLLM_", "HF_H", "TRANSFORMERS_", "WANDB_", "MLFLOW_", "_MLFLOW_",
                "SWANLAB_", "TENSORBOARD_", "TRACKIO_", "OMP_", "PYTHON", "DO_NOT_TRACK")  # fmt: skip
_GRACE = 10.0  # seconds
_CODES: list[int] = []
"""The exit code, after a signal: Ray, while it waits, makes 1 of every other."""


def run(config: Any, folder: str) -> None:
    import ray  # type: ignore[import-not-found]
    from verl.trainer.main_ppo import run_ppo  # type: ignore[import-not-found]
    from verl.trainer.ppo.utils import need_critic, need_reference_policy  # type: ignore[import-not-found]
    from verl.utils.config import validate_config  # type: ignore[import-not-found]
    from verl.utils.device import auto_set_device  # type: ignore[import-not-found]

    from virc.engines.verl.runner import Runner

    auto_set_device(config)
    validate_config(config, need_reference_policy(config), need_critic(config))
    ray.init(**ray_arguments(config, folder))  # verl would print the variables for workers, keys among them
    _heed_signals()  # Ray has taken SIGTERM
    with ended_by_deaths():
        run_ppo(config, ray.remote(Runner).options(name=TRAINER))


def ray_arguments(config: Any, folder: str) -> dict[str, Any]:
    """What `ray.init` is given: verl's own settings, to start Ray here or to join the cluster of RAY_ADDRESS.

    The name of `folder` must be short, since the path of a socket has at most 107 bytes.
    """
    from omegaconf import OmegaConf  # type: ignore[import-not-found]
    from verl.trainer.constants_ppo import get_ppo_ray_runtime_env  # type: ignore[import-not-found]

    runtime = get_ppo_ray_runtime_env(config)
    arguments = OmegaConf.to_container(config.ray_kwargs.ray_init, resolve=True)
    own = arguments.pop("runtime_env", {})
    if joins():
        arguments = {key: value for key, value in arguments.items() if key not in _OF_A_START}
        for key, value in os.environ.items():
            if key.startswith(_FOR_WORKERS) and not is_secret(key):  # Ray shows what it is given
                runtime["env_vars"][key] = value
    else:  # workers inherit the environment
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # Ray would keep one in the user's home
        os.environ.setdefault(
            "TQ_NUM_THREADS", str(min(8, int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)))
        )  # TransferQueue warns at every call of more
        arguments |= {private.RAY_FOLDER: folder, "include_dashboard": False}
    variables = runtime["env_vars"] | (own.get("env_vars") or {})
    return {**arguments, "runtime_env": {**runtime, **own, "env_vars": variables}}


def folder_prefix() -> str:
    """How the folders of Ray's files begin in this run, for those to find who clear up after a kill."""
    run = hashlib.blake2s(os.environ.get("VIRC_RUN", "").encode()).hexdigest()
    return f"virc-ray-{run[:8]}-"


def joins() -> bool:
    return bool(os.environ.get("RAY_ADDRESS"))


def stop_ray(folder: str) -> None:
    """Leave the cluster; if it was started here, end its processes and remove its files."""
    import psutil  # type: ignore[import-untyped, import-not-found, unused-ignore]
    import ray

    ray.shutdown()
    if not joins():
        left = psutil.Process().children(recursive=True)  # what Ray's own end has orphaned is among them
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, _GRACE)
    shutil.rmtree(folder, ignore_errors=True)


def _heed_signals(heed: bool = True) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave if heed else signal.SIG_IGN)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    _heed_signals(False)  # one is enough
    _CODES.append(128 + number)
    sys.exit(128 + number)


def _plug_in_platform() -> None:
    """Have verl import, in each of its processes, the module for its platform that an extra has; on GPUs it has none.

    Raises:
        SetupError: there is no accelerator, and no such extra.
    """
    if name := os.environ.get("VERL_PLATFORM"):
        module = entry_points.own("virc.hooks").get(f"platforms.{name}")
        if module is None:
            raise SetupError(f"verl does not run on the platform {name}: the extra for it is not installed")
        os.environ["VERL_USE_EXTERNAL_MODULES"] += f",{module}"


def main(file: str) -> int:
    end_with_parent()
    adopt_orphans()
    _heed_signals()
    folder = tempfile.mkdtemp(prefix=folder_prefix(), dir="/tmp")
    message = None
    try:
        _plug_in_platform()
        from virc.engines.verl.config import composed

        run(composed(Path(file)), folder)
    except SystemExit:
        if not _CODES:
            raise
        return _CODES[0]
    except Exception as error:
        traceback.print_exc()
        message = f"virc: {last_cause(error)}"
    finally:
        _heed_signals(False)  # it is ending
        stop_ray(folder)
    if message:  # last of all, after what Ray still passes on from other processes
        print(message, file=sys.stderr, flush=True)
    return int(message is not None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
