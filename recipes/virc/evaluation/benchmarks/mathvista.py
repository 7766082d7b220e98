"""MathVista: mathematical questions on figures of many kinds (Lu et al. 2023, arXiv:2310.02255).

The prompt is the column `query`; where rows have none, the question with its unit and the number of decimals wanted.
Published, GPT-4 extracts answers and a function compares them (lupantech/MathVista, evaluation/calculate_score.py).
Here they are scored as any other, and a judge decides about the rest. The answers of the split test are not published.
"""

import math
from collections.abc import Mapping
from typing import Any

from virc.core.errors import DataError
from virc.evaluation.benchmarks.hub_rows import HubBenchmark
from virc.evaluation.benchmarks.registry import Fields

_MAX_DECIMALS = 15
_DIVISIONS = ("task", "skills", "context", "grade", "source")


def _made(row: Mapping[str, Any], fields: Fields) -> Fields:
    known, question, query = row.get("metadata") or {}, fields["question"], row.get("query")
    divisions = {name: known.get(name) for name in _DIVISIONS} | {"question": row.get("question_type")}
    made: Fields = {"category": {name: parts for name, parts in divisions.items() if parts}}
    asked = f"{question} (unit: {row['unit']})" if row.get("unit") else question
    if not fields.get("choices") and (decimals := _decimals(row)) is not None:
        asked += f" Round the answer to {decimals} decimal place{'s' * (decimals != 1)}."
        made["decimals"] = decimals
    if question.strip():  # else it is never asked
        made |= {"question": asked} | ({"prompt": query} if query else {})
    return made


def _decimals(row: Mapping[str, Any]) -> int | None:
    precision = row.get("precision")
    if row.get("answer_type") != "float" or precision is None or math.isnan(precision):  # NaN: none, in parquet too
        return None
    if precision not in range(_MAX_DECIMALS + 1):
        raise DataError(f"its precision {precision:g} is no number of decimals from 0 to {_MAX_DECIMALS}")
    return int(precision)


BENCHMARKS = (
    HubBenchmark(
        "mathvista",
        "1,000 mathematical questions on figures of many kinds, from 31 datasets",
        {"testmini": ("data/testmini-*.parquet", "annot_testmini.json")},
        {"id": "pid", "question": "question", "choices": "choices", "answer": "answer"}
        | {"images": ["decoded_image", "image"]},
        _made,
    ),
)
