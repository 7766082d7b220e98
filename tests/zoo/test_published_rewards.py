"""The rewards of Mini-o3, Chain-of-Focus and VLM-R3 against their programs, which were run on these cases."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pytest
from PIL import Image
from support import zoo
from support.told_judge import Chats, judged

from virc.core.errors import DataError
from virc.data.rows.record import MARK, Message, Record
from virc.models.chat_protocol import of_system
from virc.reasoning.images import Shown
from virc.reasoning.messages import stopped
from virc.reasoning.protocol import Protocol
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.means import Means
from virc.rewards.rollouts import Known, Last
from virc.rewards.sample import Prompt, sample
from virc.systems import registry as systems
from virc.systems import texts
from virc_zoo.deepeyes_v2 import deepeyes_v2
from virc_zoo.rewardmap import rewardmap
from virc_zoo.vla_r1 import vla_r1

MINI_O3, FOCUS, VLM_R3 = (
    zoo.json_of(zoo.FOLDER / name / "program-rewards.json") for name in ("mini_o3", "chain_of_focus", "vlm_r3")
)


@cache
def vlm_r3_words() -> Protocol:
    return of_system(systems.get("vlm-r3")).protocol


def scored(total: str, replies: Sequence[str], answer: str, says: str) -> tuple[float | None, Chats]:
    """The reward of a rollout of these replies, and what the judge was asked."""
    asked = [Message("user", "What color?")]
    samples = []
    for reply in replies:
        samples.append(sample(reply, Prompt(Record(tuple(asked), question="What color?", answer=answer))))
        asked += [Message("assistant", reply), Message("user", "Go on, in <think>...</think> <tool_call>.")]
    return judged(samples, "answer", total, says)


def last_asked(chats: Chats) -> str | None:
    return str(chats[-1]["messages"][-1]["content"]) if chats else None


@pytest.mark.parametrize("case", MINI_O3["cases"], ids=lambda case: str(MINI_O3["cases"].index(case)))
def test_rewards_of_mini_o3_are_those_of_its_program(case: Mapping[str, Any]) -> None:
    for verdict, reward in case["rewards"].items():
        found, chats = scored("mini_o3", case["replies"], MINI_O3["answer"], f"Score: {verdict}")
        # a judge that gives no score takes the group out there, and is worth 0 here
        assert found == (reward or 0.0), verdict
        asked = last_asked(chats)
        assert (asked is None) == (case["judged"] is None)
        if asked:
            assert f": {case['judged']}\n" in asked
        if asked and reward is None:
            assert len(chats) % 5 == 0


def test_of_64_rewards_of_mini_o3_14_are_of_a_judge_without_a_score() -> None:
    known = [reward for case in MINI_O3["cases"] for reward in case["rewards"].values()]
    assert (len(known), known.count(None)) == (64, 14)


def test_the_judge_of_mini_o3_is_asked_word_for_word() -> None:
    _, (chat,) = scored("mini_o3", ["<answer>blue</answer>"], "red", "Score: 0")
    wanted = MINI_O3["judge_request"]
    places = {"{question}": "What color?", "{reference}": "red", "{answer}": "blue"}
    user = wanted["user_template"]
    for place, text in places.items():
        user = user.replace(place, text)
    assert [each["content"] for each in chat["messages"]] == [wanted["system"], user]


def test_of_several_scores_of_the_judge_of_mini_o3_the_last_counts() -> None:
    found, _ = scored("mini_o3", ["<answer>red</answer>"], "red", "Score: 0 were it blue\nScore: 1")
    assert found == 1.0


def focus_replies(solution: str) -> list[str]:
    """The replies of a completion that special tokens were taken out of."""
    return solution.split("\nassistant\n")[::2]


UNJUDGED = [case for case in FOCUS["judged"] if "<tool_call>" in focus_replies(case["solution"])[-1]]


@pytest.mark.parametrize("case", FOCUS["judged"], ids=lambda case: str(FOCUS["judged"].index(case)))
def test_rewards_of_chain_of_focus_are_those_of_its_program(case: Mapping[str, Any]) -> None:
    for verdict, reward in case["rewards"].items():
        found, chats = scored("chain_of_focus", focus_replies(case["solution"]), case["answer"], verdict)
        if case in UNJUDGED:  # a rollout that ends in a call; there "" is judged
            assert (found, chats) == (0.0, [])
            continue
        assert found == pytest.approx(reward), verdict
        asked = last_asked(chats)
        assert asked is not None
        assert asked.endswith(f"[Model_answer] : {case['judged']}\nJudgement:")


def test_46_of_48_rewards_of_chain_of_focus_are_the_same() -> None:
    assert sum(len(case["rewards"]) for case in FOCUS["judged"]) == 48
    assert sum(reward != 0 for case in UNJUDGED for reward in case["rewards"].values()) == 2


def test_mathematics_are_judged_here_where_the_program_tries_algebra_first() -> None:
    same = []
    for case in FOCUS["math"]:
        for verdict, reward in case["rewards"].items():
            says = "1" if "TRUE" in verdict else "0"
            found, _ = scored("chain_of_focus", focus_replies(case["solution"]), case["answer"], says)
            same.append(found == pytest.approx(reward))
    assert (len(same), same.count(False)) == (6, 2)


@pytest.mark.parametrize("group", FOCUS["groups"], ids=lambda group: str(FOCUS["groups"].index(group)))
def test_groups_of_chain_of_focus_are_those_of_its_program(group: Sequence[Any]) -> None:
    rollouts_, adaptive = group
    scores = [score for score, _ in rollouts_]
    lasts = [Last(Known("answer", {"called": float(zoom)}, {}, "answer", 1, 0)) for _, zoom in rollouts_]
    found = rollouts.grouped(rewards.find("chain_of_focus"), scores, lasts)
    assert found == pytest.approx(adaptive or scores)


def vlm_r3_replies(content: str) -> list[str]:
    """The pieces of a completion, each to its end."""
    replies = []
    while content:
        replies.append(stopped(content, vlm_r3_words().grammar))
        content = content[len(replies[-1]) :].lstrip("\n")
        if "</answer>" in replies[-1]:
            break
    return replies


def vlm_r3_scored(case: Mapping[str, Any]) -> tuple[float | None, Chats]:
    """The reward of a rollout that this completion is of, and what the judge was asked."""
    answer = case["solution"].removeprefix("<answer>").removesuffix("</answer>").strip()
    asked, samples = [Message("user", f"{MARK}QUESTION")], []
    for reply in vlm_r3_replies(case["content"]):
        record = Record(tuple(asked), question="QUESTION", answer=answer)
        shown = [Shown(Image.new("RGB", (644, 476)))] * sum(MARK in each.content for each in asked)
        samples.append(sample(reply, Prompt(record, shown=shown, protocol=vlm_r3_words())))
        asked += [Message("assistant", reply), Message("user", MARK if samples[-1].kind == "tool" else "\n\n")]
    return judged(samples, rollouts.ends(samples[-1]), "vlm_r3", case["verdict"])


NOT_THE_SAME = {
    "</answer> tail": "nothing is behind an answer here",
    "<answer>a</answer><answer>red</answer>": "nor a second one, which is judged there",
    "<answer>Red.</answer>": "on TextVQA letters' case and full stops do not count there",
}


def test_150_of_168_rewards_of_vlm_r3_are_those_of_its_program() -> None:
    other = []
    for case in VLM_R3["cases"]:
        found, _ = vlm_r3_scored(case)
        if found != pytest.approx(case["total"]):
            other.append(next(part for part in NOT_THE_SAME if part in case["content"]))
    assert (len(VLM_R3["cases"]), Counter(other)) == (168, dict(zip(NOT_THE_SAME, (12, 4, 2), strict=True)))


def test_the_judge_of_vlm_r3_is_asked_word_for_word() -> None:
    case = {"content": "<answer>blue</answer>", "solution": "<answer> red </answer>", "verdict": "1.0"}
    reward, (chat,) = vlm_r3_scored(case)
    wanted = texts.filled(VLM_R3["judge_request"], zoo.FOLDER / "vlm_r3")
    (message,) = wanted["messages"]
    text = message["content"].format(question="QUESTION", answer="blue", reference="red")
    assert (chat["messages"], chat["temperature"]) == ([{"role": "user", "content": text}], wanted["temperature"])
    assert reward == 1.5


@pytest.mark.parametrize(("reply", "right"), [(r"So \boxed{A}.", 1.0), (r"\boxed{AB}", 0.0), ("", 0.0)])
def test_a_choice_in_a_row_of_rewardmap_is_one_letter(reply: str, right: float) -> None:
    columns = {"type": "Counting1", "difficulty_city": "easy"}
    read = sample(reply, Prompt(Record((Message("user", "?"),), question="?", answer="0", extra=columns)))
    assert rewardmap.right(read, Means()) == right


def test_a_row_of_rewardmap_of_a_type_that_it_does_not_have_is_not_scored() -> None:
    columns = {"type": "Counting4", "difficulty_city": "easy"}
    read = sample("7", Prompt(Record((Message("user", "?"),), question="?", answer="7", extra=columns)))
    with pytest.raises(DataError, match="RewardMap has no rows of the type 'Counting4'"):
        rewardmap.right(read, Means())


@pytest.mark.parametrize("answer", ["near", "5", "[]", "[[1]]", '{"x": 1}'])
def test_a_row_of_vla_r1_without_a_box_or_a_path_is_refused(answer: str) -> None:
    read = sample("<output>[[1, 2]]</output>", Prompt(Record((Message("user", "?"),), question="?", answer=answer)))
    with pytest.raises(DataError, match="neither a box nor a path"):
        vla_r1.path(read, Means())


@pytest.mark.parametrize("said", ["[[0, 0], [1, 1]]", "<output>" + "[" * 100_000 + "</output>", "<output>{}</output>"])
def test_a_path_of_vla_r1_stands_in_its_marks(said: str) -> None:
    of = Prompt(Record((Message("user", "?"),), question="?", answer="[[0, 0], [1, 1]]"))
    assert vla_r1.path(sample(said, of), Means()) == 0
    assert vla_r1.path(sample("<output>[[0, 0], [1, 1]]</output>", of), Means()) == 1


@pytest.mark.parametrize(
    ("text", "kind", "formed"),
    [
        ("a</think><answer>5</answer>", "reason", 1.0), ("<answer>5</answer>", "reason", 0.0),
        ("a</think><answer></answer>", "reason", 0.0), ("a</think><answer>5</answer><answer>", "reason", 0.0),
        ("a</think><code>1<answer>5</answer>", "reason", 0.0),
        ("a<tool_call></think><answer>5</answer>", "search", 0.0),
        ("a<tool_call></think><answer>5</answer>", "reason", 1.0),
        (f"a</think><answer>{'5' * 300}</answer>", "reason", 1.0),
        (f"a</think><answer>{'5' * 300}</answer>", "search", 0.0),
    ],
)  # fmt: skip
def test_a_reply_of_deepeyes_v2_has_both_marks_of_each_part(text: str, kind: str, formed: float) -> None:
    read = sample(text, Prompt(Record((Message("user", "?"),), question="?", answer="5", extra={"data_source": kind})))
    assert deepeyes_v2.formed(read, Means()) == formed


@pytest.mark.parametrize(("answer", "spelled"), [("x = $1,000$", "1000"), ("(1,2)", "(1,2)"), ("x = 5", "5")])
def test_commas_stay_in_what_is_no_number_of_deepeyes_v2(answer: str, spelled: str) -> None:
    assert deepeyes_v2.spelled(answer) == spelled


@pytest.mark.parametrize(
    ("reply", "right"),
    [("Yes", 1.0), (r"Yes? So \boxed{No}", 0.0), (r"No: \boxed{Yes}", 1.0), (r"<最终结果>No<\最终结果> Yes", 0.0)],
)
def test_the_last_box_of_a_judge_of_deepeyes_v2_counts(reply: str, right: float) -> None:
    assert deepeyes_v2.verdict(reply) == right
