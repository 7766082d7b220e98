"""The benchmarks by name, and their datasets on the hub: of the core, of extras, and of installed packages."""

from collections.abc import Mapping
from typing import Any

from virc.core import entry_points
from virc.core.entry_points import Group

_GROUP: Group = "virc.benchmarks"
CORE: Mapping[str, str] = {"diagrams": "virc.evaluation.benchmarks.diagrams"}
"""Benchmark -> its module, of those whose problems are generated on this machine."""


def names() -> list[str]:
    """All benchmarks; extras and packages name theirs by entry points of the group `virc.benchmarks`."""
    return sorted(CORE.keys() | entry_points.modules(_GROUP).keys())


def installed(name: str) -> Any | None:
    """The benchmark of that name: its module, or one of the `BENCHMARKS` in that; None: there is none.

    Raises:
        ConfigError: its module fails, or lacks what a benchmark has; or it is of an extra that is not here.
    """
    if module := CORE.get(name) or entry_points.modules(_GROUP).get(name):
        return _loaded(name, module)
    entry_points.check_installed(_GROUP, name, "benchmark")
    return None


def on_hub() -> list[Any]:
    """The benchmarks of this distribution that are downloaded."""
    return [each for item in sorted(entry_points.own(_GROUP).items()) if (each := _loaded(*item)).HUB]


def named(name: str) -> Any | None:
    """The benchmark with that name, or with that dataset on the hub, in any case; errors are those of `installed`."""
    datasets = on_hub() if "/" in name else []
    return installed(name.lower()) or next((each for each in datasets if each.HUB.lower() == name.lower()), None)


def _loaded(name: str, module: str) -> Any:
    several = getattr(entry_points.load(_GROUP, "benchmark", name, module, ()), "BENCHMARKS", ())
    if benchmark := next((each for each in several if name == each.NAME), None):
        return benchmark
    found: Any = entry_points.load(_GROUP, "benchmark", name, module, ("HUB", "SPLITS", "rows"))
    found.NAME = name
    return found
