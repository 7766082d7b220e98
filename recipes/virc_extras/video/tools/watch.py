"""`watch`: look at frames of a clip between two times, or at the frame that is shown at one."""

from typing import Any

from virc.reasoning.calls import Call, Conversation, Result, ToolError, function_schema
from virc_extras.video.choosing import seconds_of
from virc_extras.video.limits import MAX_SECONDS
from virc_extras.video.sampling import MOST, clock, clock_up
from virc_extras.video.tools.select_frames import CLIP_SCHEMA

NAME = "watch"
TEMPLATE = "after_image"
_USUAL = 8
_TIME = {"anyOf": [{"type": "number", "minimum": 0, "maximum": MAX_SECONDS}, {"type": "string", "maxLength": 40}]}
SCHEMA = function_schema(
    NAME,
    "Look at frames of a video between two times, or at the frame shown at one time.",
    ("start",),
    start={**_TIME, "description": "the time as a number, or such as 1:02"},
    end={**_TIME, "description": "the same of the last frame; without it, one frame is shown"},
    count={"type": "integer", "minimum": 1, "maximum": MOST, "description": f"how many frames, {_USUAL} by default"},
    unit={
        "type": "string",
        "enum": ["seconds", "fraction", "frame", "source_frame"],
        "description": "of numbers: seconds by default, parts of the length, numbers of frames shown, or in the file",
    },
    clip=CLIP_SCHEMA,
)


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """Frames evenly from the start to the end, each still picture once.

    Raises:
        ToolError: a time is none, or not in the clip; or there are too many frames.
    """
    from virc_extras.video.looking import looked, medium_of, time_of_frame, time_of_number
    from virc_extras.video.worker import Wish

    clip, unit = medium_of(conversation, "clip", call.arguments.get("clip")), call.arguments.get("unit", "seconds")

    def seconds(time: Any) -> float:
        if isinstance(time, str):
            read = seconds_of(time.strip()) if unit == "seconds" or ":" in time else None
            if read is None:
                raise ToolError(f"{time!r} is no time such as 1:02, and no number", "arguments")
            return read
        if unit == "frame":
            return time_of_frame(conversation, clip, time)
        if unit == "source_frame":
            return time_of_number(clip, time)
        return float(time) * (clip.facts.length if unit == "fraction" else 1)

    start = seconds(call.arguments["start"])
    end = seconds(call.arguments["end"]) if "end" in call.arguments else start
    if start > clip.facts.length:
        lasts = f"the clip lasts {clock_up(clip.facts.length)}"
        raise ToolError(f"{lasts}: it has nothing at {clock(start)}", "arguments")
    if end < start:
        raise ToolError(f"the span ends at {clock(end)}, before it starts at {clock(start)}", "arguments")
    span = Wish(span=(start, end), frames=int(call.arguments.get("count", _USUAL)))
    return looked(conversation, clip, Wish(at=(start,)) if end == start else span)
