"""TVGBench: when does it happen, in clips of five sources (Wang et al. 2025, arXiv:2503.13377).

Source: xiaomi-research/time-r1@7f2b594: dataset/timer1/annotations/tvgbench.json; the prompt `default` of
src/vllm_inference/data/config.py; evaluate.py, extract_answer, and src/vllm_inference/eval_all.py, compute_IoU. An
answer is right over an IoU of 0.5. 252 rows are about a part of their clip, from whose start their answer counts: here
that is from the start of the clip, as in the lines of the frames.
"""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from virc.evaluation.benchmarks.registry import Fields
from virc_extras.studies.intervals import Span
from virc_extras.video.benchmarks.media_rows import media_benchmark
from virc_extras.video.benchmarks.spans import graded, problem_of

ABOUT = "800 questions on when something happens, of eleven kinds"
HUB = "Boshenxx/TimeR1-Dataset"
_ORIGIN = "https://github.com/xiaomi-research/time-r1/tree/main/dataset/timer1/annotations"
_SAID = re.compile(r"(\d+\.?\d*) (?:to|and) (\d+\.?\d*)")


def _make(row: Mapping[str, Any], _: Fields) -> Fields:
    path, before = PurePosixPath(row["path"]), row["start"] or 0.0
    return {
        **problem_of([before + float(each) for each in row["answer"].split("-")]),
        **({"start": before, "end": row["end"]} if row["end"] else {}),
        "files": [f"{folder}{path.name}" for folder in ("tvgbench_data/", "videos/tvgbench_data/", "")],
        "question": row["question"],
        "prompt": (
            f'To accurately pinpoint the event "{row["question"]}" in the video, determine the precise time period of '
            "the event.\n\nProvide the start and end times (in seconds, precise to two decimal places) in the format "
            '"start time to end time" within the <answer> </answer> tags. For example: "12.54 to 17.83".'
        ),
        "category": {"source": str(row.get("dataset_name") or PurePosixPath(row["source"]).stem)},
    }


def _said(reply: str) -> Span | None:
    """The last two numbers with `to` or `and` between them."""
    times = _SAID.findall(reply)
    return (float(times[-1][0]), float(times[-1][1])) if times else None


right = graded(_said, is_over=True)
_FILES = ("tvgbench.json", "annotations/tvgbench.json")
_BENCHMARK = media_benchmark("tvgbench", ABOUT, HUB, {"": _FILES}, _make, _ORIGIN)
SPLITS = _BENCHMARK.SPLITS
rows = _BENCHMARK.rows
