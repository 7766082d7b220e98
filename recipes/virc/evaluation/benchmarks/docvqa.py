"""DocVQA: questions on pages of documents (Mathew et al. 2020, arXiv:2007.00398).

Source: EvolvingLMMs-Lab/lmms-eval@75571cf, lmms_eval/tasks/docvqa: the prompt of _default_template_docvqa_yaml, and the
metric `anls` of lmms_eval/api/metrics.py (`virc.scoring.accepted.anls`), whose mean is the published figure.
Right and wrong are by the rules of virc. The answers of the split test are not published.
"""

from collections.abc import Mapping
from typing import Any

from virc.evaluation.benchmarks.hub_rows import HubBenchmark
from virc.evaluation.benchmarks.registry import Fields


def _made(row: Mapping[str, Any], fields: Fields) -> Fields:
    return {
        "prompt": f"{fields['question']}\nAnswer the question using a single word or phrase.",
        "category": {"type": list(row["question_types"] or ())},
    }


BENCHMARKS = (
    HubBenchmark(
        "docvqa",
        "5,349 questions on pages of documents, measured by ANLS",
        {"": ("DocVQA/validation-*.parquet", "data/validation-*.parquet")},
        {"id": "questionId", "images": "image", "question": "question", "answers": "answers", "metric": "anls"},
        _made,
    ),
)
