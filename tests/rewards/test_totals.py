"""Totals of published systems on rollouts and groups, each value computed by hand."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rewards.prompts import answer, call, crop, prompt, tool
from support.servers import Body, serve

from virc.core.errors import ConfigError
from virc.data.rows.record import MARK, Message
from virc.reasoning.protocol import own_protocol
from virc.reasoning.trace import Ended
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.means import Means, means_of
from virc.rewards.registry import Total
from virc.rewards.rollouts import Known, Last
from virc.rewards.sample import Prompt, prompt_of, sample
from virc.systems import registry as systems
from virc.systems.registry import Judging, Reward
from virc.tools import registry as tools
from virc.training.system_check import check

LOOK, FAR, WIDE = (
    tool(crop(0, 0, side, 98), think) for side, think in ((140, "short"), (70, "look there"), (280, "x"))
)
RIGHT, WRONG = answer("5", "AB is 5 cm long"), answer("6", "AB is 6 cm long")
SIZES = ((280, 196), (140, 112), (84, 112))


def rolled(replies: Sequence[str], total: Total | str, means: Means | None = None, **columns: Any) -> rollouts.Rollout:
    """The reward of a rollout, each reply of it after those before."""
    samples = [
        sample(reply, prompt(SIZES[: at + 1], before=replies[:at], strict="own", **columns))
        for at, reply in enumerate(replies)
    ]
    found = rewards.find(total) if isinstance(total, str) else total
    return asyncio.run(rollouts.score(samples, rollouts.ends(samples[-1]), found, means or Means()))


def of_one(text: str, total: str, **columns: Any) -> float | None:
    """The reward of a single reply."""
    found = sample(text, prompt(strict="own", **columns))
    return asyncio.run(rewards.score(found, rewards.find(total), Means())).total


def test_visual_rft_adds_three() -> None:
    """One of two boxes found with IoU 0.8, sure by 0.9: 0.8 / 2 + 0.9 + 1."""
    boxes = [[0, 0, 100, 100], [150, 0, 250, 100]]
    reply = answer("[{'Position': [0, 0, 100, 80], 'Confidence': 0.9}]")
    assert of_one(reply, "visual_rft", boxes=boxes) == pytest.approx(2.3)
    assert of_one("no tags", "visual_rft", boxes=boxes) == 0.0
    assert of_one(answer("nothing"), "visual_rft", boxes=boxes) == 1.0
    assert of_one(answer("[]"), "visual_rft", boxes=[]) == 1.0
    assert of_one(reply, "visual_rft") is None


@pytest.mark.parametrize(
    ("written", "value"),
    [("Boeing 737-800", 2.0), ("the BOEING_737-800, I think", 2.0), ("737", 2.0), ("", 2.0), ("Boeing 747", 1.0)],
)
def test_a_name_is_right_that_is_a_part_of_the_other(written: str, value: float) -> None:
    assert of_one(answer(written), "visual_rft_classify", right="Boeing 737-800") == value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        # in thousandths of 280 x 196 px: letter by letter; IoU 0.5; beside it, a quarter of the width between them
        ("(0,0),(500,500)", 3.0),
        ("( 0 , 0 ), (500, 250)", 2.5),
        ("(750,0),(1000,500)", 1 + 1 - 0.25),
        ("[0, 0, 500, 500]", 1.0),
    ],
)
def test_a_box_is_worth_its_giou_and_one(written: str, value: float) -> None:
    boxes = [[0, 0, 140, 98]]
    assert of_one(answer(written), "visual_rft_ground", boxes=boxes, right="the cup") == pytest.approx(value)


@pytest.mark.parametrize(("reply", "value"), [("no tags", -1.0), (RIGHT, 0.8), (WRONG, 0.0), (LOOK, 0.5), (WIDE, 0.3)])
def test_rules_reward_a_single_reply(reply: str, value: float) -> None:
    """A look: 0.4 times its overlap with the box, 1 and 1/2, and 0.1 for its tool."""
    assert of_one(reply, "rules", box=[0, 0, 140, 98]) == pytest.approx(value)


def test_a_judge_is_asked_once_for_two_terms(tmp_path: Path) -> None:
    def says(body: Body) -> str:
        return r"\boxed{1}"

    file = tmp_path / "mine.py"
    file.write_text("TERMS = ('answer', 'tool_bonus')\ndef total(t): return (t.answer or 0) + (t.tool_bonus or 0)\n")
    with serve(says) as server:
        means = means_of(Judging(server.url), None, None, lambda said: None)
        total = rewards.find(str(file))
        found = rolled([LOOK, answer("five")], total, msgspec.structs.replace(means, symbolic=None))
        means.close()
        assert found.units[-1].total == 2.0
        assert len(server.chats()) == 1


def last(calls: int, ended: Ended = "answer") -> Last:
    return Last(Known("answer", {"called": float(calls > 0)}, {}, ended, calls + 1, calls))


@pytest.mark.parametrize(
    ("calls", "before", "after"),
    [
        # p = 1/8: 0.175 / 2 * 0.25 / 0.125 = 0.175
        ([1, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0], [1.175, 1, 0, 0, 0, 0, 0, 0]),
        # p = 1/4: 0.05 / 2 * 0.25 / 0.25 = 0.025; the second call costs 0.05, though the answer is wrong
        ([2, 0, 0, 0], [0, 1, 1, 0], [-0.025, 1, 1, 0]),
        # p over 0.3: no curiosity; three calls cost 0.1
        ([3, 1], [1, 1], [0.9, 1]),
        ([0, 0], [1, 0], [1, 0]),
    ],
)
def test_the_curiosity_of_pixel_reasoner(calls: list[int], before: list[float], after: list[float]) -> None:
    total = rewards.find("pixel_reasoner")
    assert rollouts.grouped(total, before, [last(each) for each in calls]) == pytest.approx(after)


@pytest.mark.parametrize(
    ("calls", "before", "after"),
    [
        # a direct answer is right: 1, with looks 0.8, wrong with looks 0.5, wrong 0.1 in the format, else 0
        ([0, 2, 1, 0, 0], [1.0, 1.0, 0.1, 0.1, 0.0], [1.0, 0.8, 0.5, 0.1, 0.0]),
        # none is: with looks 1
        ([0, 2, 1, 0], [0.1, 1.0, 0.1, 0.0], [0.1, 1.0, 0.5, 0.0]),
        ([0, 1], [0.1, 0.0], [0.1, 0.5]),
        ([1], [0.1], [0.1]),
        # right without the format is over a half
        ([0, 1], [0.9, 0.9], [1.0, 0.8]),
    ],
)
def test_agar_of_chain_of_focus(calls: list[int], before: list[float], after: list[float]) -> None:
    total = rewards.find("chain_of_focus")
    assert rollouts.grouped(total, before, [last(each) for each in calls]) == after


def test_a_group_sees_what_rollouts_were() -> None:
    found = rolled([LOOK, FAR, RIGHT], "pixel_reasoner")
    assert (found.total, found.last.tool_calls, found.last.turns, found.last.ended) == (1.0, 2, 3, "answer")
    cut = rolled([LOOK, FAR], "pixel_reasoner")
    assert (cut.total, cut.last.tool_calls, cut.last.turns, cut.last.ended) == (0.0, 2, 2, "length")
    again = msgspec.json.decode(msgspec.json.encode(found.last.known), type=Known)
    assert Last(again).answer == 1.0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("return rewards[1:]", "group of .* gives 1 rewards for 2 rollouts"),
        ("return [None, 1]", "group of .* gives 'None', which is no number"),
        ("return [float('inf'), 1]", "group of .* gives 'inf', which is no number"),
        ("return 1 / 0", "fails: ZeroDivisionError"),
        ("return 5", "fails: TypeError"),
        ("raise SystemExit(1)", r"fails: ExitError: .* sys.exit\(1\)"),
        ("return [t.nothing for t in ts]", "fails: AttributeError: TERMS does not name 'nothing'"),
    ],
)
def test_what_is_no_group_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"TERMS = ()\n\n\ndef total(t):\n    return 0\n\n\ndef group(rewards, ts):\n    {text}\n")
    with pytest.raises(ConfigError, match=sentence):
        rollouts.grouped(rewards.find(str(file)), [1.0, 0.0], [last(1), last(0)])


def test_a_group_that_is_no_function_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("TERMS = ()\ngroup = 5\n\n\ndef total(t):\n    return 0\n")
    with pytest.raises(ConfigError, match=r"group of .*mine\.py is no function"):
        rewards.find(str(tmp_path / "mine.py"))


def weighted(text: str, folder: Path) -> Total:
    (folder / "s.yaml").write_text(f"name: s\nreward: {text}\n")
    reward = systems.load(folder / "s.yaml").reward
    assert reward
    return rewards.of(reward, folder)


@pytest.mark.parametrize(
    ("weights", "replies", "value"),
    [
        ("{answer: 0.8, format: 0.2}", [RIGHT], 1.0),
        ("{answer: 0.8, format: 0.2}", [LOOK, WRONG], 0.2),
        ("{answer: 0.8, format: 0.2}", [LOOK, "no tags"], 0.0),
        ("{answer: 0.8, format: 0.2}", [LOOK], 0.0),
        ("{answer: 0.5, format: 0.5}, gate: answer", [RIGHT], 1.0),
        ("{answer: 0.5, format: 0.5}, gate: answer", [WRONG], 0.0),
        ("{answer: 0.8, format: 0.2, tool_bonus: 1.2}", [LOOK, RIGHT], 2.2),
        ("{answer: 1, ngrams: 2}", ["x y x y x y x y"], -2 / 3),
        ("{answer: 1, ngrams: 2}", [tool(crop(0, 0, 140, 98), "x y " * 7), FAR], 0.0),  # the last counts
    ],
)
def test_totals_without_python(weights: str, replies: list[str], value: float, tmp_path: Path) -> None:
    total = weighted(f"{{total: weighted, weights: {weights}}}", tmp_path)
    assert rolled(replies, total).total == pytest.approx(value)


def test_a_weighted_total_finds_terms_beside_the_yaml(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text('NAME = "half"\n\n\ndef score(sample, means):\n    return 0.5\n')
    total = weighted("{total: weighted, weights: {half: 3}}", tmp_path)
    assert rolled([RIGHT], total).total == 1.5
    with pytest.raises(ConfigError, match="there is no term 'anser'") as error:
        weighted("{total: weighted, weights: {anser: 1}}", tmp_path)
    assert error.value.hint == "did you mean 'answer'?"


def test_what_is_not_public_is_refused_with_what_to_supply(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not public: how salience is weighed") as error:
        weighted('{total: null, supply: "how salience is weighed"}', tmp_path)
    assert "--set reward.total=./mine.py" in (error.value.hint or "")
    assert check(tmp_path / "s.yaml") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{total: null}", "reward.total is null, and nothing says why"),
        ("{total: weighted, weights: {answer: 1}, gate: formt}", "there is no term 'formt'"),
        ("{total: weighted}", "the total weighted has no weights"),
        ("{total: virc, gate: format}", "reward.gate is of the total weighted, not of virc"),
        ("{total: virc, weights: {answer: 1}}", "reward.weights is of the total weighted, not of virc"),
        ("{total: weighted, weights: {answer: much, format: 1}}", "reward.weights.answer must be a number, not 'much'"),
    ],
)
def test_rewards_that_lack_something_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(f"name: s\nreward: {text}\n")
    (found,) = check(tmp_path / "s.yaml")
    assert found.message.startswith(message)


def test_a_tool_that_the_chat_protocol_does_not_offer_is_not_taken() -> None:
    record = prompt(strict="own").record
    zoom = tool(call("zoom_image", bbox_2d=[0, 0, 99, 99], image_index=0))
    spoken = own_protocol(tools.schemas(tools.DEFAULT))
    assert sample(zoom, prompt_of(record)).call
    found = sample(zoom, prompt_of(record, protocol=spoken))
    assert (found.fault or "").startswith("there is no tool 'zoom_image'; there are: crop_image, display_image")
    assert sample(tool(crop(0, 0, 99, 99)), prompt_of(record, protocol=spoken)).fault is None


def test_the_action_log_holds_calls_faults_and_what_was_shown() -> None:
    bad = tool(crop(0, 0, 9, 9, index=7))
    read = sample(bad, prompt(SIZES[:2], before=[LOOK], strict="own"))
    first, second = read.calls
    assert (first.call and first.call.box, first.fault, first.shown) == ((0, 0, 140, 98), None, (140, 112))
    assert (second.call, second.shown) == (None, None)
    assert second.tool
    assert second.tool.name == "crop_image"
    assert "7" in (second.fault or "")
    assert sample(RIGHT, prompt(SIZES[:2], before=[LOOK], strict="own")).calls == [first]
    assert Reward().weights == {}


def test_images_in_several_messages_behind_a_call_are_all_of_it() -> None:
    seen = prompt(SIZES[:2], before=[LOOK], strict="own").record
    more = msgspec.structs.replace(
        seen, messages=(*seen.messages, Message("user", f"{MARK}Go on.")), images=(*seen.images, seen.images[1])
    )
    known = Prompt(more)
    assert known.made_by == [None, known.calls[0].call, known.calls[0].call]
