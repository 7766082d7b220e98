"""`find_frame`: look at one frame of a clip, by the number that is painted on it; of several the first."""

from virc.reasoning.calls import Call, Conversation, Result
from virc_zoo.video_com.tools._written import FRAME, frames_at, numbers_in, result_of, schema_of

NAME = "find_frame"
TEMPLATE = "after_image"
SCHEMA = schema_of(NAME, "Look at a frame of the video, by its number.")


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """The frame. Raises ToolError: there is no clip, or it would be too many pictures."""
    from virc_extras.video.looking import medium_of

    number, times = next(iter(numbers_in(call)), 0), medium_of(conversation, "clip", None).times().times
    conversation.kept[FRAME] = None
    if not 0 < number < len(times):  # as published, the last one is not found
        return result_of("frame")
    conversation.kept[FRAME] = len(conversation.shown)
    return result_of("frame", frames_at(conversation, (times[number - 1],), conversation.protocol.crop_pixels))
