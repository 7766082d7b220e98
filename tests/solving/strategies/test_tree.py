"""`--strategy tree`: which way is taken, which answer is given, and that no more is asked than is allowed."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import faults
from support.called import Done, virc
from support.replay import ReplayBackend
from support.servers import Body, Server, serve, turn_of
from support.solving import answer, call, think
from test_self_check import is_check

import virc as package
from virc.core.errors import NoAnswerError
from virc.models.chat_protocol import ChatProtocol
from virc.models.load import Opened
from virc.reasoning.protocol import own_protocol
from virc.solving.one import Solved
from virc.solving.outcome import failure_of

SIDES = {"red": 56, "green": 60, "blue": 64, "left": 68, "right": 72}


def step(thought: str) -> str:
    """A turn that goes on, known by its thought, and by its box where a server is not sent thoughts."""
    return call("crop_image", thought, bbox_2d=[0, 0, SIDES[thought], SIDES[thought]], image_index=0)


def goes_by(body: Body, thought: str) -> bool:
    """Whether a conversation holds that step."""
    return f"{SIDES[thought]}, {SIDES[thought]}]" in str(body["messages"][2:])


def tree(levels: list[list[str]], grades: dict[str, float]) -> Callable[[Body], str]:
    """A model with replies for each level in turn, which grades a solution by the last word that it knows."""
    left: list[Iterator[str]] = [iter(each) for each in levels]

    def turns(body: Body) -> str:
        if not is_check(body):
            return next(left[turn_of(body)])
        solution = json.loads(body["messages"][1]["content"][-1]["text"])["solution"]
        word = max((word for word in grades if word in solution), key=solution.rindex)
        return f"score: {grades[word]:g}"

    return turns


def solved(server: Server, image: Path, strategy: str, *words: object) -> Done:
    return virc("solve", image, "q", "--endpoint", server.url, "--strategy", strategy, "--json", *words)


COLOURS = [step("red"), step("green"), step("blue")]
ANSWERS = [think("one", "<answer>1</answer>"), think("two", "<answer>2</answer>"), think("ten", "<answer>10</answer>")]
GRADES = {"red": 3, "green": 8, "blue": 7.5, "one": 2, "two": 9, "ten": 5}


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_the_best_way_is_followed_to_the_best_answer(image: Path, shift: int) -> None:
    levels = [each[shift:] + each[:shift] for each in (COLOURS, ANSWERS)]
    with serve(tree(levels, GRADES)) as server:
        found = solved(server, image, "tree:width=3,keep=1,depth=2").json
        drawn = [body for body in server.chats() if not is_check(body)]
        assert (len(drawn), len(server.chats())) == (6, 12)
    assert found["answer"] == "2"
    assert [goes_by(body, "green") for body in drawn] == [False] * 3 + [True] * 3
    assert not any(goes_by(body, other) for body in drawn for other in ("red", "blue"))
    assert found["strategy"]["scores"] == [0.9, 0.5, 0.2]
    assert found["strategy"]["cost"]["replies"] == found["replies"] == 12
    assert found["turns"] == 2
    assert len({body["seed"] for body in drawn}) == 6


def test_two_ways_are_kept(image: Path) -> None:
    levels = [COLOURS, [step("left"), step("right")] * 2, [ANSWERS[0]] * 4]
    grades = {**GRADES, "left": 6, "right": 4}
    with serve(tree(levels, grades)) as server:
        found = solved(server, image, "tree:width=3,keep=2,depth=1").json
        second = [body for body in server.chats() if not is_check(body) and turn_of(body) == 1]
    assert found["answer"] == "1"
    assert [(goes_by(body, "green"), goes_by(body, "blue")) for body in second] == [(True, False), (False, True)]


def test_a_finished_solution_ends_the_search_where_none_is_better(image: Path) -> None:
    with serve(tree([[step("red"), ANSWERS[1], step("blue")]], GRADES)) as server:
        done = solved(server, image, "tree:width=3")
        assert len(server.chats()) == 6
    assert done.json["answer"] == "2"
    assert "-- branch 3 of at most 25\n" in done.err
    levels = [[step("green"), ANSWERS[0], step("blue")], [ANSWERS[2]] * 3]
    with serve(tree(levels, GRADES)) as server:  # here one was, and its answer is better, too
        assert solved(server, image, "tree:width=3").json["answer"] == "10"


def test_equal_turns_are_one_and_need_no_grade(image: Path) -> None:
    with serve(tree([COLOURS[:1] * 3, ANSWERS[:1] * 3], GRADES)) as server:
        found = solved(server, image, "tree:width=3").json
        assert len(server.chats()) == 6
    assert (found["answer"], found["strategy"]["scores"]) == ("1", [None])


@pytest.mark.parametrize("calls", range(1, 14))
def test_no_more_is_asked_than_is_allowed(image: Path, calls: int) -> None:
    with serve(tree([COLOURS, ANSWERS], GRADES)) as server:
        done = solved(server, image, f"tree:width=3,depth=2,calls={calls}")
        assert len(server.chats()) <= calls
    given = done.json["answer"]
    if calls >= 12 + 2:  # a grade may take three tries
        assert given == "2"
    assert (done.code, given is None) in [(0, False), (8, True)]
    if given is None:
        assert f"no answer within {calls} replies" in done.json["error"]["message"]


@pytest.mark.parametrize("reply", [step("red"), ""], ids=["a long way", "no turn"])
def test_replies_of_one_way_are_counted_as_they_come(image: Path, reply: str) -> None:
    with serve(lambda _: reply) as server:
        done = solved(server, image, "tree:width=1,depth=1,calls=3")
        assert (done.code, len(server.chats())) == (8, 3)
    assert "no answer within 3 replies" in done.json["error"]["message"]
    assert done.json["error"]["hint"] == "calls=6 of the strategy"


def test_what_is_used_up_is_the_hint_for_the_embedded_model_too() -> None:
    opened = Opened("tiny", ReplayBackend([]), ChatProtocol(own_protocol(())), embedded=True)
    error = NoAnswerError("no answer within 3 replies", "calls=6 of the strategy")
    assert failure_of(Solved([], error=error), opened) is error
    assert error.hint == "calls=6 of the strategy"
    assert "real model" in str(getattr(failure_of(Solved([], error=NoAnswerError("none")), opened), "hint", ""))


def test_a_way_that_fails_is_left(image: Path) -> None:
    with serve(tree([COLOURS[1:], ANSWERS], GRADES), fault=faults.status(422), times=1) as server:
        assert solved(server, image, "tree:width=3,depth=2").json["answer"] == "2"
    with serve([], fault=faults.status(422, "too large")) as server:
        done = solved(server, image, "tree:width=3,depth=2")
        assert (done.code, len(server.chats())) == (3, 3)
    assert "too large" in done.json["error"]["message"]


def test_without_any_grade_it_ends_at_the_first_level(image: Path, tmp_path: Path) -> None:
    turns = iter(COLOURS)
    with serve(lambda body: "Fine." if is_check(body) else next(turns)) as server:
        done = solved(server, image, "tree:width=3", "--trace", tmp_path / "t")
        assert (done.code, len(server.chats())) == (8, 3 + 3 * 3)
    assert "no solution of 3 could be graded" in done.json["error"]["message"]
    assert len(list((tmp_path / "t").glob("sample-*"))) == 3


def test_refusals_everywhere_are_no_answer(image: Path) -> None:
    with serve(lambda _: answer("unreadable")) as server:
        done = solved(server, image, "tree:width=3")
        assert (done.code, len(server.chats())) == (8, 3)
    assert "none of 3 samples has an answer" in done.json["error"]["message"]


def test_a_reward_may_be_the_value(image: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "TERMS = ('green',)\ndef green(sample, means):\n"
        "    return float('green' in sample.text or '10' in sample.text)\n"
        "def total(t):\n    return t.green\n"
    )
    (tmp_path / "mine.yaml").write_text("name: mine\nabout: of a test\nmodels: {mine: {}}\nreward: {total: mine}\n")
    with serve(tree([COLOURS, ANSWERS], {})) as server:
        strategy = f"tree:width=3,depth=2,value=reward,reward={tmp_path / 'mine.yaml'}"
        done = solved(server, image, strategy, "--trace", tmp_path / "t")
        assert (done.code, done.json["answer"], len(server.chats())) == (0, "10", 6), done.err
    traces = [json.loads((each / "trace.json").read_text()) for each in sorted((tmp_path / "t").glob("sample-*"))]
    assert [each["answer"] for each in traces] == ["10", "1", "2"]
    assert all("green" in each["units"][0]["text"] for each in traces)


def test_what_the_tree_may_be(image: Path) -> None:
    with pytest.raises(package.VircError, match="width must be a whole number from 1 to 100"):
        package.solve(image, "q", strategy="tree:width=0")
    with pytest.raises(package.VircError, match="nothing is given that grades by a reward"):
        package.solve(image, "q", strategy="tree:value=reward")
