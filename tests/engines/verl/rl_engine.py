"""verl in its own environment, as `virc train` starts it, on settings made by hand."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from support.engine_python import code, interpreter

import virc
from virc.engines import environment as engines
from virc.engines.verl.plan import PLUG_IN

RECIPES = Path(virc.__file__).parents[1]
TINY = RECIPES / "virc" / "models" / "tiny"
HERE = Path(__file__).parent
CPU = "virc_extras.rl_cpu.platform_cpu"
PLATFORM = {"VERL_PLATFORM": "cpu", "VERL_ENGINE_DEVICE": "cuda", "VERL_USE_EXTERNAL_MODULES": f"{PLUG_IN},{CPU}"}
_PATIENCE = 600.0  # seconds


def environment(**more: str) -> dict[str, str]:
    """Variables of the engine's process, on a machine without an accelerator."""
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("VERL_", "RAY_", "VIRC_"))}
    return {
        **outside,
        **engines.environment(code()),
        **PLATFORM,
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_worker_niceness": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
        **more,
    }


def child(script: str | Path, *words: object, **more: str) -> Any:
    """What a script prints, as JSON, in the engine's interpreter; its name alone is of one beside this file."""
    argv = [str(interpreter("rl")), str(HERE / script), *map(str, words)]
    done = subprocess.run(argv, env=environment(**more), capture_output=True, text=True, timeout=_PATIENCE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
