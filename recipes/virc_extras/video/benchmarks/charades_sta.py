"""Charades-STA: when does it happen, in clips of homes (Gao et al. 2017, arXiv:1705.02101).

Source: EvolvingLMMs-Lab/lmms-eval@75571cf, lmms_eval/tasks/charades_sta: the prompt of charades.yaml, and utils.py. An
answer is right at an IoU of 0.5, which is the published R@0.5.
"""

import ast
from collections.abc import Mapping
from typing import Any

from virc.evaluation.benchmarks.registry import Fields
from virc_extras.video.benchmarks.media_rows import media_benchmark
from virc_extras.video.benchmarks.spans import graded, problem_of, said_span

ABOUT = "3,720 questions on when something happens in a clip of a home"
HUB = "lmms-lab/charades_sta"
_ASK = (
    "Please find the visual event described by a sentence in the video, determining its starting and ending times. "
    "The format should be: 'The event happens in the start time - end time'. For example, The event 'person turn a "
    "light on' happens in the 24.3 - 30.4 seonds. Now I will give you the textual sentence: "
)
"""`seonds` is published so."""


def _make(row: Mapping[str, Any], _: Fields) -> Fields:
    times = row["timestamp"]
    return {
        **problem_of(ast.literal_eval(times) if isinstance(times, str) else times),
        "files": [f"Charades_v1_480/{row['video']}", row["video"]],
        "question": row["caption"],
        "prompt": f"{_ASK}{row['caption']}. Please return its start time and end time.",
    }


right = graded(said_span)
_BENCHMARK = media_benchmark("charades-sta", ABOUT, HUB, {"": ("data/test-*.parquet", "test*.parquet")}, _make)
SPLITS = _BENCHMARK.SPLITS
rows = _BENCHMARK.rows
