"""The settings in which runs differ, and how far they came."""

from collections.abc import Mapping, Sequence
from typing import Any

from virc.config import dotted
from virc.runs import run as runs
from virc.runs.run import Info, Run

_RESULTS = ("progress", "step", "loss", "reward", "best_validation", "seconds")
_ABOUT = ("system", "stage", "overlays", "base", "adapter", "data", "validation", "rows", "longest", "environment")


def differing(compared: Sequence[Run]) -> dict[str, list[Any]]:
    """What is not the same in all runs: dotted name of the setting -> its value in each run, None if it has none.

    Raises:
        ConfigError: a run cannot be read.
    """
    known = [_settings(runs.info(run)) for run in compared]
    names = dict.fromkeys(name for settings in known for name in settings)
    found = {name: [settings.get(name) for settings in known] for name in names}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values)}


def results(compared: Sequence[Run]) -> dict[str, list[Any]]:
    """How far each run is and its last measures, by the names of `State`; without measures that none of them has.

    Raises:
        ConfigError: a run cannot be read.
    """
    states = [runs.state(run) for run in compared]
    found = {name: [getattr(state, name) for state in states] for name in _RESULTS}
    return {name: values for name, values in found.items() if any(value is not None for value in values)}


def _settings(info: Info) -> Mapping[str, Any]:
    about = {name: getattr(info, name) for name in _ABOUT}
    return {".".join(path): value for path, value in dotted.leaves(info.settings)} | about
