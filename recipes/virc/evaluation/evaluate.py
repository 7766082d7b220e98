"""An evaluation: models are asked the same problems, their answers are scored and compared, all in one folder.

    answers/MODEL.jsonl     `virc.solve/1` lines, taken up where they stopped
    traces/MODEL/ID/        pages of the answers
    judged/JUDGE.jsonl      what a judge said of answers that no rule finds right
    summary.json            `virc.eval/1`
    report.html             the same to look at

Every model with answers to the same problems in the folder is compared, whichever command asked it.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from virc.core.errors import ConfigError, DataError, NoAnswerError, SetupError, VircError
from virc.core.files import contents, write_json, write_whole
from virc.core.result_log import Claims, Id, Ledger
from virc.core.text import clause
from virc.evaluation.benchmarks.registry import Found, category_of
from virc.evaluation.boxes import overlap
from virc.evaluation.report import render
from virc.evaluation.summary import SCHEMA, Answered, Categories, Result, Summary, summarise
from virc.reasoning.calls import View
from virc.reasoning.trace import FailureKind
from virc.scoring.boxes import Box, reference_boxes
from virc.scoring.judge import Judge
from virc.scoring.score import Key, Verdict, key_of, score
from virc.scoring.symbolic import Symbolic
from virc.solving.ablation import CropAblation, ablated_fields
from virc.solving.batch import RowDone, through
from virc.solving.evidence import of_fields
from virc.solving.retry import Outage
from virc.solving.rows import Row, file_name

FOLDER = "evals"
JUDGED = "virc.judged/1"
Traces = Literal["wrong", "all", "none"]
_AT_ONCE = 16  # questions to the judge
_MOST_TRACE = 256 * 2**20  # bytes


class Problem(msgspec.Struct, frozen=True):
    """What is kept of a problem while it is evaluated; its pictures are read when a model is asked.

    Args:
        boxes: what an answer is held against in place of the key, in pixels of the first image's file; None where it
            is a text.
    """

    id: Id
    line: int
    digest: str
    question: str
    key: Key
    categories: Categories
    boxes: tuple[Box, ...] | None = None


class Place(msgspec.Struct, frozen=True):
    """The folder of an evaluation."""

    folder: Path

    def answers(self, model: str) -> Path:
        """The file with a model's answers."""
        return self.folder / "answers" / f"{file_name(model)}.jsonl"

    def traces(self, model: str) -> Path:
        """The folder with a folder for each answer."""
        return self.folder / "traces" / file_name(model)

    def judged(self, judge: str) -> Path:
        """The file with a judge's verdicts."""
        return self.folder / "judged" / f"{file_name(judge)}.jsonl"

    @property
    def summary(self) -> Path:
        """The figures."""
        return self.folder / "summary.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"


class Line(msgspec.Struct, frozen=True):
    """What an evaluation reads of a line of answers."""

    id: Id | None
    row: str | None
    model: str | None
    answer: str | None
    error: dict[str, Any] | None
    protocol: str | None = None
    device: str | None = None
    settings: dict[str, Any] | None = None
    turns: int | None = None
    calls: dict[str, int] | None = None
    tokens: dict[str, int | None] | None = None
    seconds: float | None = None
    rejected: int = 0
    failure: FailureKind | None = None
    view: View | None = None
    evidence: list[float] | None = None

    @property
    def crop_ablation(self) -> str:
        """What its crops were cut from; `crops` was the key of a former version."""
        settings = self.settings or {}
        return str(settings.get("crop_ablation", settings.get("crops", "none")))


def folder_of(benchmark: str, crop_ablation: CropAblation) -> Path:
    """Where an evaluation goes that has no folder of its own."""
    return Path(FOLDER) / (benchmark if crop_ablation == "none" else f"{benchmark}-{crop_ablation}")


def check_crop_ablation(place: Place, crop_ablation: CropAblation) -> None:
    """Refuse a folder with answers of another crop ablation: they are no answers to the same problems.

    Raises:
        ConfigError: there are such answers in the folder.
        DataError: a file of answers holds something else.
    """
    for file in _answers_in(place):
        theirs = next((line.crop_ablation for line in _lines(file)), crop_ablation)
        if theirs != crop_ablation:
            raise ConfigError(
                f"{file} holds answers of the crop ablation {theirs}, not {crop_ablation}",
                f"--to NEW_FOLDER, or --crop-ablation {theirs}"
                if theirs in get_args(CropAblation)
                else "--to NEW_FOLDER",
            )


def problems_of(
    found: Found,
    take: int | None,
    on_fault: Callable[[DataError], None],
    crop_ablation: CropAblation = "none",
) -> dict[str, Problem]:
    """The problems by their ids, each of which can be scored.

    Args:
        take: only the first so many.
        on_fault: told of rows of a published benchmark that cannot be asked or scored; they are left out.
        crop_ablation: what crops are cut from; the right answers are those of the counterfactuals where it is these.

    Raises:
        DataError: there are none, or one of the user's own cannot be asked or scored.
    """
    problems: dict[str, Problem] = {}
    first: DataError | None = None
    for row in islice(found.rows(), take):
        try:
            problem = _problem(row, crop_ablation)
            if str(problem.id) in problems:
                raise DataError(f"line {row.line}: the id {problem.id!r} comes twice")
        except DataError as fault:
            if not found.published:
                raise
            first = first or fault
            on_fault(fault)
            continue
        problems[str(problem.id)] = problem
    if not problems:
        raise first or DataError(f"{found.name} has no problems")
    return problems


def to_ask(found: Found, problems: Mapping[str, Problem], take: int | None) -> Iterator[Row]:
    """The rows of the problems, read anew."""
    asked = {problem.line for problem in problems.values()}  # an id that was left out may be one of them
    return (row for row in islice(found.rows(), take) if row.line in asked)


def done_before(model: str, problems: Mapping[str, Problem], ledger: Ledger) -> int:
    """How many of the problems a former run has answered.

    Raises:
        DataError: some were others then, so that their answers are not to these.
    """
    before = {id: ledger.before(problem.id) for id, problem in problems.items()}
    changed = [id for id, digest in before.items() if digest not in (None, problems[id].digest)]
    if changed:
        raise DataError(
            f"problems that changed since {model} answered them: {len(changed)}, the first is {changed[0]!r}",
            f"use another --to, or take their lines out of {ledger.path}",
        )
    return sum(digest is not None for digest in before.values())


def _problem(row: Row, crop_ablation: CropAblation) -> Problem:
    if row.fault:
        raise row.fault
    try:
        boxes = reference_boxes(row.passed)
        if boxes is not None and crop_ablation == "counterfactual":
            raise DataError("its answer is boxes, and those of its counterfactual are not known")
        fields = ablated_fields(row, crop_ablation)
        key = key_of(fields) if boxes is None else Key(msgspec.json.encode(boxes).decode())
        categories = category_of(row.passed)
        of_fields(row.passed)  # what is none would be left out of the figures in silence
    except DataError as error:
        raise DataError(f"line {row.line}: {error.message}", error.hint) from error
    assert row.id is not None
    assert row.digest is not None
    return Problem(row.id, row.line, row.digest, row.passed["question"], key, categories, boxes)


def tidied(place: Place, model: str, done: RowDone, problem: Problem, traces: Traces) -> RowDone:
    """A row without its trace where only those of wrong answers are kept, and its own is right by rule."""
    if traces != "wrong" or not is_right(done, problem):
        return done
    shutil.rmtree(place.traces(model) / file_name(str(done.row.id)), ignore_errors=True)
    return msgspec.structs.replace(done, fields={**done.fields, "trace": None})


def is_right(done: RowDone, problem: Problem) -> bool:
    """Whether what came of a row is right by the rules that take no time."""
    said = (done.fields.get(name) for name in ("answer", "failure", "view"))
    verdict = _verdict(problem, *said)
    return verdict is not None and verdict.right


def models_in(place: Place, first: Sequence[str]) -> dict[str, dict[str, Line]]:
    """What every model in the folder was asked: model -> id -> line, also of a row that failed.

    Args:
        first: models that come first, in this order.

    Raises:
        DataError: a file of answers holds something else.
    """
    found = {}
    for file in _answers_in(place):
        lines = list(_lines(file))
        if lines and lines[0].model is not None:
            found[lines[0].model] = {str(line.id): line for line in lines}
    order = [name for name in first if name in found]
    return {name: found[name] for name in [*order, *(name for name in found if name not in order)]}


def _answers_in(place: Place) -> list[Path]:
    return sorted((place.folder / "answers").glob("*.jsonl"))


def _lines(file: Path) -> Iterator[Line]:
    with file.open("rb") as lines:
        for number, text in enumerate(lines, 1):
            if not text.endswith(b"\n"):  # it is being written, or who wrote it was killed
                return
            try:
                yield msgspec.json.decode(text, type=Line)
            except (ValueError, RecursionError) as error:
                sentence = f"{file} holds something else than answers: line {number}: {clause(error)}"
                raise DataError(sentence, "move it out of that folder") from error


class _Traced(msgspec.Struct):
    """What an evaluation reads of a trace."""

    answer: str | None = None


class Judgement(msgspec.Struct, frozen=True):
    """One answer that a judge is asked about."""

    model: str
    problem: Problem
    answer: str

    @property
    def id(self) -> str:
        """What names it in the file of verdicts, and changes with the answer."""
        digest = hashlib.sha256(f"{self.problem.digest}\n{self.answer}".encode(errors="replace")).hexdigest()
        return f"{self.model}/{self.problem.id}/{digest[:16]}"


def verdicts_by_rule(
    problems: Mapping[str, Problem], models: Mapping[str, Mapping[str, Line]]
) -> dict[tuple[str, str], Verdict]:
    """(model, id) -> what the rules say of each answer and of each right refusal.

    Answers are also compared by algebra where math-verify is installed.
    """
    with _symbolic() as symbolic:
        same = symbolic.same if symbolic else None
        found = {
            (model, id): _verdict(problems[id], line.answer, line.failure, line.view, same)
            for model, lines in models.items()
            for id, line in lines.items()
            if _is_of(line, problems.get(id))
        }
    return {key: verdict for key, verdict in found.items() if verdict}


def _verdict(
    problem: Problem,
    answer: str | None,
    failure: FailureKind | None,
    view: View | None,
    symbolic: Callable[[str, str], bool] | None = None,
) -> Verdict | None:
    """What is thought of an answer, or of a refusal where that is right; None where there is neither."""
    if answer is not None and problem.boxes is not None:
        return Verdict(overlap(answer, problem.boxes, view).right, "rule")
    if answer is not None:
        return score(answer, problem.key, symbolic)
    return Verdict(True, "rule") if failure == "no_answer" and problem.key.is_refusal else None


def can_do_algebra() -> bool:
    """Whether answers that are equal only by algebra are seen to be."""
    with _symbolic() as symbolic:
        return symbolic is not None


def _symbolic() -> "Symbolic | nullcontext[None]":
    try:
        return Symbolic()
    except SetupError:
        return nullcontext()


def doubtful(
    problems: Mapping[str, Problem],
    models: Mapping[str, Mapping[str, Line]],
    verdicts: Mapping[tuple[str, str], Verdict],
) -> list[Judgement]:
    """The answers that no rule finds right; of boxes the rule knows all."""
    return [
        Judgement(model, problems[id], models[model][id].answer or "")
        for (model, id), verdict in verdicts.items()
        if not verdict.right and problems[id].boxes is None
    ]


def ask_judge(
    judge: Judge,
    judgements: Sequence[Judgement],
    claims: Claims,
    on_row: Callable[[RowDone], None],
    on_wait: Callable[[str], None],
) -> None:
    """Ask a judge about answers, some at a time; what it fails on is told as an error and may be asked again.

    Args:
        on_wait: told when the judge has gone away, and is waited for.

    Raises:
        VircError: it fails again and again for a reason of its own.
    """
    asked = {each.id: each for each in judgements}
    rows = [Row(at, each.id, digest=each.problem.digest) for at, each in enumerate(judgements, 1)]

    def work(row: Row, _: object) -> RowDone:
        each = asked[str(row.id)]
        same = judge.same(each.problem.question, each.problem.key.answer, each.answer)
        return RowDone(row, {"same": same})

    through(rows, claims, work, on_row, _AT_ONCE, Outage(judge.answers, on_wait))


class _Said(msgspec.Struct):
    id: Id | None
    same: bool | None = None
    error: dict[str, Any] | None = None


def said(place: Place, judge: str) -> dict[str, bool]:
    """What a judge said: a judgement's id -> whether the answer is right."""
    with place.judged(judge).open("rb") as lines:
        heard = [msgspec.json.decode(line, type=_Said) for line in lines]
    return {str(each.id): each.same for each in heard if each.same is not None and each.error is None}


def with_judge(
    verdicts: Mapping[tuple[str, str], Verdict],
    judgements: Sequence[Judgement],
    heard: Mapping[str, bool],
) -> dict[tuple[str, str], Verdict | None]:
    """The verdicts, those of the judge in place of doubtful ones; None where it could not be asked."""
    final: dict[tuple[str, str], Verdict | None] = dict(verdicts)
    for each in judgements:
        right = heard.get(each.id)
        final[each.model, str(each.problem.id)] = None if right is None else Verdict(right, "judge")
    return final


def results(
    place: Place,
    problems: Mapping[str, Problem],
    models: Mapping[str, Mapping[str, Line]],
    verdicts: Mapping[tuple[str, str], Verdict | None],
) -> list[Result]:
    """Problem by problem, in the order of the benchmark."""
    return [
        Result(
            id=problem.id,
            question=problem.question,
            reference=problem.key.answer,
            categories=problem.categories,
            unreadable=problem.key.is_refusal,
            answers={
                model: _answered(place, lines[id], verdicts.get((model, id)), problem.boxes)
                for model, lines in models.items()
                if id in lines and _is_of(lines[id], problem)
            },
        )
        for id, problem in problems.items()
    ]


def _is_of(line: Line, problem: Problem | None) -> bool:
    """Whether a line is what the model made of the problem, as that now stands."""
    failed = line.error is not None and line.error.get("kind") != NoAnswerError.kind
    return problem is not None and line.row == problem.digest and not failed


def _answered(place: Place, line: Line, verdict: Verdict | None, boxes: Sequence[Box] | None) -> Answered:
    trace = _trace_of(place.traces(line.model or "") / file_name(str(line.id)), line.answer)
    return Answered(
        answer=line.answer,
        right=verdict.right if verdict else False if line.answer is None else None,
        by=verdict.by if verdict else None,
        turns=line.turns or 0,
        calls=sum((line.calls or {}).values()),
        seconds=line.seconds or 0.0,
        tokens=(line.tokens or {}).get("completion"),
        rejected=line.rejected,
        failure=line.failure,
        trace=trace.relative_to(place.folder).as_posix() if trace else None,
        reason=str(line.error["message"]) if line.error else None,
        evidence=line.evidence,
        overlap=None if boxes is None else overlap(line.answer, boxes, line.view),
    )


def _trace_of(folder: Path, answer: str | None) -> Path | None:
    """The folder in which an answer opens: of several samples, the first that came to it."""
    if (folder / "index.html").is_file():
        return folder
    samples = [page.parent for page in sorted(folder.glob("sample-*/index.html"))]
    return next((each for each in samples if _traced_answer(each) == answer), next(iter(samples), None))


def _traced_answer(folder: Path) -> str | None:
    try:
        return msgspec.json.decode(contents(folder / "trace.json", _MOST_TRACE), type=_Traced).answer
    except (OSError, ValueError, RecursionError):
        return None


def counted(
    benchmark: str,
    models: Mapping[str, Mapping[str, Line]],
    found: Sequence[Result],
    crop_ablation: CropAblation = "none",
) -> Summary:
    """The figures."""
    facts = {name: _facts(next(iter(lines.values()))) for name, lines in models.items()}
    return summarise(benchmark, found, facts, crop_ablation)


def _facts(line: Line) -> dict[str, Any]:
    return {"protocol": line.protocol, "settings": {"device": line.device, **(line.settings or {})}}


def publish(place: Place, summary: Summary, found: Sequence[Result]) -> None:
    """Write the figures and the page.

    Raises:
        VircError: the disk refuses.
    """
    try:
        write_json(place.summary, {"schema": SCHEMA, **msgspec.to_builtins(summary), "error": None})
        write_whole(place.report, render(summary, found).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise VircError(f"cannot write {place.folder}: {clause(error)}") from error
