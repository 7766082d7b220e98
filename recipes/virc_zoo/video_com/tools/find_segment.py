"""`find_segment`: watch segments of a clip again, by their numbers from 1: 16 frames evenly from all of them together.

All segments at once, and none, show nothing. Of numbers that the clip does not have the whole clip is shown.
"""

from virc.reasoning.calls import Call, Conversation, Result
from virc_zoo.video_com._painting import segments_of
from virc_zoo.video_com.tools._written import frames_at, numbers_in, result_of, schema_of

_FRAMES = 16
NAME = "find_segment"
TEMPLATE = "after_image"
SCHEMA = schema_of(NAME, "Watch segments of the video again, by their numbers.")


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """Frames of the segments. Raises ToolError: there is no clip, or there are too many frames."""
    from virc_extras.video.looking import medium_of

    clip, named = medium_of(conversation, "clip", None), numbers_in(call)
    segments = segments_of(clip.facts.length)
    if len(named) in (0, segments):
        return result_of("segment")
    times = clip.times().times
    each = len(times) // segments
    ends = {number: len(times) if number == segments else number * each for number in named if number}
    frames = sorted({at for number, end in ends.items() for at in range((number - 1) * each, end) if at < len(times)})
    frames = frames or [*range(len(times))]
    count = min(_FRAMES, len(frames))
    step = (len(frames) - 1) / max(1, count - 1)
    return result_of(
        "segment", frames_at(conversation, tuple(times[frames[round(step * number)]] for number in range(count)), None)
    )
