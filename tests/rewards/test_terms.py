"""Our own checks and the terms that rules give."""

import asyncio

import msgspec
import pytest
from rewards.prompts import answer, crop, display, prompt, scale, tool

from virc.data.rows.record import Message
from virc.models import chat_protocol
from virc.rewards import registry as rewards
from virc.rewards.context import RewardContext
from virc.rewards.registry import Scored
from virc.rewards.sample import Prompt, prompt_of, sample
from virc.scoring.symbolic import Symbolic
from virc.systems import registry as systems

TWO = ((280, 196), (84, 84))


def scored(reply: str, known: Prompt, total: str = "rules", context: RewardContext | None = None) -> Scored:
    return asyncio.run(rewards.score(sample(reply, known), rewards.find(total), context or RewardContext()))


@pytest.mark.parametrize(
    ("reply", "own", "published"),
    [
        (tool(crop(0, 0, 280, 196)), True, True),
        (tool(crop(0, 0, 281, 196)), False, False),
        (tool(crop(0.5, 0, 280, 196)), False, True),
        (tool(scale(2)), True, True),
        (tool(scale(3)), False, True),
        (tool(scale(0.5)), True, True),
        (tool(display(-1)), False, True),
        (tool(display(True)), False, True),
        (tool(crop(0, 0, 9, 9)).replace('{"bbox_2d"', '{"bbox_2d": 1, "bbox_2d"'), True, True),
        (tool(crop(0, 0, 280, 1)), False, False),
        (answer("5", "ab\n" * 9), True, True),
        (answer("5", "-" * 8), False, False),
        (answer("5", " ".join(map(str, range(300))) + " so" * 8), False, False),
    ],
    ids=[
        *("whole", "over", "fractions", "twice", "not_offered", "half", "from_end", "true", "repeated_key"),
        *("line", "lines", "rule", "behind_much"),
    ],
)
def test_ours_forgives_nothing_that_the_published_checks_let_pass(reply: str, own: bool, published: bool) -> None:
    read = [sample(reply, prompt(TWO, strict=strict)) for strict in ("own", "published")]
    assert [each.fault is None for each in read] == [own, published]
    assert all(f"<think>{each.turn.think}" in reply for each in read if each.turn)


def test_boxes_are_held_against_what_the_chat_protocol_shows() -> None:
    spoken = chat_protocol.of_system(systems.get("vlm-r3"))
    known = msgspec.structs.replace(prompt([(100, 100)], strict="own"), protocol=spoken)  # shown at 168 x 168
    read = sample('It is in the corner. {"bbox_2d": [120, 120, 168, 168]}', known)
    assert (read.fault, read.call and read.call.box) == (None, (120, 120, 168, 168))
    square = msgspec.structs.replace(known, protocol=msgspec.structs.replace(spoken, images="square_1000"))
    assert square.view.sizes == [(1000, 1000)]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("said", "right", "value", "why"),
    [
        ("5", "5", 1.0, "by rule"),
        ("x = 5.0", "5", 1.0, "by rule"),
        (r"2\sqrt{3}", r"\sqrt{12}", 1.0, "by algebra"),
        ("2(x+1)", "2x+2", 1.0, "by algebra"),
        ("6", "5", 0.0, "by rule"),
        ("", "5", 0.0, "by algebra"),
        ("9^9^9^9", "x+5", 0.0, "by algebra"),
    ],
    ids=["same", "named", "root", "factored", "wrong", "empty", "hostile"],
)
def test_answers_by_rule_and_algebra(said: str, right: str, value: float, why: str) -> None:
    with Symbolic() as symbolic:
        found = scored(answer(said), prompt(right=right, strict="own"), context=RewardContext(symbolic=symbolic))
    assert (found.terms["answer"], found.why["answer"], found.total) == (value, why, 0.8 * value)


def test_without_a_judge_its_terms_are_not_zero_but_not_there() -> None:
    known = prompt(strict="own")
    found = scored(tool(crop(0, 0, 9, 9)), known, "virc")
    assert (found.total, found.unscored) == (None, {"reasoning": "needs a judge", "focus": "needs a judge"})
    assert scored("no tags", known, "virc").total == -1.0
    assert scored(answer("5"), known, "virc").total == 0.8


def test_the_reply_that_a_row_ends_with_is_its_reference_and_none_of_what_was_before() -> None:
    look = tool(crop(0, 0, 84, 84))
    record = prompt(TWO, before=[look], strict="own", tool_info_gt={"arguments": {}}).record
    ended = msgspec.structs.replace(record, messages=(*record.messages, Message("assistant", look)))
    found = prompt_of(ended)
    assert (found.reference, len(found.before), len(found.calls), found.reference_tool) == (look, 1, 1, None)
    assert Prompt(record, strict="own", carried=()).calls == []
