"""Runs on clusters of several kinds, and the scripts virc writes for them; the golden files hold the latter."""

from pathlib import Path
from typing import Any

import msgspec

from virc.cluster import judge as judges
from virc.cluster import slurm
from virc.cluster.site import IN_JOB, JobJudge, Site
from virc.core.plan import Plan, Step
from virc.runs.run import Info, Run

GOLDEN = Path(__file__).parents[1] / "training" / "golden"
WORKSPACE = Path("/scratch/ann/figures")
SETTINGS = {"nodes": 2, "devices": 8, "loaders": 8, "device": "cuda"}
RL_SETTINGS = {"nodes": 2, "devices": 8, "device": "cuda"}
RL_ENGINE = (
    "/scratch/env/bin/python", "-m", "virc.cluster.ray.nodes", "/scratch/ann/my figures/ray_nodes.json", "--",
    "/scratch/env/bin/python", "-m", "virc.engines.verl.start", "/scratch/ann/my figures/engine.yaml",
)  # fmt: skip
RL_SMALL = {"nodes": 2, "devices": 1, "device": "cpu"}
SMALL = {**SETTINGS, "devices": 1, "loaders": 0, "device": "cpu"}

SITES = {
    "bare": Site(),
    "full": Site(
        account="geometry", partition="gpu", qos="long", constraint="h100&nvlink", time="1-00:00:00",
        gres="gpu:h100:{devices}", cpus=96, memory="900G", setup=("module load cuda/13.0", "ulimit -n 65536"),
        extra=("--nice=10",), shared=("/scratch",),
    ),
    "pyxis": Site(container_image="/images/sft.sqsh", container_mounts=("/scratch:/scratch", "/home:/home")),
    "apptainer": Site(
        container="apptainer", container_image="/images/my sft.sif", container_mounts=("/scratch:/scratch",)
    ),
}  # fmt: skip


def info(site: Site, **changes: Any) -> Info:
    """A run on two nodes of eight GPUs."""
    fields: dict[str, Any] = {
        "name": "virc-instruct", "system": "virc", "stage": "instruct", "kind": "sft",
        "created": "2026-01-01T00:00:00+00:00", "base": "/scratch/models/base", "root": "base",
        "data": "/scratch/rows.json", "dataset": "rows", "rows": 9, "longest": 99,
        "settings": SETTINGS, "origins": {}, "environment": "sft-cuda",
        "device": "cuda", "python": "/scratch/env/bin/python", "recipes": "/scratch/recipes", "launcher": "slurm",
    }  # fmt: skip
    return Info(**{**fields, "site": msgspec.to_builtins(site), **changes})


def engine(python: str = "/scratch/env/bin/python") -> Step:
    """What each node is to run."""
    argv = (
        python, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "8",
        "-m", "llamafactory.launcher", "/scratch/ann/my figures/engine.yaml",
    )  # fmt: skip
    env = {"PYTHONPATH": "/scratch/recipes", "NOTE": "it's $HOME", "PYTHONDONTWRITEBYTECODE": ""}
    return Step(argv, "train", env, through=True)


def golden() -> dict[Path, str]:
    """Every golden file and what must stand in it."""
    files = {}
    for name, site in SITES.items():
        about = info(site)
        run = Run(WORKSPACE / "runs" / about.name)
        plan = slurm.on_nodes(Plan(engine(), {}), run.attempt(1), about.settings, site)
        script = slurm.job_script(run, about.settings, WORKSPACE, site, "/scratch/virc/bin/python")
        files[GOLDEN / f"slurm-{name}.sh"] = script
        files[GOLDEN / f"slurm-{name}.srun"] = "\n".join(plan.step.argv) + "\n"
        files[GOLDEN / "slurm-node.sh"] = plan.files[str(run.attempt(1) / slurm.NODE_SCRIPT)]
    return files | _golden_rl()


def _golden_rl() -> dict[Path, str]:
    """Ray on two nodes, the engine on the first."""
    site = SITES["full"]
    run = Run(WORKSPACE / "runs" / "virc-rl")
    step = msgspec.structs.replace(engine(), argv=(*RL_ENGINE,), through=False)
    plan = slurm.on_nodes(Plan(step, {}), run.attempt(1), RL_SETTINGS, site, "rl")
    script = slurm.job_script(run, RL_SETTINGS, WORKSPACE, site, "/scratch/virc/bin/python", "rl")
    return {
        GOLDEN / "slurm-rl.sh": script,
        GOLDEN / "slurm-rl.srun": "\n".join(plan.step.argv) + "\n",
        GOLDEN / "slurm-rl-node.sh": plan.files[str(run.attempt(1) / slurm.NODE_SCRIPT)],
        **_golden_judge("node", 4, JobJudge(model="judge")),
        **_golden_judge("gpus", 4, JobJudge(model="judge-32b", gpus=4, options=("--max-model-len 8192",))),
    }


def _golden_judge(name: str, devices: int, judge: JobJudge) -> dict[Path, str]:
    """A judge in the job, on a node of its own or on further GPUs."""
    site, run = msgspec.structs.replace(SITES["full"], judge=judge), Run(WORKSPACE / "runs" / "virc-rl")
    settings = {"nodes": 1, "devices": devices, "device": "cuda", "reward": {"judge": {"endpoint": IN_JOB}}}
    plan = Plan(msgspec.structs.replace(engine(), argv=(*RL_ENGINE,), through=False), {})
    plan = slurm.on_nodes(plan, run.attempt(1), settings, site, "rl")
    plan = judges.with_script(plan, run.attempt(1), settings, site, "/scratch/virc/bin/python")
    script = slurm.job_script(run, settings, WORKSPACE, site, "/scratch/virc/bin/python", "rl")
    return {
        GOLDEN / f"slurm-rl-judge-{name}.sh": script,
        GOLDEN / f"slurm-rl-judge-{name}.srun": "\n".join(plan.step.argv) + "\n",
        GOLDEN / f"slurm-rl-judge-{name}-serve.sh": plan.files[str(run.attempt(1) / judges.SCRIPT)],
    }
