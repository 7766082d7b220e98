"""The problems of an evaluation: the rows of a benchmark, each with what its answers are compared with."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.result_log import Id
from virc.evaluation.benchmarks.registry import LocalBenchmark, category_of
from virc.evaluation.summary import Categories
from virc.scoring.boxes import Box, reference_boxes
from virc.scoring.score import Key, key_of
from virc.solving.ablation import CropAblation, ablated_fields
from virc.solving.evidence import of_fields
from virc.solving.rows import Row


class EvalProblem(msgspec.Struct, frozen=True):
    """What is kept of a problem; `boxes`, in pixels of the file, are compared in place of the key if set.

    Where `key` is None, nothing says which answer is right: a reward scores it.
    """

    id: Id
    line: int
    digest: str
    question: str
    key: Key | None
    categories: Categories
    boxes: tuple[Box, ...] | None = None


def problems_of(
    benchmark: LocalBenchmark,
    limit: int | None,
    on_fault: Callable[[DataError], None],
    crop_ablation: CropAblation = "none",
    rewarded: bool = False,
) -> dict[str, EvalProblem]:
    """The problems by their ids, each of which can be scored; a DataError where there are none, or one is wrong.

    `on_fault` gets the faults of rows of a published benchmark, which are left out; those that are `rewarded` need no
    answer.
    """
    problems: dict[str, EvalProblem] = {}
    first: DataError | None = None
    for row in islice(benchmark.rows(), limit):
        try:
            problem = _problem(row, crop_ablation, rewarded)
            if str(problem.id) in problems:
                raise DataError(f"line {row.line}: the id {problem.id!r} comes twice")
        except DataError as fault:
            if not benchmark.published:
                raise
            first = first or fault
            on_fault(fault)
            continue
        problems[str(problem.id)] = problem
    if not problems:
        raise first or DataError(f"{benchmark.name} has no problems")
    return problems


def rows_of(benchmark: LocalBenchmark, problems: Mapping[str, EvalProblem], limit: int | None) -> Iterator[Row]:
    """The rows of the problems, read anew."""
    lines = {problem.line for problem in problems.values()}  # an id that was left out may be one of them
    return (row for row in islice(benchmark.rows(), limit) if row.line in lines)


def _problem(row: Row, crop_ablation: CropAblation, rewarded: bool) -> EvalProblem:
    if row.fault:
        raise row.fault
    try:
        boxes = reference_boxes(row.passed)
        if boxes is not None and crop_ablation == "counterfactual":
            raise DataError("its answer is boxes, and those of its counterfactual are not known")
        fields = ablated_fields(row, crop_ablation)
        key = _key(fields, rewarded) if boxes is None else Key(msgspec.json.encode(boxes).decode())
        categories = category_of(row.passed)
        of_fields(row.passed)  # evidence that is no boxes would be left out of the figures in silence
    except DataError as error:
        raise DataError(f"line {row.line}: {error.message}", error.hint) from error
    assert row.id is not None
    assert row.digest is not None
    return EvalProblem(row.id, row.line, row.digest, row.passed["question"], key, categories, boxes)


def _key(fields: Mapping[str, Any], rewarded: bool) -> Key | None:
    return None if rewarded and fields.get("answer") is None else key_of(fields)
