"""What answers cost: in all, an answer and a right answer, where the cost of every answer is known."""

from collections.abc import Iterator, Mapping, Sequence

from virc.evaluation.answered import Answered, Result
from virc.evaluation.answers import Answers, EvalFolder
from virc.evaluation.columns import Column, Fields
from virc.evaluation.problems import BenchmarkProblem
from virc.evaluation.request import EvalRequest
from virc.evaluation.summary import Summary
from virc.models.costs import amount, total_cost

_NAMES = {"total": "", "per_answer": " an answer", "per_right": " a right answer"}


class _Costs(Column):
    unverified = ("cost",)

    def of_answers(
        self, problems: Mapping[str, BenchmarkProblem], answers: Answers, folder: EvalFolder | None
    ) -> Mapping[tuple[str, str], Fields]:
        return {
            (model, id): {"cost": line.cost}
            for model, lines in answers.items()
            for id, line in lines.items()
            if line.cost is not None
        }

    def of_model(self, answered: Sequence[tuple[Result, Answered]]) -> Fields:
        total = total_cost((1, answer.columns.get("cost")) for _, answer in answered)
        if total is None:
            return {}
        right = sum(answer.right is True for _, answer in answered)
        given = sum(answer.answer is not None for _, answer in answered)
        counts = {"total": 1, "per_answer": given, "per_right": right}
        return {"cost": {name: round(total / count, 12) if count else None for name, count in counts.items()}}

    def lines(self, summary: Summary) -> Iterator[str]:
        for model in summary.models:
            if cost := model.columns.get("cost"):
                shown = [f"{amount(cost[name])}{words}" for name, words in _NAMES.items() if cost[name] is not None]
                yield f"{model.name}: cost {', '.join(shown)}"


def column(given: object, request: EvalRequest) -> Column:
    return _Costs()
