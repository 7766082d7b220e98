"""Reads the file of a result, which `virc.evaluation.results` writes."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import DataError, at_place
from virc.core.files import contents
from virc.core.text import clause, plain
from virc.evaluation.answers import AnswerLine
from virc.evaluation.benchmarks import registry
from virc.evaluation.problems import BenchmarkProblem, problem_of
from virc.evaluation.results import SCHEMA, Head, digest_of
from virc.scoring.score import Verdict
from virc.solving.rows import ProblemRow

_MAX_BYTES = 2**30


class Line(msgspec.Struct, frozen=True):
    """A line of a problem.

    `replied` and `digest` are the digests in the line, `computed` is the digest of what the line holds. `exact`: the
    bytes are those that `write` writes.
    """

    answer: AnswerLine
    input: dict[str, Any]
    verdict: Verdict | None
    replied: str
    digest: str
    computed: str
    exact: bool


class ResultFile(msgspec.Struct, frozen=True):
    """A file that was read: its head, and its lines by the ids of their problems; `exact` as in `Line`."""

    path: Path
    head: Head
    lines: Mapping[str, Line]
    exact: bool

    @property
    def problems(self) -> dict[str, BenchmarkProblem]:
        return {id: self._problem(line) for id, line in self.lines.items()}

    @property
    def seed(self) -> int:
        return int((next(iter(self.lines.values())).answer.settings or {}).get("seed", 0))

    def _problem(self, line: Line) -> BenchmarkProblem:
        passed = {"question": "", **line.input}
        row = ProblemRow(0, line.answer.id, question=passed["question"], digest=line.answer.row, passed=passed)
        with at_place(f"{self.path}, problem {plain(line.answer.id, 60)}"):
            return problem_of(row, self.head.crop_ablation, rewarded=True, right=registry.rule_of(self.head.published))


def read_results(path: Path) -> ResultFile:
    try:
        content = contents(path, _MAX_BYTES)
        if content.count(b"\r\n") == content.count(b"\n"):  # git and mail change all ends of lines, JSON has no others
            content = content.replace(b"\r\n", b"\n")
        first, *rest = content.removesuffix(b"\n").split(b"\n")
        head = msgspec.json.decode(first, type=Head)
        if head.schema != SCHEMA:
            raise DataError(f"{path} is of schema {head.schema!r}")
        found = list(_lines(rest))
        lines = {str(line.answer.id): line for line in found}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        hint = "`virc eval` writes such files in evals/NAME/results"
        raise DataError(f"{path} is no result of `virc eval`: {clause(error)}", hint) from error
    if not lines or len(lines) != len(rest):
        raise DataError(f"{path} has no problems, or two of one id")
    whole = content.endswith(b"\n") and first == msgspec.json.encode(head)
    return ResultFile(path, head, lines, whole and all(line.exact for line in found))


def _lines(texts: Iterable[bytes]) -> Iterator[Line]:
    before = ""
    for text in texts:
        fields = msgspec.json.decode(text, type=dict[str, Any])
        exact = text == msgspec.json.encode(fields)
        written, replied = str(fields.pop("digest", "")), str(fields.get("replied"))
        verdict = msgspec.convert(fields.get("verdict"), Verdict | None)
        row = msgspec.convert(fields.get("input"), dict[str, Any])
        answer, computed = msgspec.convert(fields, AnswerLine), digest_of([before, fields])
        if answer.id is None or answer.row is None:
            raise DataError("a line has no id, or no digest of its row")
        int((answer.settings or {}).get("seed", 0))  # a ValueError if it is no number
        yield Line(answer, row, verdict, replied, written, computed, exact)
        before = written
