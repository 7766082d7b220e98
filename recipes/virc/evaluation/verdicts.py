"""Whether answers are right: by rules and algebra, and by a judge if none of them finds an answer right."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any

import msgspec

from virc.core.errors import VircError
from virc.core.events import Reporter
from virc.core.result_log import Id, Ledger
from virc.evaluation.answers import Answers, EvalFolder, hashed
from virc.evaluation.boxes import overlap
from virc.evaluation.problems import BenchmarkProblem
from virc.reasoning.calls import BoxView
from virc.reasoning.trace import FailureKind
from virc.scoring.answers import is_unread, score
from virc.scoring.boxes import has_boxes
from virc.scoring.judge import Judge
from virc.scoring.score import Verdict
from virc.scoring.symbolic import Symbolic
from virc.solving.batch import Outage, RowDone, as_line, through
from virc.solving.progress import Progress
from virc.solving.rows import ProblemRow

_JUDGED = "virc.judged/1"
_AT_ONCE = 16  # questions to the judge

Verdicts = Mapping[tuple[str, str], Verdict]
"""(model, id) -> the verdict."""


class Judgement(msgspec.Struct, frozen=True):
    model: str
    problem: BenchmarkProblem
    answer: str

    @property
    def id(self) -> str:
        digest = hashed(f"{self.problem.digest}\n{self.answer}".encode(errors="replace"))
        return f"{self.model}/{self.problem.id}/{digest}"


class _JudgedLine(msgspec.Struct):
    id: Id | None
    same: bool | None = None


def is_right(done: RowDone, problem: BenchmarkProblem) -> bool:
    answer, failure, view = (done.fields.get(name) for name in ("answer", "failure", "view"))
    verdict = _verdict(problem, answer, failure, view)
    return verdict is not None and verdict.right


def verdicts_by_rule(
    problems: Mapping[str, BenchmarkProblem], answers: Answers, algebra: bool = True
) -> dict[tuple[str, str], Verdict]:
    with Symbolic() if algebra and can_do_algebra() else nullcontext() as symbolic:
        same = symbolic.same if symbolic else None
        found = {
            (model, id): _verdict(problems[id], line.answer, line.failure, line.view, same)
            for model, lines in answers.items()
            for id, line in lines.items()
            if line.answers(problems.get(id))
        }
    return {key: verdict for key, verdict in found.items() if verdict}


def _verdict(
    problem: BenchmarkProblem,
    answer: str | None,
    failure: FailureKind | None,
    view: BoxView | None,
    symbolic: Callable[[str, str], bool] | None = None,
) -> Verdict | None:
    if answer is not None and problem.boxes is not None:
        boxes = overlap(answer, problem.boxes, view, problem.crowds)
        return Verdict(boxes.right, "rule", unread=not (boxes.found or has_boxes(answer)))
    if answer is not None and problem.right:
        right = problem.right(answer)
        return Verdict(right is True, "rule", unread=right is None)
    if answer is not None and problem.key:
        verdict = score(answer, problem.key, symbolic)
        return msgspec.structs.replace(verdict, unread=not verdict.right and is_unread(answer, problem.key))
    refused = failure == "no_answer" and problem.key is not None and problem.key.is_refusal
    return Verdict(True, "rule") if answer is None and refused else None


def can_do_algebra() -> bool:
    return find_spec("math_verify") is not None


def doubtful(problems: Mapping[str, BenchmarkProblem], answers: Answers, verdicts: Verdicts) -> list[Judgement]:
    """Answers that a judge may find right: no rule does, and they are neither boxes nor read by a published rule."""
    return [
        Judgement(model, problems[id], answers[model][id].answer or "")
        for (model, id), verdict in verdicts.items()
        if not verdict.right and problems[id].boxes is None and (verdict.unread or not problems[id].right)
    ]


def with_judge(
    judge: Judge, folder: EvalFolder, verdicts: Verdicts, judgements: Sequence[Judgement], report: Reporter
) -> dict[tuple[str, str], Verdict | None]:
    """The verdicts, with those of the judge in place of doubtful ones; None for an answer on which it failed.

    The judge's verdicts are kept in the folder, and it is not asked about an answer twice.
    """
    by_id = {each.id: each for each in judgements}
    rows = [ProblemRow(at, each.id, digest=each.problem.digest) for at, each in enumerate(judgements, 1)]
    known: dict[str, Any] = {"model": judge.model, "protocol": None, "settings": {}}

    def work(row: ProblemRow) -> RowDone:
        each = by_id[str(row.id)]
        assert each.problem.key
        same = judge.same(each.problem.question, each.problem.key.reference, each.answer)
        return RowDone(row, {"same": same})

    with Ledger(folder.judged(judge.model), _JUDGED, {"model": judge.model}, ()) as ledger:
        progress = _JudgeProgress(judge.model, len(judgements), ledger.resumed, report)

        def on_row(done: RowDone) -> None:
            ledger.append(as_line(done, known, _JUDGED))
            progress.add(done)

        try:
            through(rows, ledger, work, on_row, _AT_ONCE, Outage(judge.answers, report.note))
        except VircError as error:  # answers about which it was not asked are undecided
            report.warn(error.message, error.hint)
        finally:
            report.note(str(progress))
    with folder.judged(judge.model).open("rb") as lines:
        judged_lines = [msgspec.json.decode(line, type=_JudgedLine) for line in lines]
    judged = {str(each.id): each.same for each in judged_lines if each.same is not None}
    final: dict[tuple[str, str], Verdict | None] = dict(verdicts)
    for each in judgements:
        right = judged.get(each.id)
        final[each.model, str(each.problem.id)] = None if right is None else Verdict(right, "judge")
    return final


class _JudgeProgress(Progress):
    def __init__(self, judge: str, of: int, resumed: int, report: Reporter) -> None:
        super().__init__(resumed, report, of)
        self._right, self._judge, self._of = 0, judge, of

    def add(self, done: RowDone) -> None:
        self._right += bool(done.fields.get("same"))
        super().add(done)

    def __str__(self) -> str:
        before = f"; {self.resumed} were judged before" if self.resumed else ""
        counts = f"{self._right} right, {self.failed} failed"
        return f"{self._judge} has judged {self.done} of {self._of} answers: {counts}{before}"
