"""What a machine has: /proc, cgroups, and what nvidia-smi prints."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from virc.envs import hardware as machine
from virc.envs.hardware import GIB

LINES = (
    "NVIDIA H200, 143771, 143161, 570.86.15, GPU-aa1, Disabled\n"
    "NVIDIA GeForce RTX 4090, 24564, 1024, 550.54, GPU-ab2, [N/A]\n"
    "NVIDIA A100-SXM4-40GB, 40960, 40000, 550.54, GPU-c3, Disabled\n"
)
SLICED = LINES.replace("40960, 40000, 550.54, GPU-c3, Disabled", "40960, [N/A], 550.54, GPU-c3, Enabled")
LISTED = """GPU 0: NVIDIA H200 (UUID: GPU-aa1)
GPU 1: NVIDIA GeForce RTX 4090 (UUID: GPU-ab2)
GPU 2: NVIDIA A100-SXM4-40GB (UUID: GPU-c3)
  MIG 3g.20gb     Device  0: (UUID: MIG-e1)
  MIG 1c.1g.5gb+me Device  1: (UUID: MIG-e2)
"""
H200, RTX, A100 = "NVIDIA H200", "NVIDIA GeForce RTX 4090", "NVIDIA A100-SXM4-40GB"
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


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        (None, [H200, RTX, A100]),
        ("2,0", [A100, H200]),
        ("", []),
        ("-1", []),
        ("0,x,1", [H200]),
        ("0,0", []),
        ("GPU-aa1,GPU-zz,GPU-aa1", []),
    ],
)  # fmt: skip
def test_gpus_are_those_that_cuda_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None, shown: list[str]
) -> None:
    answering(tmp_path, monkeypatch, f'printf "{LINES}"')
    found = machine.find(tmp_path, {} if named is None else {"CUDA_VISIBLE_DEVICES": named})
    assert [gpu.name for gpu in found.gpus] == shown
    hidden = len(shown) < 3
    assert found.trouble == (
        f"CUDA_VISIBLE_DEVICES={named} shows {len(shown) or 'none'} of the 3 GPUs here" if hidden else None
    )


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        (None, [("MIG 3g.20gb", 19.0)]),
        ("MIG-e2", [("MIG 1c.1g.5gb+me", 4.75)]),
        ("2", [("MIG 3g.20gb", 19.0)]),
        ("1", [("", 23.99)]),
    ],
)  # fmt: skip
def test_a_slice_is_shown_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None, shown: list[tuple[str, float]]
) -> None:
    answering(tmp_path, monkeypatch, f'[ "$1" = -L ] && printf "{LISTED}" || printf "{SLICED}"')
    found = machine.find(tmp_path, {} if named is None else {"CUDA_VISIBLE_DEVICES": named})
    assert [(gpu.name.partition(A100)[2].strip(), round(gpu.gib, 2)) for gpu in found.gpus] == shown


@pytest.mark.parametrize(
    ("variables", "shell", "given"),
    [
        ({}, {}, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        ({"CUDA_VISIBLE_DEVICES": "1"}, {"CUDA_VISIBLE_DEVICES": "4,5"}, {"CUDA_VISIBLE_DEVICES": "5"}),
        ({"CUDA_VISIBLE_DEVICES": "0,2"}, {"CUDA_VISIBLE_DEVICES": "4,5"}, {"CUDA_VISIBLE_DEVICES": "4,-1"}),
    ],
)  # fmt: skip
def test_a_process_gets_the_gpus_that_are_counted(
    variables: dict[str, str], shell: dict[str, str], given: dict[str, str]
) -> None:
    assert given.items() <= machine.pinned(variables, shell).items()


@pytest.mark.parametrize("line", ["0::/job/step", "4:memory:/job/step"])
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
        f"{top}/job/memory.stat": f"anon 5\n{'' if one else 'total_'}inactive_file {GIB}\n",
    }
    found = machine.here(tmp_path, root=rooted(tmp_path, files))
    assert (found.memory_gib, found.free_gib) == (4, 2)
