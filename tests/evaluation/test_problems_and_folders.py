"""What is asked and what was answered before: rows left out, rows that changed, folders of other answers."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support import small_lora
from support.made import make

from virc.core.errors import ConfigError, DataError, NetworkError, UsageError
from virc.core.events import Event, Reporter
from virc.evaluation import api
from virc.evaluation.against import Published, compared, published_for
from virc.evaluation.answered import Answered, Result
from virc.evaluation.answers import EvalFolder, answered_before, answers_in, check_crop_ablation
from virc.evaluation.api import Evaluated, evaluate
from virc.evaluation.benchmarks.registry import LocalBenchmark
from virc.evaluation.environments import OfEnvironment
from virc.evaluation.problems import EvalProblem, find_problems, problems_of, rows_of
from virc.evaluation.request import EvalRequest
from virc.evaluation.summary import summarise
from virc.models.registry import EMBEDDED_FOLDER
from virc.solving.rows import Row
from virc.systems.registry import Figures


def row(line: int, id: str, **fields: object) -> Row:
    passed = {"question": "q", "answer": "7", **fields}
    return Row(line, id, question="q", digest=f"row {line}", passed=passed)


ODD = Row(2, "b", fault=DataError("line 2: is odd", "mend it"))
ROWS = [row(1, "a"), ODD, row(3, "a"), row(4, "c", category=[[1]]), row(5, "d")]


CATEGORY = "a category is a name of at most 100 characters, a list or an object of names"


def bench(rows: list[Row], published: bool = True) -> LocalBenchmark:
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
    ("rows", "published", "said", "hint"),
    [
        (ROWS, False, "line 2: is odd", "mend it"),
        ([ODD, Row(3, "c", fault=DataError("line 3: is odder"))], True, "line 2: is odd", "mend it"),
        ([], True, "bench has no problems", None),
        ([row(1, "a", answer=None)], False, "line 1: ", None),
        ([row(1, "a", category=[[1]])], False, "line 1: category holds ", CATEGORY),
    ],
)
def test_without_a_problem_the_first_fault_is_told(
    rows: list[Row], published: bool, said: str, hint: str | None
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        problems_of(bench(rows, published), None, lambda _: None)
    assert hint is None or caught.value.hint == hint


def folder(place: Path, **settings: dict[str, str]) -> EvalFolder:
    """One with an answer of each model."""
    (place / "answers").mkdir()
    for name, of in settings.items():
        line = {"id": "a", "row": "row 1", "model": name, "answer": "7", "error": None, "settings": of}
        (place / "answers" / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    return EvalFolder(place)


def test_the_models_of_a_call_come_first_in_its_order(tmp_path: Path) -> None:
    held = folder(tmp_path, A={}, B={}, C={})
    nobodys = (tmp_path / "answers" / "A.jsonl").read_text().replace('"model": "A"', '"model": null')
    (tmp_path / "answers" / "D.jsonl").write_text(nobodys)
    assert [*answers_in(held, ["C", "X", "A"])] == ["C", "A", "B"]
    (tmp_path / "answers" / "B.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"B\.jsonl holds something else than answers: line 1: ") as caught:
        answers_in(EvalFolder(tmp_path), [])
    assert caught.value.hint == "move it out of that folder"


@pytest.mark.parametrize(
    ("settings", "theirs", "hint"),
    [
        ({"crop_ablation": "blank"}, "blank", "--to NEW_FOLDER, or --crop-ablation blank"),
        ({"crops": "grey"}, "grey", "--to NEW_FOLDER"),  # of a former version
    ],
)
def test_answers_of_other_crops_are_no_answers_here(
    settings: dict[str, str], theirs: str, hint: str, tmp_path: Path
) -> None:
    held = folder(tmp_path, A={}, B=settings)
    with pytest.raises(ConfigError) as caught:
        check_crop_ablation(held, "none")
    file = tmp_path / "answers" / "B.jsonl"
    assert caught.value.message == f"{file} holds answers of the crop ablation {theirs}, not none"
    assert caught.value.hint == hint
    file.unlink()
    check_crop_ablation(held, "none")
    with pytest.raises(ConfigError, match="holds answers of the crop ablation none, not blank"):
        check_crop_ablation(held, "blank")


def test_what_was_answered_before_is_counted_unless_it_changed() -> None:
    problems = {id: EvalProblem(id, at, f"row {at}", "q", None, {}) for at, id in enumerate("abc", 1)}
    before: dict[str, str | None] = {"a": "row 1", "b": None, "c": "row 3"}
    ledger: Any = SimpleNamespace(before=before.get, path="answers/A.jsonl")
    assert answered_before("A", problems, ledger) == 2
    before |= {"b": "x", "c": "y"}
    with pytest.raises(DataError) as caught:
        answered_before("A", problems, ledger)
    assert caught.value.message == "problems that changed since A answered them: 2, the first is 'b'"
    assert "answers/A.jsonl" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("short", "benchmark", "found"),
    [
        ("7B", "bench", [("7B", 0.9)]),
        (None, "bench", [("3B", 0.8), ("7B", 0.9)]),  # a model of the user's own
        ("7B", "other", [("7B", None)]),
        ("32B", "bench", [("3B", 0.8), ("7B", 0.9)]),
    ],
)
def test_published_figures_are_those_of_the_model_or_of_all(
    short: str | None, benchmark: str, found: list[tuple[str, float | None]]
) -> None:
    settings = {"max_pixels": 200, "samples": 1}
    results = [Result("1", "q", "7", {}, {"mine": Answered("7", True)})]
    (model,) = summarise("bench", results, {"mine": {"settings": settings}}).models
    figures = {"3B": {"bench": 80.0}, "7B": {"bench": 90.0, "vstar": 60.0}}
    reported = Figures(source="table 1", settings={"max_pixels": 100, "samples": 1, "turns": 4}, figures=figures)
    given = list(compared(model, benchmark, Published(reported, "virc", short, None)))
    assert [(each.published, each.theirs) for each in given] == found
    assert {(each.model, each.source, each.ours.right) for each in given} == {("mine", "table 1", 1)}
    assert given[0].differs == {"max_pixels": (100, 200), "turns": (4, None)}


def test_a_run_on_a_published_model_is_compared_as_the_users_own(tmp_path: Path) -> None:
    run = make(tmp_path, "mine", base=str(EMBEDDED_FOLDER))
    adapter = small_lora.describe(run.checkpoints / "checkpoint-4")
    (adapter / "trainer_state.json").write_text('{"global_step": 4}')
    (adapter / "adapter_model.safetensors").touch()
    found = published_for("mine", tmp_path, "tiny")
    assert (found.system, found.short, found.run) == ("tiny", None, run)


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
        judge_model="j", traces="all", against=True, at_once=6, against_run="runs/x", sign="key", looks=True,
        environment=OfEnvironment('{"a":1}', "{answer}"),
    )  # fmt: skip
    setups = [(each.choice.model, each.config.seed, each.offline) for each in request.setups]
    assert setups == [("a", 4, True), ("a", 5, True), ("b", 4, True), ("b", 5, True)]
    choice, config = request.setups[0].choice, request.setups[0].config
    assert (choice.endpoint, choice.api_key, choice.system, choice.protocol) == (url, "key", "tiny", "default")
    assert (choice.max_pixels, choice.timeout) == (9999, 8)
    assert (config.temperature, config.samples, config.timeout) == (0.5, 2, 8)
    assert (config.max_turns, config.max_tokens) == (5, 77)


def test_what_failed_in_an_evaluation_is_raised_rows_first() -> None:
    nothing: Any = None
    failed = DataError("2 rows failed")
    for evaluated, said in (
        (Evaluated(nothing, nothing, failed, 2, ["away"]), "2 rows failed"),
        (Evaluated(nothing, nothing, None, 2, ["away"]), "the judge failed on 2 answers"),
        (Evaluated(nothing, nothing, None, 0, ["away", "cut"]), "the reward failed on 2 answers; the first: away"),
    ):
        with pytest.raises((DataError, NetworkError)) as caught:
            evaluated.check()
        assert caught.value.message == said
    Evaluated(nothing, nothing, None, 0).check()
