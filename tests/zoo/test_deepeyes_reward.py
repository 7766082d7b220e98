"""The reward of DeepEyes against its published program, which was run on the cases of `published/`."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from PIL import Image
from support import zoo
from support.told_judge import Chats, judged

from virc.data.rows.record import MARK, Message, Record
from virc.reasoning.images import Shown
from virc.rewards import rollouts
from virc.rewards.sample import Prompt, sample

FACTS = zoo.json_of(zoo.FOLDER / "deepeyes" / "program-rewards.json")
CASES: list[Mapping[str, Any]] = FACTS["cases"]
OPEN = CASES.pop(next(at for at, case in enumerate(CASES) if case["solution"].endswith("</tool_call><|im_end|>")))
TURN = re.compile(r"<\|im_end\|>\n<\|im_start\|>(?:user|assistant)\n|<\|im_end\|>\Z")
IMAGE = re.compile(r"<\|vision_start\|>(?:<\|image_pad\|>)+<\|vision_end\|>")


def scored(solution: str, says: str) -> tuple[float | None, Chats]:
    """The reward of a rollout that this text is of, and what the judge was asked."""
    turns = [turn for turn in TURN.split(solution) if turn]
    asked = [Message("user", f"{MARK}{FACTS['question']}")]
    replies = []
    for number, turn in enumerate(turns):
        if number % 2:
            asked.append(Message("user", IMAGE.sub(MARK, turn)))
            continue
        record = Record(tuple(asked), question=FACTS["question"], answer=FACTS["answer"])
        count = sum(message.content.count(MARK) for message in asked)
        replies.append(sample(turn, Prompt(record, shown=[Shown(Image.new("RGB", (640, 480)))] * count)))
        asked.append(Message("assistant", turn))
    return judged(replies, rollouts.ends(replies[-1]), "deepeyes", says)


def said(chat: Mapping[str, Any]) -> str:
    """What the judge was asked, without the mark that ends a reply, which the recorded ones do not have."""
    return str(chat["messages"][1]["content"]).replace("<|im_end|>\nJudgement:", "\nJudgement:")


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(CASES.index(case)))
def test_rewards_are_those_of_the_published_program(case: Mapping[str, Any]) -> None:
    for verdict, reward in case["rewards"].items():
        found, chats = scored(case["solution"], verdict)
        assert found == pytest.approx(reward), verdict
        long = len(case["judged"]) >= 1000  # then no verdict counts, and none is asked for
        assert [said(chat).endswith(f"[Model_answer] : {case['judged']}\nJudgement:") for chat in chats] == [True][
            long:
        ]


def test_94_of_98_rewards_are_the_same_and_the_others_are_of_a_rollout_without_an_answer() -> None:
    """There the program has the judge read "...", which stands in the sentence behind each crop."""
    same = [reward == 0.0 for reward in OPEN["rewards"].values()]
    assert (sum(len(case["rewards"]) for case in CASES) + len(same), same.count(False)) == (98, 4)
    assert OPEN["judged"] == "..."
    assert scored(OPEN["solution"], "1") == (0.0, [])


def test_the_judge_is_asked_word_for_word_as_published() -> None:
    _, (chat,) = scored(CASES[0]["solution"], "1")
    wanted = FACTS["judge_request"]
    user = wanted["messages"][1]["content"].replace("QUESTION", FACTS["question"]).replace("GOLD", FACTS["answer"])
    assert [each["content"] for each in chat["messages"]] == [wanted["messages"][0]["content"], user]
    assert chat["temperature"] == wanted["temperature"]


def test_a_rollout_that_ends_in_a_call_is_not_judged() -> None:
    call = '<think>x</think><tool_call>{"name": "image_zoom_in_tool", "arguments": {}}</tool_call>'
    assert scored(call, "1") == (0.0, [])
    reward, chats = scored(f"{call}<answer>red</answer>", "1")
    assert (reward, len(chats)) == (0.8, 1)
