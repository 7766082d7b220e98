"""The options of sbatch that a site file must not give as text: virc sets them, or could not follow such a job."""

import shlex

import msgspec

_KEYS = {
    "account": ("--account", "-A"),
    "partition": ("--partition", "-p"),
    "qos": ("--qos", "-q"),
    "constraint": ("--constraint", "-C"),
    "time": ("--time", "-t"),
    "gres": ("--gres", "--gpus", "-G", "--gpus-per-node", "--gpus-per-task", "--gpus-per-socket"),
    "cpus": ("--cpus-per-task", "-c", "--cpus-per-gpu"),
    "memory": ("--mem", "--mem-per-cpu", "--mem-per-gpu"),
    "container_image": ("--container-image",),
    "container_mounts": ("--container-mounts",),
}
"""Key of the site file -> the options in whose place it is."""
_OWN = {
    "set nodes for the run: --set nodes=N": ("--nodes", "-N"),
    "a job has the name of its run: --name NAME": ("--job-name", "-J"),
    "the run's folder has the job's log": ("--output", "-o", "--error", "-e", "--open-mode"),
    "take it away: virc learns by it when to save": ("--signal",),
    "take it away": (
        "--ntasks", "-n", "--ntasks-per-node", "--ntasks-per-core", "--ntasks-per-gpu", "--ntasks-per-socket",
        "--requeue", "--no-requeue", "--parsable", "--wrap",
    ),
}  # fmt: skip
"""What to do instead -> the options by which a run saves, resumes and is followed."""
_OTHER = {
    "virc submits and follows one job": ("--array", "-a", "--wait", "-W"),
    "virc follows jobs of this machine's own cluster": ("--clusters", "-M"),
    "no job is submitted with it": ("--test-only", "--help", "-h", "--usage", "--version", "-V"),
}
"""What speaks against an option -> the options."""
_WHOLE = frozenset(("--container",))  # a name of its own that is the beginning of another
_MIN_LETTERS = 3  # characters of a name that is no beginning of several options: `--n` is of ten
_FLAGS = "HIkOQsv"  # short options without a value: another may follow in the same word


class Refusal(msgspec.Struct, frozen=True):
    """Why an option is refused, one clause, and what to do instead."""

    message: str
    hint: str


def _refusals() -> dict[str, Refusal]:
    found: dict[str, Refusal] = {}
    for key, names in _KEYS.items():
        found |= {name: Refusal(f"the key {key} is for that", f"{key}: VALUE") for name in names}
    for hint, names in _OWN.items():
        found |= {name: Refusal(f"virc sets {name} itself", hint) for name in names}
    for message, names in _OTHER.items():
        found |= {name: Refusal(message, f"take {name} away") for name in names}
    return found


_REFUSALS = _refusals()


def refusal(text: str) -> Refusal | None:
    """Why options of sbatch must not be given as text, as in `--nice=10 --exclusive`; None where they may.

    sbatch takes every unambiguous beginning of a long option's name for it.
    """
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return Refusal("a quote is not closed", "close it")
    found = (_of_name(_name(word)) for word in words if word.startswith("-"))
    return next((each for each in found if each), None)


def _of_name(name: str) -> Refusal | None:
    if name in _REFUSALS:
        return _REFUSALS[name]
    short = len(name) > _MIN_LETTERS and name.startswith("--") and name not in _WHOLE
    return next((found for option, found in _REFUSALS.items() if short and option.startswith(name)), None)


def _name(word: str) -> str:
    if word.startswith("--"):
        return word.partition("=")[0]
    return f"-{word[1:].lstrip(_FLAGS)[:1]}"  # -N4 is -N 4, and -QN4 is -Q -N4
