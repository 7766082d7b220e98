r"""Replies with the reward that the published function gives them, computed by hand from what is known of it.

A tool call's total is 0.5 reasoning + 0.4 focus + 0.1 where the tool is the reference's, an answer's 0.8 or 0, and -1
is what is not taken. Images are as large as they are shown, but where a case says so.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rewards.prompts import answer, call, crop, display, scale, tool

from virc.reasoning.protocol import Coordinates

GOOD = {"reasoning": (r"\boxed{0.8}",), "focus": (r"\boxed{0.5}",)}
"""0.5 * 0.8 + 0.4 * 0.5 = 0.6; with the right tool 0.7."""
SILENT = ("I cannot say.",) * 4


class Case(NamedTuple):
    """One reply.

    Args:
        judge: what the judge says, by question, one reply a try.
        total: its reward.
        why: how it comes about.
        quirk: the name of the quirk that it shows.
        tries: how often the judge is asked, all questions together; None: not counted.
    """

    id: str
    reply: str
    total: float
    why: str
    quirk: str = ""
    judge: dict[str, Sequence[str]] = GOOD
    sizes: Sequence[tuple[int, int]] = ((280, 196),)
    reference_tool: str | None = "crop_image"
    coordinates: Coordinates = "pixel"
    tries: int | None = None


def judged(*said: str) -> dict[str, Sequence[str]]:
    return {"answer": said}


def scored(reasoning: Sequence[str], focus: Sequence[str] = (r"\boxed{0.5}",)) -> dict[str, Sequence[str]]:
    return {"reasoning": reasoning, "focus": focus}


_CROP = crop(10, 10, 90, 90)
_PERMILLE: dict[str, Any] = {"coordinates": "permille"}
_TWO = ((280, 196), (84, 84))

CASES = (
    # answers
    Case("right", answer("5"), 0.8, "the judge says 1", judge=judged(r"\boxed{1}"), tries=1),
    Case("wrong", answer("6"), 0.0, "the judge says 0", judge=judged(r"\boxed{0}"), tries=1),
    Case("judge_over_rule", answer("5"), 0.0, "the judge alone decides", judge=judged(r"\boxed{0}")),
    Case("kind_judge", answer("about 6"), 0.8, "even where it is too kind", judge=judged(r"\boxed{1}")),
    Case("empty_answer", answer(""), 0.0, "it is judged too", "empty_answer", judged(r"\boxed{0}"), tries=1),
    Case("answer_one_point_zero", answer("5"), 0.8, "1.0 is no verdict, the second try is", "exact_one",
         judged(r"\boxed{1.0}", r"\boxed{1}"), tries=2),
    Case("answer_spaces", answer("5"), 0.8, "space in the box is cut off", judge=judged(r"\boxed{ 1 }"), tries=1),
    Case("answer_no_box", answer("5"), 0.8, "a try without a box is none", judge=judged("yes", r"\boxed{1}"), tries=2),
    Case("answer_fourth_try", answer("5"), 0.8, "the fourth counts",
         judge=judged("a", "b", r"\boxed{}", r"\boxed{1}"), tries=4),
    Case("answer_no_verdict", answer("5"), 0.0, "four tries without one", "unread_is_zero", judged(*SILENT), tries=4),
    Case("answer_last_box", answer("5"), 0.0, "not the first box", "last_box_counts",
         judged(r"\boxed{1} or rather \boxed{0}")),
    Case("answer_nested_box", answer("5"), 0.8, "the inner box", "last_box_counts", judged(r"\boxed{\boxed{1}}")),
    Case("answer_box_without_end", answer("5"), 0.0, "the last box has no end, though one before has",
         judge=judged(r"\boxed{1} \boxed{1", r"\boxed{0}"), tries=2),
    Case("answer_two", answer("5"), 0.0, "neither 1 nor 0", judge=judged(*(r"\boxed{2}",) * 4), tries=4),
    Case("answer_braces", answer("5"), 0.8, "braces in a box are counted", judge=judged(r"\boxed{{}}", r"\boxed{1}"),
         tries=2),
    Case("answer_where_tool_was_meant", answer("5"), 0.8, "the reference's tool plays no part",
         judge=judged(r"\boxed{1}")),
    # tool calls: the terms
    Case("crop", tool(_CROP), 0.7, "0.4 + 0.2 + 0.1", tries=2),
    Case("best", tool(_CROP), 1.0, "0.5 + 0.4 + 0.1", judge=scored((r"\boxed{1.0}",), (r"\boxed{1}",))),
    Case("worst", tool(_CROP), 0.1, "the tool alone", judge=scored((r"\boxed{0}",), (r"\boxed{0.0}",))),
    Case("other_tool", tool(_CROP), 0.6, "the reference scales", reference_tool="scale_image"),
    Case("reference_answers", tool(_CROP), 0.0, "it looks for the reference's tool", "raises_without_reference",
         reference_tool=None, tries=0),
    Case("display", tool(display()), 0.7, "0.4 + 0.2 + 0.1", reference_tool="display_image"),
    Case("scale", tool(scale(2)), 0.7, "0.4 + 0.2 + 0.1", reference_tool="scale_image"),
    # the judge of tool calls
    Case("reasoning_range", tool(_CROP), 0.7, "the lower end, 0.8", "range_for_reasoning",
         scored((r"\boxed{0.8-0.9}",)), tries=2),
    Case("reasoning_range_spaces", tool(_CROP), 0.7, "0.8", "range_for_reasoning", scored((r"\boxed{ 0.8 - 1.0 }",))),
    Case("reasoning_range_too_high", tool(_CROP), 0.3, "1.2 is no score: 0, and nobody asks again: 0.2 + 0.1",
         "range_for_reasoning", scored((r"\boxed{1.2-1.5}",)), tries=2),
    Case("reasoning_range_open", tool(_CROP), 0.7, "nothing needs to follow", "range_for_reasoning",
         scored((r"\boxed{0.8-}",))),
    Case("reasoning_negative", tool(_CROP), 0.5, "nothing stands before the dash: asked again, 0.2 + 0.2 + 0.1",
         "range_for_reasoning", scored((r"\boxed{-0.8}", r"\boxed{0.4}")), tries=3),
    Case("reasoning_dash_of_another_kind", tool(_CROP), 0.5, "an en dash makes no range: asked again",
         judge=scored((r"\boxed{0.8–0.9}", r"\boxed{0.4}")), tries=3),
    Case("reasoning_too_high", tool(_CROP), 0.5, "1.5 is asked again",
         judge=scored((r"\boxed{1.5}", r"\boxed{0.4}")), tries=3),
    Case("reasoning_nan", tool(_CROP), 0.5, "not a number is asked again",
         judge=scored((r"\boxed{nan}", r"\boxed{0.4}")), tries=3),
    Case("reasoning_percent", tool(_CROP), 0.5, "80% is asked again",
         judge=scored((r"\boxed{80%}", r"\boxed{0.4}")), tries=3),
    Case("reasoning_exponent", tool(_CROP), 0.5, "8e-1 has a dash, and 8e is none", "range_for_reasoning",
         scored((r"\boxed{8e-1}", r"\boxed{0.4}")), tries=3),
    Case("reasoning_silent", tool(_CROP), 0.3, "0 + 0.2 + 0.1", "unread_is_zero", scored(SILENT), tries=5),
    Case("reasoning_nested", tool(_CROP), 0.7, "the inner box", "last_box_counts", scored((r"\boxed{\boxed{0.8}}",))),
    Case("focus_range", tool(_CROP), 0.7, "asked again: 0.4 + 0.2 + 0.1", "range_for_focus",
         scored((r"\boxed{0.8}",), (r"\boxed{0.8-0.9}", r"\boxed{0.5}")), tries=3),
    Case("focus_ranges_only", tool(_CROP), 0.5, "four ranges are no score: 0.4 + 0 + 0.1", "range_for_focus",
         scored((r"\boxed{0.8}",), (r"\boxed{0.8-0.9}",) * 4), tries=5),
    Case("focus_exponent", tool(_CROP), 0.7, "5e-1 is a number here",
         judge=scored((r"\boxed{0.8}",), (r"\boxed{5e-1}",)), tries=2),
    Case("focus_too_high", tool(_CROP), 0.7, "1.1 is asked again",
         judge=scored((r"\boxed{0.8}",), (r"\boxed{1.1}", r"\boxed{0.5}")), tries=3),
    # tags
    Case("no_tags", "AB is 5", -1, "no tags", tries=0),
    Case("no_thought", "<answer>5</answer>", -1, "no thought", tries=0),
    Case("thought_alone", "<think>AB is 5</think>", -1, "nothing follows"),
    Case("two_thoughts", "<think>a</think>" + answer("5"), -1, "two thoughts"),
    Case("both", tool(_CROP) + "<answer>5</answer>", -1, "a call and an answer"),
    Case("two_answers", answer("5") + "<answer>5</answer>", -1, "two answers"),
    Case("answer_first", "<answer>5</answer><think>AB is 5</think>", -1, "the wrong order"),
    Case("not_closed", "<think>AB is 5</think><answer>5", -1, "cut off"),
    Case("tag_in_thought", answer("5", "I write <answer> now"), -1, "a tag in the thought is a tag"),
    Case("text_around", f"So: {answer('5')} That is it.", 0.8, "what stands around is ignored", "text_around_tags",
         judged(r"\boxed{1}")),
    Case("text_between", "<think>AB is 5</think> so <answer>5</answer>", 0.8, "and between", "text_around_tags",
         judged(r"\boxed{1}")),
    Case("empty_thought", answer("5", ""), 0.8, "an empty thought is one", judge=judged(r"\boxed{1}")),
    Case("tag_of_another_kind", answer("5", "<b>AB</b>"), 0.8, "other tags are text", judge=judged(r"\boxed{1}")),
    # repetition
    Case("repeat_8", answer("5", "ab " * 8), -1, "eight times", tries=0),
    Case("repeat_7", answer("5", "look here" + ", ab" * 7), 0.8, "seven times", judge=judged(r"\boxed{1}")),
    Case("repeat_across_lines", answer("5", "ab\n" * 9), 0.8, "a line's end breaks it", "repeat_in_line",
         judged(r"\boxed{1}")),
    Case("eight_spaces", answer("5", "a" + " " * 8 + "b"), -1, "a space eight times", "repeat_of_anything"),
    Case("eight_dashes", answer("5", "--------"), -1, "a rule of eight dashes", "repeat_of_anything"),
    Case("repeat_in_answer", answer("1" * 8), -1, "anywhere in the reply"),
    Case("repeat_in_call", tool(_CROP + " " * 8), -1, "anywhere in the reply", "repeat_of_anything"),
    # the call's JSON
    Case("no_json", tool("crop_image(0)"), -1, "no JSON", tries=0),
    Case("json_null", tool("null"), -1, "no call"),
    Case("json_list", tool(f"[{_CROP}]"), -1, "no object"),
    Case("single_quotes", tool(_CROP.replace('"', "'")), -1, "no JSON"),
    Case("key_too_many", tool(_CROP[:-1] + ', "id": 1}'), -1, "exactly two keys"),
    Case("key_missing", tool('{"name": "display_image"}'), -1, "exactly two keys"),
    Case("arguments_text", tool('{"name": "display_image", "arguments": "{}"}'), -1, "no object"),
    Case("unknown_tool", tool(call("rotate_image", image_index=0)), -1, "three tools"),
    Case("argument_too_many", tool(call("display_image", image_index=0, bbox_2d=[0, 0, 9, 9])), -1, "exactly one"),
    Case("argument_missing", tool(call("crop_image", bbox_2d=[0, 0, 9, 9])), -1, "exactly two"),
    Case("repeated_key", tool('{"name": "x", ' + _CROP[1:]), 0.7, "the last counts"),
    Case("repeated_argument", tool(_CROP.replace('"image_index": 0', '"image_index": 7, "image_index": 0')), 0.7,
         "the last counts"),
    Case("spaces_in_call", tool(f"\n  {_CROP}\n"), 0.7, "space around is cut off"),
    # image_index
    Case("index_next", tool(display(1)), -1, "there is image 0 only", tries=0),
    Case("index_last", tool(display(1)), 0.6, "the second of two", sizes=_TWO),
    Case("index_negative", tool(display(-1)), 0.6, "the last image", "index_from_end", sizes=_TWO),
    Case("index_negative_crop", tool(crop(0, 0, 84, 84, index=-1)), 0.7, "held against the last image, of 84 x 84",
         "index_from_end", sizes=_TWO),
    Case("index_too_negative", tool(display(-3)), 0.0, "no such image from the end", "raises_for_index", sizes=_TWO,
         tries=0),
    Case("index_float", tool(display(0.0)), -1, "no whole number"),
    Case("index_text", tool(display("0")), -1, "no whole number"),
    Case("index_null", tool(display(None)), -1, "no whole number"),
    Case("index_true", tool(display(True)), 0.6, "true is 1", "true_is_one", sizes=_TWO),
    Case("index_true_of_one", tool(display(True)), -1, "true is 1, and there is image 0 only", "true_is_one"),
    Case("index_huge", tool(display(10**30)), -1, "no such image"),
    # scale_factor
    Case("factor_0.25", tool(scale(0.25)), 0.6, "the smallest"),
    Case("factor_0.24", tool(scale(0.24)), -1, "too small", tries=0),
    Case("factor_0.5", tool(scale(0.5)), 0.6, "the end of the lower range"),
    Case("factor_0.51", tool(scale(0.51)), -1, "between the ranges"),
    Case("factor_1", tool(scale(1)), -1, "between the ranges"),
    Case("factor_1.49", tool(scale(1.49)), -1, "between the ranges"),
    Case("factor_1.5", tool(scale(1.5)), 0.6, "the start of the upper range"),
    Case("factor_0.3", tool(scale(0.3)), 0.6, "no tool offers it", "factor_between"),
    Case("factor_3", tool(scale(3)), 0.6, "no tool offers it", "factor_between"),
    Case("factor_4", tool(scale(4)), 0.6, "the largest, a whole number"),
    Case("factor_4.01", tool(scale(4.01)), -1, "too large"),
    Case("factor_true", tool(scale(True)), -1, "true is 1, between the ranges", "true_is_one"),
    Case("factor_text", tool(scale("2")), -1, "no number"),
    Case("factor_nan", tool(scale(float("nan"))), -1, "no number in any range"),
    # bbox_2d
    Case("box_whole", tool(crop(0, 0, 280, 196)), 0.7, "the whole image"),
    Case("box_right", tool(crop(0, 0, 281, 196)), -1, "one pixel over the right side", tries=0),
    Case("box_bottom", tool(crop(0, 0, 280, 197)), -1, "one pixel over the bottom"),
    Case("box_left", tool(crop(-1, 0, 280, 196)), -1, "one pixel over the left side"),
    Case("box_top", tool(crop(0, -1, 280, 196)), -1, "one pixel over the top"),
    Case("box_no_width", tool(crop(10, 10, 10, 90)), -1, "empty"),
    Case("box_no_height", tool(crop(10, 90, 90, 90)), -1, "empty"),
    Case("box_turned", tool(crop(90, 10, 10, 90)), -1, "right before left"),
    Case("box_one_pixel", tool(crop(10, 10, 11, 11)), 0.7, "one pixel is some"),
    Case("box_three", tool(crop(10, 10, 90)), -1, "three numbers"),
    Case("box_five", tool(crop(10, 10, 90, 90, 90)), -1, "five numbers"),
    Case("box_text", tool(crop("10", 10, 90, 90)), -1, "no numbers"),
    Case("box_object", tool(call("crop_image", bbox_2d={"x": 1}, image_index=0)), -1, "no list"),
    Case("box_float", tool(crop(10.5, 10.5, 90.5, 90.5)), 0.7, "fractions are numbers", "float_box"),
    Case("box_true", tool(crop(0, 0, True, True)), 0.7, "true is 1: one pixel", "true_is_one"),
    Case("box_rounded_away", tool(crop(0.1, 0.1, 0.4, 0.4)), 0.0, "no pixel is left", "raises_for_picture"),
    Case("box_line", tool(crop(0, 0, 280, 1)), 0.0, "280 x 1 px cannot be shown", "raises_for_picture"),
    Case("box_200_long", tool(crop(0, 0, 200, 1)), 0.7, "200 x 1 px can"),
    Case("box_infinite", tool(crop(0, 0, float("inf"), 9)), -1, "it leaves the image"),
    Case("box_of_file", tool(crop(0, 0, 300, 200)), 0.7, "the file has 300 x 200 px, shown are 308 x 196",
         "sizes_of_files", sizes=((300, 200),)),
    Case("box_of_shown", tool(crop(0, 0, 308, 196)), -1, "the file has 300 x 200 px, shown are 308 x 196",
         "sizes_of_files", sizes=((300, 200),)),
    # permille
    Case("permille", tool(crop(0, 0, 999, 999)), 0.7, "the whole of 1000 x 1000 px", sizes=((1000, 1000),),
         **_PERMILLE),
    Case("permille_wide", tool(crop(0, 0, 281, 100)), -1, "281 thousandths are over 280 px", "permille_as_pixels",
         **_PERMILLE),
    Case("permille_narrow", tool(crop(0, 0, 280, 100)), 0.7, "280 thousandths are not", "permille_as_pixels",
         **_PERMILLE),
    Case("permille_1000", tool(crop(0, 0, 1000, 1000)), 0.7, "1000 is in 1000 px, and cut to them",
         "permille_as_pixels", sizes=((1000, 1000),), **_PERMILLE),
    Case("permille_no_pixel", tool(crop(0, 0, 1, 100)), 0.0, "a thousandth of 280 px is none",
         "raises_for_picture", **_PERMILLE),
)  # fmt: skip
