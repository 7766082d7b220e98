"""`redraw`: run code that draws the picture anew, and have a teacher say how the drawing differs from the picture.

The code runs in the sandbox without the picture, so that nothing can be copied. TEACHER_ENDPOINT is the address of the
teacher up to /v1, TEACHER_KEY its key.
Source: L-O-I/RRVF@2cf40ee, README.md, Visual Feedback Mechanism: code is rendered, a stronger model compares both
pictures, and the model is told in words. The name and keys of the call for charts are not in what was read.
"""

import os
from functools import cache

from PIL import Image

from virc.backends.chat.backend import OpenAIBackend
from virc.backends.interface import Sampling
from virc.core.errors import NetworkError, SetupError
from virc.reasoning.calls import Call, Conversation, Result, ToolError, View, function_schema
from virc.reasoning.images import show
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import QWEN2
from virc.reasoning.session import Ask, Message

NAME = "redraw"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME,
    "Run Python code that draws the picture anew, and hear how its drawing differs from the picture.",
    ("code",),
    code={"type": "string", "description": "Python code that draws with Matplotlib"},
)
QUESTION = (
    "The first picture is to be drawn anew by code, and the second is what the code draws. Say in a few sentences how "
    "the second differs from the first: in layout, kinds of plots, colours, numbers and texts, and in what is missing."
)
ENDPOINT = "TEACHER_ENDPOINT"


def ready() -> None:
    """Refuse to begin without a sandbox and a teacher. Raises SetupError: what is missing."""
    from virc_extras.sandbox import python

    python.ready()
    if ENDPOINT not in os.environ:
        raise SetupError(f"{NAME} needs {ENDPOINT}, the address of its teacher up to /v1")


@cache
def teacher(url: str) -> OpenAIBackend:
    """The model that compares pictures."""
    return OpenAIBackend(url, api_key=os.environ.get("TEACHER_KEY"))


def drawing(code: object, protocol: Protocol) -> Image.Image:
    """The last picture that code draws.

    Raises:
        ToolError: it is no code, fails, or draws nothing.
    """
    from virc_extras.sandbox import python

    alone = Conversation(protocol, [], 0, {})
    drawn = python.apply_to_all(python.check({"code": code}, View([])).call, alone)
    if not drawn.images:
        raise ToolError(f"the code draws nothing; it printed: {drawn.text}")
    picture = drawn.images[-1]
    assert isinstance(picture, Image.Image)  # code makes pictures, and rescales none
    return picture


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """What the teacher says of the drawing. Raises ToolError: there is none, or the teacher does not answer."""
    drawn = drawing(call.arguments.get("code"), conversation.protocol)
    pictures = [show(image, QWEN2) for image in (conversation.images[0](), drawn)]
    ask = Ask([Message("user", QUESTION, (0, 1))], pictures)
    try:
        return Result(teacher(os.environ[ENDPOINT]).reply(ask, Sampling(temperature=0, max_tokens=512)).text)
    except NetworkError as error:
        raise ToolError(f"the teacher does not answer: {error}") from error
