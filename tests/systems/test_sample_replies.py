"""`virc systems new --reply` and `check --reply`: a chat protocol from sample replies, and replies as it reads them."""

import json
import os
import pty
import re
import select
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from reasoning.grammars import CASES
from support.called import virc
from support.servers import serve
from support.solving import picture

from virc.models.chat_protocol import of_system
from virc.reasoning.calls import ToolError, View
from virc.reasoning.checking import as_written
from virc.reasoning.grammar import TAGS
from virc.reasoning.messages import parse
from virc.solving.reading import read
from virc.systems import files
from virc.systems import registry as systems
from virc.systems.samples.find import Sample, found
from virc.systems.samples.parts import apart, box_of
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


@pytest.mark.parametrize("name", CASES)
def test_replies_of_the_field_are_read_by_the_grammar_that_is_found_in_them(name: str) -> None:
    case = CASES[name]
    sample = found([case.call, case.answer])
    assert not sample.unread
    assert sample.reading == "strict"
    assert not list(systems.misfits({"name": "s", **_parsed(files.sampled("s", sample))}))
    turn = parse(case.call, sample.grammar)
    assert len(turn.calls) == len(case.called.calls)
    if not name.startswith("Frame"):  # its answer stands in the marks of its calls
        assert parse(case.answer, sample.grammar).answer == case.answered.answer


def _parsed(text: str) -> dict[str, Any]:
    from virc.config import yaml

    return yaml.parse(text, "s.yaml")


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


@pytest.mark.parametrize("name", PUBLISHED)
def test_replies_as_they_are_published_are_read(name: str) -> None:
    call, answer, tool = PUBLISHED[name]
    sample = found([call, answer])
    assert (dict(sample.unread), sample.reading, sample.grammar.loose) == ({}, "strict", False)
    (one,) = parse(call, sample.grammar).calls
    assert one.name == tool
    assert parse(answer, sample.grammar).answer


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


@pytest.mark.parametrize("form", FORMS)
def test_a_call_in_each_form_is_carried_out_by_the_yaml_that_is_written(form: str) -> None:
    sample, protocol = written(FORMS[form], ANSWER)
    assert not sample.unread
    first, second = read([FORMS[form], ANSWER], protocol, (1036, 756))
    (call,) = first.calls
    assert (first.fault, call.error, call.image, call.box) == (None, None, 0, tuple(BOX))
    assert first.thought == "a"
    assert first.sent[0].text.startswith("<image 1: ")
    assert (second.answer, second.fault) == ("3", None)


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


@pytest.mark.parametrize("name", SAMPLES)
def test_the_yaml_that_is_written_of_replies_has_no_fault_and_reads_them(name: str) -> None:
    given = [word for reply in SAMPLES[name] for word in ("--reply", reply)]
    new = virc("systems", "new", "s", *given)
    assert (new.code, "warning" in new.err) == (0, False), new.err
    size = re.findall(r"virc systems check \./s\.yaml (?:--size (\w+) )?--reply TEXT", new.err)[-1]
    done = virc("systems", "check", "s.yaml", *(("--size", size) if size else ()), *given)
    assert done.code == 0, done.out + done.err
    assert "cannot be carried out" not in done.out


UNBUILT = {
    # zhangquanchen/VisRL, extras/test_cot.py: a box alone, as parts of the sides
    "visrl": ("[0.35, 0.2, 0.62, 0.48]", "The man is playing basketball."),
    # zhaochen0110/OpenThinkIMG: actions, one of them of a tool that is not here
    "openthinkimg": (
        '{"thought": "a", "actions": [{"name": "Crop", "arguments": {"image": "img_1", "param": "[1, 2, 30, 40]"}}]}',
        '{"thought": "b", "actions": [{"name": "OCR", "arguments": {"image": "img_2"}}]}',
        '{"thought": "c", "actions": [{"name": "Terminate", "arguments": {"ans": "Year 3"}}]}',
    ),
    # AntResearchNLP/ViLaSR: a block with a list of objects to draw; the prompt has begun the thought
    "vilasr": (
        'I mark both.\n```json\n[{"index": 1, "bbox_2d": [1, 2, 30, 40], "label": "sofa"}]\n```',
        "The left one.</think><answer>left</answer>",
    ),
}


@pytest.mark.parametrize("name", UNBUILT)
def test_a_system_that_is_not_built_is_begun_from_its_replies_and_solves(name: str) -> None:
    given = [word for reply in UNBUILT[name] for word in ("--reply", reply)]
    assert virc("systems", "new", "mine", *given).code == 0
    read = virc("systems", "check", "mine.yaml", *given, "--json").json["replies"]
    assert [bool(each["calls"]) for each in read] == [True] * (len(read) - 1) + [False]
    picture(Path("p.png"), 640, 480)
    with serve(UNBUILT[name]) as server:
        done = virc("solve", "p.png", "Which?", "--system", "./mine.yaml", "--endpoint", server.url)
    assert (done.code, done.out) == (0, f"{read[-1]['answer']}\n")
    assert len([each for each in server.requests if each.body]) == len(read)


TAKEN: dict[str, list[tuple[str, str | None, dict[str, Any]]]] = {  # reply -> body, name and arguments of its calls
    "<answer>10, 20, 30, 40</answer>": [],
    '<tool_call>{"a": 1}</tool_call>': [],
    '{"action_name": "crop", "action": {"box": [1, 2, 3, 4]}}': [],
    '{"thought": "t", "actions": [{"name": "Crop", "arguments": 3}]}': [("actions", "Crop", {})],
    "<code>```python\nprint(1)\n```</code>": [("text", "run_code", {"code": "```python\nprint(1)\n```"})],
    f"ZOOM(the man, left) = {BOX}": [("function", "ZOOM", {"value_1": "the man, left", "value_2": BOX})],
    f"crop(0, {BOX})": [("function", "crop", {"value_1": 0, "value_2": BOX})],
    f"<think>crop([1, 2, 3, 4])</think>crop({BOX})": [("function", "crop", {"value_1": BOX})],
    str(BOX): [("text", None, {"text": "10, 20, 300, 400"})],
    f"<tool_call><function=f><parameter=b>{BOX}</parameter><parameter=c>cat</parameter></function></tool_call>" * 2: [
        ("call", "f", {"b": BOX, "c": "cat"})
    ]
    * 2,
}


@pytest.mark.parametrize("reply", TAKEN)
def test_calls_are_taken_out_of_a_reply_as_they_are_written(reply: str) -> None:
    assert [(call.body, call.name, call.arguments) for call in apart(reply).calls] == TAKEN[reply]


def test_the_first_marks_count_and_sides_are_known_by_their_names() -> None:
    parts = apart("<think>a</think><reason>b</reason><answer>1</answer><final_answer>2</final_answer>")
    assert (parts.think, parts.answer) == (("<think>", "</think>"), ("<answer>", "</answer>"))
    sides = {"y2": 4, "x1": 1, "y1": 2, "x2": 3}
    assert box_of(sides) == [1, 2, 3, 4]
    assert [box_of(each) for each in (sides | {"z": 5}, [1, 2, 3], [1, 2, 3, 4, 5], "[1, 2, 3]")] == [None] * 4


@pytest.mark.parametrize(
    ("arguments", "name", "names", "keys", "given"),
    [
        ({"bbox": BOX, "old": BOX, "image": 0, "frame": 1}, "crop_image", {},
         {"bbox": "bbox_2d", "old": None, "image": "image_index", "frame": None}, {}),
        ({"bbox_2d": BOX, "image_index": 0}, "zoom", {"zoom": "crop_image"}, {}, {}),
        ({"bbox_2d": BOX, "image": [0]}, "zoom", {"zoom": "crop_image"}, {"image": None}, {"image_index": 0}),
        ({"RotateBy": 3}, "RotateImage", {"RotateImage": "rotate_image"}, {}, {}),
    ],
)  # fmt: skip
def test_each_key_of_a_call_stands_for_one_argument(
    arguments: dict[str, Any], name: str, names: dict[str, str], keys: dict[str, Any], given: dict[str, Any]
) -> None:
    (form,) = found([called(arguments, name), ANSWER]).grammar.calls
    assert (form.names, form.keys, form.given) == (names, keys, given)


def test_what_a_reply_lacks_is_found_in_the_others() -> None:
    both = FORMS["a tag around a list"]
    sample = found(["<answer>3</answer>", both * 2, f"{both}<answer>3</answer>"])
    assert (sample.grammar.think, sample.grammar.most_calls, sample.unread) == (("<think>", "</think>"), 2, {})
    acts = found([UNBUILT["openthinkimg"][0]])
    assert not any("answer" in note for note in acts.notes)


def test_what_cannot_be_read_by_any_grammar_is_no_error() -> None:
    assert found([f"<answer>{BOX}</answer>", "<answer>3</answer>"]).grammar == TAGS
    lacking = found([called({"image_index": 0}, "scale_image"), ANSWER])
    assert lacking.unread == {1: "its call of scale_image has no scale_factor"}


def test_boxes_of_one_are_fractions_and_a_picture_holds_those_by_their_centre() -> None:
    assert found([called({"bbox_2d": [0, 0, 1, 1]}), ANSWER]).boxes.coordinates == "unit"
    sample = found([called({"bbox_2d": [900, 100, 400, 50]}), ANSWER])
    assert (sample.boxes.box, sample.size) == ("center", "1100x768")
    assert "check ./s.yaml --size 1100x768 --reply TEXT" in files.sampled("s", sample)


def test_a_tool_that_is_begun_needs_what_all_calls_have() -> None:
    exec(compile(tool_of("turn", [{"angle": 90, "how": "left"}, {"angle": 1.5}]), "turn.py", "exec"), module := {})
    assert module["ARGUMENTS"] == {
        "type": "object", "properties": {"angle": {}, "how": {"type": "string"}}, "required": ["angle"]
    }  # fmt: skip


def test_marks_that_are_opened_or_closed_alone_are_named() -> None:
    assert "</think> is opened or closed alone in a reply" in found(UNBUILT["vilasr"]).notes


def test_a_tool_that_is_there_stays_as_it_is() -> None:
    Path("turn.py").write_text("mine")
    assert virc("systems", "new", "s", "--reply", called({"angle": 3}, "turn"), "--reply", ANSWER).code == 0
    assert Path("turn.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("box", "coordinates", "order", "said"),
    [
        ([0.1, 0.2, 0.3, 0.4], "unit", "corners", "within 0..1,"),
        ([100, 200, 300, 1000], "pixel", "corners", "within 0..1000: that they are pixels of the image as shown is a"),
        ([100.5, 200, 1300, 1001], "pixel", "corners", "over 1000: that they are pixels as shown is a guess"),
        ([500, 500, 30, 40], "pixel", "center", "centre, width and height is a guess"),
        ([30, 500, 400, 40], "pixel", "center", "centre, width and height is a guess"),
        ([-1200, 20, 30, 40], "pixel", "corners", "over 1000"),
    ],
)
def test_what_boxes_are_counted_in_is_guessed_from_their_numbers_and_said(
    box: list[float], coordinates: str, order: str, said: str
) -> None:
    sample, protocol = written(called({"bbox_2d": box}), ANSWER)
    assert (protocol.coordinates, protocol.box) == (coordinates, order)
    assert protocol.float_boxes == (max(box) > 1 and any(isinstance(side, float) for side in box))
    assert any(said in note for note in sample.notes)
    assert any(f"# - {note}\n" in Path("s.yaml").read_text() for note in sample.notes)


@pytest.mark.parametrize(
    "arguments",
    [
        {"bbox_2d": BOX, "image": "img_1"},
        {"bbox_2d": "10, 20, 300, 400", "image": 0},
        {"bbox_2d": dict(zip(("left", "top", "right", "bottom"), BOX, strict=True)), "image": 0},
    ],
    ids=["images by name", "boxes as text", "boxes as objects"],
)
def test_what_no_tool_of_virc_reads_has_a_tool_that_does(arguments: dict[str, Any]) -> None:
    sample = found([called(arguments), ANSWER])
    assert sample.tools == ("./zoom.py",)
    assert any("zoom.py, next to the YAML, reads them is a guess" in note for note in sample.notes)


def test_images_that_are_counted_from_1_or_have_names() -> None:
    _, protocol = written(called({"bbox_2d": BOX, "target_image": 1}), ANSWER)
    replies = [called({"bbox_2d": BOX, "target_image": number}) for number in (1, 2, 0)]
    one, two, none = read(replies, protocol, (800, 600))
    assert [one.calls[0].image, two.calls[0].image] == [0, 1]
    assert "there is no image 0; there are: 1, 2, 3" in str(none.fault)
    _, protocol = written(called({"bbox_2d": BOX, "image": "img_1"}, "look"), ANSWER)
    replies = [called({"bbox_2d": BOX, "image": name}, "look") for name in ("img_1", "img_2", "img_4")]
    one, two, four = read(replies, protocol, (800, 600))
    assert [one.calls[0].image, two.calls[0].image] == [0, 1]
    assert "This is img_2." in one.sent[0].text
    assert "there is no image 'img_4'; there are: img_1, img_2, img_3" in str(four.fault)


def test_a_tool_that_is_written_names_no_image_where_there_is_none() -> None:
    text = tool_of("zoom", [{"bbox_2d": BOX, "image_index": "img_1"}])
    exec(compile(text, "zoom.py", "exec"), module := {})
    with pytest.raises(ToolError, match="there is no image 'img_1'; there are: none"):
        module["read"]({"image_index": "img_1"}, View([]))


def test_what_a_model_counts_images_from_is_decided_for_all_its_calls() -> None:
    from_one = [called({"bbox_2d": BOX, "target_image": number}) for number in (2, 1)]
    assert found([*from_one, ANSWER]).tools == ("./zoom.py",)
    from_zero = [called({"bbox_2d": BOX, "target_image": number}) for number in (1, 0)]
    assert found([*from_zero, ANSWER]).tools == ("crop_image",)


@pytest.mark.parametrize("text", ["[10, 20, 300, 400]", "(10,20),(300,400)", "10 20 300 400"])
def test_a_box_is_written_in_the_form_of_the_samples(text: str) -> None:
    _, protocol = written(called({"region": text}, "look"), ANSWER)
    (name,) = protocol.tools
    arguments = {"image_index": 0, "bbox_2d": BOX}
    assert as_written(tools.get(name), arguments, View([(800, 600)]))["bbox_2d"] == text
    assert tools.schemas([name])[0]["function"]["parameters"]["properties"]["bbox_2d"] == {"type": "string"}


def test_calls_of_a_tool_of_a_published_system_are_known() -> None:
    box = dict(zip(("x_min", "y_min", "x_max", "y_max"), BOX, strict=True))
    call = {"thought": "t", "action_name": "crop_action", "action": {"image_index": 1, "bbox_2d": box}}
    end = {"thought": "t", "action_name": "terminate_action", "action": {"final_response": "3"}}
    replies = [json.dumps(call), json.dumps(end)]
    sample, protocol = written(*replies)
    assert sample.tools == ("crop_action",)
    one, two = read(replies, protocol, (800, 600))
    assert ([each.image for each in one.calls], two.answer) == ([0], "3")

    assert "crop_action is a tool of a published system: that it is meant is a guess" in sample.notes


def test_a_box_of_marks_is_the_answer() -> None:
    replies = ["<|begin_of_box|>3<|end_of_box|>"]
    sample, protocol = written(*replies)
    (one,) = read(replies, protocol, (800, 600))
    assert (one.answer, "answer are a guess" in str(sample.notes)) == ("3", False)


def test_what_is_not_known_is_said_in_a_sentence_each() -> None:
    notes = found([called({"angle": 90}, "image_rotate_tool")]).notes
    assert notes == (
        "no reply answers, so that the marks of the answer are a guess",
        "virc has no tool image_rotate_tool: image_rotate_tool.py, next to the YAML, begins one",
        "no reply has a box, so that nothing shows what boxes are counted in",
    )
    assert found(["<think>a</think>It is 3"]).notes == (
        "no marks of an answer are known here: a reply without a call is the answer as a whole",
        "no reply calls a tool, so that none is offered",
    )
    (odd,) = (note for note in found(["<look>here</look><answer>3</answer>"]).notes if "<look>" in note)
    assert odd == "<look> is no mark of a thought, a call or an answer that is known here"


def test_replies_whose_marks_differ_are_read_loosely() -> None:
    sample, protocol = written(FORMS["a tag around a list"], "<answer>3</answer>")
    assert sample.grammar.loose
    assert [each.fault for each in read([FORMS["a tag around a list"], "<answer>3</answer>"], protocol, (99, 99))] == [
        None, None,
    ]  # fmt: skip


def test_a_reply_that_no_grammar_reads_is_named_with_the_fault() -> None:
    done = virc(
        "systems", "new", "s", "--reply", "<think>a</think><|box_start|>(1,2),(3,4)<|box_end|>", "--reply", ANSWER
    )
    assert done.code == 0
    assert "warning: reply 1 is not read by it: the tags are not one think and one answer, but <think>" in done.err


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


@pytest.mark.parametrize(
    ("reply", "code", "sentence"),
    [
        ("", 5, "reply 1 is empty"),
        ("  \n", 5, "reply 1 is empty"),
        ("a" * 20_001, 5, "reply 1 has 20,001 characters, and 20,000 are read"),
        ("a\x1b[2J", 5, "reply 1 holds the control character U+001B"),
        ("gone.txt", 5, "cannot read the reply gone.txt: no such file"),
        ("./gone", 5, "cannot read the reply ./gone: no such file"),
        ("/dev/null", 5, "reply 1 is empty"),
        ("/tmp", 5, "cannot read the reply /tmp: is a directory"),
        ("bytes.txt", 5, "cannot read the reply bytes.txt"),
    ],
)
def test_what_is_no_reply_is_one_sentence(reply: str, code: int, sentence: str) -> None:
    Path("bytes.txt").write_bytes(b"\xff\xfe\x00")
    for command in (("new", "s"), ("check", "virc")):
        done = virc("systems", *command, "--reply", reply)
        assert (done.code, done.err.startswith(f"error: {sentence}")) == (code, True), done.err
    assert not Path("s.yaml").exists()


@pytest.mark.parametrize(
    "text", ["- a: [", "{question} {tools}", "'\"\\ # x", "\t\ttabs", "…\U0001f600é", "a\n\n\n  b: c\n-"]
)
def test_whatever_stands_in_a_call_the_yaml_holds_it(text: str) -> None:
    sample, protocol = written(called({"bbox_2d": BOX, "label": text}), f"<think>{text}</think><answer>{text}</answer>")
    assert not sample.unread
    assert json.dumps(text)[1:-1] in protocol.system or "{tools}" in text


@pytest.mark.parametrize("odd", ["\x85", "\x0b", "\u2028", "\ufeff", "\x7f"])
def test_characters_that_yaml_takes_for_something_else_come_back(odd: str) -> None:
    reply = (
        called({"bbox_2d": BOX, "label": "x"}).replace('"x"', f'"a{odd}b"').replace("<tool_call>", f"<tool_call>{odd}")
    )
    assert f"a{odd}b" in written(reply, ANSWER)[1].system


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


def test_a_reward_and_a_tool_have_no_replies() -> None:
    done = virc("systems", "new", "tool", "mine", "--reply", ANSWER)
    assert (done.code, "--reply is for systems" in done.err) == (2, True)


CHECKED = """\
reply 1
  thought        a
  call           crop_image of image 0, shown at 1036 x 756: box [10, 20, 300, 400], of the file [10, 20, 297, 406]
  then user      <image 1: 280 x 392>Go on; look again wherever that helps.
reply 2
  thought        b
  answer         3
"""


def test_check_shows_how_replies_are_read_and_what_is_sent_next() -> None:
    written(FORMS["a tag around a list"], ANSWER)
    done = virc("systems", "check", "s.yaml", "--reply", FORMS["a tag around a list"], "--reply", ANSWER)
    assert (done.code, done.err) == (0, "")
    assert done.out == CHECKED
    shown = virc("systems", "check", "s.yaml", "--reply", ANSWER, "--size", "300x200", "--json").json
    assert shown["sent"][-1]["text"].startswith("<image 0: 308 x 196>{question}\n")
    assert [(each["answer"], each["fault"], each["sent"]) for each in shown["replies"]] == [("3", None, [])]
    assert shown["faults"] == []


def test_the_picture_is_shown_on_the_grid_of_the_family_of_the_base() -> None:
    words = 'chat_protocol: {first: "{question}"}\nmodels: {m: {hub: %s}}\n'
    for hub, size in (("Qwen/Qwen3-VL-8B-Instruct", "1024 x 768"), ("Qwen/Qwen2.5-VL-7B-Instruct", "1036 x 756")):
        Path("s.yaml").write_text("name: s\n" + words % hub)
        shown = virc("systems", "check", "s.yaml", "--reply", ANSWER, "--json").json["sent"]
        assert shown[-1]["text"] == f"<image 0: {size}>{{question}}"


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


def test_a_fault_that_a_model_is_shown_is_what_is_sent_next() -> None:
    written(FORMS["a tag around a list"], ANSWER)
    text = (
        Path("s.yaml")
        .read_text()
        .replace("  image_line:", '  errors: show\n  after_error: "No: {error}"\n  image_line:')
    )
    Path("s.yaml").write_text(text)
    done = virc("systems", "check", "s.yaml", "--reply", "<think>a</think><bbox>[1, 2]</bbox>")
    assert done.code == 0
    assert "  call           cannot be carried out: bbox_2d is [1, 2], not four whole numbers\n" in done.out
    assert "  then user      No: bbox_2d is [1, 2], not four whole numbers\n" in done.out


SHOWS = """\
name: shows
tools: [crop_image]
chat_protocol:
  first: "{question}"
  errors: show
  after_error: "({error})"
  error_texts: {call: "{parser.__class__}", numbers: "", tool: "{name}"}
  image_line: ""
  grammar:
    think: null
    answer: null
    loose: LOOSE
    calls:
    - {open: <c>, close: </c>, names: {zoom: crop_image}, keys: {box: bbox_2d, img_idx: image_index}}
"""


def shows(*replies: str, loose: str = "false") -> list[dict[str, Any]]:
    Path("shows.yaml").write_text(SHOWS.replace("LOOSE", loose))
    given = [word for reply in replies for word in ("--reply", reply)]
    found: list[dict[str, Any]] = virc("systems", "check", "shows.yaml", *given, "--json").json["replies"]
    return found


def test_what_is_wrong_is_said_beside_what_the_model_is_told() -> None:
    reply = '<c>{"name": "zoom", "arguments": {"box": [1, 2], "img_idx": 0}}</c>'
    (found,) = shows(reply)
    assert found["calls"][0]["reason"] == "box is [1, 2], not four whole numbers"
    assert (found["calls"][0]["error"], found["sent"][0]["text"]) == ("", "()")
    printed = virc("systems", "check", "shows.yaml", "--reply", reply).out
    assert "  call           cannot be carried out: box is [1, 2], not four whole numbers\n" in printed


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (
            '{"name": "zoom", "arguments": {"box": [1, 2, 3, 4], "img_idx": 3}}',
            "img_idx is 3, but the images are 0 to 0",
        ),
        ('{"name": "zoom", "arguments": {"box": [1, 2, 3, 4], "img_idx": "x"}}', "img_idx is 'x', not a whole number"),
        ('{"name": "zoom", "arguments": {"box": [1, 2, 3, 4]}}', "the call has no img_idx"),
        (
            '{"name": "zoom", "arguments": {"box": [1, 2, 3, 4], "label": ""}}',
            "the call has no img_idx and the tool takes no label",
        ),
        ('{"name": "look", "arguments": {}}', "there is no tool 'look'; there are: zoom"),
        (
            '{"name": "zoom", "arguments": {"box": 1, "bbox_2d": 2}}',
            "the tool call repeats bbox_2d, or nobody writes it",
        ),
    ],
)
def test_a_fault_names_tools_and_arguments_as_the_model_does(call: str, reason: str) -> None:
    (found,) = shows(f"<c>{call}</c>")
    assert found["calls"][0]["reason"] == reason


def test_a_reply_of_which_nothing_is_read_is_no_thought() -> None:
    (found,) = shows("I look <c>oops</c>")
    assert found["thought"] == ""
    assert found["calls"][0]["reason"].startswith("the tool call is not JSON")


def test_the_thought_of_a_loose_reply_is_no_part_of_its_answer() -> None:
    Path("s.yaml").write_text(SHOWS.replace("LOOSE", "true").replace("think: null", "think: [<t>, </t>]"))
    done = virc("systems", "check", "s.yaml", "--reply", "<t>a</t>It is 3", "--reply", "no marks", "--json").json
    assert [(each["thought"], each["answer"]) for each in done["replies"]] == [("a", "It is 3"), ("", "no marks")]


def test_a_tool_that_fails_is_one_sentence() -> None:
    written = virc("systems", "new", "s", "--reply", called({"angle": 3}, "turn"), "--reply", ANSWER)
    assert "turn.py, next to the YAML, begins one" in written.err
    Path("turn.py").unlink()
    assert virc("systems", "check", "s.yaml").code == 3
    assert virc("systems", "new", "tool", "turn").code == 0
    text = Path("turn.py").read_text().replace("degrees", "angle").replace("90, 180, 270", "3")
    text = re.sub(r'\n.*"image_index":.*', "", text).replace(', "image_index"', "")
    Path("turn.py").write_text(text)
    done = virc("systems", "check", "s.yaml", "--reply", called({"angle": 3}, "turn"))
    assert done.code == 3
    assert re.fullmatch(
        r"error: the tool turn fails in line \d+ of \S+turn\.py: AttributeError: .*no attribute 'rotate'",
        done.err.splitlines()[0],
    )
    assert "no image_index" in done.err


@pytest.mark.parametrize("size", ["3", "0x4", "4x", "-1x4", "10000x2", "axb", "٣x٣x"])
def test_a_size_is_two_numbers(size: str) -> None:
    done = virc("systems", "check", "virc", "--reply", ANSWER, "--size", size)
    assert (done.code, "is not WxH" in done.err) == (2, True)


def test_a_picture_that_cannot_be_shown_is_one_sentence() -> None:
    done = virc("systems", "check", "virc", "--reply", ANSWER, "--size", "9999x1")
    assert (done.code, done.err) == (2, "error: --size: one side of 9999 x 1 px is over 200 times the other\n")


def typed(words: list[str], texts: list[bytes]) -> tuple[int, str]:
    """Exit code and what is shown of a command on a terminal, with these texts typed one after the other."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "virc_cli", *words])
    shown = b""
    while True:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, shown
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            piece = b""
        if not piece:
            break
        shown += piece
        if texts and re.search(rb"(?:alone to skip|the same way)\.\r\n\Z", shown):
            os.write(terminal, texts.pop(0))
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown.decode()


@pytest.mark.integration
def test_on_a_terminal_replies_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    call = FORMS["a tag around a list"].encode()
    code, shown = typed(["systems", "new", "pasted"], [call + b"\n\x04", ANSWER.encode() + b"\n\x04"])
    assert code == 0, shown
    assert systems.load(Path("pasted.yaml")).chat_protocol.grammar.calls[0].open == "<bbox>"  # type: ignore[union-attr]
    code, shown = typed(["systems", "new", "plain"], [b"\x04"])
    assert code == 0, shown
    assert "stages:" in Path("plain.yaml").read_text()
