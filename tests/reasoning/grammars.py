"""The grammars of the field, as a system's YAML would state them, and a reply of each as that system writes it.

Replies follow the prompts and parsers of the systems' repositories; OpenThinkIMG's is that of its training script.
"""

from typing import Any, NamedTuple

import msgspec

from virc.reasoning.grammar import TAGS, Grammar
from virc.reasoning.messages import ToolText, Turn


class Case(NamedTuple):
    """A grammar, a reply that calls a tool and one that answers, and how they are read."""

    grammar: Grammar
    call: str
    called: Turn
    answer: str
    answered: Turn


def grammar(**fields: Any) -> Grammar:
    return msgspec.convert(fields, Grammar)


def call(think: str, name: str, **arguments: Any) -> Turn:
    return Turn(think, (ToolText(name, arguments),))


CASES = {
    "ViRC": Case(
        TAGS,
        '<think>\nthe label\n</think>\n<tool_call>\n{"name": "crop_image", "arguments": {"bbox_2d": [1, 2, 3, 4], '
        '"image_index": 0}}\n</tool_call>',
        call("the label", "crop_image", bbox_2d=[1, 2, 3, 4], image_index=0),
        "<think>so</think><answer>7</answer>",
        Turn("so", answer="7"),
    ),
    "DeepEyes": Case(  # of the original image only; the label is for people
        grammar(
            calls=[
                {
                    "open": "<tool_call>",
                    "close": "</tool_call>",
                    "names": {"image_zoom_in_tool": "zoom_image"},
                    "keys": {"label": None},
                    "given": {"image_index": 0},
                }
            ]
        ),
        '<think>small</think> <tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [10, 20, 100, 200], '
        '"label": "the sign"}}</tool_call>',
        call("small", "zoom_image", bbox_2d=[10, 20, 100, 200], image_index=0),
        "<think>red</think><answer>red</answer>",
        Turn("red", answer="red"),
    ),
    "VLM-R3": Case(
        grammar(
            think=None,
            calls=[{"body": "arguments", "tool": "zoom_image", "given": {"image_index": 0}}],
            stop=["]}", "</answer>"],
        ),
        'The fraction \\frac{1}{2} stands at the left.\n{"bbox_2d": [135, 114, 1016, 672]}',
        call(
            "The fraction \\frac{1}{2} stands at the left.", "zoom_image", bbox_2d=[135, 114, 1016, 672], image_index=0
        ),
        "It reads 7.\n<answer> 7 </answer>",
        Turn("It reads 7.", answer="7"),
    ),
    "VRAG": Case(  # the page found last
        grammar(
            calls=[
                {
                    "open": "<bbox>",
                    "close": "</bbox>",
                    "body": "list",
                    "tool": "crop_image",
                    "unnamed": ["bbox_2d"],
                    "given": {"image_index": "last"},
                },
                {
                    "open": "<search>",
                    "close": "</search>",
                    "body": "text",
                    "tool": "search_pages",
                    "unnamed": ["query"],
                },
            ]
        ),
        "<think>a table</think>\n<bbox>[12, 30, 400, 310]</bbox>",
        call("a table", "crop_image", bbox_2d=[12, 30, 400, 310], image_index="last"),
        "<think>a table</think><answer>4.2</answer>",
        Turn("a table", answer="4.2"),
    ),
    "ViLaSR": Case(
        grammar(
            calls=[
                {
                    "open": f"Action: {tool} ```json",
                    "close": "```",
                    "body": "objects",
                    "tool": name,
                    "unnamed": ["items"],
                    "keys": {"index": "image_index"},
                }
                for tool, name in (("Object Mapper", "draw_boxes"), ("Path Tracer", "draw_lines"))
            ],
            most_calls=4,
        ),
        '<think>two chairs</think> Action: Object Mapper\n```json\n[{"index": 1, "bbox_2d": [5, 6, 70, 80], '
        '"label": "chair"}]\n```',
        call("two chairs", "draw_boxes", image_index=1, items=[{"bbox_2d": [5, 6, 70, 80], "label": "chair"}]),
        "<think>two</think> Action: Answer\n<answer> 2 </answer>",
        Turn("two", answer="2"),
    ),
    "Video-CoM": Case(
        grammar(
            think=None,
            calls=[
                {"open": f"{name.upper()}(", "body": "function", "tool": name, "unnamed": ["phrase", argument]}
                for name, argument in (
                    ("find_segment", "segments"),
                    ("find_frame", "frame"),
                    ("spatial_zoom", "bbox_2d"),
                )
            ],
            answer=["FINAL_ANSWER:", ""],
        ),
        "Look at it.\nSPATIAL_ZOOM(the man (left), in red) = [12, 40, 90, 200]",
        call("Look at it.", "spatial_zoom", phrase="the man (left), in red", bbox_2d=[12, 40, 90, 200]),
        "He waves.\nFINAL_ANSWER: B. a wave",
        Turn("He waves.", answer="B. a wave"),
    ),
    "OpenThinkIMG": Case(  # actions, of which Terminate is the answer
        grammar(think=None, answer=None, calls=[{"body": "actions", "names": {"Point": "point_at"}}]),
        '{"thought": "where is it", "actions": [{"name": "Point", "arguments": {"image": "img_1", "param": "the x"}}]}',
        call("where is it", "point_at", image="img_1", param="the x"),
        '{"thought": "read off", "actions": [{"name": "Terminate", "arguments": {"ans": "1985"}}]}',
        Turn("read off", answer="1985"),
    ),
    "plain": Case(  # no tools: Visual-RFT and others of its kind
        grammar(calls=[]),
        "<think>one</think> then <answer>A</answer>",
        Turn("one", answer="A"),
        "<think>\n</think>\n\n<answer>A</answer>",
        Turn("", answer="A"),
    ),
}  # fmt: skip
