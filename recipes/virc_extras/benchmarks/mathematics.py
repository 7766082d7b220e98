"""Mathematical problems with figures: MathVerse, MathVista. MathVision, which computes answers, has its own file."""

import math
import re
from collections.abc import Mapping
from typing import Any

from virc.core.errors import DataError
from virc.evaluation.benchmarks.hub_rows import HubBenchmark, choice
from virc.evaluation.benchmarks.letters import LETTERS
from virc.evaluation.benchmarks.registry import Fields

_OPTION = re.compile(r"([A-J])\s*[:.]\s*(.*\S)")
_MAX_DECIMALS = 15
_DIVISIONS = ("task", "skills", "context", "grade", "source")


# MathVerse, problems of school geometry and functions, each with less and less of it in words (Zhang et al. 2024,
# arXiv:2403.14624). Source: ZrrSkywalker/MathVerse@937b090: the prompt is the column `query_wo`. There is no published
# rule: a judge extracts the answer and matches it (evaluation/extract_answer_s1.py, score_answer_s2.py). Here answers
# are scored as any other, and a judge decides about the rest.
def _of_mathverse(row: Mapping[str, Any], fields: Fields) -> Fields:
    known = row["metadata"]
    asked, _, options = fields["question"].partition("Choices:")
    found = [option for line in options.splitlines() if (option := _OPTION.fullmatch(line.strip()))]
    chosen: Fields = {}
    if len(found) > 1 and LETTERS.startswith("".join(option[1] for option in found)):
        chosen = choice(fields["answer"], [option[2] for option in found]) | {"question": asked.strip()}
    category = {"version": row["problem_version"], "subject": known["subject"], "subfield": known["subfield"]}
    return chosen | {"prompt": row["query_wo"], "category": {**category, "question": row["question_type"]}}


# MathVista, questions on figures of many kinds (Lu et al. 2023, arXiv:2310.02255). The prompt is the column `query`;
# if rows have none, the question with its unit and the number of decimals wanted. Published, GPT-4 extracts answers
# and a function compares them (lupantech/MathVista, evaluation/calculate_score.py). Here they are scored as any other,
# and a judge decides about the rest. The answers of the split test are not published.
def _of_mathvista(row: Mapping[str, Any], fields: Fields) -> Fields:
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
        "mathverse",
        "3,940 problems of geometry and functions, in five versions with less and less in words",
        "AI4Math/MathVerse",
        {"": ("testmini.parquet", "data/testmini-*.parquet")},
        {"id": "sample_index", "images": "image", "question": "question_for_eval", "answer": "answer"},
        _of_mathverse,
    ),
    HubBenchmark(
        "mathvista",
        "1,000 mathematical questions on figures of many kinds, from 31 datasets",
        "AI4Math/MathVista",
        {"testmini": ("data/testmini-*.parquet", "annot_testmini.json")},
        {"id": "pid", "question": "question", "choices": "choices", "answer": "answer"}
        | {"images": ["decoded_image", "image"]},
        _of_mathvista,
    ),
)
