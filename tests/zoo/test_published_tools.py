"""Mini-o3, Chain-of-Focus and VLM-R3 against their published programs: boxes, sizes, calls, errors, conversations.

Their functions were run on the cases of `program.json`; where ours differs, the reason and the number stand here.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from support import zoo

from virc.models.chat_protocol import of_system
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import smart_resize
from virc.reasoning.session import Ask, Rejected, Reply, Session
from virc.systems import registry as systems
from virc.systems import texts
from virc.tools.registry import known

MINI_O3, FOCUS, VLM_R3 = map(zoo.program, ("mini-o3", "chain-of-focus", "vlm-r3"))
EXAMPLES = json.loads((Path(__file__).parents[1] / "systems" / "published" / "printed_replies.json").read_bytes())
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
Facts = Sequence[Any]


def protocol(name: str, **changed: Any) -> Protocol:
    return msgspec.structs.replace(of_system(systems.get(name)), **changed)


def session(spoken: Protocol, size: Sequence[int], question: str = "What color?") -> Session:
    width, height = size
    return Session(spoken, question, [Image.new("RGB", (width, height))], tools=known(), max_turns=12)


def made(spoken: Protocol, size: Sequence[int], reply: str) -> tuple[Session, str | None]:
    """A session after one reply, and what the model is told where it makes no image."""
    talk = session(spoken, size)
    taken = talk.feed(Reply(reply))
    assert not isinstance(taken, Rejected), taken
    return talk, taken.results[0].error


def rendered(talk: Session) -> str:
    """The conversation behind the system message in the template of Qwen2.5-VL."""
    ask = talk.next()
    turns = ask.turns() if isinstance(ask, Ask) else Ask(ask.trace.messages, ()).turns()
    written = (
        f"<|im_start|>{turn.role}\n{''.join(part if isinstance(part, str) else IMAGE for part in turn.parts)}<|im_end|>"
        for turn in turns
    )
    return "\n".join(written)


def ground(box: object, source: str = "original_image") -> str:
    return f"<think>t</think>\n<grounding>{json.dumps({'bbox_2d': box, 'source': source})}</grounding>"


@pytest.mark.integration
def test_boxes_of_mini_o3_are_those_of_its_function() -> None:
    count: Counter[str] = Counter()
    for size, box, region, shown, error in MINI_O3["boxes"]:
        talk, told = made(protocol("mini-o3"), size, ground(box))
        if error is not None:
            assert told is not None
            count["the same error" if told == error else "another error"] += 1
            continue
        assert talk.trace().images[1].region == tuple(region), box
        wanted, found = smart_resize(*shown), talk.images[1].size
        apart = max(abs(one - other) for one, other in zip(wanted, found, strict=True))
        count["the same size" if apart == 0 else "one step apart" if apart <= 28 else "long"] += 1
        assert apart <= 28 or max(found) > 50 * min(found), box
    # Errors: in 5 the text has numbers of a box outside the image before they are cut off, in 6 an empty height is
    # found to be long first. Sizes: published, two steps, of which the first is not on the grid.
    assert count == {
        "the same error": 26, "another error": 11, "the same size": 49, "one step apart": 49, "long": 5
    }  # fmt: skip


def observing(talk: Session) -> None:
    """Two crops of 300 x 200 and 90 x 60 px, as the published function was given them."""
    talk.feed(Reply(ground([0, 0, 0.3, 0.25])))
    talk.feed(Reply(ground([0, 0, 0.3, 0.3], "observation_1")))


ONLY_THERE = {
    '"source": "observation_0"': "a name of the picture that the prompt does not tell of",
    '"source": "observation_1b"': "letters behind a number are passed over",
    "'original_image'": "single quotes",
    "[1/10": "Python's division",
}
ONLY_HERE = {
    '{"bbox_2d":[': "no space",
    '{"source": "original': "another order",
    "<grounding> {": "a space within the marks",
}


def test_calls_of_mini_o3_are_read_as_its_function_reads_them() -> None:
    told: Counter[str] = Counter()
    for case in MINI_O3["calls"]:
        talk = session(protocol("mini-o3"), (1000, 800))
        if case["turn"]:
            observing(talk)
        taken = talk.feed(Reply(case["reply"]))
        assert not isinstance(taken, Rejected), case
        ask = talk.next()
        assert isinstance(ask, Ask)
        says = ask.messages[-1].text if not taken.shown else "".join(
            part if isinstance(part, str) else IMAGE for part in ask.messages[-1].parts()
        )  # fmt: skip
        if any(part in case["reply"] for part in ONLY_THERE):
            assert case["crop"]
            assert not taken.shown
            told["only there"] += 1
        elif any(part in case["reply"] for part in ONLY_HERE):
            assert not case["crop"]
            assert taken.shown
            told["only here"] += 1
        else:
            assert bool(taken.shown) == bool(case["crop"]), case
            told["the same words" if says == case["says"] else "other words"] += 1
    # Other words: names of another form, what only Python says, and of two calls the first ends the reply here.
    assert told == {"the same words": 14, "other words": 5, "only there": 4, "only here": 3}


def test_a_conversation_of_mini_o3_is_word_for_word() -> None:
    talk = session(protocol("mini-o3"), (1000, 800))
    for reply in (ground([0.1, 0.2, 0.5, 0.6]), ground([0.1, 0.2, 0.5, 0.6], "image"),
                  ground([0.1, 0.2, 0.5, 0.6], "observation_1"), "<think>t</think>\n<answer>red</answer>"):  # fmt: skip
        talk.feed(Reply(reply))
    ours = texts.filled('{text:source}image".', systems.get("mini-o3").file.parent)
    assert rendered(talk) == MINI_O3["conversation"].replace("<of another pattern>", ours)
    assert talk.trace().answer == "red"
    assert talk.trace().images[2].region == (140, 224, 300, 352)  # of the file: 0.1 to 0.5 of (100, 160, 500, 480)


def focus(arguments: Mapping[str, Any]) -> str:
    call = json.dumps({"name": "image_zoom_in_tool", "arguments": arguments})
    return f"<think>t</think>\n<tool_call>\n{call}\n</tool_call>"


@pytest.mark.integration
def test_boxes_of_chain_of_focus_are_those_of_its_tool() -> None:
    count: Counter[str] = Counter()
    for size, arguments, _, shown, text in FOCUS["tool"]:
        if size[0] % 28 or size[1] % 28:  # no picture is shown so
            count["not on the grid"] += 1
            continue
        talk, told = made(protocol("chain-of-focus"), size, focus(arguments))
        if shown is None:
            assert told is not None
            count["the same error" if told == text else "another error"] += 1
        elif told is not None:
            assert arguments["bbox_2d"][0] is True
            count["no number"] += 1
        else:
            same = list(talk.images[1].size) == shown
            count["the same size" if same else "a side under 28 px"] += 1
    # Another error: what only Python says of a value that is no list of four.
    assert count == {
        "the same size": 83, "a side under 28 px": 1, "the same error": 21, "another error": 6, "no number": 1,
        "not on the grid": 34,
    }  # fmt: skip


def test_boxes_of_its_evaluation_are_the_same_with_larger_crops() -> None:
    for size, reply, _, shown in FOCUS["evaluation"]:
        talk, told = made(protocol("chain-of-focus", crop_pixels=(12544, 14745600)), size, reply)
        if told is None:
            assert list(talk.images[1].size) == shown
        else:  # there the whole picture is shown
            assert told.startswith("Error: absolute aspect ratio must be smaller than 200, got ")


def test_a_conversation_of_chain_of_focus_is_word_for_word() -> None:
    talk = session(protocol("chain-of-focus"), (2240, 1848), "Q?")
    far, near, empty = ({"bbox_2d": box} for box in ([570, 1726, 615, 1848], [1, 2, 300, 400], [5, 5, 5, 20]))
    two = focus(far) + focus(near).removeprefix("<think>t</think>")
    for reply in (focus(far), focus(empty), two, "<think>t</think>\n<answer>red</answer>"):
        assert not isinstance(talk.feed(Reply(reply)), Rejected)
    assert rendered(talk).partition("<|im_end|>\n")[2] == FOCUS["conversation"].rstrip("\n")
    assert [each.parent for each in talk.trace().images] == [None, 0, 0, 0]


LIMITS = {"training": {"input_pixels": (3136, 3211264), "crop_pixels": (3136, 802816)}, "evaluation": {}}


@pytest.mark.integration
def test_boxes_of_vlm_r3_are_those_of_its_function() -> None:
    count: Counter[str] = Counter()
    for limits, size, shown_at, box, cut, shown in VLM_R3["boxes"]:
        talk, told = made(protocol("vlm-r3", **LIMITS[limits]), size, f"x {json.dumps({'bbox_2d': box})}")
        assert list(talk.images[0].size) == shown_at
        if shown is None:
            assert told == "\n\n"
            count["refused"] += 1
        elif told:
            count["long as shown, not in the file"] += 1
        else:
            left, top, right, bottom = talk.trace().images[1].region or ()
            assert [right - left, bottom - top] == cut
            count["the same size" if list(talk.images[1].size) == shown else "a side under 28 px"] += 1
    assert count == {
        "the same size": 158, "a side under 28 px": 3, "refused": 28, "long as shown, not in the file": 1
    }  # fmt: skip


def written(piece: str) -> str:
    """A piece with the text that it was cut before."""
    return f"{piece}</answer>" if "<answer>" in piece else f"{piece}]}}"


def test_a_conversation_of_vlm_r3_goes_on_in_one_turn() -> None:
    told: Counter[str] = Counter()
    opening = texts.filled(VLM_R3["opening"], zoo.FOLDER / "vlm_r3")
    for case in VLM_R3["loop"]:
        talk = session(protocol("vlm-r3", **LIMITS["training"]), (640, 480), "QUESTION")
        for piece, wanted in zip(case["pieces"], case["prompts"], strict=False):
            ask = talk.next()
            if not isinstance(ask, Ask):
                break
            prompt = rendered(talk) + ("" if ask.continues else "\n<|im_start|>assistant\n")
            prompt = prompt.removesuffix("<|im_end|>") if ask.continues else prompt
            same = prompt == opening + wanted
            older = wanted.count(IMAGE) > 1 and prompt.replace(f"{IMAGE}\n", IMAGE) == (opening + wanted).replace(
                f"{IMAGE}\n", IMAGE
            )
            told["the same" if same else "a line break behind older crops" if older else "another"] += 1
            if isinstance(talk.feed(Reply(written(piece["generated_before_the_stop"]))), Rejected):
                told["drawn again"] += 1
                break
    # Another: a refused box brings the newest crop again there; a fence is closed; a box of another name is no call.
    assert told == {"the same": 23, "a line break behind older crops": 7, "another": 3, "drawn again": 2}


@pytest.mark.parametrize("example", EXAMPLES["chain-of-focus"], ids=lambda each: each["source"][-30:])
def test_replies_that_chain_of_focus_prints_are_carried_out(example: Mapping[str, Any]) -> None:
    talk = session(protocol("chain-of-focus"), (1988, 2016), example["question"])
    for reply in example["replies"]:
        assert not isinstance(talk.feed(Reply(reply)), Rejected)
    trace = talk.trace()
    assert trace.answer == example["answer"]
    assert [shown.size for shown in talk.images[1:]] == [tuple(size) for size in example["shown"]]


@pytest.mark.parametrize("example", EXAMPLES["mini-o3"], ids=lambda each: each["source"][-30:])
def test_replies_that_mini_o3_prints_are_carried_out(example: Mapping[str, Any]) -> None:
    talk = session(protocol("mini-o3"), (4000, 1000), example["question"])
    for reply in example["replies"]:
        assert not isinstance(talk.feed(Reply(reply)), Rejected)
    trace = talk.trace()
    assert trace.answer == example["answer"]
    assert [each.region for each in trace.images[1:]] == [tuple(box) for box in example["regions"]]
