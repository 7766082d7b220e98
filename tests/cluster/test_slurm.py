"""Slurm: the scripts, the site file, and a job on two nodes that saves, goes back into the queue, and finishes."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import slurm_cases
from hypothesis import example, given
from hypothesis import strategies as st

from virc.cluster import slurm
from virc.cluster.site import Site
from virc.core.plan import Step
from virc.envs.hardware import VISIBLE
from virc.runs.run import Run

LINE = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")), min_size=1)


def _options(script: str) -> list[str]:
    """The options of a script, read as sbatch reads them."""
    lines = [line.removeprefix("#SBATCH") for line in script.split("\n") if line.startswith("#SBATCH")]
    return [word for line in lines for word in shlex.split(line, comments=True)]


def test_the_golden_files_are_the_scripts_of_the_cases_and_bash_reads_them() -> None:
    assert {
        path: path.read_text(encoding="utf-8") for path in slurm_cases.GOLDEN.glob("slurm-*")
    } == slurm_cases.golden()
    for path in slurm_cases.GOLDEN.glob("slurm-*.sh"):
        subprocess.run(["bash", "-n", path], check=True)


@given(LINE)
@example("x\"; rm -rf '$(id)' # \\")
@example("hetjob")
def test_values_reach_sbatch_as_they_are(value: str) -> None:
    run = Run(Path("/w/runs/a"))
    script = slurm.job_script(run, slurm_cases.SETTINGS, Path("/w"), Site(account=value), "python")
    assert f"--account={value}" in _options(script)


@given(LINE, LINE)
@example("$HOME `id` $(id) 'x' \"y\" \\", "!!")
def test_a_node_runs_arguments_and_variables_as_they_are(argument: str, value: str) -> None:
    step = Step((sys.executable, argument), "x", {"KEPT": value, "GONE": ""})
    head = slurm.node_script(step).split("\n\n")[0]
    shown = 'printf "%s\\0" "${engine[@]}" "$KEPT" "${GONE-unset}"'
    done = subprocess.run(
        ["bash"], input=f"{head}\n{shown}", env={"GONE": "here", "LC_ALL": "C.UTF-8"}, capture_output=True, text=True
    )
    assert done.stdout.split("\0")[:-1] == [sys.executable, argument, value, "unset"]


@pytest.mark.parametrize(
    ("wanted", "given", "taken"),
    [
        ("0,1", None, "0,1"), ("2,3", None, "2,3"), ("0,1", "4,5,6", "4,5"), ("2,0", "4,5,6", "6,4"),
        ("1", "GPU-a,GPU-b", "GPU-b"), ("0", "MIG-a", "MIG-a"), ("-1", "4,5", "-1"), ("-1,-1", "4", "-1,-1"),
    ],
)  # fmt: skip
def test_numbers_of_gpus_are_of_those_that_the_job_was_given(wanted: str, given: str | None, taken: str) -> None:
    head = slurm.node_script(Step(("x",), "x", {VISIBLE: wanted})).split("\n\n")[0]
    env = {} if given is None else {VISIBLE: given}
    shown = subprocess.run(["bash"], input=f"{head}\nprintenv {VISIBLE}", env=env, capture_output=True, text=True)
    assert shown.stdout.strip() == taken
