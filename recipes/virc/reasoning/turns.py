"""The turns that a chat protocol words around images and results: text, and where images stand in it."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from virc.reasoning.calls import Size
from virc.reasoning.protocol import IMAGE, QUESTION, Protocol, Results, fill
from virc.reasoning.trace import CallResult, Message

MARK = "<image>"
"""Stands for an image in a question, and in the text of rows."""
PLACE = "\ufffc"
"""The same in the question that a chat becomes, in which MARK is a word (Unicode: object replacement character)."""
_MARKS = re.compile(rf"(?<!`){MARK}|{MARK}(?!`)")  # in backticks it is a word
_IMAGES = "{images}"
_OF_ONE = re.compile(r"\{(index|number|count|width|height)\}")


class Piece(msgspec.Struct, frozen=True):
    """A part of a turn: its text, and its images with the position in the text of each; None: before the turn."""

    text: str
    images: tuple[tuple[int, int | None], ...] = ()


def piece(template: str, image: int | None = None, **values: object) -> Piece:
    before, marked, after = template.partition(IMAGE)
    start = fill(before, **values)
    images = () if image is None else ((image, len(start) if marked else None),)
    return Piece(start + fill(after.replace(IMAGE, ""), **values), images)


def joined(pieces: Iterable[Piece], between: str = "\n") -> Piece:
    text, images = "", list[tuple[int, int | None]]()
    for number, each in enumerate(pieces):
        text += between if number else ""
        images += [(index, None if at is None else at + len(text)) for index, at in each.images]
        text += each.text
    return Piece(text, tuple(images))


def message(said: Piece, results: Results = "user") -> Message:
    placed = sorted(((at or 0, number, index) for number, (index, at) in enumerate(said.images)))
    at = tuple(at for at, _, _ in placed)
    images = tuple(index for _, _, index in placed)
    kept = at if any(at) else ()
    if results == "user":
        return Message("user", said.text, images, at=kept)
    return Message("assistant", said.text, images, at=kept, inserted="inline" if results == "inline" else "turn")


class SeenTurns(msgspec.Struct, frozen=True):
    """What a conversation has come to.

    Args:
        question: of the problem.
        sizes: (width, height) in pixels of all images as shown.
        inputs: how many of them are the question's.
        turns: of the model.
        said: what is said right before each image; empty: nothing of any.
    """

    question: str
    sizes: Sequence[Size]
    inputs: int
    turns: int
    said: Sequence[str] = ()


def opening(protocol: Protocol, question: str, sizes: Sequence[Size], said: Sequence[str] = ()) -> list[Message]:
    """The system message, where there is one, and the first turn.

    Args:
        sizes: of the images as shown, in px.
        said: what is said right before each image, besides the line of the chat protocol; empty: nothing of any.
    """
    lines = [
        piece(protocol.image_line, index, index=index, number=index + 1, count=index + 1, width=width, height=height)
        for index, (width, height) in enumerate(sizes)
    ]
    has_places = any(said)
    if has_places:
        lines = [_said_before(text, line) for text, line in zip(said, lines, strict=True)]
    block, asked, template = joined(lines), asked_of(question, lines), protocol.first_around(question)
    if has_places and _IMAGES not in template:
        template = f"{_IMAGES}\n{template}"
    if asked.images:
        template = _without_images(template)
    separate = () if asked.images else tuple((index, None) for index in range(len(sizes)))
    shown = block if _IMAGES in template else Piece("", separate)
    before, _, after = template.partition(_IMAGES)
    parts = [_filled(before, asked, block), shown, _filled(after, asked, block)]
    first = joined(parts, between="")
    system = [Message("system", protocol.system)] if protocol.system else []
    return [*system, message(first)]


def _said_before(text: str, line: Piece) -> Piece:
    """The line of an image behind a text; of several lines, that in which the image stands, or before which."""
    ((index, at),), between = line.images, "\n" if text and line.text else ""
    start = line.text.rfind("\n", 0, at or 0) + 1
    placed = Piece(line.text[start:], ((index, (at or 0) - start),))
    return joined([Piece(line.text[:start]), Piece(text + between), placed], between="")


def further(protocol: Protocol, question: str) -> Message:
    """The turn of a question asked after an answer, about the images shown before: as a first turn without images."""
    return message(_filled(_without_images(protocol.first_around(question)), asked_of(question, ()), Piece("")))


def _without_images(template: str) -> str:
    return re.sub(r"\{images\}\n?|\n\{images\}\Z", "", template)


def _filled(template: str, asked: Piece, block: Piece) -> Piece:
    texts = [Piece(fill(each, images=block.text)) for each in template.split(QUESTION)]
    return joined([texts[0], *(each for text in texts[1:] for each in (asked, text))], between="")


def texts_around(question: str, images: int) -> list[str]:
    """The texts before, between and behind the marks in a question that has one for each image.

    The question alone, where it has no such marks, or all stand before or all behind it: a chat protocol says itself
    where images stand next to the question.
    """
    texts = question.split(PLACE) if question.count(PLACE) == images else _MARKS.split(question)
    if len(texts) == 1 or len(texts) != images + 1:
        return [question]
    is_between = any(map(str.strip, texts[1:])) and any(map(str.strip, texts[:-1]))
    return texts if is_between else ["".join(texts).strip()]


def with_marks_repeated(question: str, counts: Sequence[int]) -> str:
    """A question that has a mark for each file, with so many in its place as the file has pictures."""
    is_of_chat = question.count(PLACE) == len(counts)
    texts = question.split(PLACE) if is_of_chat else _MARKS.split(question)
    if len(texts) != len(counts) + 1:
        return question
    mark = PLACE if is_of_chat else MARK
    return texts[0] + "".join(mark * count + text for count, text in zip(counts, texts[1:], strict=True))


def asked_of(question: str, lines: Sequence[Piece]) -> Piece:
    first, *others = texts_around(question, len(lines))
    between = "\n" if any(line.text for line in lines) else ""
    texts = [Piece(first)]
    for line, text in zip(lines, others, strict=False):
        placed = tuple((index, at or 0) for index, at in line.images)
        texts += [msgspec.structs.replace(line, images=placed), Piece(text)]
    if between:
        texts = [Piece(each.text.strip(), each.images) for each in texts if each.images or each.text.strip()]
    return joined(texts, between) if others else Piece(first)


def following(protocol: Protocol, results: Sequence[tuple[CallResult, str]], seen: SeenTurns) -> list[Message]:
    """The turn that brings the results of calls, each with its tool's template; of the assistant one for each."""
    pieces = [joined(_pieces(protocol, result, template, seen)) for result, template in results]
    if protocol.results == "assistant":
        return [message(each, "assistant") for each in pieces]
    return [message(joined(pieces, between="" if protocol.results == "inline" else "\n"), protocol.results)]


def _pieces(protocol: Protocol, result: CallResult, template: str, seen: SeenTurns) -> Iterable[Piece]:
    question = asked_of(seen.question, [Piece("")] * seen.inputs).text
    known: dict[str, Any] = {"question": question, "turn": seen.turns, "turn_from_0": seen.turns - 1}
    if result.error is not None:
        yield piece(protocol.after_error, error=result.error, **known)
        return
    if (result.text and "{text}" not in template) or not result.images:
        yield piece(protocol.after_text, text=result.text, **known)
    elif result.text and len(result.images) > 1 and not _OF_ONE.search(template):  # once, with all of them
        said = piece(template, 0, text=result.text, **known)
        yield Piece(said.text, tuple((index, at) for index in result.images for _, at in said.images))
        return
    for index in result.images:
        width, height = seen.sizes[index]
        place: dict[str, Any] = {"index": index, "count": index + 1, "number": index - seen.inputs + 1}
        place |= {"width": width, "height": height}
        line = piece(template, index, text=result.text, **place, **known)
        yield _said_before(seen.said[index], line) if seen.said else line
