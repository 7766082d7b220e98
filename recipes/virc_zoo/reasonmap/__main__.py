"""Scores the answers of `virc batch` to the rows of ReasonMap, as its main.py does.

    python -m virc_zoo.reasonmap ROWS.jsonl ANSWERS.jsonl

Prints a line of JSON for each problem that was answered, with its score and its terms, and then the means over them.
Means are weighed by the difficulty of question and map, as in arXiv:2505.18675v3, B.3.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

from virc.data.rows.record import Record
from virc.rewards.sample import Sample, prompt_of
from virc_zoo.reasonmap import reasonmap

_HARDER = {"easy": 0.0, "middle": 0.5, "medium": 0.5, "hard": 1.0}


def scores(rows: Path, answers: Path) -> Iterator[dict[str, Any]]:
    """Yield `id`, `weight`, `total` and the terms of each answered problem; a term that does not apply is None."""
    row_of = {row["id"]: row for row in _lines(rows)}
    for line in (line for line in _lines(answers) if line["error"] is None):
        row = row_of[line["id"]]
        sample = Sample(line["answer"] or "", prompt_of(Record(question=row["question"], extra=row)))
        terms = {name: getattr(reasonmap, name)(sample, None) for name in reasonmap.TERMS}
        weight = 1 + sum(_HARDER[row[f"difficulty_{of}"]] for of in ("question", "city"))
        yield {"id": line["id"], "weight": weight, "total": reasonmap.total(SimpleNamespace(**terms)), **terms}


def means(scored: list[dict[str, Any]]) -> dict[str, float]:
    """Return the weighted mean of the total and of each term over the problems that it applies to."""
    values = {name: [each for each in scored if each[name] is not None] for name in ("total", *reasonmap.TERMS)}
    return {
        name: fmean([each[name] for each in all_of], [each["weight"] for each in all_of])
        for name, all_of in values.items()
        if all_of
    }


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


if __name__ == "__main__":
    scored_rows = [*scores(*map(Path, sys.argv[1:]))]
    for each in scored_rows:
        print(json.dumps(each))
    print(json.dumps({"mean of": len(scored_rows), **means(scored_rows)}))
