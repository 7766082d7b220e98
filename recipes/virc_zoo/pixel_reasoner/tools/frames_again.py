"""`frames_again`: show frames of a video again, by their numbers among those shown at first.

Source: TIGER-AI-Lab/Pixel-Reasoner@a3a6c3a, curiosity_driven_rl/openrlhf/trainer/ppo_utils/experience_maker.py,
SelectFrames and execute_tool.
"""

from virc.reasoning.calls import Call, Conversation, Result, ToolError, function_schema
from virc.reasoning.history import crop_size
from virc.reasoning.resample import Rescaled

MOST = 8

NAME = "frames_again"
TEMPLATE = "after_scale"
NUMBERS = {"type": "array", "items": {"type": "integer"}, "minItems": 1, "description": "numbers, 1 is the first"}
"""The schema of its argument."""
SCHEMA = function_schema(NAME, "Look closer at frames of a video.", ("target_frames",), target_frames=NUMBERS)


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """The frames, and their size and numbers. Raises ToolError: a picture has none, or they are too many or unknown."""
    if conversation.inputs == 1:
        raise ToolError("there is a picture, and no video", "tool")
    numbers: list[int] = call.arguments["target_frames"]
    if len(numbers) > MOST:
        raise ToolError(f"{len(numbers)} frames are named, and at most {MOST} are shown", "arguments")
    return shown_again(conversation, numbers, conversation.inputs, len(conversation.images) - conversation.inputs + 1)


def shown_again(conversation: Conversation, numbers: list[int], count: int, first: int) -> Result:
    """Images of these numbers, from 1 to `count`, with their size and their new numbers, of which `first` is one."""
    if beyond := [each for each in numbers if type(each) is not int or not 1 <= each <= count]:  # 2.0 is none there
        raise ToolError(f"there is no frame {beyond[0]}; the frames are 1 to {count}", "arguments")
    frames = [conversation.images[each - 1]() for each in numbers]
    sizes = [crop_size(conversation.protocol, conversation.grid, each) for each in frames]
    (width, height), last = sizes[0], first + len(frames) - 1
    images = [Rescaled(each, size) for each, size in zip(frames, sizes, strict=True)]
    return Result(f"{width}x{height}, Numbered {first} to {last}", images)
