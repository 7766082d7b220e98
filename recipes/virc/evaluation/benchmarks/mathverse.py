"""MathVerse: problems of school geometry and functions, each with less and less of it in words (Zhang et al. 2024,
arXiv:2403.14624).

Source: ZrrSkywalker/MathVerse@937b090: the prompt is the column `query_wo`. There is no published rule: a judge
extracts the answer and matches it (evaluation/extract_answer_s1.py, score_answer_s2.py). Here answers are scored as any
other, and a judge decides about the rest.
"""

import re
from collections.abc import Mapping
from typing import Any

from virc.evaluation.benchmarks.hub_rows import HubBenchmark, choice
from virc.evaluation.benchmarks.letters import LETTERS
from virc.evaluation.benchmarks.registry import Fields

_OPTION = re.compile(r"([A-J])\s*[:.]\s*(.*\S)")


def _made(row: Mapping[str, Any], fields: Fields) -> Fields:
    known = row["metadata"]
    asked, _, options = fields["question"].partition("Choices:")
    found = [option for line in options.splitlines() if (option := _OPTION.fullmatch(line.strip()))]
    is_choice = len(found) > 1 and LETTERS.startswith("".join(option[1] for option in found))
    chosen = (
        choice(fields["answer"], [option[2] for option in found]) | {"question": asked.strip()} if is_choice else {}
    )
    return chosen | {
        "prompt": row["query_wo"],
        "category": {
            "version": row["problem_version"],
            "subject": known["subject"],
            "subfield": known["subfield"],
            "question": row["question_type"],
        },
    }


BENCHMARKS = (
    HubBenchmark(
        "mathverse",
        "3,940 problems of geometry and functions, in five versions with less and less in words",
        {"": ("testmini.parquet", "data/testmini-*.parquet")},
        {"id": "sample_index", "images": "image", "question": "question_for_eval", "answer": "answer"},
        _made,
    ),
)
