"""What a machine has: /proc, cgroups, and what nvidia-smi prints."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from virc.core.errors import EngineError, SetupError
from virc.envs import hardware as machine
from virc.envs.hardware import GIB, Gpu

LINES = "NVIDIA H200, 143771, 143161, 570.86.15\nNVIDIA GeForce RTX 4090, 24564, 1024, 550.54\n"
INFO = "MemTotal:       16777216 kB\nMemFree:  1000 kB\nMemAvailable:    8388608 kB\n"


def rooted(tmp_path: Path, files: Mapping[str, str]) -> Path:
    """A file system in a folder."""
    for name, text in {"proc/meminfo": INFO, **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """An nvidia-smi before all others on PATH."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


def test_gpus_are_read_from_the_drivers_own_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "asked"
    answering(tmp_path, monkeypatch, f'echo "$@" > {said}; printf "{LINES}"')
    found = machine.find(tmp_path)
    assert [(gpu.name, gpu.driver) for gpu in found.gpus] == [
        ("NVIDIA H200", "570.86.15"), ("NVIDIA GeForce RTX 4090", "550.54"),
    ]  # fmt: skip
    assert found.gpus[1].gib == pytest.approx(23.99, abs=0.01)
    assert found.gpus[1].free_gib == 1.0
    assert found.trouble is None
    asked = said.read_text().split()
    assert asked == ["--query-gpu=name,memory.total,memory.free,driver_version", "--format=csv,noheader,nounits"]


@pytest.mark.parametrize("script", ["echo No devices were found; exit 6", "echo what", "echo 'x, [N/A], 3, 5'"])
def test_a_program_that_names_no_gpu_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    answering(tmp_path, monkeypatch, script)
    assert machine.find(tmp_path).gpus == ()


def test_without_the_program_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = machine.find(tmp_path)
    assert (found.gpus, found.trouble) == ((), None)


def test_a_gpu_whose_name_holds_a_comma_is_one_gpu() -> None:
    assert machine.read_gpus("Model A, rev 2, 2048, 1024, 1.0\n") == (Gpu("Model A, rev 2", 2.0, 1.0, "1.0"),)


def test_a_loaded_driver_that_does_not_answer_is_said(tmp_path: Path) -> None:
    driver = tmp_path / "version"
    failure = EngineError("could not ask for the GPUs: exit code 9, driver mismatch")
    assert machine.trouble(failure, (), driver) is None
    driver.touch()
    assert "driver mismatch" in str(machine.trouble(failure, (), driver))
    assert "names none" in str(machine.trouble(None, (), driver))
    assert machine.trouble(SetupError("x"), (Gpu("g", 1, 1, "1"),), driver) is None


def test_memory_is_the_machines(tmp_path: Path) -> None:
    found = machine.here(tmp_path, root=rooted(tmp_path, {}))
    assert (found.memory_gib, found.free_gib) == (16, 8)


@pytest.mark.parametrize("line", ["0::/job/step", "4:memory:/job/step", "5:cpu,memory:/job/step"])
def test_the_narrowest_cgroup_counts(tmp_path: Path, line: str) -> None:
    one = line.startswith("0")
    top = "sys/fs/cgroup" if one else "sys/fs/cgroup/memory"
    limit, used = ("memory.max", "memory.current") if one else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    files = {
        "proc/self/cgroup": f"1:cpu:/\n{line}\n",
        f"{top}/job/step/{limit}": "max" if one else str(2**63 - 4096),
        f"{top}/job/step/{used}": str(GIB),
        f"{top}/job/{limit}": str(4 * GIB),
        f"{top}/job/{used}": str(3 * GIB),
        f"{top}/job/memory.stat": f"anon 5\ninactive_file {GIB}\n",
    }
    found = machine.here(tmp_path, root=rooted(tmp_path, files))
    assert (found.memory_gib, found.free_gib) == (4, 2)


def test_a_cgroup_leaves_no_more_than_the_machine_has(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": str(12 * GIB),
        "sys/fs/cgroup/memory.current": str(GIB),
    }
    found = machine.here(tmp_path, root=rooted(tmp_path, files))
    assert (found.memory_gib, found.free_gib) == (12, 8)


def test_a_limit_over_what_there_is_is_none(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": str(64 * GIB),
        "sys/fs/cgroup/memory.current": "0",
    }
    assert machine.here(tmp_path, root=rooted(tmp_path, files)).memory_gib == 16


def test_in_a_container_the_controllers_own_folder_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/../../outside\n",
        "sys/fs/cgroup/memory.max": str(4 * GIB),
        "sys/fs/cgroup/memory.current": "0",
    }
    assert machine.here(tmp_path, root=rooted(tmp_path, files)).memory_gib == 4


def test_this_machine_has_cores_memory_and_disk(tmp_path: Path) -> None:
    found = machine.here(tmp_path / "not" / "yet")
    assert found.cores >= 1
    assert 0 < found.free_gib <= found.memory_gib
    assert found.disk_gib > 0
