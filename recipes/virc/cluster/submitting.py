"""A Slurm job before it is submitted: what is checked of it, and its script, written again from the site file."""

import math
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from virc.cluster import jobs, slurm
from virc.cluster.jobs import Target
from virc.cluster.ray.job import Cluster
from virc.cluster.site import Site, notice, read_site, seconds, site_of, site_path
from virc.cluster.slurm import devices_of_node
from virc.core import processes
from virc.core.errors import ConfigError, EngineError, SetupError
from virc.core.events import Reporter
from virc.core.files import is_file, write_json
from virc.core.plan import Plan, Step
from virc.core.text import did_you_mean, duration
from virc.runs import queue
from virc.runs import run as runs
from virc.runs.run import Info, Run


def check_sbatch() -> None:
    if shutil.which("sbatch") is None:
        raise SetupError("sbatch cannot be started: this machine has no Slurm", "«--no-submit» writes the script alone")


def try_job(plan: Plan, run: Run, info: Info, target: Target, report: Reporter) -> None:
    """Check a previewed job: its site file and script against Slurm, its paths against the folders that nodes see."""
    if isinstance(target, Cluster):
        return
    file = str(info.site_file)
    if check_site(target, file, report) and (doubt := check_script(plan.files[str(run.folder / slurm.SCRIPT)], file)):
        report.warn(doubt)
    jobs.check_seen(run, info, target, report)


def check_free(run: Run, submitting: bool) -> None:
    """Check that a run may get another job.

    Raises:
        ConfigError: it has finished, or its job waits or runs.
        SetupError: this machine cannot submit jobs.
        EngineError: Slurm does not answer.
    """
    if submitting:
        check_sbatch()
    state = runs.state(run)
    if state.progress == "finished":
        raise ConfigError(f"the run {run.name} has finished", f"virc runs show {run.name}")
    former, unanswered = queue.job_of(run, state)
    if unanswered and submitting:
        raise EngineError(f"{run.name} may have a job in the queue: {unanswered}", "try it again when Slurm answers")
    if former and former.alive:
        follow = f"virc runs tail {run.name} follows it, virc runs stop {run.name} ends it"
        raise ConfigError(f"{run.name} has a job already: {former.text}", follow)


def renew(run: Run, settings: Mapping[str, Any], site: Path | None, report: Reporter) -> None:
    """Read the site file of a run again, and write its script again; the run's own settings stay."""
    info = runs.info(run)
    file = site.absolute() if site else Path(info.site_file or site_path(os.environ))
    changed = info
    if site or is_file(file):
        changed = msgspec.structs.replace(
            info, site=msgspec.to_builtins(read_site(file, os.environ)), site_file=str(file)
        )
    elif site_of(info) != Site():
        why = f"{file} is gone" if info.site_file else f"the site file of {run.name} is not known"
        report.warn(f"{why}: the job gets the options that the run was begun with", "«--site FILE»")
    target = site_of(changed)
    check_need(target, str(file), settings)
    jobs.write(run, run.folder, msgspec.structs.replace(changed, settings=dict(settings)), target, report)
    write_json(run.folder / "run.json", changed)


def changed_site(info: Info) -> str | None:
    """The site file of a run, where it says something else than when the run or its newest job was begun."""
    file = info.site_file
    changed = file and is_file(file) and msgspec.to_builtins(read_site(Path(file), os.environ)) != info.site
    return file if changed else None


_FIELDS = "%R|%l|%P"
_ABOUT = {
    "feature": "constraint", "account": "account", "qos": "qos", "partition": "partition", "gres": "gres",
    "time limit": "time", "memory": "memory", "cpu count": "cpus", "option": "extra", "reservation": "extra",
    "node name": "extra", "license": "extra", "dependency": "extra",
}  # fmt: skip
"""Word of a refusal of Slurm's -> the key of the site file that it is about."""
_REFUSED = re.compile(r"(?i)invalid|unrecognized|sbatch: error")


def _partitions() -> dict[str, tuple[str, bool]]:
    """The name of each partition of this machine's cluster: the longest time of its jobs, whether it is the default."""
    env = {"SINFO_FORMAT": "", "SINFO_PARTITION": "", "SINFO_SORT": ""}
    # --all: hidden partitions, too, to which one may submit
    step = Step(("sinfo", "--all", "--noheader", f"--format={_FIELDS}"), "ask Slurm for its partitions", env)
    rows = [line.split("|") for line in processes.answer(step, queue.PATIENCE).splitlines()]
    return {row[0]: (row[1], row[2].endswith("*")) for row in rows if len(row) == 3}


def check_site(site: Site, file: str, report: Reporter) -> bool:
    """Check the partition and the time of a site file against the cluster of this machine.

    Returns:
        Whether they could be checked; else there is a warning.

    Raises:
        ConfigError: there is no such partition, or its jobs may not take so long.
    """
    try:
        known = _partitions()
    except (SetupError, EngineError) as error:
        why = "this machine has no Slurm (sinfo)" if isinstance(error, SetupError) else error.message
        report.warn(f"partition, account and limits were not checked: {why}")
        return False
    names = [name for name in (site.partition or "").split(",") if name]
    for name in names:
        if known and name not in known:
            raise ConfigError(f"{file}: partition {name!r} is not in this cluster", did_you_mean(name, sorted(known)))
    chosen = [(name, limit) for name, (limit, usual) in known.items() if (name in names if names else usual)]
    for name, limit in chosen:
        longest: float | None = None  # `infinite`, `n/a`
        with suppress(ValueError):
            longest = seconds(limit)
        asked = seconds(site.time) if site.time else 0
        if longest is not None and (asked is None or asked > longest) and len(chosen) == 1:
            sentence = f"{file}: time {site.time!r} is above the limit of the partition {name}, {limit}"
            raise ConfigError(sentence, f"time: {limit}")
    return True


def check_need(
    site: Site, file: str, settings: Mapping[str, Any], host_gib: float = 0.0, soonest: float | None = None
) -> None:
    """Refuse a job whose node would have too few GPUs or too little memory, or whose time ends before it can save.

    Args:
        host_gib: main memory that it needs of a node.
        soonest: seconds after which it can have saved at the earliest; None: not known.
    """
    needed, given = devices_of_node(settings, site), _gpus_of(site.gres)
    if settings["device"] == "cuda" and given is not None and given < needed:
        gpus = f"{given} GPU{'s' if given > 1 else ''}"
        short = f"gres {site.gres!r} asks for {gpus} a node, and the stage needs {needed}"
        raise SetupError(f"{file}: {short}", "gres: gpu:{devices}, with the type between if it has one")
    size = re.fullmatch(r"(\d+)([kmgt]?)b?", (site.memory or "0").lower())
    gib = int(size[1]) * 1024.0 ** ("kmgt".index(size[2] or "m") - 2) if size else 0.0
    if 0 < gib < host_gib:  # 0 is all of a node's
        least = f"{math.ceil(host_gib)}G"
        raise SetupError(
            f"{file}: memory {site.memory!r} is less than the {least} that the stage needs a node", f"memory: {least}"
        )
    limit = seconds(site.time) if site.time else None
    if limit is not None and soonest is not None and soonest > limit - notice(site):
        takes = f"the stage needs at least {duration(soonest)} and time to save before its first checkpoint"
        raise SetupError(f"{file}: time {site.time!r} is too short: {takes}", "a longer time, or a smaller save_steps")


def _gpus_of(gres: str) -> int | None:
    parts = [part.partition("(")[0].removeprefix("gres/").removeprefix("gres:").split(":") for part in gres.split(",")]
    counts = [part[-1] if len(part) > 1 and part[-1][:1].isdigit() else "1" for part in parts if part[0] == "gpu"]
    if "{devices}" in gres or not counts or not all(map(str.isdecimal, counts)):
        return None
    return sum(map(int, counts))


def check_script(script: str, file: str) -> str | None:
    """Let Slurm check a script, which is not submitted. Returns what speaks against such a job now and may pass.

    Raises:
        ConfigError: Slurm refuses such a job.
    """
    with TemporaryDirectory(prefix="virc-") as folder:
        path = Path(folder) / "job.sh"
        path.write_text(script, encoding="utf-8")
        try:
            processes.answer(Step(("sbatch", "--test-only", str(path)), "check the job"), queue.PATIENCE)
        except SetupError:
            return "the job was not checked: this machine has no Slurm (sbatch)"
        except EngineError as error:
            reason = error.message.partition("exit code ")[2].partition(", ")[2] or error.message
            if _REFUSED.search(reason):
                key = next((key for word, key in _ABOUT.items() if word in reason.lower()), None)
                hint = f"see {key} in the site file" if key else None
                raise ConfigError(f"{file}: Slurm refuses such a job: {reason}", hint) from None
            why = ""
            if "Requested node configuration" in reason:
                why = ": no node has so many cores, so much memory or such GPUs, or those that have are down"
            return f"Slurm would not start such a job now ({reason}){why}"
    return None
