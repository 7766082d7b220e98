"""`images_again`: show images again, by their numbers among all that were shown.

Source: TIGER-AI-Lab/verl-tool@980962b, verl_tool/servers/tools/pixel_reasoner.py, conduct_select_frames_action_async.
"""

from virc.reasoning.calls import Call, Conversation, Result, function_schema
from virc_zoo.pixel_reasoner.tools import frames_again

NAME = "images_again"
TEMPLATE = "after_scale"
SCHEMA = function_schema(NAME, "Look closer at frames.", ("target_frames",), target_frames=frames_again.NUMBERS)


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """The images, and their size and number. Raises ToolError: one was not shown."""
    return frames_again.shown_again(conversation, call.arguments["target_frames"], len(conversation.images), 1)
