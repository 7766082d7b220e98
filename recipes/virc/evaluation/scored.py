"""The answers in a folder with the verdicts on them, problem by problem."""

from collections.abc import Iterable, Mapping, Sequence
from string import ascii_uppercase
from typing import NamedTuple

from virc.core.extras import install
from virc.evaluation.answered import Answered, Guess, Result
from virc.evaluation.answers import AnswerLine, Answers, EvalFolder, answers_in
from virc.evaluation.asking import Work
from virc.evaluation.columns import Column, Fields
from virc.evaluation.pages.traces import trace_of
from virc.evaluation.problems import BenchmarkProblem
from virc.evaluation.request import judge_of
from virc.evaluation.verdicts import can_do_algebra, doubtful, verdicts_by_rule, with_judge
from virc.scoring.accepted import measured
from virc.scoring.rules import same
from virc.scoring.score import Key, Verdict


class Scored(NamedTuple):
    """The answers in a folder, the verdicts on them (None: the judge failed), and what comes of both."""

    answers: Answers
    verdicts: Mapping[tuple[str, str], Verdict | None]
    judge: str | None
    results: list[Result]


def scored(work: Work, asked: Iterable[str]) -> Scored:
    request, columns, _, folder, problems, report, *_, arm = work
    answers = answers_in(folder, list(asked))
    by_rule = verdicts_by_rule(problems, answers)
    judgements = doubtful(problems, answers, by_rule)
    verdicts: Mapping[tuple[str, str], Verdict | None] = by_rule
    judge: str | None = None
    if request.judge_endpoint and judgements:
        with judge_of(request) as asked_judge:
            judge, verdicts = asked_judge.model, with_judge(asked_judge, folder, by_rule, judgements, report)
    elif judgements and not can_do_algebra() and not arm.folder:
        report.warn("answers that are equal by algebra only count as wrong", install("eval"))
    return Scored(answers, verdicts, judge, results_of(folder, problems, answers, verdicts, columns))


def results_of(
    folder: EvalFolder | None,
    problems: Mapping[str, BenchmarkProblem],
    answers: Answers,
    verdicts: Mapping[tuple[str, str], Verdict | None],
    columns: Sequence[Column],
) -> list[Result]:
    """The results, problem by problem, in the order of the benchmark; without traces if there is no folder."""
    added = [column.of_answers(problems, answers, folder) for column in columns]

    def fields(key: tuple[str, str]) -> Fields:
        return {name: value for each in added for name, value in each.get(key, {}).items()}

    return [
        Result(
            id=problem.id,
            question=problem.question,
            reference=problem.key.reference if problem.key else "",
            guess=guess_of(problem.key) if problem.key else None,
            categories=problem.categories,
            unreadable=problem.key is not None and problem.key.is_refusal,
            metric=problem.key.metric if problem.key else None,
            answers={
                model: _answered(folder, lines[id], verdicts.get((model, id)), problem, fields((model, id)))
                for model, lines in answers.items()
                if id in lines and lines[id].answers(problem)
            },
        )
        for id, problem in problems.items()
    ]


def guess_of(key: Key) -> Guess:
    letters = ascii_uppercase[: len(key.choices)]
    right = next((each for each in letters if same(each, key.answer, key.choices)), key.reference)
    return Guess(right, len(key.choices))


def _answered(
    folder: EvalFolder | None, line: AnswerLine, verdict: Verdict | None, problem: BenchmarkProblem, columns: Fields
) -> Answered:
    return Answered(
        answer=line.answer,
        right=verdict.right if verdict else False if line.answer is None else None,
        by=verdict.by if verdict else None,
        matcher=verdict.matcher if verdict else None,
        unread=verdict is not None and verdict.unread,
        turns=line.turns or 0,
        calls=sum((line.calls or {}).values()),
        seconds=line.seconds or 0.0,
        tokens=(line.tokens or {}).get("completion"),
        prompt_tokens=(line.tokens or {}).get("prompt"),
        replies=line.replies,
        rejected=line.rejected,
        failure=line.failure,
        trace=trace_of(folder, line) if folder else None,
        reason=str(line.error["message"]) if line.error else None,
        evidence=line.evidence,
        regions=line.regions,
        measured=None if problem.key is None or line.answer is None else measured(line.answer, problem.key),
        columns=columns,
    )
