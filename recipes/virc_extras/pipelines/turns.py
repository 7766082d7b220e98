"""What a role is sent: turns with pictures in their places, and the conversation before them."""

import re
from collections.abc import Iterable, Sequence

import msgspec
from PIL import Image

from virc.reasoning.images import FEWEST_PIXELS, OpenedImage, Shown
from virc.reasoning.messages import printable
from virc.reasoning.resize import MAX_ASPECT, too_long
from virc.reasoning.session import Ask
from virc.reasoning.trace import Message
from virc_extras.pipelines.speaking import Role, Turn

Picture = OpenedImage | Image.Image
Part = str | Picture | Iterable[Picture]
"""A text or pictures, in the order in which a role is sent them."""


def turn_of(parts: Sequence[Part]) -> Turn:
    prompt, pictures, at = "", list[OpenedImage](), list[int]()
    for part in parts:
        if isinstance(part, str):
            prompt += printable(part)
            continue
        shown = [opened(each) for each in ((part,) if isinstance(part, OpenedImage | Image.Image) else part)]
        pictures += shown
        at += [len(prompt)] * len(shown)
    for each in pictures:
        check_size(each)
    return Turn(prompt, tuple(pictures), tuple(at))


def opened(picture: Picture) -> OpenedImage:
    if isinstance(picture, OpenedImage):
        return picture
    if not isinstance(picture, Image.Image):
        raise ValueError(f"{type(picture).__name__} is no text and no picture")
    return OpenedImage(picture.convert("RGB"))


def check_size(picture: OpenedImage) -> None:
    """Raise ValueError if a picture, which code may have cut anyhow, cannot be shown."""
    width, height = picture.size
    if width == 0 or height == 0 or width * height < FEWEST_PIXELS:
        raise ValueError(f"a picture of {width} x {height} px is too small")
    if too_long(width, height):
        raise ValueError(f"a picture of {width} x {height} px: one side is over {MAX_ASPECT} times the other")


def fill(text: str, **values: str) -> str:
    """Return a text with the values in the places of their names in braces; other braces stay as they are."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), text)


def request(role: Role, turns: Sequence[Turn], shown: Sequence[Shown]) -> Ask:
    messages = [Message("system", role.system)] if role.system is not None else []
    count = 0
    for each in turns:
        own = tuple(range(count, count + len(each.pictures)))
        count += len(own)
        messages.append(Message("user", each.prompt, own, at=each.at))
        if each.reply is not None:
            messages.append(Message("assistant", each.reply))
    return Ask(messages, shown)


def pictures_of(turns: Sequence[Turn]) -> list[OpenedImage]:
    return [picture for each in turns for picture in each.pictures]


def answered(turns: Sequence[Turn], reply: str) -> tuple[Turn, ...]:
    return (*turns[:-1], msgspec.structs.replace(turns[-1], reply=reply))
