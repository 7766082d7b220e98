"""DeepEyes as published: its functions ran on the cases of `cases/deepeyes/program.json`."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from PIL import Image
from support import zoo

from virc.backends.chatml import render
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.images import Shown
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Ask, Done, Rejected, Reply, Session, Unit, show_input
from virc.systems import registry as systems
from virc.systems import speech, texts
from virc.tools.registry import known
from virc_zoo.deepeyes.deepeyes import goes_on

FACTS = zoo.program("deepeyes")
TURN = re.compile(r"\n<\|im_start\|>user\n(.*?)<\|im_end\|>\n<\|im_start\|>assistant\n", re.DOTALL)
Case = Mapping[str, Any]


@cache
def protocol() -> Protocol:
    found = speech.worded_by(systems.get("deepeyes"))
    assert found
    return found


@cache
def picture(width: int, height: int) -> Shown:
    """As a session shows it, made once for hundreds of them."""
    return show_input(Image.new("RGB", (width, height), "white"), protocol())


def session(width: int = 640, height: int = 480) -> Session:
    return Session(protocol(), "What color?", [picture(width, height)], tools=known())


def call(box: list[float]) -> str:
    named = {"name": "image_zoom_in_tool", "arguments": {"bbox_2d": box, "label": "x"}}
    return f"<think>look</think>  \n<tool_call>{json.dumps(named)}</tool_call>"


def cut(case: Case) -> str:
    """How the region of a box compares with the published one."""
    talk = session(*case["size"])
    taken = talk.feed(Reply(call(case["bbox_2d"])))
    assert isinstance(taken, Unit)
    box, error = case["box"], taken.results[0].error
    if error:
        assert error == "ZOOM IN ARGUMENTS ARE INVALID"
        if box is None:
            return "refused by both"
        assert 30 < min(box[2] - box[0], box[3] - box[1]) < 31
        return "refused here"
    if box is None:
        left, top, right, bottom = talk.history.region(1) or (0, 0, 0, 0)
        sides = sorted((right - left, bottom - top))
        assert sides[0] == 31 or 100 < sides[1] / sides[0] <= 200, "rounded to 31, or long"
        return "refused there"
    return "the same" if talk.history.region(1) == tuple(map(round, box)) else "another"


@pytest.mark.integration
def test_boxes_are_cut_and_refused_as_by_the_published_tool() -> None:
    assert Counter(map(cut, FACTS["boxes"])) == {
        "the same": 111,
        "refused by both": 113,
        "refused here": 4,  # a side over 30 and under 31 pixels
        "refused there": 2,
    }


def observed(case: Case) -> tuple[str, str]:
    """What follows a reply, here and there, in the words of the published program."""
    found = TURN.fullmatch(case["observation"])
    there = "ends" if case["done"] else found[1] if found else case["observation"]
    talk = session()
    taken = talk.feed(Reply(case["reply"]))
    if isinstance(taken, Rejected) or isinstance(talk.next(), Done):
        return "ends", there
    if case["shown"] and len(talk.images) > 1:
        left, top, right, bottom = talk.history.region(1) or (0, 0, 0, 0)
        assert [right - left, bottom - top] == case["shown"][0]
    ask = talk.next()
    assert isinstance(ask, Ask)
    here = "".join("<image>" if isinstance(part, int) else part for part in ask.messages[-1].parts())
    return here, there


def test_replies_are_followed_by_the_published_words() -> None:
    user = texts.text(zoo.FOLDER / "deepeyes", "user")
    pairs = [observed(case) for case in FACTS["executed"]]
    differ = [there.removeprefix("Error: ")[:40] for here, there in pairs if here != there]
    user = texts.text(zoo.FOLDER / "deepeyes", "user")
    assert len(pairs) == 28
    assert differ == [
        "ends",  # of an empty call, which is no JSON here
        "'arguments'", "'name'",  # and other texts of Python where a call is odd
        "VisualToolBoxV2.maybe_resize_bbox() miss", "VisualToolBoxV2.maybe_resize_bbox() take",
        "'>' not supported between instances of '", "string indices must be integers, not 'st",
        "list indices must be integers or slices,", "verl.workers.agent.envs.mm_process_engin",
        f"<tool_response><image>{user}"[:40], "'angle'",  # image_rotate_tool, which the prompt does not name
    ]  # fmt: skip
    assert not any("{" in here.replace('{"', "").replace("{'", "") for here, _ in pairs)


def test_a_conversation_is_rendered_as_in_training() -> None:
    """A box that is refused, a crop, and an answer."""
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    text = FACTS["conversation"]
    *calls, answer = re.findall(r"<\|im_start\|>assistant\n(.*?)<\|im_end\|>", text, re.DOTALL)
    talk = session()
    for each in calls:
        talk.feed(Reply(each))
    ask = talk.next()
    assert isinstance(ask, Ask)
    ids = render(ask.messages, [1, 1], words, generate=True).ids
    assert ids == words.encode(text.removesuffix(f"{answer}<|im_end|>"), add_special_tokens=False)


def test_replies_of_the_released_model_are_read_as_its_evaluation_reads_them() -> None:
    """A runaway that ends in an answer; calls behind a closed one; a box of 25 pixels, which training refuses."""
    found = []
    for example in FACTS["printed"]:
        talk = session(2000, 1500)
        for reply in example["replies"]:
            talk.feed(Reply(reply))
        trace = talk.trace()
        regions = [talk.history.region(number) for number in range(1, len(talk.images))]
        found.append(
            (trace.answer, regions, [each.error for unit in trace.units for each in unit.results if each.error])
        )
    answer = "A. Grey is left of red."
    umbrella = "A. Yellow is left of pink."
    assert found == [
        (None, [], []),  # printed without its </tool_call>: such a reply ends a rollout
        (None, [], []),  # cut in its thought
        (answer, [], []),
        (umbrella, [(1150, 1018, 1230, 1095)], []),
        (None, [], ["ZOOM IN ARGUMENTS ARE INVALID"]),
    ]


def test_a_rollout_that_ends_within_a_call_is_not_judged() -> None:
    calls = call([0, 0, 100, 100])
    assert goes_on(calls)
    assert not goes_on(f"{calls}<answer>red</answer>")
    assert not goes_on("<think>I see it.</think><answer>red</answer>")
