"""How a careful reader solves a diagram: look at each corner from left to right, say what it shows, then compute."""

import json
from collections.abc import Sequence

from virc_recipes.data.diagrams import Corner, Diagram, crop_of

UNREADABLE = "<think>I cannot read this picture.</think>\n<answer>unreadable</answer>"


def replies(diagram: Diagram) -> list[str]:
    """The assistant turns: one crop a corner until the asked angle is known, then the answer.

    Stops early where the asked angle is printed; otherwise looks at every corner before computing.
    """
    wanted = diagram.corners[diagram.asked]
    said = "Look at the first corner."
    turns: list[str] = []
    seen: list[Corner] = []
    for corner in diagram.reading_order():
        turns.append(_look(said, crop_of(corner, diagram.width, diagram.height)))
        seen.append(corner)
        said = f"{corner.letter} is {corner.printed}."
        if corner is wanted and corner.printed != "?":
            return [*turns, _answer(f"{said} That is the one.", corner.angle)]
        said += " Look at the next corner."
    said = (
        f"{seen[-1].letter} is {seen[-1].printed}. {arithmetic([c.angle for c in seen if c is not wanted])}"
    )
    return [*turns, _answer(said, wanted.angle)]


def arithmetic(known: Sequence[int]) -> str:
    """Take the known angles from the angle sum, tens before units: a small model carries safely in small steps."""
    rest = 180 * (len(known) - 1)
    steps = [f"The sum is {rest}."]
    for angle in known:
        for part in (angle // 10 * 10, angle % 10):
            steps.append(f"{rest} - {part} = {rest - part}.")
            rest -= part
    return " ".join(steps)


def _look(said: str, box: Sequence[int]) -> str:
    call = json.dumps({"name": "crop_image", "arguments": {"bbox_2d": list(box), "image_index": 0}})
    return f"<think>{said}</think>\n<tool_call>\n{call}\n</tool_call>"


def _answer(said: str, angle: int) -> str:
    return f"<think>{said}</think>\n<answer>{angle}</answer>"
