"""Environments of others as benchmarks: what models are asked, and what their rewards are shown.

The library that has them runs in tests/extras/studies/test_verifiers.py.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from extras.benchmarks.published import picture
from support.called import virc
from support.servers import MODEL, Server, image_bytes, serve
from support.solving import answer

from virc.evaluation.api import evaluate
from virc.evaluation.benchmarks.registry import data_url
from virc_extras.studies import environments
from virc_extras.studies.environment_rewards import EnvironmentReward, RewardGap, reward_gaps, reward_means
from virc_extras.studies.environments import Environment, Interface, OfEnvironment

pytestmark = pytest.mark.usefixtures("here")

Messages = Sequence[Mapping[str, Any]]
RIGHT = {"1": "3", "2": "4"}


def picture_part(shade: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(picture(shade, "PNG"))}}


def prompt_of(task: str) -> Messages:
    content = [{"type": "text", "text": f"problem {task}: count"}, picture_part(int(task))]
    return [{"role": "system", "content": "Box the number."}, {"role": "user", "content": content}]


class Shown(list[str]):
    """What an environment was shown, which scores it by the last character of its box."""

    fails = False

    async def score(self, task: str, reply: str) -> tuple[float, Mapping[str, float]]:
        self.append(reply)
        print("an environment prints")
        logging.getLogger("verifiers").error(f"a term of {task} failed")
        if self.fails:
            raise RuntimeError("its judge is away")
        right = float(reply.endswith(f"\\boxed{{{RIGHT[task]}}}"))
        return 2 * right, {"right": right, **({"late": 1.0} if task == "2" else {})}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """An environment with two problems, in place of those that are installed."""
    shown = Shown()

    def load(name: str, how: OfEnvironment, limit: int | None) -> Environment:
        return Environment(
            name, "digest", Interface(["1", "2"], prompt_of, shown.score), how.shown or environments.SHOWN
        )

    monkeypatch.setattr(environments, "load", load)
    return shown


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(lambda _: answer("3")) as running:
        yield running


def evaluated(server: Server, *words: str) -> Any:
    return virc("eval", "counting", "--environment", "--endpoint", server.url, "--model", MODEL, "--json", *words)


def test_an_environment_is_asked_with_its_pictures_and_scores_the_boxed_answer(server: Server, shown: Shown) -> None:
    done = evaluated(server)
    assert done.code == 0, done.err
    found = done.json["models"][0]["reward"]
    assert {name: (each["mean"], each["of"]) for name, each in found.items()} == {
        "total": (1.0, 2), "late": (1.0, 1), "right": (0.5, 2),
    }  # fmt: skip
    assert all(each.endswith("\n\n\\boxed{3}") and "<answer>3</answer>" in each for each in shown)
    asked = [json.dumps(body["messages"]) for body in server.chats()]
    assert all("Box the number.\\n\\nproblem" in text for text in asked)
    (part,) = [part for part in server.chats()[0]["messages"][-1]["content"] if part["type"] == "image_url"]
    assert image_bytes(part)
    assert "an environment prints" in done.err  # stdout is JSON
    failed = "functions of the reward of counting that failed, and count 0: 2; the first: a term of 1 failed"
    assert f"warning: {failed}\n" in done.err


def test_python_evaluates_an_environment_too(server: Server, shown: Shown) -> None:
    found = evaluate("counting", MODEL, endpoint=server.url, environment=True, answer_as="{answer}", samples=1)
    assert found.models[0].columns["reward"]["total"].of == 2
    assert shown == ["3", "3"]


def test_a_strategy_may_have_a_judge(shown: Shown) -> None:
    pytest.importorskip("virc_extras")
    with serve(lambda _: answer("3")) as server, serve(lambda _: "Score: 5") as judge:
        done = evaluated(server, "--strategy", "best_of:n=2", "--judge-endpoint", judge.url)
    assert done.code == 0, done.err
    assert done.json["models"][0]["reward"]["total"]["mean"] == 1.0


def test_a_rerun_takes_up_its_values_but_those_that_failed(server: Server, shown: Shown) -> None:
    shown.fails = True
    done = evaluated(server)
    assert done.code == 6
    assert "its judge is away" in done.err
    shown.fails = False
    assert evaluated(server).code == 0
    assert evaluated(server).code == 0
    assert len(shown) == 4
    assert len(server.chats()) == 2


@pytest.mark.parametrize(
    ("template", "said", "text"),
    [
        ("<answer>{answer}</answer>", "3", "<answer>3</answer>"),
        ("{answer} of {reply}", "3", "3 of Now it is clear.\n<answer>3</answer>"),
        ("{answer}", "{reply}", "{reply}"),
    ],
)
def test_an_environment_is_shown_what_answer_as_says(template: str, said: str, text: str, shown: Shown) -> None:
    with serve(lambda _: answer(said)) as server:
        evaluated(server, "--answer-as", template)
    assert shown[0] == text


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ([{"role": "assistant", "content": "3"}], "a message of the role assistant"),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], "a part of the type input_audio"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "/etc/passwd"}]}], "/etc/passwd is no URL"),
        ("", "problem 1 of counting"),
    ],
)
def test_a_prompt_that_is_no_problem_says_why(prompt: str | Messages, sentence: str) -> None:
    found = Environment("counting", "", Interface(["1"], lambda _: prompt, Shown().score))
    (row,) = found.benchmark.rows()
    assert row.fault
    assert sentence in row.fault.message


def test_rewards_are_compared_where_both_models_have_a_value() -> None:
    some, none, other = (EnvironmentReward(1.0, {"right": 1.0}), EnvironmentReward(None), EnvironmentReward(0.25))
    gaps = reward_gaps([(some, other), (some, none), (none, other), (other, some), (None, some)])
    assert gaps == {"total": RewardGap(0.0, gaps["total"].interval, 2)}
    assert reward_means([some, none, other, None])["total"].mean == 0.625
    assert reward_means([none, None]) == {}
