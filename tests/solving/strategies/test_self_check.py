"""`--strategy self_check`: when it asks again, what it says then, and which answer it gives."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support import faults
from support.called import Done, virc
from support.servers import Body, Server, serve
from support.solving import answer
from test_best_of import by_answer


def both(answers: str, checks: Callable[[Body], str]) -> Callable[[Body], str]:
    """A model that gives these answers in turn, and checks them."""
    texts = iter(answers)

    def turns(body: Body) -> str:
        is_check = "You check how somebody answers" in str(body["messages"][0]["content"])
        return checks(body) if is_check else answer(next(texts))

    return turns


def is_check(body: Body) -> bool:
    return "You check how" in str(body["messages"][0]["content"])


def solved(server: Server, image: Path, strategy: str, *words: object) -> Done:
    return virc("solve", image, "How many?", "--endpoint", server.url, "--strategy", strategy, "--json", *words)


@pytest.mark.parametrize(
    ("strategy", "answers", "grades", "given", "calls"),
    [
        ("self_check", "1", {"1": 5}, "1", 2),
        ("self_check", "12", {"1": 4, "2": 9}, "2", 4),
        ("self_check:rounds=2", "123", {"1": 1, "2": 4, "3": 2}, "2", 6),  # none passes: the best
        ("self_check:rounds=1", "21", {"1": 3, "2": 3}, "2", 4),  # of two alike, the earlier
        ("self_check:rounds=1,least=0.95", "12", {"1": 9, "2": 10}, "2", 4),
        ("self_check:rounds=20,least=0", "1", {"1": 0}, "1", 2),
    ],
)
def test_it_asks_again_while_the_check_fails(
    image: Path, strategy: str, answers: str, grades: dict[str, int], given: str, calls: int
) -> None:
    checks = by_answer({text: f"Some words.\nscore: {grade}" for text, grade in grades.items()})
    with serve(both(answers, checks)) as server:
        found = solved(server, image, strategy).json
        assert (found["answer"], len(server.chats())) == (given, calls)
    assert found["strategy"]["cost"]["replies"] == found["replies"] == calls
    assert found["strategy"]["scores"] == [grades[text] / 10 for text in answers]


def test_each_round_is_named_by_its_number(image: Path) -> None:
    with serve(both("123", by_answer(dict.fromkeys("123", "score: 1")))) as server:
        done = solved(server, image, "self_check:rounds=2")
    assert re.findall(r"sample (\d) of (\d)", done.err) == [("1", "3"), ("2", "3"), ("3", "3")]


def test_the_next_round_is_shown_the_answer_and_its_check(image: Path) -> None:
    checks = by_answer({"1": "The left one is missing.\nscore: 1", "2": "No.\nscore: 2", "3": "score: 9"})
    with serve(both("123", checks)) as server:
        solved(server, image, "self_check")
        asked = [json.dumps(body["messages"]) for body in server.chats() if not is_check(body)]
        judged = [body["messages"][1]["content"][-1]["text"] for body in server.chats() if is_check(body)]
    assert "earlier answer" not in asked[0]
    assert "An earlier answer was: 1" in asked[1]
    assert "The left one is missing." in asked[1]
    assert "score: 1" not in asked[1]
    assert "An earlier answer was: 2" in asked[2]
    assert "An earlier answer was: 1" not in asked[2]
    assert [json.loads(text)["question"] for text in judged] == ["How many?"] * 3
    with serve(both("123", checks)) as server:
        solved(server, image, "self_check:feedback=no")
        asked = [json.dumps(body["messages"]) for body in server.chats() if not is_check(body)]
        seeds = {body["seed"] for body in server.chats() if not is_check(body)}
        warm = {body["temperature"] for body in server.chats() if not is_check(body)}
    assert asked[0] == asked[1]
    assert (len(seeds), warm) == (3, {1.0})
    done = virc("solve", image, "q", "--strategy", "self_check:feedback=no", "--temperature", 0)
    assert (done.code, "at temperature 0" in done.err) == (2, True)


def test_a_check_that_cannot_be_read_keeps_the_answer(image: Path) -> None:
    with serve(both("1", lambda _: "Well, who knows.")) as server:
        found = solved(server, image, "self_check").json
        assert len(server.chats()) == 1 + 3
    assert (found["answer"], found["strategy"]["scores"]) == ("1", [None])


def test_each_check_is_told_with_its_grade_and_is_in_the_trace(image: Path, tmp_path: Path) -> None:
    checks = by_answer({"1": "<One> is missing.\nscore: 1", "2": "score: 9"})
    with serve(both("12", checks)) as server:
        done = solved(server, image, "self_check", "--trace", tmp_path / "t")
    assert "-> graded 0.1: <One> is missing\n" in done.err
    assert "-> graded 0.9\n" in done.err
    assert done.json["strategy"]["remarks"] == ["<One> is missing.", None]
    page = (tmp_path / "t" / "index.html").read_text()
    assert "&lt;One&gt; is missing." in page
    with serve(both("1", lambda _: "Well.")) as server:
        done = solved(server, image, "self_check")
    assert "-> no grade: no reply of 3 has a grade; the first begins 'Well.'\n" in done.err
    assert "no reply of 3" in done.json["strategy"]["remarks"][0]


def test_a_page_of_somebody_else_is_not_replaced(image: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with serve(both("1", lambda _: "score: 9")) as server:
        done = solved(server, image, "self_check", "--trace", tmp_path)
    assert (done.code, (tmp_path / "index.html").read_text()) == (0, "mine")


def test_a_refusal_is_asked_about_again_and_not_checked(image: Path) -> None:
    replies = iter(["unreadable", "2"])

    def turns(body: Body) -> str:
        return "score: 9" if is_check(body) else answer(next(replies))

    with serve(turns) as server:
        found = solved(server, image, "self_check:rounds=1").json
        assert len(server.chats()) == 3
    assert (found["answer"], found["strategy"]["scores"]) == ("2", [None, 0.9])


def test_without_any_answer_one_sentence_says_so(image: Path) -> None:
    with serve(lambda _: answer("unreadable")) as server:
        done = solved(server, image, "self_check:rounds=2")
        assert (done.code, len(server.chats())) == (8, 3)
    with serve([], fault=faults.status(422, "too large")) as server:
        done = solved(server, image, "self_check:rounds=2")
        assert (done.code, len(server.chats())) == (3, 3)
    assert "too large" in done.json["error"]["message"]


def test_a_judge_checks_in_place_of_the_model(image: Path, tmp_path: Path) -> None:
    checks = by_answer({"1": "score: 1", "2": "score: 9"})
    texts = iter("12")
    with serve(lambda _: answer(next(texts))) as server, serve(checks) as judge:
        words = ("--judge-endpoint", judge.url, "--trace", tmp_path / "t")
        found = solved(server, image, "self_check", *words).json
        assert (len(server.chats()), len(judge.chats())) == (2, 2)
        assert {body["temperature"] for body in server.chats()} == {0.0}
    assert (found["answer"], found["settings"]["judge"]) == ("2", f"its model at {judge.url}")
    assert sorted(each.name for each in (tmp_path / "t").iterdir()) == ["index.html", "sample-1", "sample-2"]
