"""Questions to ask a backend, as a Session would put them."""

from PIL import Image

from virc.reasoning.images import Shown
from virc.reasoning.session import Ask, Message

ANSWER = "<think>\nThe angle reads 97.\n</think>\n\n<answer>\n97\n</answer>"
LOOK = (
    "<think>\nI look closer at the left half.\n</think>\n\n<tool_call>\n"
    '{"name": "crop_image", "arguments": {"bbox_2d": [0, 0, 112, 168], "image_index": 0}}\n</tool_call>'
)


def ask(question: str = "How large is angle H?", size: tuple[int, int] = (224, 168)) -> Ask:
    """A first turn: system message, one image, the question."""
    messages = (Message("system", "You answer questions about pictures."), Message("user", question, (0,)))
    return Ask(messages, (Shown(Image.new("RGB", size, "white")),))


def further(before: Ask, said: str, text: str = "Go on.", size: tuple[int, int] = (112, 168)) -> Ask:
    """The turn after `said`: one more image and a sentence."""
    messages = (*before.messages, Message("assistant", said), Message("user", text, (len(before.images),)))
    return Ask(messages, (*before.images, Shown(Image.new("RGB", size, "grey"))))
