"""VisualProbe: small things in large photographs, in three levels (Lai et al. 2025, arXiv:2509.07969).

Source: Mini-o3/Mini-o3@8654dbf, README.md and docs/mini_o3_demo.md: `val.json`, whose `problem` is the prompt. There is
no published rule: verl/utils/reward_score/general_qa_tool.py asks a judge about each answer, and so does
`--reward mini-o3`. Without that, answers are scored as any other.
"""

from collections.abc import Mapping
from typing import Any

from virc.evaluation.benchmarks.hub_rows import HubBenchmark
from virc.evaluation.benchmarks.registry import Fields


def _made(row: Mapping[str, Any], fields: Fields) -> Fields:
    return {"category": {"source": str(row.get("data_source") or "visual_probe").replace("_", " ")}}


_FOLDERS = ["VisualProbe_Easy", "VisualProbe_Medium", "VisualProbe_Hard"]
BENCHMARKS = tuple(
    HubBenchmark(
        f"visualprobe-{level}",
        f"{level} questions on small things in large photographs",
        {"": ("val.json", "*/val.json", "data/val*.parquet", "data/*.parquet")},
        {"id": "doc_id", "images": "images", "folder": _FOLDERS, "question": "problem", "answer": "solution"},
        _made,
    )
    for level in ("easy", "medium", "hard")
)
