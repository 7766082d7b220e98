"""The published benchmarks and their datasets on the hub."""

from collections.abc import Mapping

HUB_IDS: Mapping[str, str | None] = {
    "blink": "BLINK-Benchmark/BLINK",
    "chartqa": "lmms-lab/ChartQA",
    "charxiv": "princeton-nlp/CharXiv",
    "diagrams": None,
    "docvqa": "lmms-lab/DocVQA",
    "hr-bench": "DreamMr/HR-Bench",
    "mathverse": "AI4Math/MathVerse",
    "mathvision": "MathLLMs/MathVision",
    "mathvista": "AI4Math/MathVista",
    "mme-realworld": "yifanzhang114/MME-RealWorld-Lmms-eval",
    "mme-realworld-lite": "yifanzhang114/MME-RealWorld-lite-lmms-eval",
    "out-of-distribution": None,
    "treebench": "HaochenWang/TreeBench",
    "visualprobe-easy": "Mini-o3/VisualProbe_Easy",
    "visualprobe-hard": "Mini-o3/VisualProbe_Hard",
    "visualprobe-medium": "Mini-o3/VisualProbe_Medium",
    "vstar": "craigwu/vstar_bench",
}
"""Benchmark -> its hub id; None: its problems are generated on this machine."""
