"""A total rewards what the model wrote: nothing that stands in the question counts, neither by rule nor for a judge."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from rewards.prompts import answer, crop, prompt, tool

from virc.core.errors import DataError
from virc.data.rows.record import MARK, Message
from virc.models.chat_protocol import of_system
from virc.rewards import registry as rewards
from virc.rewards.means import Means
from virc.rewards.sample import Prompt, sample
from virc.rewards.scripted import ScriptedJudge
from virc.systems import registry as systems

EXAMPLE = (
    "For example: <think>2 + 75</think> <search>77</search> <tool_call>{}</tool_call> <bbox>[7, 7, 77, 77]</bbox> "
    '{"bbox_2d": [7, 7, 77, 77]} <sandbox_output>77</sandbox_output> <rethink>77</rethink> '
    "<answer>77</answer> \\boxed{77} the answer is 77."
)
LOOK = tool(crop(0, 0, 56, 56), "a closer look at AB")
ROLLOUTS = ([answer("5")], [LOOK, answer("5")], ["<think>hm</think>"], [LOOK])
COLUMNS = {
    "boxes": [[0, 0, 56, 56]], "data_source": "perception", "choices": None, "type": "TorF1", "difficulty_city": "hard",
    "source": "math", "keywords": ["77"],
}  # fmt: skip


def rewarded(total: str, replies: Sequence[str], question: str) -> tuple[object, list[str]]:
    """The terms of the last reply of a rollout under a question, or what its row lacks; and what a judge was asked."""
    judge = ScriptedJudge(lambda text: f"77 is {'77' in text}. Score: 0. \\boxed{{0}}")
    before = list(replies[:-1])
    known = prompt([(280, 196), *[(56, 56)] * len(before)], before=before, right="5", strict="own", **COLUMNS)  # type: ignore[arg-type]
    messages = [msgspec.structs.replace(each) for each in known.record.messages]
    messages[1] = Message("user", f"{MARK}How long is AB? {question}")
    record = msgspec.structs.replace(known.record, messages=tuple(messages))
    found = rewards.find(total)
    means = Means(judge=judge, token_ids=lambda text: range(len(text.split())))
    try:
        scored = asyncio.run(rewards.score(sample(replies[-1], Prompt(record, strict="own")), found, means))
    except DataError as error:
        return str(error), []
    return (scored.total, dict(scored.terms)), [ask.messages[-1].text for ask in judge.asked]


@pytest.mark.parametrize("total", [each.name for each in rewards.discover()[1]])
def test_an_answer_in_the_question_changes_no_reward(total: str) -> None:
    for replies in ROLLOUTS:
        assert rewarded(total, replies, EXAMPLE) == rewarded(total, replies, ""), replies


def test_the_sentence_behind_a_crop_is_no_answer_for_chain_of_focus() -> None:
    """Its marks stand in the instruction that the model gets with each crop."""
    protocol = of_system(systems.get("chain-of-focus")).protocol
    assert "<answer>" in protocol.after_image
    known = prompt([(280, 196), (56, 56)], before=[LOOK], right="5", strict="own")
    messages = [*known.record.messages[:-1], Message("user", protocol.after_image.replace("{image}", MARK))]
    record = msgspec.structs.replace(known.record, messages=tuple(messages))
    judge = ScriptedJudge("Judgement: 0")
    read = sample("<think>It is not to be seen.</think>", Prompt(record, strict="own", protocol=protocol))
    asyncio.run(rewards.score(read, rewards.find("chain_of_focus"), Means(judge=judge)))
    (asked,) = judge.asked
    assert asked.messages[-1].text.endswith("[Model_answer] : \nJudgement:")
