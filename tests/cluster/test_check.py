"""What a cluster says of a site file before a run is begun: here sinfo and sbatch are small scripts."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.called import virc

from virc.cluster import submitting
from virc.core.errors import ConfigError
from virc.runs import queue

Program = Callable[[str, str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Makes a program of Slurm; first, a sinfo of two partitions. Others are not there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{Path(sys.executable).parent}")

    def make(name: str, text: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)

    partitions = "main|infinite|main*\\nmain|infinite|main*\\nshort|10:00|short\\n"
    hidden = "hidden|1-0|hidden\\n"
    words = f"*--all*) printf '{partitions}{hidden}';; *) printf '{partitions}';; esac"
    make("sinfo", f"case $* in *--Node*) echo 'main* 64';; {words}")
    make("sbatch", "echo 'sbatch: Job 7 to start at 2026-11-25T02:45:03 using 1 processors' >&2")
    return make


def test_what_slurm_refuses_of_a_job_is_an_error_and_what_may_pass_a_warning(program: Program) -> None:
    assert submitting.check_script("#!/bin/sh\n", "f") is None
    program("sbatch", '/bin/cat "$2"; echo "sbatch: error: Invalid generic resource (gres) specification" >&2; exit 1')
    with pytest.raises(
        ConfigError, match=r"f: Slurm refuses such a job: sbatch: error: Invalid generic resource \(gres"
    ):
        submitting.check_script("#!/bin/sh\n", "f")
    program("sbatch", "echo 'allocation failure: Requested node configuration is not available' >&2; exit 1")
    doubt = submitting.check_script("#!/bin/sh\n", "f") or ""
    assert "allocation failure: Requested node configuration is not available): no node has so many cores" in doubt


def test_a_site_file_implies_slurm_and_is_checked_by_a_dry_run(program: Program, tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("partition: shrt\n")
    words = ("train", "tiny", "--stage", "instruct", "--site", site, "--dry-run")
    refused = virc(*words)
    assert refused.code == 3
    assert f"{site}: partition 'shrt' is not in this cluster" in refused.err
    site.write_text("partition: short\nshared: [/nowhere]\ntime: 10 minutes\n")
    planned = virc(*words, "--set", "loaders=99")
    assert planned.code == 0, planned.err
    assert {"#SBATCH --time=00:10:00", "#SBATCH --cpus-per-task=64"} <= set(planned.out.splitlines())
    assert "the nodes do not see the model" in planned.err
    assert (
        virc("train", "--site", site, "--dry-run").out
        == f"{site} can be used; with --stage NAME the job is checked, too\n"
    )
    site.write_text("partition: short\ntime: 11 minutes\n")
    assert "time '00:11:00' is above the limit" in virc("train", "--site", site, "--dry-run").err


def test_a_dry_run_does_not_hang_where_slurm_does_not_answer(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(queue, "PATIENCE", 0.2)
    program("sinfo", "exec /bin/sleep 60")
    planned = virc("train", "tiny", "--stage", "instruct", "--launcher", "slurm", "--dry-run")
    assert planned.code == 0
    assert "were not checked: could not ask Slurm for its partitions: sinfo did not answer in 0.2 s" in planned.err
    assert "the nodes must see the paths of this run; with shared: in the site file virc checks that" in planned.err
