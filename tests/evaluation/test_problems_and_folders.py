"""What is asked and what was answered before: rows left out, rows that changed, folders of other answers."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from virc.core.errors import DataError, UsageError
from virc.core.events import Event, Reporter
from virc.evaluation import api
from virc.evaluation.api import Evaluated, evaluate
from virc.evaluation.benchmarks.registry import LocalBenchmark
from virc.evaluation.problems import find_problems, problems_of, rows_of
from virc.evaluation.request import EvalRequest
from virc.solving.rows import ProblemRow


def row(line: int, id: str, **fields: object) -> ProblemRow:
    passed = {"question": "q", "answer": "7", **fields}
    return ProblemRow(line, id, question="q", digest=f"row {line}", passed=passed)


ODD = ProblemRow(2, "b", fault=DataError("line 2: is odd", "mend it"))
ROWS = [row(1, "a"), ODD, row(3, "a"), row(4, "c", category=[[1]]), row(5, "d")]


def bench(rows: list[ProblemRow], published: bool = True) -> LocalBenchmark:
    return LocalBenchmark("bench", Path(), lambda: iter(rows), published)


def test_wrong_rows_of_a_published_benchmark_are_counted_and_left_out() -> None:
    said, faults = list[Event](), list[DataError]()
    found = find_problems(bench(ROWS), None, Reporter(said.append))
    assert [*found] == ["a", "d"]
    assert [each.text for each in said] == ["rows of bench left out: 3; the first: line 2: is odd"]
    assert [each.line for each in rows_of(bench(ROWS), found, None)] == [1, 5]  # and not the second of one id
    assert [*problems_of(bench(ROWS), 1, faults.append)] == ["a"]
    assert (faults, [*rows_of(bench(ROWS), found, 4)]) == ([], [ROWS[0]])
    problems_of(bench(ROWS), 4, faults.append)
    assert [each.message for each in faults][:2] == ["line 2: is odd", "line 3: the id 'a' comes twice"]
    assert faults[2].message.startswith("line 4: category holds ")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"models": []}, "no model is named"),
        ({"models": "tiny", "seeds": 0}, "seeds is 0"),
        ({"models": "tiny", "traces": "some"}, "traces is 'some'"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_first(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        evaluate("none.jsonl", **given)


def test_all_that_a_script_names_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[EvalRequest] = []
    nothing: Any = None

    def run(request: EvalRequest, report: Reporter) -> Evaluated:
        asked.append(request)
        report.note("asked")
        return Evaluated(nothing, nothing, None, 0)

    monkeypatch.setattr(api, "run", run)
    said, url = list[Event](), "http://localhost:1/v1"
    evaluate(
        Path("rows.jsonl"), ["a", Path("b")], endpoint=url, api_key="key", to=Path("new"), limit=3, split="test",
        columns={"answer": "gt"}, max_cost=2.5,
        system="tiny", protocol="default", judge_endpoint=f"{url}/judge", judge_model="j",
        traces="all", against=True, temperature=0.5, samples=2, max_pixels=9999,
        max_tokens=77, max_turns=5, timeout=8, seed=4, seeds=2, offline=True, concurrency=6, against_run=Path("runs/x"),
        sign=Path("key"), environment=True, environment_args={"a": 1}, answer_as="{answer}", looks=True,
        on_progress=said.append,
    )  # fmt: skip
    (request,) = asked
    assert [each.text for each in said] == ["asked"]
    assert msgspec.structs.replace(request, setups=[]) == EvalRequest(
        benchmark="rows.jsonl", setups=[], to="new", limit=3, split="test", judge_endpoint=f"{url}/judge",
        judge_model="j", traces="all", at_once=6, chosen={"answer": "gt"}, max_cost=2.5,
        columns={
            "against": True, "against_run": "runs/x", "sign": "key", "looks": True,
            "environment": {"arguments": '{"a":1}', "shown": "{answer}"},
        },
    )  # fmt: skip
    setups = [(each.choice.model, each.config.seed, each.offline) for each in request.setups]
    assert setups == [("a", 4, True), ("a", 5, True), ("b", 4, True), ("b", 5, True)]
    choice, config = request.setups[0].choice, request.setups[0].config
    assert (choice.endpoint, choice.api_key, choice.system, choice.protocol) == (url, "key", "tiny", "default")
    assert (choice.max_pixels, choice.timeout) == (9999, 8)
    assert (config.temperature, config.samples, config.timeout) == (0.5, 2, 8)
    assert (config.max_turns, config.max_tokens) == (5, 77)
