"""MathVista: mathematical questions on figures of many kinds (Lu et al. 2023, arXiv:2310.02255).

Read as it is published: parquet files that hold the images (`data/testmini-*.parquet`), or one JSON object of problems
by id (`annot_testmini.json`) beside their `images/`. The prompt is the column `query`; where rows have none, the
question with its unit and the number of decimals wanted. Published, GPT-4 extracts answers and a function compares them
(lupantech/MathVista, evaluation/calculate_score.py); here they are scored as any other, and a judge decides about the
rest.
"""

import json
import math
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.files import contents, is_file
from virc.core.text import clause, plain
from virc.download.benchmarks import HUB_IDS
from virc.evaluation.benchmarks.registry import Fields, Placed, data_url, inside, problems
from virc.solving.rows import Row

NAME = "mathvista"
ABOUT = "1,000 mathematical questions on figures of many kinds, from 31 datasets"
HUB = HUB_IDS[NAME]
SPLITS: tuple[str, ...] = ("testmini", "test")

_MAX_JSON = 256 * 2**20  # bytes
_MAX_DECIMALS = 15
_DIVISIONS = ("task", "skills", "context", "grade", "source")
_NEEDED = ("pid", "question", "answer")
_OPTIONAL = (
    "query",
    "image",
    "decoded_image",
    "choices",
    "unit",
    "precision",
    "question_type",
    "answer_type",
    "metadata",
)


class _Image(msgspec.Struct, rename={"data": "bytes"}):
    data: bytes | None = None
    path: str | None = None


class _Problem(msgspec.Struct):
    """A problem as it is published."""

    pid: str
    question: str
    answer: str | None = None
    query: str | None = None
    image: str | None = None
    decoded_image: _Image | None = None
    choices: list[str] | None = None
    unit: str | None = None
    precision: float | None = None
    question_type: str | None = None
    answer_type: str | None = None
    metadata: dict[str, Any] | None = None


def rows(folder: Path, split: str | None) -> Iterator[Row]:
    """The problems of a split in order; as `Benchmark.rows`."""
    files = sorted(folder.glob(f"data/{split}-*.parquet"))
    annotated = folder / f"annot_{split}.json"
    if not files and not is_file(annotated):
        raise DataError(
            f"{folder} holds neither data/{split}-*.parquet nor {annotated.name}",
            f"virc download eval {NAME} --to {folder}",
        )
    found = _from_parquet(files) if files else _from_json(annotated)
    first = list(islice(found, 1))
    if any(isinstance(fields, dict) and not fields.get("answer") for _, fields in first) and split == "test":
        raise DataError(f"the answers of {NAME}'s split test are not published", f"use the split {SPLITS[0]}")
    return problems(chain(first, found), lambda fields: _as_problem(fields, folder))


def _from_parquet(files: list[Path]) -> Iterator[Placed]:
    from virc.core.tables import parquet as parquet_rows

    for file in files:
        columns = {name.partition(".")[0] for name in parquet_rows.column_names(file)}
        missing = [name for name in _NEEDED if name not in columns]
        if missing:
            raise DataError(f"{file} has no column {missing[0]}")
        wanted = [name for name in _NEEDED + _OPTIONAL if name in columns]
        for number, fields in parquet_rows.read_rows(file, wanted):
            yield f"{file.name}, row {number}", fields


def _from_json(file: Path) -> Iterator[Placed]:
    try:
        content = json.loads(contents(file, _MAX_JSON))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read: {clause(error)}") from None
    if not isinstance(content, dict):
        raise DataError(f"{file} is not an object with one object a problem")
    for pid, fields in content.items():
        wrong = DataError("it is not an object")
        yield (f"{file.name}, problem {plain(pid, 40)}", {"pid": pid} | fields if isinstance(fields, dict) else wrong)


def _as_problem(fields: Fields, folder: Path) -> Fields:
    problem = msgspec.convert(fields, _Problem)
    if not problem.answer:
        raise DataError("it has no answer")
    known = problem.metadata or {}
    divisions = {name: known.get(name) for name in _DIVISIONS} | {"question": problem.question_type}
    made = {
        "id": problem.pid,
        "image": _image(problem, folder),
        "question": _question(problem),
        "answer": problem.answer,
        "category": {name: parts for name, parts in divisions.items() if parts},
    } | ({"prompt": problem.query} if problem.query and problem.question.strip() else {})
    if problem.choices:
        return made | {"choices": problem.choices}
    decimals = _decimals(problem)
    return made if decimals is None else made | {"decimals": decimals}


def _image(problem: _Problem, folder: Path) -> str:
    held = problem.decoded_image
    if held and held.data:
        return data_url(held.data)
    name = problem.image or (held and held.path)
    if not name:
        raise DataError("it has no image")
    return inside(folder, name)


def _question(problem: _Problem) -> str:
    """As it is asked, but for its choices."""
    if not problem.question.strip():
        return ""  # which is never asked
    text = f"{problem.question} (unit: {problem.unit})" if problem.unit else problem.question
    decimals = None if problem.choices else _decimals(problem)
    if decimals is None:
        return text
    return f"{text} Round the answer to {decimals} decimal place{'s' * (decimals != 1)}."


def _decimals(problem: _Problem) -> int | None:
    """How many decimals of the answer count; None where it is no decimal number."""
    precision = problem.precision
    if problem.answer_type != "float" or precision is None or math.isnan(precision):  # NaN: none, in parquet too
        return None
    if precision not in range(_MAX_DECIMALS + 1):
        raise DataError(f"its precision {precision:g} is no number of decimals from 0 to {_MAX_DECIMALS}")
    return int(precision)
