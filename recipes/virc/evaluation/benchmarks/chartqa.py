"""ChartQA: questions on charts, of people and made of captions (Masry et al. 2022, arXiv:2203.10244).

Source: EvolvingLMMs-Lab/lmms-eval@75571cf, lmms_eval/tasks/chartqa: the prompt of chartqa.yaml, and relaxed_correctness
of utils.py, which is Qwen-VL's.
"""

from collections.abc import Mapping
from typing import Any

from virc.evaluation.benchmarks.hub_rows import HubBenchmark
from virc.evaluation.benchmarks.registry import Fields

_TOLERANCE = 0.05


def _right(answer: str, fields: Mapping[str, Any]) -> bool:
    """Whether an answer is within 5 % of the right number, or the same text but for case."""
    number, wanted = _number(answer), _number(fields["answer"])
    if number is not None and wanted:
        return abs(number - wanted) / abs(wanted) <= _TOLERANCE
    return answer.lower() == str(fields["answer"]).lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def _made(row: Mapping[str, Any], fields: Fields) -> Fields:
    return {
        "prompt": f"{fields['question']}\nAnswer the question with a single word.",
        "category": {"type": row["type"].removesuffix("_test")},
    }


BENCHMARKS = (
    HubBenchmark(
        "chartqa",
        "2,500 questions on charts, whose numbers may be off by 5 %",
        {"": ("data/test-*.parquet",)},
        {"images": "image", "question": "question", "answer": "answer"},
        _made,
        _right,
    ),
)
