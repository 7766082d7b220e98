"""`time_interval`: see a part of a clip again, two frames a second, between times that are written as `[12.3, 28.7]`.

Source: SeerRay-Lab/REVISOR@7bc36fa, verl/workers/agent/envs/mm_process_engine/video_tool_new_v1.py. What differs: it
shows 4 to 512 frames, here at most 64, the last one at the end and there before it; and their times are painted on the
clip before (`_painting.py`).
"""

import re
from pathlib import Path

from virc.reasoning.calls import Call, Conversation, Result, ToolError, function_schema
from virc.systems import texts

NAME = "time_interval"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME, "See a part of the video again.", ("interval",),
    interval={"type": "string", "maxLength": 60, "description": "start and end in seconds, such as [12.3, 28.7]"},
)  # fmt: skip
_TIME = r"(\d+\.?\d*|\.\d+)"
_INTERVAL = re.compile(rf"\[{_TIME}\s*,\s*{_TIME}\]")
_LEAST, _FEWEST, _MOST, _RATE = 2, 4, 64, 2  # seconds; frames, and those of a second


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """Frames evenly from the start to the end, and the sentence behind them. Raises ToolError: it is too short."""
    from virc_extras.video.looking import looked, medium_of
    from virc_extras.video.worker import Wish

    clip = medium_of(conversation, "clip", None)
    found = _INTERVAL.fullmatch(call.arguments["interval"])
    start, end = (float(found[1]), min(float(found[2]), clip.facts.length)) if found else (0.0, 0.0)
    if end - start < _LEAST:
        raise ToolError(f"the interval is under {_LEAST} s of the clip", "arguments")
    count = min(max(_FEWEST, int((end - start) * _RATE)), _MOST) // 2 * 2
    shown = looked(conversation, clip, Wish(span=(start, end), frames=count)).shown
    return Result(texts.filled("{text:user}", Path(__file__).parents[1]), shown=shown)
