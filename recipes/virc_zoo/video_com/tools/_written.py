"""What the three tools of Video-CoM share: the text of a call, as `FIND_SEGMENT(phrase) = [2]`, and its frames.

One that names nothing that there is, is answered with the sentence that follows it, and nothing is shown.
Source: mbzuai-oryx/Video-CoM@b58b6ce, train/manipulation_model.py, take_action_manipulation, and manipulation_utils.py.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc.reasoning.calls import Call, Conversation, Result, function_schema
from virc.systems import texts

LIST = r"\((.*?)\)\s*=\s*\[([0-9,\s]+)\]"
SINGLE = r"\((.*?)\)\s*=\s*(\d+)"
FRAME = "video_com_frame"
"""What is kept for a problem: the number, among all images, of the frame that was found last."""


def schema_of(name: str, description: str) -> dict[str, Any]:
    """The schema of a tool that gets a call as it is written, behind its name and opening bracket."""
    return function_schema(name, description, ("written",), written={"type": "string"})


def written_in(call: Call) -> str:
    """A call as the model wrote it, to the end of the reply."""
    return f"{call.name.upper()}({call.arguments['written']}"


def numbers_in(call: Call) -> list[int]:
    """The numbers of the first list that a call names, else of the first number; empty: it names none."""
    name, written = call.name, written_in(call)
    if found := re.search(name + LIST, written, re.IGNORECASE):
        return [int(each) for each in found[2].split(",") if each.strip().isdigit()]
    return [int(found[2])] if (found := re.search(name + SINGLE, written, re.IGNORECASE)) else []


def result_of(name: str, shown: Sequence[Any] = ()) -> Result:
    """Pictures with the sentence of that name, which is all where there are none."""
    return Result(texts.filled(f"{{text:{name}}}", Path(__file__).parents[1]), shown=shown)


def frames_at(conversation: Conversation, times: tuple[float, ...], pixels: tuple[int, int] | None) -> Sequence[Any]:
    """The frames that are shown at times, with these pixels at least and at most; None: as those of the question."""
    from virc_extras.video.looking import looked, medium_of
    from virc_extras.video.worker import Wish

    if pixels:
        protocol = msgspec.structs.replace(conversation.protocol, input_pixels=pixels)
        conversation = msgspec.structs.replace(conversation, protocol=protocol)
    return looked(conversation, medium_of(conversation, "clip", None), Wish(at=times)).shown
