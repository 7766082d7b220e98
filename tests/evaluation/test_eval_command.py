"""`virc eval` as a user meets it: a scripted server with two models, a judge, and what goes wrong."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import faults
from support.called import virc
from support.parsed import Page
from support.servers import MODEL, Server, dead_url, serve
from support.solving import CROP, answer, picture, told_to_wait
from support.tables import each_case

from virc.core.errors import UsageError
from virc.core.events import Event
from virc.evaluation import request
from virc.evaluation.api import evaluate
from virc.scoring.judge import Judge
from virc.solving import setup

pytestmark = pytest.mark.usefixtures("here")

REFUSAL = "unreadable"
TOLD = {  # problem -> what each model answers
    "1": {"good": "2", "bad": "2"},
    "2": {"good": "4", "bad": "5"},
    "3": {"good": "x = 6", "bad": REFUSAL},
    "4": {"good": r"\boxed{8}", "bad": "viii, I think"},
    "5": {"good": "about <b>eleven</b>", "bad": "10"},
    "6": {"good": "B", "bad": "A"},
}


def solve(body: dict[str, Any]) -> str:
    """Look once, then answer."""
    if len(body["messages"]) == 2:
        return CROP
    said = json.dumps(body["messages"])
    found = re.search(r"problem (\d)", said)
    assert found
    return answer(TOLD[found[1]][body["model"]])


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(solve, models=("good", "bad")) as running:
        yield running


@pytest.fixture
def problems(here: Path) -> Path:
    picture(here / "a.png")
    rows: list[dict[str, Any]] = [
        {"id": id, "image": "a.png", "question": f"problem {id}", "answer": str(2 * int(id)),
         "category": {"parity": "odd" if int(id) % 2 else "even", "size": ["small", "all"]}}
        for id in "12345"
    ]  # fmt: skip
    rows.append({"id": "6", "image": "a.png", "question": "problem 6", "answer": "12", "choices": ["11", "12"]})
    file = here / "sums.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def evaluated(server: Server, problems: Path, *words: object) -> dict[str, Any]:
    done = virc("eval", problems, "--endpoint", server.url, "--json", *words)
    assert done.code == 0, done.err
    return done.json


BOTH = ("--model", "good", "--model", "bad")


def test_two_models_are_scored_and_compared(server: Server, problems: Path) -> None:
    found = evaluated(server, problems, *BOTH)
    good, bad = found["models"]
    assert (good["name"], good["score"]["right"], good["score"]["of"], good["unanswered"]) == ("good", 5, 6, 0)
    assert (bad["name"], bad["score"]["right"], bad["score"]["of"], bad["unanswered"]) == ("bad", 2, 6, 1)
    assert good["means"]["turns"] == 2
    assert good["means"]["calls"] == 1
    assert good["means"]["prompt_tokens"] > good["means"]["tokens"] > 0
    assert good["means"]["seconds"] > 0
    (pair,) = found["pairs"]
    assert pair["only_one"] == ["2", "3", "4", "6"]
    assert pair["only_other"] == ["5"]
    assert pair["bounds"] == pytest.approx([0.5, 0.5])
    odd = good["categories"]["parity"]["odd"]
    assert (odd["right"], odd["of"]) == (2, 3)
    assert set(bad["categories"]["size"]) == {"small", "all"}


@each_case(
    ("name", "row"),
    [
        ("ids.jsonl", '{"id": "id 1", "image": "a.png", "question": "problem 1", "answer": "2"}'),
        ("none.jsonl", '{"image": "a.png", "question": "problem 1", "answer": "2"}'),
        ("array.json", '[{"image": "a.png", "question": "problem 1", "answer": "2"}]'),
        ("rows.csv", "image,question,answer\na.png,problem 1,2\n"),
        ("rows.tsv", "image\tquestion\tanswer\na.png\tproblem 1\t2\n"),
        ("names.csv", "qid,img,Query,answer\nid 1,a.png,problem 1,2\n"),
        ("letters.csv", "image,question,A,B,answer\na.png,problem 1,2,3,A\n"),
    ],
)
def test_rows_of_batch_are_rows_of_eval_with_the_same_ids(
    server: Server, problems: Path, here: Path, monkeypatch: pytest.MonkeyPatch, name: str, row: str
) -> None:
    file = here / name
    file.write_text(row)
    options = ("--endpoint", server.url, "--model", "good")
    assert virc("batch", file, *options, "--to", here / f"{name}.out").code == 0
    (asked,) = map(json.loads, (here / f"{name}.out").read_text().splitlines())
    (scored,) = evaluated(server, file, "--model", "good", "--to", here / f"{name}.eval")["models"]
    (result,) = map(json.loads, (here / f"{name}.eval/answers/good.jsonl").read_text().splitlines())
    assert (scored["score"]["right"], scored["score"]["of"]) == (1, 1)
    assert (result["id"], result["row"]) == (asked["id"], asked["row"])
    assert asked["id"] == ("id 1" if "id 1" in row else 1)


@pytest.mark.integration
def test_several_accepted_answers_and_metrics_of_rows_count(server: Server, problems: Path, here: Path) -> None:
    given = {
        "1": {"answer": "none", "answers": ["none", "2"]},  # both answer 2
        "2": {"answers": ["5", "5", "6", "7"], "metric": "vqa_accuracy"},  # good 4, bad 5
        "3": {"answer": "refused", "metric": "anls"},  # good 6, bad none
        "4": {"answer": "viii, I thank", "metric": "anls"},  # good 8, bad `viii, I think`
    }
    rows = [json.loads(line) for line in problems.read_text().splitlines()]
    rows = [row | given[row["id"]] for row in rows if row["id"] in given]
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
    good, bad = evaluated(server, problems, *BOTH)["models"]
    assert (good["score"]["right"], bad["score"]["right"]) == (2, 2)
    assert good["metrics"] == {"anls": {"mean": 0.0, "of": 2}, "vqa_accuracy": {"mean": 0.0, "of": 1}}
    anls, accuracy = bad["metrics"]["anls"], bad["metrics"]["vqa_accuracy"]
    assert (anls["mean"], anls["of"]) == (pytest.approx(12 / 13 / 2), 2)
    assert (accuracy["mean"], accuracy["of"]) == (pytest.approx((2 * 1 / 3 + 2 * 2 / 3) / 4), 1)
    printed = virc("eval", problems, "--endpoint", server.url, *BOTH).out
    assert re.search(r"^anls +bad +46\.2% +2$", printed, re.MULTILINE)
    assert "46.2%" in (here / "evals" / "sums" / "report.html").read_text()


class Links(HTMLParser):
    """What a page leads to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("href", "src")]


def test_every_wrong_answer_opens_as_a_trace_and_right_ones_keep_none(
    server: Server, problems: Path, here: Path
) -> None:
    evaluated(server, problems, *BOTH)
    folder = here / "evals" / "sums"
    kept = {str(path.relative_to(folder).parent) for path in folder.glob("traces/*/*/index.html")}
    assert kept == {"traces/good/5", *(f"traces/bad/{id}" for id in "2346")}
    links = Links((folder / "report.html").read_text()).found
    pages = [link.removeprefix("./") for link in links if not link.startswith("#")]
    assert sorted(pages) == sorted(["problems.html", *(f"{place}/index.html" for place in kept)])
    of_right = {path.name for path in (folder / "traces" / "good" / "1").iterdir()}
    assert of_right == {"trace.json", "image-1.png"}  # its crop, for the page to look through
    assert "VerdictWrongReference: " in Page((folder / "traces/good/5/index.html").read_text()).text


def test_the_same_command_asks_nothing_again_and_another_model_joins_the_table(server: Server, problems: Path) -> None:
    first = evaluated(server, problems, "--model", "good")
    asked = len(server.chats())
    assert evaluated(server, problems, "--model", "good") == first
    assert len(server.chats()) == asked
    both = evaluated(server, problems, "--model", "bad")
    assert {body["model"] for body in server.chats()[asked:]} == {"bad"}
    assert [model["name"] for model in both["models"]] == ["bad", "good"]
    assert both["models"][1] == first["models"][0]
    assert both["pairs"][0]["only_one"] == ["5"]
    again = evaluated(server, problems, "--model", "good")
    assert [model["name"] for model in again["models"]] == ["good", "bad"]


def test_columns_that_a_user_names_are_read_in_a_shell_and_a_script(
    server: Server, problems: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "blatt.csv").write_text("Nr,Bild,Frage,Antwort\nid 1,a.png,problem 1,2\n")
    columns = {"id": "Nr", "image": "Bild", "question": "Frage", "answer": "Antwort"}
    named = [word for field, column in columns.items() for word in ("--column", f"{field}={column}")]
    (found,) = evaluated(server, here / "blatt.csv", "--model", "good", *named)["models"]
    assert (found["score"]["right"], found["score"]["of"]) == (1, 1)
    again = evaluate("blatt.csv", "good", endpoint=server.url, columns=columns)
    assert (again.models[0].score.right, len(server.chats())) == (1, 2)
    with pytest.raises(UsageError, match="--column bild=Bild: it is FIELD=NAME, FIELD one of id, image"):
        evaluate("blatt.csv", "good", endpoint=server.url, columns={"bild": "Bild"})


def test_a_finished_evaluation_is_known_without_its_model(problems: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("eval", problems, "--model", "tiny", "--seeds", 2, "--limit", 1, "--json")
    first = virc(*command)
    assert first.code == 0, first.err
    monkeypatch.setattr(setup, "open_model", None)
    again = virc(*command)
    assert (again.code, again.json) == (0, first.json)
    assert virc(*command, "--max-pixels", 20000).code != 0


def test_a_served_model_and_one_on_this_machine_are_compared(server: Server, problems: Path) -> None:
    found = evaluated(server, problems, "--model", "tiny", "--model", "good", "--limit", 1)
    assert [(each["name"], each["score"]["of"]) for each in found["models"]] == [("tiny", 1), ("good", 1)]
    assert {body["model"] for body in server.chats()} == {"good"}
    named = ("--model", "tiny", "--model", f"good@{server.url}")
    again = virc("eval", problems, *named, "--limit", 1, "--json")
    assert (again.code, again.json) == (0, found)
    twice = virc("eval", problems, *named, "--model", f"tiny@{server.url}")
    assert (twice.code, "tiny is named with two endpoints" in twice.err) == (2, True)


def test_answers_made_with_other_settings_stop_their_model_alone(server: Server, problems: Path) -> None:
    evaluated(server, problems, "--model", "good", "--limit", 1)
    options = ("--endpoint", server.url, "--max-turns", 3, "--limit", 1)
    done = virc("eval", problems, *BOTH, *options)
    assert (done.code, "good.jsonl holds answers made with max_turns 16, not 3" in done.err) == (3, True)
    assert virc("eval", problems, "--model", "bad", *options).err.count("; 1 were done before") == 1
    alone = virc("eval", problems, "--model", "good", *options)
    assert (alone.code, "--to" in alone.err) == (3, True)
    assert evaluated(server, problems, "--model", "good", *options, "--to", "evals/short")["problems"] == 1


def test_a_failed_row_is_not_counted_as_wrong(server: Server, problems: Path, here: Path) -> None:
    rows = problems.read_text().replace('"id": "2", "image": "a.png"', '"id": "2", "image": "gone.png"')
    problems.write_text(rows)
    done = virc("eval", problems, "--endpoint", server.url, "--model", "good", "--json")
    assert done.code == 1
    model = done.json["models"][0]
    assert (model["score"]["right"], model["score"]["of"], model["missing"]) == (4, 5, 1)
    assert "good: 6 of 6 problems: 4 right, 0 without an answer, 1 failed\n" in done.err
    lines = map(json.loads, (here / "evals/sums/answers/good.jsonl").read_text().splitlines())
    (failed,) = (line for line in lines if line["error"])
    assert [failed[name] for name in ("id", "answer", "turns", "calls", "tokens", "trace")] == ["2", *[None] * 5]
    picture(here / "gone.png")
    again = virc("eval", problems, "--endpoint", server.url, "--model", "good")
    assert "good: 1 of 6 problems: 1 right, 0 without an answer, 0 failed; 5 were done before\n" in again.err
    assert evaluated(server, problems, "--model", "good")["models"][0]["score"]["of"] == 6


def test_a_problem_that_changed_is_found_before_anything_is_asked(server: Server, problems: Path, here: Path) -> None:
    evaluated(server, problems, "--model", "good", "--limit", 5)
    answers = here / "evals" / "sums" / "answers" / "good.jsonl"
    before, asked = answers.read_bytes(), len(server.chats())
    problems.write_text(problems.read_text().replace('"answer": "4"', '"answer": "5"'))
    done = virc("eval", problems, "--endpoint", server.url, "--model", "good", "--json")
    assert done.code == 5
    assert "changed since good answered them: 1, the first is '2'" in done.err
    assert done.json["error"]["code"] == 5
    assert (answers.read_bytes(), len(server.chats())) == (before, asked)
    other = evaluated(server, problems, "--model", "bad")["models"][1]  # good's other answers still count
    assert (other["name"], other["score"]["of"], other["missing"]) == ("good", 4, 2)


@pytest.mark.integration
def test_a_line_that_another_run_is_writing_is_not_read(server: Server, problems: Path, here: Path) -> None:
    evaluated(server, problems, *BOTH)
    answers = here / "evals" / "sums" / "answers" / "bad.jsonl"
    answers.write_bytes(answers.read_bytes()[:-30])
    good, bad = evaluated(server, problems, "--model", "good")["models"]
    assert (good["missing"], bad["missing"], bad["score"]["of"]) == (0, 1, 5)


def test_the_figure_of_tiny_is_that_of_its_card() -> None:
    from virc.models.registry import EMBEDDED_FOLDER
    from virc.systems import registry as systems

    reported = systems.get("tiny").reported
    assert reported is not None
    share = json.loads((EMBEDDED_FOLDER / "measured.json").read_text())["tools"]["share"]
    assert reported.figures["tiny"]["diagrams"] == pytest.approx(100 * share)


def judgement(body: dict[str, Any]) -> str:
    """What a judge says of `viii, I think`, and of anything else."""
    asked = json.loads(body["messages"][-1]["content"])
    same = asked == {"question": "problem 4", "reference": "8", "answer": "viii, I think"}
    return f"The answer means something.\nverdict: {'same' if same else 'different'}"


def test_a_judge_is_asked_once_about_what_no_rule_finds_right(
    server: Server, problems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_JUDGE_KEY", "for-the-judge")
    monkeypatch.setenv("VIRC_API_KEY", "for-the-endpoint")
    with serve(judgement, models=("other", "judge")) as judge:
        words = ("--model", "bad", "--judge-endpoint", judge.url, "--judge-model", "judge")
        found = evaluated(server, problems, *words)
        model = found["models"][0]
        assert (model["score"]["right"], model["score"]["of"]) == (3, 6)
        assert model["deciders"] == {"rule": 2, "judge": 3}
        assert len(judge.chats()) == 3
        assert evaluated(server, problems, *words) == found
        assert len(judge.chats()) == 3
        keys = {request.headers["authorization"] for request in judge.requests}
        assert keys == {"Bearer for-the-judge"}
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer for-the-endpoint"}


@pytest.mark.parametrize(("system", "told"), [("star-r1", True), ("vlaa-thinking", False)])
def test_figures_of_a_reconstructed_system_are_said_to_be_of_one(
    server: Server, problems: Path, system: str, told: bool
) -> None:
    words = ("--endpoint", server.url, "--model", "good", "--system", system, "--strategy", "majority:n=1")
    done = virc("eval", problems, *words, "--limit", 1, "--to", "figures", "--json")
    assert done.code == 0, done.err
    page = next(Path("figures").rglob("report.html")).read_text()
    for place in (done.err, *(json.loads(done.out)["assumed"] or [""]), page):
        assert ("reward.total, chat_protocol.first" in place and "virc systems show star-r1 lists" in place) is told


def test_a_judge_that_is_down_is_told_before_anything_is_asked(
    server: Server, problems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "Judge", partial(Judge, max_retries=0))  # which would take 7 s
    done = virc("eval", problems, "--endpoint", server.url, "--model", "bad", "--judge-endpoint", dead_url())
    assert done.code == 6
    assert done.out == ""
    assert server.chats() == []


def test_a_judge_that_goes_away_is_waited_for(
    server: Server, problems: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = told_to_wait(monkeypatch)
    monkeypatch.setattr(request, "Judge", partial(Judge, max_retries=0))
    with ExitStack() as stack:
        judge = stack.enter_context(serve(judgement, models=("judge",), fault=faults.hang))

        def die_and_come_back() -> None:
            judge.wait_for(3)
            judge.die()
            waiting.wait(60)
            port = judge.server_address[1]
            stack.enter_context(serve(judgement, models=("judge",), port=port))

        thread = threading.Thread(target=die_and_come_back)
        thread.start()
        words = ("--endpoint", server.url, "--model", "bad", "--judge-endpoint", judge.url, "--json")
        done = virc("eval", problems, *words)
        thread.join()
    assert done.code == 0, done.err
    assert "rows in work wait until the endpoint answers" in done.err
    assert "judge has judged 3 of 3 answers: 1 right, 0 failed\n" in done.err
    assert done.json["models"][0]["deciders"] == {"rule": 2, "judge": 3}
    assert len((here / "evals/sums/judged/judge.jsonl").read_text().splitlines()) == 3


def test_the_docs_list_every_benchmark() -> None:
    from virc.download.benchmarks import installed, names

    docs = Path(__file__).parents[2] / "docs"
    files = ("evaluation.md", "extras/benchmarks.md", "extras/video.md", "extras/sheets.md")
    pages = "".join((docs / file).read_text() for file in files)
    for name in names():
        assert f"| `{name}` |" in pages
        assert str(installed(name).HUB or "nothing") in pages


@pytest.mark.integration
def test_a_script_evaluates_as_the_command_does(server: Server, problems: Path, here: Path) -> None:
    events: list[Event] = []
    names = ["good", "bad"]
    summary = evaluate("sums.jsonl", names, endpoint=server.url, to="mine", limit=4, on_progress=events.append)
    assert [(each.name, each.score.right, each.score.of) for each in summary.models] == [("good", 4, 4), ("bad", 1, 4)]
    assert any("good: 4 of 4 problems" in event.text for event in events)
    asked = len(server.chats())
    found = evaluated(server, problems, *BOTH, "--to", "mine", "--limit", 4)
    assert (len(server.chats()), found["models"]) == (asked, json.loads(msgspec.json.encode(summary.fields["models"])))
    with pytest.raises(UsageError, match="--judge-model"):
        evaluate("sums.jsonl", "good", endpoint=server.url, judge_model="m")


@pytest.mark.integration
def test_two_strategies_of_a_model_are_compared_with_what_they_cost(problems: Path) -> None:
    def turns(body: dict[str, Any]) -> str:
        number = int(re.findall(r"problem (\d)", json.dumps(body))[0])
        return answer(str(2 * number) if body["seed"] % 3 else f"no idea {body['seed']}")

    strategies = ("--strategy", "majority:n=1", "--strategy", "majority:n=5,early=no")
    with serve(turns) as server:
        done = virc("eval", problems, "--endpoint", server.url, *strategies, "--to", "evals/both")
        asked = len(server.chats())
        found = evaluated(server, problems, *strategies, "--to", "evals/both")
        assert len(server.chats()) == asked == 6 * 6
    one, five = found["models"]
    assert [each["name"] for each in (one, five)] == [
        f"{MODEL} (majority:n=1,early=yes)", f"{MODEL} (majority:n=5,early=no)"
    ]  # fmt: skip
    assert [each["settings"]["samples"] for each in (one, five)] == [1, 5]
    assert five["score"]["right"] == 6 > one["score"]["right"]
    assert [each["means"]["replies"] for each in (one, five)] == [1, 5]
    assert five["means"]["prompt_tokens"] == pytest.approx(5 * one["means"]["prompt_tokens"])
    (pair,) = found["pairs"]
    assert [each["replies"] for each in pair["means"]] == [1, 5]
    assert re.search(r"^  \d+ tokens against \d+, [\d.]+ s against [\d.]+, for a problem$", done.out, re.MULTILINE)
