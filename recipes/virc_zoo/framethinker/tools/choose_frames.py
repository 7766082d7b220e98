"""`choose_frames`: frames evenly between two numbers of frames in the file, `120 and 480`, at neither.

Source: lcqysl/FrameThinker-RL@3c917f3, verl/workers/agent/envs/visual_agent/think_with_video.py. What differs: a frame
is found by the times of the stream, and clips with none in between are refused in the same way.
"""

import re

from virc.reasoning.calls import Call, Conversation, Result, ToolError, function_schema

NAME = "choose_frames"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME, "Look at frames of a video between two frames.", ("frames",),
    frames={"type": "string", "maxLength": 40, "description": "numbers of two frames, such as 120 and 480"},
)  # fmt: skip
_BETWEEN = re.compile(r"(\d{1,9}) and (\d{1,9})")
_LONG = 300  # seconds


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """8 frames, or 12 of a clip of over five minutes. Raises ToolError: the numbers are too near, or are none."""
    from virc_extras.video.looking import looked, medium_of
    from virc_extras.video.worker import Wish

    clip = medium_of(conversation, "clip", None)
    times = clip.times().times
    found = _BETWEEN.match(call.arguments["frames"])
    if not found:
        raise ToolError("the frames are two numbers, such as 120 and 480", "arguments")
    first, last, count = int(found[1]), min(int(found[2]), len(times)), 12 if clip.facts.length > _LONG else 8
    if first >= last - count:
        raise ToolError(f"there are no {count} frames between {first} and {last}", "arguments")
    numbers = [first + 1 + (last - first - 2) * at // (count - 1) for at in range(count)]
    return looked(conversation, clip, Wish(at=tuple(times[number] for number in numbers)))
