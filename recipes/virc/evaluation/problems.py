"""The problems of an evaluation: the rows of a benchmark, each with what its answers are compared with."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import DataError, NetworkError, at_place
from virc.core.events import Reporter
from virc.core.result_log import Id
from virc.core.text import counted
from virc.evaluation.answered import Categories
from virc.evaluation.benchmarks.registry import LocalBenchmark, Right, category_of, rule_of
from virc.reasoning.calls import Size
from virc.reasoning.images import image_size
from virc.scoring.boxes import Box, further_boxes, meant_as_boxes, reference_boxes
from virc.scoring.references import References, references_of
from virc.scoring.score import NO_ANSWER, Key, key_of
from virc.solving.ablation import CropAblation, ablated_fields
from virc.solving.evidence import of_fields
from virc.solving.image_source import files_of
from virc.solving.rows import ProblemRow


class Rule(msgspec.Struct, frozen=True):
    """The published rule of a benchmark for one problem; two are equal if rule and fields are."""

    right: Right
    fields: Mapping[str, Any]

    def __call__(self, answer: str) -> bool | None:
        return self.right(answer, self.fields)


class BenchmarkProblem(msgspec.Struct, frozen=True):
    """What is kept of a problem.

    If `boxes` (in pixels of the file) are set, they are compared in place of the key; in `crowds` answers are neither
    right nor wrong. If `key` is None, no right answer is known, and a reward scores the answers. If `right`, the
    published rule of the benchmark, is set, it decides in place of the key; it returns None if it cannot tell.
    """

    id: Id
    line: int
    digest: str
    question: str
    key: Key | None
    categories: Categories
    boxes: tuple[Box, ...] | None = None
    right: Rule | None = None
    crowds: tuple[Box, ...] = ()


def problems_of(
    benchmark: LocalBenchmark,
    limit: int | None,
    on_fault: Callable[[DataError], None],
    crop_ablation: CropAblation = "none",
    rewarded: bool = False,
) -> dict[str, BenchmarkProblem]:
    """The problems by their ids; a DataError if there are none, or if a row of the user's own file is wrong.

    A wrong row of a published benchmark is left out, and `on_fault` gets its fault. With `rewarded` a row needs no
    answer.
    """
    problems: dict[str, BenchmarkProblem] = {}
    first: DataError | None = None
    references = References()
    for row in islice(benchmark.rows(), limit):
        try:
            problem = _problem_at(row, crop_ablation, rewarded, rule_of(benchmark.scorer))
            if str(problem.id) in problems:
                raise DataError(f"line {row.line}: the id {problem.id!r} comes twice")
        except DataError as fault:
            if not benchmark.published:
                raise
            first = first or fault
            on_fault(fault)
            continue
        problems[str(problem.id)] = problem
        if not (benchmark.published or rewarded):
            references.add(row.line, references_of(row.passed, partial(_size, row, benchmark.base)))
    references.check()
    if not problems:
        raise first or DataError(f"{benchmark.name} has no problems")
    return problems


def _size(row: ProblemRow, base: Path) -> Size | None:
    """(width, height) in px of the first picture's file; None if it cannot be read here."""
    try:
        return image_size(*files_of(row.pictures[:1], offline=True, base=base, trusted=row.trusted)[0])
    except (DataError, NetworkError, IndexError):
        return None


def rows_of(
    benchmark: LocalBenchmark, problems: Mapping[str, BenchmarkProblem], limit: int | None
) -> Iterator[ProblemRow]:
    lines = {problem.line for problem in problems.values()}  # not by ids: a row that was left out may have the same id
    return (row for row in islice(benchmark.rows(), limit) if row.line in lines)


def swapped(
    rows: Iterable[ProblemRow], known_by: Callable[[ProblemRow], Hashable] = lambda row: row.images
) -> Iterator[ProblemRow]:
    """The rows, each with the pictures of another row in `swapped`.

    Consecutive rows with the same pictures (by `known_by`) are a run. The rows of a run get the pictures of the next
    run; the rows of the last run get those of the run before it. Rows without pictures belong to any run.
    """
    run: list[ProblemRow] = []
    first: ProblemRow | None = None  # the first row of the run that has pictures
    pictures: Hashable = None  # those of the run
    first_before: ProblemRow | None = None  # the same of the run before
    for row in rows:
        if row.images and (first is None or known_by(row) != pictures):
            if first is not None:
                yield from (msgspec.structs.replace(each, swapped=row.pictures) for each in run)
                first_before, run = first, []
            first, pictures = row, known_by(row)
        run.append(row)
    if first and not first_before:
        sentence = "all problems have the same picture, so that crops cannot be swapped among them"
        raise DataError(sentence, "ask problems with other pictures, or without «--looks»")
    others = first_before.pictures if first_before else ()
    yield from (msgspec.structs.replace(each, swapped=others) for each in run)


def contents(row: ProblemRow, base: Path) -> Hashable:
    try:
        files = files_of(row.pictures, offline=True, base=base, trusted=row.trusted)
        return tuple(sha256(content).digest() for content, _ in files)
    except (DataError, NetworkError):
        return row.images


def _problem_at(row: ProblemRow, crop_ablation: CropAblation, rewarded: bool, right: Right | None) -> BenchmarkProblem:
    if row.fault:
        raise row.fault
    with at_place(f"line {row.line}"):
        return problem_of(row, crop_ablation, rewarded, right)


def problem_of(row: ProblemRow, crop_ablation: CropAblation, rewarded: bool, right: Right | None) -> BenchmarkProblem:
    boxes = reference_boxes(row.passed)
    if boxes is not None and crop_ablation == "counterfactual":
        raise DataError("its answer is boxes, and those of its counterfactual are not known")
    fields = ablated_fields(row, crop_ablation)
    key: Key | None = None
    if boxes is not None:
        key = Key(msgspec.json.encode(boxes).decode())
    elif not rewarded or fields.get("answer") is not None:
        if fields.keys().isdisjoint(("answer", "answers")):
            raise DataError(NO_ANSWER, "«--column answer=NAME» says which column it is")
        key = key_of(fields)
    categories = category_of(row.passed)
    of_fields(row.passed)  # raises if the evidence is not boxes: the figures would leave it out without a word
    crowds = () if boxes is None else tuple(further_boxes(row.passed, "crowd_boxes"))
    assert row.id is not None
    assert row.digest is not None
    rule = Rule(right, row.passed) if right else None
    return BenchmarkProblem(row.id, row.line, row.digest, row.passed["question"], key, categories, boxes, rule, crowds)


def find_problems(
    benchmark: LocalBenchmark,
    limit: int | None,
    report: Reporter,
    crop_ablation: CropAblation = "none",
    rewarded: bool = False,
) -> dict[str, BenchmarkProblem]:
    faults: list[DataError] = []
    problems = problems_of(benchmark, limit, faults.append, crop_ablation, rewarded)
    if faults:
        report.warn(f"rows of {benchmark.name} left out: {len(faults)}; the first: {faults[0].message}")
    if crowds := sum(len(each.crowds) for each in problems.values()):
        report.note(f"{counted(crowds, 'crowd')} (boxes around many objects): no box of an answer in one is wrong")
    keys = [each.key for each in problems.values() if each.key and each.boxes is None and not benchmark.published]
    sentences = (meant_as_boxes(each.answer) for each in keys if not each.choices)
    if sentence := next(filter(None, sentences), ""):
        report.warn(f"{benchmark.name}: {sentence}")
    return problems
