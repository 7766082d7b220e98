"""A workspace with rows for `tiny`, and `virc` as a process in it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from virc.backends.checkpoint import tensors
from virc.systems import registry as systems

_CPU = (
    "import resource, sys\n"
    "from virc_cli.main import main\n"
    "code = main(sys.argv[2:])\n"
    "used = resource.getrusage(resource.RUSAGE_SELF)\n"
    "open(sys.argv[1], 'w').write(str(used.ru_utime + used.ru_stime))\n"
    "sys.exit(code)\n"
)
_PATIENCE = 1700.0  # seconds


def own_settings(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """No setting or key of this machine's user is seen; what commands of this process set is put back."""
    for name in ("MODEL", "ENDPOINT", "API_KEY", "JUDGE_KEY"):
        patch.delenv(f"VIRC_{name}", raising=False)
    for name in ("OPENAI_API_KEY", "HF_HUB_OFFLINE", "DO_NOT_TRACK"):
        patch.delenv(name, raising=False)
    patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    patch.setenv("VIRC_CONFIG", str(folder / "config.yaml"))
    patch.setenv("HF_HOME", str(folder / "hub"))


def empty_workspace(patch: pytest.MonkeyPatch, folder: Path) -> Path:
    """A working folder without models in which commands run, and no settings."""
    own_settings(patch, folder)
    workspace = folder / "workspace"
    workspace.mkdir()
    patch.chdir(workspace)
    return workspace


def without_cluster(patch: pytest.MonkeyPatch, folder: Path) -> Path:
    """An empty working folder, and a cache without environments; no cluster of Ray is known."""
    patch.setenv("VIRC_CACHE", str(folder / "cache"))
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        patch.delenv(name, raising=False)
    return empty_workspace(patch, folder)


def synth(folder: Path, count: int, formats: str = "sft", *words: str) -> None:
    """Rows of diagrams in `data/polygons` of a workspace."""
    line = ("--to", "data/polygons", "--count", str(count), "--seed", "3", "--formats", formats)
    done = run(folder, "data", "synth", *line, *words)
    assert done.returncode == 0, done.stderr


def run(folder: Path, *words: str, cpu: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run `virc` to its end in a workspace; `cpu` gets the seconds of CPU that it used itself."""
    return subprocess.run(_argv(words, cpu), cwd=folder, env=_env(), capture_output=True, text=True, timeout=_PATIENCE)


def copy_of_tiny(folder: Path, name: str, old: str, new: str) -> Path:
    """The system `tiny` under another name, with one text in the place of another."""
    text = (Path(systems.__file__).parent / "tiny.yaml").read_text()
    assert old in text
    file = folder / f"{name}.yaml"
    file.write_text(text.replace("name: tiny\n", f"name: {name}\n", 1).replace(old, new, 1))
    return file


def trained(folder: Path, system: str, stage: str, *words: str, **settings: object) -> Path:
    """The run of a stage, which is trained to its end in a workspace; it begins when the machine has the memory.

    Other tests train and serve at the same time, and virc begins nothing that does not fit.
    """
    end = time.monotonic() + _PATIENCE / 2
    while True:
        done = run(folder, "train", system, "--stage", stage, *words, *sets(settings))
        if "of main memory, free" not in done.stderr or time.monotonic() > end:
            break
        time.sleep(10)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def sets(settings: Mapping[str, object]) -> list[str]:
    """The words that give a stage its settings."""
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    """Start `virc` in a workspace."""
    return subprocess.Popen(
        _argv(words, None), cwd=folder, env=_env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until_step(
    process: "subprocess.Popen[str]", run_folder: Path, step: int, measure: str = "loss", attempt: int = 1
) -> None:
    """Wait until that attempt at a run, or a later one, has logged a step; it begins with the steps that are saved."""
    end = time.monotonic() + _PATIENCE
    while not (run_folder / "state.json").exists() or state(run_folder)["attempt"] < attempt:
        _still_running(process, end)
    while max(losses(run_folder, measure), default=0) < step:
        _still_running(process, end)


def _still_running(process: "subprocess.Popen[str]", end: float) -> None:
    assert process.poll() is None, process.communicate()[1]
    assert time.monotonic() < end, "it never came so far"
    time.sleep(0.2)


def kill_all(process: "subprocess.Popen[str]", run_folder: Path) -> None:
    """Kill virc and its engine as a power cut would: neither sees the other end."""
    process.send_signal(signal.SIGSTOP)
    os.killpg(state(run_folder)["engine"], signal.SIGKILL)
    process.kill()
    process.communicate()


def losses(run_folder: Path, measure: str = "loss") -> dict[int, float]:
    """The loss, or another measure, of each step in a run's metrics."""
    file = run_folder / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    found: Mapping[int, float] = {}
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # it is just being written
            continue
        if row.get(measure) is not None:
            found = {**found, row["step"]: row[measure]}
    return dict(found)


def state(run_folder: Path) -> dict[str, Any]:
    """The run's state as its file says it."""
    found: dict[str, Any] = json.loads((run_folder / "state.json").read_bytes())
    return found


def _argv(words: tuple[str, ...], cpu: Path | None) -> list[str]:
    return [sys.executable, *(("-c", _CPU, str(cpu)) if cpu else ("-m", "virc_cli")), *words]


def _env() -> dict[str, str]:
    kept = ("VIRC_CACHE", "VIRC_OWN_WORDS", "VIRC_PAGES", "VIRC_PATH", "VIRC_SILENT_MINUTES", "VIRC_TOOL_CONTROLLER")
    return {name: value for name, value in os.environ.items() if not name.startswith("VIRC_") or name in kept}


def weights(run_folder: Path, step: int, name: str = "model.safetensors") -> dict[str, Any]:
    """The tensors of a checkpoint of LLaMA-Factory."""
    from safetensors.torch import load_file

    return dict(load_file(run_folder / "checkpoints" / f"checkpoint-{step}" / name))


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a model's weights."""
    return {name: shape for name, (_, shape, _) in tensors(folder / "model.safetensors").items()}


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two sets of tensors are equal, bit by bit."""
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)
