"""The table of `docs/training.md`, as stage 3 of `virc` is estimated: `python tests/scale_page.py` prints it."""

from pathlib import Path
from typing import Any

import msgspec

from virc.cluster.site import IN_JOB, JobJudge, Site
from virc.cluster.slurm import job_script
from virc.models import sizes
from virc.runs.run import Run
from virc.stages import resolve as stages
from virc.training import rl_setup
from virc.training.estimate.fits import size_text
from virc.training.estimate.needs import estimate
from virc.training.request import TrainRequest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "training.md"
OWN = JobJudge(model="judge", options=("--max-model-len=8192",))
BESIDE = msgspec.structs.replace(OWN, gpus=4)
_HEAD = ("GPUs, judge's included", "nodes", "settings", "`judge` in `slurm.yaml`", "a GPU of the policy",
         "main memory of a node")  # fmt: skip
_SMALLER = {"train_batch_size": 56, "ppo_mini_batch_size": 56}

CASES: tuple[tuple[tuple[str, ...], dict[str, Any], JobJudge], ...] = (
    (("judge-split",), {}, BESIDE),
    ((), {}, OWN),
    ((), {"nodes": 4}, OWN),
    ((), {"nodes": 7, **_SMALLER}, OWN),
    ((), {"nodes": 8}, OWN),
)
"""Overlays and settings of stage 3, and the judge of its job."""


def job(overlays: tuple[str, ...], settings: dict[str, Any], judge: JobJudge) -> tuple[Any, str]:
    """The settings of such a stage as `virc train` takes them, and its job's script."""
    site = Site(judge=judge)
    request = TrainRequest(
        system="virc", stage="rl", overlays=overlays, settings=settings, data=None, base=None, name="rl",
        workspace=Path("/w"),
    )  # fmt: skip
    resolved = rl_setup.with_job_judge(request, request.resolve(), site)
    assert resolved.config.reward.judge.endpoint == IN_JOB
    values = msgspec.to_builtins(resolved.config)
    return resolved, job_script(Run(Path("/w/runs/rl")), values, Path("/w"), site, "python", "rl")


def table() -> str:
    """The table, in Markdown."""
    rows = [_HEAD, ("---",) * len(_HEAD), *(_row(*case) for case in CASES)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(overlays: tuple[str, ...], settings: dict[str, Any], judge: JobJudge) -> tuple[str, ...]:
    resolved, script = job(overlays, settings, judge)
    config = resolved.config
    nodes = int(script.partition("--nodes=")[2].split()[0])
    gpus = nodes * int(script.partition("--gres=gpu:")[2].split()[0])
    shape = sizes.published(stages.root_of(resolved))
    assert shape
    needed = estimate(config, shape, config.longest)
    words = [f"--with {','.join(overlays)}"] if overlays else []
    words += [f"--set {key}={value}" for key, value in settings.items()]
    of_judge = f"`gpus: {judge.gpus}`" if judge.gpus else "a node of its own"
    line = f"`{' '.join(words)}`" if words else "as published"
    return (str(gpus), str(nodes), line, of_judge, size_text(needed.device_gib), size_text(needed.host_gib))


def page() -> str:
    """The page with its table as it should be."""
    before, start, rest = PAGE.read_text(encoding="utf-8").partition("<!-- table -->\n")
    return before + start + table() + rest[rest.index("<!-- end -->") :]


if __name__ == "__main__":
    print(table(), end="")
