"""The judge of a stage of RL as a part of its Slurm job: `virc serve` by a step of its own, next to training."""

import os
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from virc.cluster.site import Site, judge_of, site_of
from virc.cluster.slurm import cpus_of_node
from virc.core import processes
from virc.core.errors import EngineError
from virc.core.events import Reporter
from virc.core.files import write_json
from virc.core.http import client
from virc.core.plan import Plan, Step
from virc.core.text import counted
from virc.rewards import sources
from virc.rewards.verl import Settings
from virc.runs.run import Info, Run
from virc.scoring.judge import JUDGE_KEY

LOG, SCRIPT = "judge.log", "judge.sh"
_PORT, _SERVE_KEY = "VIRC_JUDGE_PORT", "VIRC_SERVE_KEY"
_MINUTE = 60.0  # seconds
_LOOK, _ANSWER = 2.0, 10.0  # seconds between two looks, and for an answer
_PORTS, _RANGE = 30_000, 2_700  # below those that Linux gives to connections


class Serving:
    def __init__(self, process: processes.Process, model: str, log: Path) -> None:
        self._process, self._model, self.log = process, model, log

    def check(self) -> None:
        if (code := self._process.wait(0)) is not None:
            words = processes.last_words(self.log, code)
            raise EngineError(f"the judge {self._model} of the job ended: {words}", f"see {self.log}")

    def wait(self, url: str, key: str, minutes: int, asked: Sequence[int]) -> None:
        end = time.monotonic() + minutes * _MINUTE
        while not asked and not _answers(url, key):
            self.check()
            if time.monotonic() > end:
                waited = counted(minutes, "minute")
                sentence = f"the judge {self._model} of the job has not answered at {url} in {waited}"
                raise EngineError(sentence, f"see {self.log}; minutes of judge in slurm.yaml sets how long virc waits")
            time.sleep(_LOOK)


@contextmanager
def served(run: Run, info: Info, number: int, job: str | None, asked: Sequence[int], report: Reporter) -> Iterator[
    Serving | None
]:  # fmt: skip
    """Serve the judge while the block runs, if the run's job is to have one; the reward is given its address."""
    site = site_of(info) if job else None
    judge = judge_of(info.settings, site) if site else None
    if job is None or site is None or judge is None:
        yield None
        return
    port = _PORTS + int(job) % _RANGE
    key, url = secrets.token_hex(32), f"http://{_host(own_node=judge.gpus is None)}:{port}/v1"
    before = os.environ.get(JUDGE_KEY)
    os.environ[JUDGE_KEY] = key  # what the engine inherits: no file and no list of processes shows it
    log = run.attempt(number) / LOG
    script = run.attempt(number).absolute() / SCRIPT
    step = Step(("bash", str(script)), "serve the judge", {_SERVE_KEY: key, _PORT: str(port)})
    try:
        with processes.started(step, log) as process:
            serving = Serving(process, judge.model, log)
            report.note(f"serving the judge {judge.model} at {url}; {log} has what it writes")
            serving.wait(url, key, judge.minutes, asked)
            point(run, url)
            yield serving
    finally:
        os.environ.pop(JUDGE_KEY)
        if before is not None:
            os.environ[JUDGE_KEY] = before


def with_script(plan: Plan, folder: Path, settings: Mapping[str, Any], site: Site, python: str) -> Plan:
    judge = judge_of(settings, site)
    if judge is None:
        return plan
    # On the node after those of training, or on further GPUs of the first.
    device, devices, nodes = settings["device"], settings["devices"], settings["nodes"]
    gpus = judge.gpus or devices
    words = judge.words
    if device == "cuda" and not any(word.startswith(("--tensor-parallel-size", "--engine")) for word in words):
        words.append(f"--tensor-parallel-size={gpus}")
    if device == "cuda" and judge.gpus:
        words.append(f"--gpus={','.join(str(devices + number) for number in range(gpus))}")
    step = [
        "srun", "--overlap", "--export=ALL", "--mpi=none", "--nodes", "1", "--ntasks", "1",
        "--relative", str(0 if judge.gpus else nodes), f"--cpus-per-task={cpus_of_node(settings, site)}",
    ]  # fmt: skip
    serve = [python, "-m", "virc_cli", "serve", judge.model, *words, "--host=0.0.0.0"]
    script = (
        "#!/bin/bash\n"
        "# The judge. --overlap: it takes nothing from the step of training, which would wait for it.\n"
        f'exec {shlex.join(step)} \\\n  {shlex.join(serve)} --port="${_PORT}"\n'
    )
    return msgspec.structs.replace(plan, files={**plan.files, str(folder / SCRIPT): script})


def point(run: Run, url: str) -> None:
    """Write the judge's address into the settings of a run's rewards, which workers read as they start."""
    for file in (run.folder / sources.REWARD, *sources.folders(run.folder).values()):
        settings = msgspec.json.decode(file.read_bytes(), type=Settings)
        judge = msgspec.structs.replace(settings.reward.judge, endpoint=url)
        reward = msgspec.structs.replace(settings.reward, judge=judge)
        write_json(file, msgspec.structs.replace(settings, reward=reward))


def _host(own_node: bool) -> str:
    step = Step(("scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]), "list the nodes of the job")
    return processes.output(step).split()[-1 if own_node else 0]


def _answers(url: str, key: str) -> bool:
    try:
        answer = client.ask(f"{url}/models", headers={"Authorization": f"Bearer {key}"}, seconds=_ANSWER)
    except (OSError, ValueError):
        return False
    return answer.status < 400
