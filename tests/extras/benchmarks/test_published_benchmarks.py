"""Benchmarks of others: rows in the published layout become the published prompts, and replies are scored alike."""

import json
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from extras.benchmarks import published
from extras.benchmarks.published import Fields
from support.called import virc
from support.published import Layout
from support.row_files import PLACES
from support.servers import serve
from support.solving import answer, open_source
from typer import Context

from virc.core import entry_points
from virc.download.benchmarks import named
from virc.download.wanted import DownloadConfig, resolve_requests
from virc.evaluation.answers import AnswerLine
from virc.evaluation.benchmarks import registry as benchmarks
from virc.evaluation.benchmarks.registry import LocalBenchmark, category_of, find
from virc.evaluation.problems import problems_of
from virc.evaluation.results import rules_digest
from virc.evaluation.verdicts import doubtful, verdicts_by_rule
from virc.scoring.accepted import measured
from virc.scoring.answers import score
from virc.scoring.score import Key
from virc.solving.rows import ProblemRow
from virc_cli.console.completion import downloads

AGREEMENT = Path(__file__).parent / "agreement"
MIN_CASES = 300
MODULES = {
    name: module
    for name, module in entry_points.own("virc.benchmarks").items()
    if module.startswith("virc_extras.benchmarks.")
}


class Benchmark(Layout, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A benchmark: rows in its layout, and what the first of three becomes.

    Args:
        also: further names of benchmarks that have the same layout.
        fields: of the row, some.
        pictures: of each row.
    """

    also: tuple[str, ...] = ()
    prompt: str
    fields: Fields
    categories: dict[str, tuple[str, ...]]
    split: str | None = None
    pictures: int = 1


FILE = Path(__file__).with_name("benchmarks.yaml")
CASES = [
    msgspec.structs.replace(case, name=name)
    for case in msgspec.yaml.decode(FILE.read_bytes(), type=list[Benchmark])
    for name in (case.name, *case.also)
]


def good(found: LocalBenchmark) -> list[ProblemRow]:
    """The rows of a benchmark, each of which can be asked, shown and put into a table; read twice alike."""
    rows = list(found.rows())
    assert [row.fault for row in rows if row.fault] == []
    assert len({str(row.id) for row in rows}) == len(rows)
    assert [row.line for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        assert all(open_source(image, found.base).mode == "RGB" for image in row.images)
        assert category_of(row.passed)
        assert row.passed["answer"]
    assert [(row.id, row.digest) for row in found.rows()] == [(row.id, row.digest) for row in rows]
    return rows


def write(folder: Path, case: Benchmark) -> None:
    """Write three rows in a folder called as the benchmark."""
    case.write(folder / "data" / case.name)


def drawn(found: LocalBenchmark) -> list[int]:
    """Which picture of `row_files.picture` is the first of each row."""
    shown = [open_source(row.images[0], found.base).convert("L") for row in found.rows()]
    return [next(at for at, place in enumerate(PLACES) if image.getpixel(place) != 255) for image in shown]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.split}")
def test_rows_are_asked_as_published(tmp_path: Path, case: Benchmark) -> None:
    write(tmp_path, case)
    found = find(case.name, tmp_path, case.split)
    rows = good(found)
    assert len(rows) == 3
    assert rows[0].question == case.prompt
    assert drawn(found) == [0, 1, 2]
    assert {len(row.images) for row in rows} == {case.pictures}
    assert {key: ({"id": rows[0].id} | rows[0].passed).get(key) for key in case.fields} == case.fields
    assert category_of(rows[0].passed) == case.categories


def test_a_benchmark_is_downloaded_by_its_name_and_by_that_of_its_dataset() -> None:
    for word in ("mathvista", "AI4Math/MathVista"):
        (wanted,) = resolve_requests(DownloadConfig((word,)))
        assert (wanted.name, wanted.folder) == ("mathvista", Path("data/mathvista"))
    offered = downloads(cast(Context, SimpleNamespace(params={"names": ("eval",)})))
    assert offered >= {"mathvision", "vstar"}


def test_mathvista_and_vstar_are_asked_with_the_published_prompts(tmp_path: Path) -> None:
    figure, choice, search = published.figure("1"), published.choice("2"), published.search
    published.mathvista(tmp_path / "mathvista", [figure, choice])
    published.vstar(tmp_path / "vstar", [search(0), search(1), search(2, text="What is it?", label="wool")])
    asked = [row.question for name in ("mathvista", "vstar") for row in good(find(str(tmp_path / name), Path()))]
    assert asked == [figure["query"], choice["query"], search(0)["text"], search(1)["text"], "What is it?"]


def test_each_benchmark_of_a_module_has_its_entry_point() -> None:
    listed = {each.NAME: each for module in {*MODULES.values()} for each in import_module(module).BENCHMARKS}
    assert listed.keys() == MODULES.keys()
    assert {name: named(each.HUB.upper()) for name, each in listed.items()} == listed


def test_a_package_takes_no_name_of_a_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (info := tmp_path / "other-1.0.dist-info").mkdir()
    (info / "entry_points.txt").write_text("[virc.benchmarks]\nmathvista = other\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert entry_points.entries("virc.benchmarks")["mathvista"] == ("virc_extras.benchmarks.mathematics", "virc")


def test_the_rules_of_extras_are_in_the_digest_of_results(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = rules_digest()
    monkeypatch.setattr(entry_points, "own", lambda group: {})
    assert rules_digest() != digest


def agreed() -> list[str]:
    """The benchmarks of which the published verdicts are kept."""
    return sorted(file.stem for file in AGREEMENT.glob("*.json"))


def test_each_published_rule_has_kept_verdicts() -> None:
    ruled = {name for name in MODULES if benchmarks.rule_of(name)}
    assert ruled - {"mme-realworld-lite"} | {"docvqa"} == {*agreed()}


@pytest.mark.parametrize("name", agreed())
def test_replies_are_scored_as_the_published_function_did(name: str) -> None:
    kept = json.loads((AGREEMENT / f"{name}.json").read_text(encoding="utf-8"))
    assert len(kept["cases"]) >= MIN_CASES
    right = benchmarks.rule_of(name) or _anls
    differ = [(reply, value) for at, reply, value in kept["cases"] if right(reply, kept["fields"][at]) != value]
    assert differ == []


@pytest.mark.parametrize(
    ("reply", "right"),
    [(r"It is 3. \boxed{\text{12}}", True), (r"\boxed{12} or \boxed{13}", False), (r"12. \boxed{14", False)],
)
def test_of_a_boxed_answer_to_chartqa_the_content_is_compared(reply: str, right: bool) -> None:
    rule = benchmarks.rule_of("chartqa")
    assert rule
    assert rule(reply, {"answer": "12"}) is right


def test_mathvista_is_scored_as_published_but_where_it_is_said(tmp_path: Path) -> None:
    kept = json.loads((AGREEMENT / "differing/mathvista.json").read_text(encoding="utf-8"))
    rows = [published.figure(str(at), **fields) for at, fields in enumerate(kept["fields"])]
    published.mathvista(tmp_path / "mathvista", rows)
    problems = problems_of(find(str(tmp_path / "mathvista"), tmp_path), None, print)
    keys = {id: problem.key or Key("") for id, problem in problems.items()}
    assert len(kept["cases"]) >= MIN_CASES
    differ = [at for at, (row, reply, value) in enumerate(kept["cases"]) if score(reply, keys[str(row)]).right != value]
    assert differ == sorted(chain(*kept["differences"].values()))


def _anls(answer: str, fields: dict[str, Any]) -> float | None:
    value = measured(answer, Key(fields["answers"][0], answers=tuple(fields["answers"]), metric="anls"))
    return None if value is None else round(value, 9)


def test_a_judge_decides_only_what_the_published_rule_leaves_open(tmp_path: Path) -> None:
    write(tmp_path, CASES[0])
    problems = problems_of(find("hr-bench", tmp_path), None, lambda fault: pytest.fail(str(fault)))
    replies = dict(zip(problems, ("A", "B", "It is C."), strict=True)), dict.fromkeys(problems, "the nice one")
    answers = {
        model: {id: AnswerLine(problem.id, problem.digest, model, said[id], None) for id, problem in problems.items()}
        for model, said in zip(("letters", "words"), replies, strict=True)
    }
    verdicts = verdicts_by_rule(problems, answers)
    assert [verdicts["letters", id].right for id in problems] == [True, True, True]
    assert [verdicts["words", id].right for id in problems] == [False, False, False]
    wrong = {
        "letters": {
            id: AnswerLine(problem.id, problem.digest, "letters", "D", None) for id, problem in problems.items()
        }
    }
    assert doubtful(problems, wrong, verdicts_by_rule(problems, wrong)) == []
    assert len(doubtful(problems, answers, verdicts)) == 3


@pytest.mark.parametrize(
    ("name", "said", "right", "metrics"),
    [("mme-realworld", "The best answer is: (B) blue", 1, {}), ("docvqa", "T. F. Riehl", 3, {"anls": 1.0})],
)
def test_eval_asks_the_published_prompt_and_scores_its_answers(
    here: Path, name: str, said: str, right: int, metrics: dict[str, float]
) -> None:
    case = next(case for case in CASES if case.name == name)
    write(here, case)
    with serve([answer(said)]) as server:
        done = virc("eval", name, "--endpoint", server.url, "--json")
        asked = [json.dumps(chat["messages"]) for chat in server.chats()]
    assert done.code == 0, done.err
    (model,) = done.json["models"]
    assert (model["score"]["right"], model["score"]["of"]) == (right, 3)
    assert {key: value["mean"] for key, value in model["metrics"].items()} == metrics
    assert sum(json.dumps(case.prompt)[1:-1] in each for each in asked) == 1
