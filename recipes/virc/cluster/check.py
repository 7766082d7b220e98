"""What Slurm on this machine says of a site file, before a run is begun with it; nothing is submitted."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from virc.cluster.site import Site, seconds
from virc.core import processes
from virc.core.errors import ConfigError, EngineError, SetupError
from virc.core.plan import Step
from virc.core.text import did_you_mean

PATIENCE = 5.0
"""Seconds that Slurm gets to answer."""

_FIELDS = "%R|%l|%P"
_ABOUT = {
    "feature": "constraint", "account": "account", "qos": "qos", "partition": "partition", "gres": "gres",
    "time limit": "time", "memory": "memory", "cpu count": "cpus", "option": "extra", "reservation": "extra",
    "node name": "extra", "license": "extra", "dependency": "extra",
}  # fmt: skip
"""Word of a refusal of Slurm's -> the key of the site file that it is about."""
_REFUSED = re.compile(r"(?i)invalid|unrecognized|sbatch: error")


class Partition(msgspec.Struct, frozen=True):
    """A partition of the cluster; `limit` is the longest time of its jobs, as Slurm writes it."""

    name: str
    limit: str
    default: bool

    @property
    def longest(self) -> int | None:
        """Seconds that a job may take; None: no limit is known."""
        try:
            return seconds(self.limit)
        except ValueError:  # `infinite`, `n/a`
            return None


def partitions() -> list[Partition]:
    """The partitions of this machine's cluster.

    Raises:
        SetupError: there is no sinfo here.
        EngineError: Slurm does not answer.
    """
    env = {"SINFO_FORMAT": "", "SINFO_PARTITION": "", "SINFO_SORT": ""}
    # --all: hidden partitions, too, to which one may submit
    step = Step(("sinfo", "--all", "--noheader", f"--format={_FIELDS}"), "ask Slurm for its partitions", env)
    rows = [line.split("|") for line in processes.answer(step, PATIENCE).splitlines()]
    found = {row[0]: Partition(row[0], row[1], row[2].endswith("*")) for row in rows if len(row) == 3}
    return list(found.values())


def check_site(site: Site, file: str) -> str | None:
    """Check the partition and the time of a site file against the cluster of this machine, if it has one.

    Args:
        file: what errors call the site file.

    Returns:
        Why that could not be done, one clause.

    Raises:
        ConfigError: there is no such partition, or its jobs may not take so long.
    """
    try:
        known = partitions()
    except SetupError:
        return "partition, account and limits were not checked: this machine has no Slurm (sinfo)"
    except EngineError as error:
        return f"partition, account and limits were not checked: {error.message}"
    names = [name for name in (site.partition or "").split(",") if name]
    for name in names:
        if known and name not in {each.name for each in known}:
            known_names = sorted(each.name for each in known)
            raise ConfigError(f"{file}: partition {name!r} is not in this cluster", did_you_mean(name, known_names))
    chosen = [each for each in known if (each.name in names if names else each.default)]
    for each in chosen:
        longest, asked = each.longest, seconds(site.time) if site.time else 0
        if longest is not None and (asked is None or asked > longest) and len(chosen) == 1:
            sentence = f"{file}: time {site.time!r} is above the limit of the partition {each.name}, {each.limit}"
            raise ConfigError(sentence, f"time: {each.limit}")
    return None


def check_script(script: str, file: str) -> str | None:
    """Let Slurm check a job's script, which is not submitted.

    Args:
        file: what errors call the site file.

    Returns:
        What speaks against such a job now and may pass, or why Slurm was not asked; one clause.

    Raises:
        ConfigError: Slurm refuses such a job.
    """
    with TemporaryDirectory(prefix="virc-") as folder:
        path = Path(folder) / "job.sh"
        path.write_text(script, encoding="utf-8")
        try:
            processes.answer(Step(("sbatch", "--test-only", str(path)), "check the job"), PATIENCE)
        except SetupError:
            return "the job was not checked: this machine has no Slurm (sbatch)"
        except EngineError as error:
            reason = error.message.partition("exit code ")[2].partition(", ")[2] or error.message
            if _REFUSED.search(reason):
                raise ConfigError(f"{file}: Slurm refuses such a job: {reason}", _hint(reason)) from None
            larger = "Requested node configuration" in reason
            why = ": no node has so many cores, so much memory or such GPUs, or those that have are down" * larger
            return f"Slurm would not start such a job now ({reason}){why}"
    return None


def _hint(reason: str) -> str | None:
    """Which key of the site file a refusal is about; None where none is known."""
    key = next((key for word, key in _ABOUT.items() if word in reason.lower()), None)
    return f"see {key} in the site file" if key else None
