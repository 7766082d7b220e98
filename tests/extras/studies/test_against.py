"""Which published figures stand beside ours, and which settings differ."""

from pathlib import Path

import pytest
from evaluation import test_eval_command
from evaluation.test_eval_command import evaluated
from support.called import virc
from support.servers import Server

from virc.evaluation.answered import Answered, Result
from virc.evaluation.summary import summarise
from virc.systems.registry import Figures
from virc_extras.studies.against import Published, compared


@pytest.mark.parametrize(
    ("short", "benchmark", "found"),
    [("7B", "bench", [("7B", 0.9)]), ("7B", "other", [("7B", None)]), ("32B", "bench", [("3B", 0.8), ("7B", 0.9)])],
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


server, problems = test_eval_command.server, test_eval_command.problems


def test_figures_stand_beside_published_ones(server: Server, problems: Path, here: Path) -> None:
    (here / "mine.yaml").write_text(
        "name: mine\nmodels: {good: {hub: a/good}}\n"
        "reported: {source: a paper, settings: {max_turns: 8}, figures: {good: {sums: 70}, best: {sums: 90}}}\n"
    )
    words = ("--model", "good", "--against", "paper", "--protocol", "default", "--system", "./mine.yaml")
    found = evaluated(server, problems, *words)["against"]
    assert [(each["published"], each["theirs"]) for each in found] == [("good", 0.7)]
    assert found[0]["differs"] == {"max_turns": [8, 16]}
    assert found[0]["ours"]["right"] == 5
    done = virc("eval", problems, "--endpoint", server.url, *words)
    assert "good: 83.3% (43.6 to 97.0); good: 70.0%, a paper" in done.out
    assert "max_turns: 8 there, 16 here" in done.out


def test_a_model_without_published_figures_is_refused_before_it_is_asked(server: Server, problems: Path) -> None:
    done = virc("eval", problems, "--against", "paper", "--endpoint", server.url, "--model", "good")
    assert (done.code, "--system" in done.err) == (3, True), done.err
    assert server.chats() == []
