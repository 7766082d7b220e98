"""`select_frames`: look again at frames of a clip, by their numbers among those shown."""

from typing import Any

from virc.reasoning.calls import Call, Conversation, Result, function_schema
from virc_extras.video.sampling import MOST

NAME = "select_frames"
TEMPLATE = "after_image"
CLIP_SCHEMA: dict[str, Any] = {
    "type": "integer", "minimum": 1, "description": "number of the clip, if the question has several",
}  # fmt: skip
SCHEMA = function_schema(
    NAME,
    "Look again at frames of a video that were shown, by their numbers.",
    ("target_frames",),
    target_frames={
        "type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": MOST,
        "description": "numbers of frames, 1 is the first",
    },
    clip=CLIP_SCHEMA,
)  # fmt: skip


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """The frames of these numbers. Raises ToolError: one was not shown, or there are too many."""
    from virc_extras.video.looking import looked, medium_of, time_of_frame
    from virc_extras.video.worker import Wish

    clip = medium_of(conversation, "clip", call.arguments.get("clip"))
    numbers = call.arguments["target_frames"]
    times = tuple(time_of_frame(conversation, clip, number) for number in numbers)
    return looked(conversation, clip, Wish(at=times), [*map(int, numbers)])
