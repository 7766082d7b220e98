"""The results of an evaluation, problem by problem, and the files that show them."""

from collections.abc import Mapping, Sequence

import msgspec

from virc.core.errors import VircError
from virc.core.files import write_json, write_whole
from virc.core.text import clause
from virc.evaluation.answers import AnswerLine, Answers, EvalFolder, trace_of
from virc.evaluation.boxes import overlap
from virc.evaluation.problems import EvalProblem
from virc.evaluation.report import render
from virc.evaluation.summary import SCHEMA, Answered, Result, Summary, summarise
from virc.scoring.score import Verdict
from virc.solving.ablation import CropAblation


def results_of(
    folder: EvalFolder,
    problems: Mapping[str, EvalProblem],
    answers: Answers,
    verdicts: Mapping[tuple[str, str], Verdict | None],
) -> list[Result]:
    """The results in the order of the benchmark."""
    return [
        Result(
            id=problem.id,
            question=problem.question,
            reference=problem.key.answer,
            categories=problem.categories,
            unreadable=problem.key.is_refusal,
            answers={
                model: _answered(folder, lines[id], verdicts.get((model, id)), problem)
                for model, lines in answers.items()
                if id in lines and lines[id].answers(problem)
            },
        )
        for id, problem in problems.items()
    ]


def _answered(folder: EvalFolder, line: AnswerLine, verdict: Verdict | None, problem: EvalProblem) -> Answered:
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
        trace=trace_of(folder, line),
        reason=str(line.error["message"]) if line.error else None,
        evidence=line.evidence,
        overlap=None if problem.boxes is None else overlap(line.answer, problem.boxes, line.view),
    )


def summary_of(
    benchmark: str, answers: Answers, results: Sequence[Result], crop_ablation: CropAblation = "none"
) -> Summary:
    """The figures of every model."""
    asked = {name: next(iter(lines.values())) for name, lines in answers.items()}
    facts = {
        name: {"protocol": line.protocol, "settings": {"device": line.device, **(line.settings or {})}}
        for name, line in asked.items()
    }
    return summarise(benchmark, results, facts, crop_ablation)


def publish(folder: EvalFolder, summary: Summary, results: Sequence[Result]) -> None:
    """Write the figures and the page."""
    try:
        write_json(folder.summary, {"schema": SCHEMA, **msgspec.to_builtins(summary), "error": None})
        write_whole(folder.report, render(summary, results).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise VircError(f"cannot write {folder.folder}: {clause(error)}") from error
