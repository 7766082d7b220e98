"""How a careful reader solves a diagram: look at each corner from left to right, say what it shows, then compute."""

import json
from collections.abc import Sequence

from virc_recipes.data.diagrams import Corner, Diagram, crop_of
from virc_recipes.reasoning.protocol import own_protocol
from virc_recipes.tools import schemas

# The wording of every trajectory made here: the datasets of `virc data synth` and what `tiny` is trained on.
PROTOCOL = own_protocol(schemas(("crop_image", "scale_image", "display_image")))

_CANNOT = "I cannot read this picture."
UNREADABLE = f"<think>{_CANNOT}</think>\n<answer>unreadable</answer>"


def replies(diagram: Diagram) -> list[str]:
    """The assistant turns: one crop a corner until the asked angle is known, then the answer.

    Stops early where the asked angle is printed; otherwise looks at every corner before computing.
    """
    wanted, corners = diagram.corners[diagram.asked], diagram.reading_order()
    if wanted.printed != "?":
        seen = corners[: corners.index(wanted) + 1]
        return [*_looks(diagram, seen), _answer(f"{_reads(wanted)} That is the one.", str(wanted.angle))]
    sums = arithmetic([corner.angle for corner in corners if corner is not wanted])
    return [*_looks(diagram, corners), _answer(f"{_reads(corners[-1])} {sums}", str(wanted.angle))]


def replies_without(diagram: Diagram) -> list[str]:
    """The turns where the question is about a corner that the figure does not have: look at all, then give up."""
    corners = diagram.reading_order()
    return [*_looks(diagram, corners), _answer(f"{_reads(corners[-1])} {_CANNOT}", "unreadable")]


def arithmetic(known: Sequence[int]) -> str:
    """Take the known angles from the angle sum, tens before units: a small model carries safely in small steps."""
    rest = 180 * (len(known) - 1)
    steps = [f"The sum is {rest}."]
    for angle in known:
        for part in (angle // 10 * 10, angle % 10):
            steps.append(f"{rest} - {part} = {rest - part}.")
            rest -= part
    return " ".join(steps)


def _looks(diagram: Diagram, corners: Sequence[Corner]) -> list[str]:
    """One crop a corner; each turn begins with what the crop before it showed."""
    said = [
        "Look at the first corner.",
        *(f"{_reads(corner)} Look at the next corner." for corner in corners[:-1]),
    ]
    boxes = (crop_of(corner, diagram.width, diagram.height) for corner in corners)
    return [_look(thought, box) for thought, box in zip(said, boxes, strict=True)]


def _reads(corner: Corner) -> str:
    return f"{corner.letter} is {corner.printed}."


def _look(said: str, box: Sequence[int]) -> str:
    call = json.dumps({"name": "crop_image", "arguments": {"bbox_2d": list(box), "image_index": 0}})
    return f"<think>{said}</think>\n<tool_call>\n{call}\n</tool_call>"


def _answer(said: str, answer: str) -> str:
    return f"<think>{said}</think>\n<answer>{answer}</answer>"
