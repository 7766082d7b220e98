"""The published benchmarks and their datasets on the hub."""

from collections.abc import Mapping

HUB_IDS: Mapping[str, str | None] = {
    "diagrams": None,
    "mathvista": "AI4Math/MathVista",
    "out-of-distribution": None,
    "vstar": "craigwu/vstar_bench",
}
"""Benchmark -> its hub id; None: its problems are generated on this machine."""
