"""`virc systems new --reply` and `check --reply`: a chat protocol from sample replies, and replies as it reads them."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from reasoning.grammars import CASES
from support.called import virc

from virc.models.chat_protocol import of_system
from virc.systems import files
from virc.systems import registry as systems
from virc.systems.samples.find import Sample, found
from virc.systems.samples.writing import tool_of
from virc.tools import registry as tools

ANSWER = "<think>b</think><answer>3</answer>"
BOX = [10, 20, 300, 400]
GUESSED = "is a guess"


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tools, "_CUSTOM", {})


def called(arguments: dict[str, Any], name: str = "zoom", **others: Any) -> str:
    return "<think>a</think><tool_call>" + json.dumps({"name": name, "arguments": arguments, **others}) + "</tool_call>"


def written(*replies: str) -> tuple[Sample, Any]:
    """What replies show, and the chat protocol of the YAML that is written of it."""
    sample = found(replies)
    for name in set(sample.called) - set(sample.tools):
        Path(f"{name}.py").write_text(tool_of(name, sample.called[name]), encoding="utf-8")
    Path("s.yaml").write_text(files.sampled("s", sample), encoding="utf-8")
    return sample, of_system(systems.load(Path("s.yaml"))).protocol


PUBLISHED = {  # calls and marks; the words are ours
    # TIGER-AI-Lab/Pixel-Reasoner, curiosity_driven_rl/openrlhf/trainer/ppo_utils/experience_maker.py
    "Pixel-Reasoner": (
        "I look at the sign.\n\n<tool_call>\n"
        '{"name": "crop_image_normalized", "arguments": {"bbox_2d": [0.1, 0.2, 0.3, 0.4], "target_image":1}}\n'
        "</tool_call>",
        "\\boxed{Share contacts}",
        "crop_image_normalized",
    ),
    # the form of Alibaba-NLP/VRAG, VRAG-RL/examples/search_sft.json
    "VRAG": (
        "<think>It is a line of time.</think>\n<bbox>[555, 108, 727, 432]</bbox>",
        "<think>It has the name.</think>\n<answer>Mr. Henderson.</answer>",
        "crop_image",
    ),
    # zhaochen0110/OpenThinkIMG, r1_v/open_r1/ref/template_instruct.py
    "OpenThinkIMG": (
        '{"thought": "1970 is at x=\\"10.1\\".", "actions": [{"name": "Point", '
        '"arguments": {"image": "img_1", "param": "x-axis value 2000"}}]}',
        '{"thought": "Year 3 is the highest.", "actions": [{"name": "Terminate", "arguments": {"answer": "Year 3"}}]}',
        "point",
    ),
    # Gabesarch/grounded-rl, the form that scripts/mcts/build_reasoning_chains_from_mcts_multiturn.py writes
    "ViGoRL": (
        "<think> It stands at (712, 318). </think>\n<tool_call>\n"
        '{"name": "search_coordinate", "arguments": {"coordinate": [712, 318]}}\n</tool_call>',
        "<think> It is seen now. </think>\n<answer> red </answer>",
        "search_coordinate",
    ),
}


FORMS = {
    "a tag around a list": f"<think>a</think><bbox>{BOX}</bbox>",
    "a tag around a call": called({"bbox": BOX, "label": "x"}),
    "a tag around arguments": f'<think>a</think><box>{{"bbox_2d": {BOX}, "source": "original_image"}}</box>',
    "a tag around a function": f"<think>a</think><tool>crop({BOX})</tool>",
    "a bare function": f"<think>a</think> crop({BOX})",
    "a function with a text": f"<think>a</think>ZOOM(the man, left) = {BOX}",
    "a bare object": f'<think>a</think>{{"bbox_2d": {BOX}}}',
    "a block of code": f'<think>a</think>\n```json\n{{"name": "zoom", "arguments": {{"box": {BOX}}}}}\n```',
    "a function with names": f"<think>a</think>crop_image(bbox_2d={BOX}, image_index=0)",
    "parameters": f'<think>a</think>{{"name": "zoom_in", "parameters": {{"bbox_2d": {BOX}}}}}',
    "xml": f"<think>a</think><tool_call><function=zoom_in><parameter=bbox>{BOX}</parameter></function></tool_call>",
    "a name in other letters": called({"BBox": BOX, "Image": 0}, "Crop"),
    "a box as text": called({"bbox_2d": str(BOX)}, "Crop"),
    "a box as text without brackets": called({"region": "10, 20, 300, 400"}),
    "a box as two points in a text": called({"box": "(10, 20), (300, 400)"}),
    "a tag around numbers": "<think>a</think><crop>10, 20, 300, 400</crop>",
    "an image by number": called({"box": BOX, "img_idx": 0}),
    "an image by name": called({"box": BOX, "image": "img_1"}),
}


PRINTED = json.loads((Path(__file__).parent / "published" / "printed_replies.json").read_bytes())
SAMPLES = {
    **{name: (reply, ANSWER) for name, reply in FORMS.items()},
    **{name: (case.call, case.answer) for name, case in CASES.items()},
    **{name: replies[:2] for name, replies in PUBLISHED.items()},
    **{f"{name} {at}": tuple(each["replies"]) for name, cases in PRINTED.items() for at, each in enumerate(cases)},
    "a factor in other letters": (called({"Scale_Factor": 2, "IMAGE_INDEX": 0}, "Scale_Image"), ANSWER),
    "an image by name and index": (called({"bbox": BOX, "index": "img_1"}), ANSWER),
    "no name": (called({"bbox": BOX}, ""), ANSWER),
    "braces": (called({"bbox": BOX, "{tool}": "{width}"}), ANSWER),
    "an answer alone, as an action": (
        '{"thought": "t", "actions": [{"name": "Terminate", "arguments": {"ans": "3"}}]}',
    ),
    "sides by their names": (called({"x1": 10, "y1": 20, "x2": 300, "y2": 400}, "crop"), ANSWER),
    "two boxes and two images": (called({"bbox": BOX, "old": BOX, "image": 0, "frame": 1}), ANSWER),
    "points": (called({"region": [[10, 20], [300, 400]], "label": None}, "crop"), ANSWER),
    "a box far out": (called({"bbox_2d": [1700, 1300, 1800, 2000]}), ANSWER),
    "OpenThinkIMG with a box": (
        '{"thought": "t", "actions": [{"name": "Crop", "arguments": {"image": "img_1", "param": "[1, 2, 30, 40]"}}]}',
        '{"thought": "t", "actions": [{"name": "Terminate", "arguments": {"ans": "3"}}]}',
    ),
    "tools of others": (called({"angle": 90, "how": "left"}, "turn"), called({"angle": 1.5}, "turn"), ANSWER),
}


@pytest.mark.parametrize("name", [*SAMPLES][::6])
def test_the_yaml_that_is_written_of_replies_has_no_fault_and_reads_them(name: str) -> None:
    given = [word for reply in SAMPLES[name] for word in ("--reply", reply)]
    new = virc("systems", "new", "s", *given)
    assert (new.code, "warning" in new.err) == (0, False), new.err
    size = re.findall(r"virc systems check \./s\.yaml (?:--size (\w+) )?--reply TEXT", new.err)[-1]
    done = virc("systems", "check", "s.yaml", *(("--size", size) if size else ()), *given)
    assert done.code == 0, done.out + done.err
    assert "cannot be carried out" not in done.out


def test_the_command_writes_a_yaml_that_has_no_fault_and_says_what_it_guessed() -> None:
    Path("call.txt").write_text(called({"bbox_2d": BOX, "label": "x"}, "image_zoom_in_tool"))
    done = virc("systems", "new", "mine", "--reply", "call.txt", "--reply", ANSWER)
    assert (done.code, done.out) == (0, "")
    assert f"- calls name no image: image_index 0, the question's image, {GUESSED}; `last` is the newest\n" in done.err
    assert virc("systems", "check", "mine.yaml").code == 0
    text = Path("mine.yaml").read_text()
    assert 'names: {"image_zoom_in_tool": "crop_image"}' in text
    assert 'given: {"image_index": 0}            # or last: the newest image' in text
    again = virc("systems", "new", "mine", "--reply", ANSWER)
    assert (again.code, Path("mine.yaml").read_text()) == (3, text)


@pytest.mark.parametrize("share", [8, pytest.param(1, marks=pytest.mark.integration)])
def test_hostile_replies_take_bounded_time(share: int) -> None:
    start = time.process_time()
    for reply in (
        "<a>" * (6000 // share),
        "{" * (19_000 // share),
        "[" * (19_000 // share),
        "f(" * (9000 // share),
        "```\n" * (5000 // share),
        "<think>" * (2800 // share),
        '{"a": ' * (3000 // share),
        "<a>" * (10**6 if share == 1 else 1000),
    ):
        assert found([reply]).unread is not None
    assert time.process_time() - start < 20 / share


def test_check_names_what_is_not_read_and_exits_with_5() -> None:
    written(FORMS["a tag around a list"], ANSWER)
    for reply, fault in (
        ("<think>a</think><bbox>[1, 2]</bbox>", "bbox_2d is [1, 2], not four whole numbers"),
        ("<think>a</think><bbox>1, 2</bbox>", "the tool call is not JSON: Extra data at character 1"),
        ("It is 3", "the tags are not one think and one bbox or answer, but none"),
    ):
        done = virc("systems", "check", "s.yaml", "--reply", ANSWER, "--reply", reply)
        assert (done.code, f"error: reply 2 is not read: {fault}" in done.err) == (5, True), done.err
        assert f"  fault          {fault}\n" in done.out
        found = virc("systems", "check", "s.yaml", "--reply", reply, "--json")
        assert (found.code, found.json["replies"][0]["fault"], found.json["error"]["code"]) == (5, fault, 5)
