"""Answers that the judge failed on: they widen every figure, and raise and narrow none."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.called import Done, virc
from support.parsed import Page
from support.servers import Exchange, Server, error, serve
from support.solving import answer, picture

from virc.evaluation import request
from virc.evaluation.answered import Answered, Result
from virc.evaluation.statistics import mcnemar
from virc.evaluation.summary import Summary, summarise
from virc.scoring.judge import Judge
from virc.solving import batch as outage

Verdicts = Mapping[str, bool | None]
"""Of one problem: model -> right, wrong or undecided; a model that is not in it has no result."""
NAMES = ("A", "B")
VERDICTS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([True, False, None]))
SLACK = 1e-9  # of rounding


def summary_of(verdicts: Sequence[Verdicts], evidence: Sequence[bool] = ()) -> tuple[Summary, list[Result]]:
    """Every other problem is of another part; `evidence` says which were looked at."""
    seen = dict(enumerate(evidence))
    results = [
        Result(
            at, "q", "4", {"all": ("all",), "part": (str(at % 2),)},
            {name: Answered("x", right, evidence=[float(seen.get(at, True))]) for name, right in of.items()},
        )
        for at, of in enumerate(verdicts)
    ]  # fmt: skip
    return summarise("bench", results, {name: {} for name in NAMES}), results


@settings(max_examples=25)
@given(st.lists(VERDICTS, min_size=1, max_size=5))
def test_bounds_are_what_the_undecided_answers_can_lead_to_at_most(verdicts: list[Verdicts]) -> None:
    (pair,) = summary_of(verdicts)[0].pairs
    both = [(of["A"], of["B"]) for of in verdicts if len(of) == 2]
    gaps, chances = [], []
    for filled in _fillings(both):
        one, other = filled.count((True, False)), filled.count((False, True))
        gaps.append((one - other) / len(filled) if filled else 0.0)
        chances.append(mcnemar(one, other))
    if both:
        assert pair.bounds == pytest.approx((min(gaps), max(gaps)))
    assert pair.p_bounds == pytest.approx((min(chances), max(chances)))
    assert min(chances) - SLACK <= pair.p <= max(chances) + SLACK


def _fillings(both: Sequence[tuple[bool | None, ...]]) -> Iterator[list[tuple[bool, ...]]]:
    """All ways in which the undecided answers can be right or wrong."""
    flat = [right for each in both for right in each]
    choices = [(True, False) if right is None else (right,) for right in flat]
    for filled in product(*choices):
        yield list(zip(filled[::2], filled[1::2], strict=True))


TOLD = {"1": "2", "2": "not four", "3": "vi", "4": "viii", "5": "x"}  # no rule finds 2 to 5 right
SAME = {"vi": "same", "viii": "same", "x": "same"}
REFERENCES = {id: str(2 * int(id)) for id in TOLD}


def solves(body: dict[str, Any]) -> str:
    found = re.search(r"problem (\d)", json.dumps(body["messages"]))
    assert found
    return answer(TOLD[found[1]])


def judges(exchange: Exchange, failing: bool = True) -> None:
    """Fail on `viii` with status 500 and on `x` with words that are no verdict."""
    assert exchange.body
    said = json.loads(exchange.body["messages"][-1]["content"])["answer"]
    if failing and said == "viii":
        exchange.send_json(error("out of memory"), 500)
    elif failing and said == "x":
        exchange.send_events("\ufffd hm", None)
    else:
        exchange.send_events(f"verdict: {SAME.get(said, 'different')}", None)


@pytest.fixture
def problems(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(request, "Judge", partial(Judge, max_retries=0))  # which would take 7 s
    picture(here / "a.png")
    rows = [
        {"id": id, "image": "a.png", "question": f"problem {id}", "answer": REFERENCES[id],
         "category": {"size": "large" if int(id) > 3 else "small"}}
        for id in TOLD
    ]  # fmt: skip
    (here / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return here / "sums.jsonl"


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(solves, models=("m",)) as running:
        yield running


def evaluated(server: Server, problems: Path, judge: Server | None, *words: object) -> Done:
    asked = ("--judge-endpoint", judge.url) if judge else ()
    return virc("eval", problems, "--endpoint", server.url, "--model", "m", *asked, *words)


@pytest.mark.parametrize("crops", ["none", "blank"])
def test_a_judge_that_fails_on_answers_makes_every_figure_a_range(server: Server, problems: Path, crops: str) -> None:
    with serve(models=("judge",), fault=judges) as judge:
        done = evaluated(server, problems, judge, "--json", "--crop-ablation", crops)
        shown = evaluated(server, problems, judge, "--crop-ablation", crops)
    assert (done.code, shown.code) == (6, 6)
    assert "error: the judge failed on 2 answers" in done.err
    (model,) = done.json["models"]
    assert model["undecided"] == 2
    assert model["score"] | {"interval": None} == {
        "right": 2, "undecided": 2, "of": 5, "bounds": [0.4, 0.8], "interval": None,
    }  # fmt: skip
    assert model["score"]["interval"] == pytest.approx([0.1176, 0.9638], abs=1e-4)
    assert model["categories"]["size"]["large"]["bounds"] == [0.0, 1.0]
    assert re.search(r"^m +40\.0% to 80\.0% +11\.8 to 96\.4 +5 +2 +0 +0 +0 ", shown.out, re.MULTILINE)
    assert re.search(r"^large +0\.0% to 100\.0% of 2, 2 undecided$", shown.out, re.MULTILINE)
    page = Page((Path(done.json["folder"]) / "report.html").read_text()).text
    assert "40.0% to 80.0%11.8% to 96.4%, 2 undecided" in page


def test_two_models_differ_by_a_range(server: Server, problems: Path) -> None:
    with serve(models=("judge",), fault=judges) as judge:
        assert evaluated(server, problems, judge).code == 6
        with serve([answer("2")], models=("n",)) as other:
            words = ("--endpoint", other.url, "--model", "n", "--judge-endpoint", judge.url)
            shown, found = virc("eval", problems, *words), virc("eval", problems, *words, "--json").json
    (pair,) = found["pairs"]
    assert (pair["one"], pair["other"], pair["of"], pair["undecided"]) == ("n", "m", 5, 2)
    assert pair["bounds"] == pytest.approx([-0.6, -0.2])
    assert (pair["p"], pair["p_bounds"]) == (1.0, [0.25, 1.0])
    assert "n minus m: -60.0 to -20.0 points" in shown.out
    assert "p = 1.000 (0.250 to 1.000 with the 2 undecided), on 5 problems" in shown.out


def test_a_judge_that_goes_away_for_good_leaves_the_rest_undecided(
    server: Server, problems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "MAX_SECONDS", 0.2)
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.05)

    with serve(models=("judge",), fault=lambda exchange: exchange.server.die()) as judge:
        done = evaluated(server, problems, judge, "--json")
    assert done.code == 6
    assert "the endpoint did not come back" in done.err
    assert done.json["models"][0]["score"]["bounds"] == [0.2, 1.0]
    assert "error: the judge failed on 4 answers" in done.err
