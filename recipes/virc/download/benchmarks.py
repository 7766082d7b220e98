"""The published benchmarks and their datasets on the hub; those of this project, and of installed packages."""

from collections.abc import Mapping
from typing import Any

from virc.core import entry_points
from virc.core.entry_points import Group

_GROUP: Group = "virc.benchmarks"

HUB_IDS: Mapping[str, str | None] = {
    "blink": "BLINK-Benchmark/BLINK",
    "chartqa": "lmms-lab/ChartQA",
    "charxiv": "princeton-nlp/CharXiv",
    "diagrams": None,
    "docvqa": "lmms-lab/DocVQA",
    "hr-bench": "DreamMr/HR-Bench",
    "hr-mmsearch": "sensenova/HR-MMSearch",
    "mathverse": "AI4Math/MathVerse",
    "mathvision": "MathLLMs/MathVision",
    "mathvista": "AI4Math/MathVista",
    "mme-realworld": "yifanzhang114/MME-RealWorld-Lmms-eval",
    "mme-realworld-lite": "yifanzhang114/MME-RealWorld-lite-lmms-eval",
    "o3-bench": "m-Just/O3-Bench",
    "treebench": "HaochenWang/TreeBench",
    "visualprobe-easy": "Mini-o3/VisualProbe_Easy",
    "visualprobe-hard": "Mini-o3/VisualProbe_Hard",
    "visualprobe-medium": "Mini-o3/VisualProbe_Medium",
    "vstar": "craigwu/vstar_bench",
    "vtc-bench": "zzzhu/VTC-Bench",
    "zoombench": "inclusionAI/ZoomBench",
}
"""Benchmark -> its hub id; None: its problems are generated on this machine."""


def names() -> list[str]:
    """All benchmarks; packages name theirs by entry points of the group `virc.benchmarks`."""
    return [*HUB_IDS, *sorted(entry_points.modules(_GROUP).keys() - HUB_IDS.keys())]


def installed(name: str) -> Any | None:
    """The benchmark of an installed package by its name, its module; None: there is none.

    Raises:
        ConfigError: its module fails, or lacks what a benchmark has.
    """
    module = None if name in HUB_IDS else entry_points.modules(_GROUP).get(name)
    if module is None:
        return None
    found: Any = entry_points.load(_GROUP, "benchmark", name, module, ("HUB", "SPLITS", "rows"))
    found.NAME = name
    return found
