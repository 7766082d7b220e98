"""The site file: what jobs on a Slurm cluster need, as its users write it; `slurm.yaml` next to virc's config file."""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from virc.config import validation
from virc.config import yaml as plain_yaml
from virc.config.user import Text, config_path
from virc.config.validation import Fault
from virc.core.errors import ConfigError, SetupError
from virc.runs.run import Info

UNLIMITED = "UNLIMITED"
IN_JOB = "http://judge-of-the-job/v1"
"""As the endpoint of a stage's judge: the job serves it, at an address that is known when it runs."""
NOTICE = 300
"""Seconds before the end of a job's time at which it saves, where that time is not short."""
_SHARE, _MIN_NOTICE = 4, 60  # a notice is a quarter of a short time; seconds that a save needs
_MAX_FAULTS = 9  # in one sentence

_CLOCK = r"(?:(\d{1,4})-)?(\d{1,6})(?::(\d{1,6}))?(?::(\d{1,6}))?"
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_AMOUNT = r"(\d{1,6}(?:\.\d{1,6})?)\s*(d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?)(?![a-z])"
_WORDS = re.compile(rf"{_AMOUNT}(?:(?:,|\s|and\b)*{_AMOUNT})*", re.IGNORECASE)

Time = Annotated[
    str, Meta(pattern=rf"^({_CLOCK}|{UNLIMITED})\Z", description='a time like 24:00:00, 2-00:00:00 or "90 minutes"')
]
Memory = Annotated[str, Meta(pattern=r"^\d+([kKmMgGtT][bB]?)?\Z", description="an amount of memory like 200G")]
Option = Annotated[str, Meta(pattern=r"^-[^\x00-\x1f\x7f]+\Z", description="an option of sbatch, like --nice=10")]
Folder = Annotated[str, Meta(pattern=r"^/[^\x00-\x1f\x7f]*\Z", description="a folder from the root on")]
Mount = Annotated[
    str, Meta(pattern=r"^/[^\x00-\x1f\x7f,:]*(:[^\x00-\x1f\x7f,:]+){0,2}\Z", description="a mount like /data:/data")
]
Cores = Annotated[int, Meta(ge=1, description="a number of cores, 1 or more")]
Gpus = Annotated[int, Meta(ge=1, description="a number of GPUs, 1 or more")]
Minutes = Annotated[int, Meta(ge=1, description="a number of minutes, 1 or more")]
ServeOption = Annotated[
    str, Meta(pattern=r"^--[^\x00-\x1f\x7f]+\Z", description="an option of virc serve, like --max-model-len=8192")
]


class JobJudge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The judge that jobs of RL serve themselves, for rewards that ask one.

    Args:
        gpus: how many GPUs of the first node it gets in addition to the run's; None: a node of its own.
        options: further options of `virc serve`.
        minutes: longest time until it answers.
    """

    model: Text
    gpus: Gpus | None = None
    options: tuple[ServeOption, ...] = ()
    minutes: Minutes = 60

    @property
    def words(self) -> list[str]:
        """The words of its options. Raises ValueError where a quote is not closed."""
        return [word for option in self.options for word in shlex.split(option)]


class Site(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    account: Text | None = None
    partition: Text | None = None
    qos: Text | None = None
    constraint: Text | None = None
    time: Time | None = None
    gres: Text = "gpu:{devices}"
    cpus: Cores | None = None
    memory: Memory | None = None
    container: Literal["pyxis", "apptainer"] = "pyxis"
    container_image: Text | None = None
    container_mounts: tuple[Mount, ...] = ()
    setup: tuple[Text, ...] = ()
    extra: tuple[Option, ...] = ()
    shared: tuple[Folder, ...] = ()
    judge: JobJudge | None = None


_LISTS = ("container_mounts", "setup", "extra", "shared")
_OWN_SERVE = frozenset(("--port", "--host", "--api-key", "--gpus", "--name", "--dry-run", "--json"))
"""Options of `virc serve` that a job sets itself, or that serve nothing."""

_OWN_SBATCH = frozenset((
    "--account", "-A", "--partition", "-p", "--qos", "-q", "--constraint", "-C", "--time", "-t", "--gres", "--gpus",
    "-G", "--gpus-per-node", "--cpus-per-task", "-c", "--mem", "--container-image", "--container-mounts", "--nodes",
    "-N", "--ntasks", "-n", "--ntasks-per-node", "--job-name", "-J", "--output", "-o", "--error", "-e", "--open-mode",
    "--signal", "--requeue", "--no-requeue", "--array", "-a", "--clusters", "-M", "--wait", "-W", "--wrap",
    "--parsable", "--test-only",
))  # fmt: skip
"""Options of sbatch that keys of a site file set, or by which a run saves, resumes and is followed."""


def site_path(env: Mapping[str, str]) -> Path:
    return config_path(env).with_name("slurm.yaml")


def read_site(path: Path | None, env: Mapping[str, str]) -> Site:
    """Read a site file; without a path that of this user, which need not be there. Errors name all wrong keys."""
    found = path or site_path(env)
    return _site(plain_yaml.read_mapping(found, is_optional=path is None), str(found))


def site_of(info: Info) -> Site:
    return _site(info.site, f"site of the run {info.name}")


def judge_of(settings: Mapping[str, Any], site: Site) -> JobJudge | None:
    """The judge that the job of a run serves; None where its settings name another one, or none.

    Raises:
        ConfigError: its site has none any more.
    """
    reward = settings.get("reward") or {}
    if (reward.get("judge") or {}).get("endpoint") != IN_JOB:
        return None
    if site.judge is None:
        raise ConfigError("the job of this run serves its judge, and the site file has none", "judge: {model: judge}")
    return site.judge


def seconds(time: str) -> int | None:
    """How long a time of sbatch is; None: without a limit. Raises ValueError: it is no such time."""
    if time == UNLIMITED:
        return None
    found = re.fullmatch(_CLOCK, time)
    if not found:
        raise ValueError(f"{time!r} is no time of sbatch")
    days, *parts = (int(part) if part else 0 for part in found.groups())
    given = sum(part is not None for part in found.groups()[1:])
    if not found[1] and given < 3:  # MINUTES or MINUTES:SECONDS
        parts = [0, *parts[:2]]
    hours, minutes, rest = parts
    return days * 86400 + hours * 3600 + minutes * 60 + rest


def notice(site: Site) -> int:
    """How many seconds before the end of its time a job saves: five minutes, or a quarter of a short time."""
    limit = seconds(site.time) if site.time else None
    return NOTICE if limit is None else min(NOTICE, limit // _SHARE)


def _site(content: Mapping[str, Any], place: str) -> Site:
    plain = {key: _as_sbatch(key, value) for key, value in content.items() if value is not None}
    found = list(validation.faults(plain, Site))
    if not found:
        site = msgspec.convert(plain, Site, strict=False)
        found = list(_contradictions(site))
        if not found:
            return site
    hints = dict.fromkeys(fault.hint for fault in found if fault.hint)
    raise ConfigError(f"{place}: {'; '.join(fault.message for fault in found[:_MAX_FAULTS])}", "; ".join(hints) or None)


def _as_sbatch(key: str, value: object) -> object:
    """A value as people write it in the form of `Site`; one that nobody understands stays."""
    if key in _LISTS and isinstance(value, str):
        return [line for line in value.splitlines() if line.strip()] if key == "setup" else [value]
    if key == "judge" and isinstance(value, dict) and isinstance(value.get("options"), str):
        return {**value, "options": [value["options"]]}
    if key in ("time", "memory") and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if key == "time" and isinstance(value, str):
        return _time(value.strip())
    return value


def _time(text: str) -> str:
    if text.lower() in ("unlimited", "infinite"):
        return UNLIMITED
    if not _WORDS.fullmatch(text):
        return text
    amounts = re.findall(_AMOUNT, text, re.IGNORECASE)
    total = round(sum(float(number) * _UNITS[unit[0].lower()] for number, unit in amounts))
    days, rest = divmod(total, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock


def _contradictions(site: Site) -> Iterator[Fault]:
    if site.time and seconds(site.time) == 0:
        yield Fault(("time",), f"time must be above zero, not {site.time!r}", f"{UNLIMITED} sets no limit")
    elif notice(site) < _MIN_NOTICE:
        least = f"{_MIN_NOTICE * _SHARE // 60} minutes"
        short = f"time must be {least} or more, not {site.time!r}: a job saves in its last quarter"
        yield Fault(("time",), short, f"time: {least}")
    for name in re.findall(r"\{([^{}]*)\}", site.gres):
        if name != "devices":
            yield Fault(("gres",), f"gres knows {{devices}} alone, not {{{name}}}", "gres: gpu:{devices}")
    alone = {"container_mounts": site.container_mounts, "container": site.container != Site().container}
    for key, given in alone.items():
        if given and site.container_image is None:
            yield Fault((key,), f"{key} has no effect without container_image", f"take {key} away, or name an image")
    if site.judge:
        yield from _of_judge(site.judge)
    for option in site.extra:
        try:
            words = shlex.split(option, comments=True)
        except ValueError:
            yield Fault(("extra",), f"a quote of extra is not closed: {option!r}", "close it")
            continue
        names = (word.partition("=")[0] if word.startswith("--") else word[:2] for word in words)  # -N4 is -N 4
        if own := next((name for name in names if name in _OWN_SBATCH), None):
            said = f"extra must not have {own}: a key of the site file, or virc itself, sets it"
            yield Fault(("extra",), said, f"take {own} away")


def _of_judge(judge: JobJudge) -> Iterator[Fault]:
    try:
        words = judge.words
    except ValueError:
        yield Fault(("judge", "options"), "a quote of options of judge is not closed", "close it")
        return
    for name in (word.partition("=")[0] for word in words):
        if name in _OWN_SERVE:
            yield Fault(("judge", "options"), f"options of judge must not have {name}: the job sets it", "take it away")


def check_paths(paths: Mapping[str, Path], site: Site) -> str | None:
    """Raises SetupError: nodes do not see a path; returns a warning if the site does not list the shared folders."""
    if not site.shared:
        return "the nodes must see the paths of this run; with shared: in the site file virc checks that"
    shared = [Path(folder).resolve() for folder in site.shared]
    for what, path in paths.items():
        if not any(path.resolve().is_relative_to(folder) for folder in shared):
            sentence = f"the nodes do not see {what}: {path.resolve()} is not under {', '.join(site.shared)}"
            raise SetupError(sentence, "move it there, or name its folder under shared: in the site file")
    return None
