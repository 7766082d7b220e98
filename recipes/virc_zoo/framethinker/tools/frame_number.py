"""`frame_number`: the number of the frame that is shown at a time, minutes and seconds.

Source: lcqysl/FrameThinker-RL@3c917f3, verl/workers/agent/envs/visual_agent/think_with_video.py. What differs: there it
is the seconds times a rate of the row, and a frame behind the end; here that of the stream, and the last one.
"""

import re
from bisect import bisect_right

from virc.reasoning.calls import Call, Conversation, Result, ToolError, function_schema

NAME = "frame_number"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME, "Get the number of the frame at a time.", ("time",),
    time={"type": "string", "maxLength": 40, "description": "minutes, which may be over 60, and seconds: 62:30"},
)  # fmt: skip
_TIME = re.compile(r"(\d{1,5}):(\d{1,5})(?!\S)")


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """The time and the number. Raises ToolError: the time is none."""
    from virc_extras.video.looking import medium_of

    timed = medium_of(conversation, "clip", None).times()
    found = _TIME.match(call.arguments["time"])
    if not found:
        raise ToolError("the time is minutes and seconds, such as 62:30", "arguments")
    seconds = 60 * int(found[1]) + int(found[2])
    return Result(f"{found[0]} is: {bisect_right(timed.times, seconds + timed.rounding) - 1}.")
