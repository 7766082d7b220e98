"""What tools show of the clips and documents of a problem: parts that are read anew, at the places that they name."""

from collections.abc import Sequence
from typing import Any

from virc.core.text import plain
from virc.core.timeouts import check_stop
from virc.reasoning.calls import Conversation, Result, ToolError
from virc.reasoning.history import show_input
from virc.reasoning.images import open_file
from virc.reasoning.media import MediaPlace
from virc_extras.video.limits import MAX_PICTURES
from virc_extras.video.parts import OpenedMedium
from virc_extras.video.worker import READER, Wish


def medium_of(conversation: Conversation, kind: str, number: int | None) -> OpenedMedium:
    """Return a clip or document of the question.

    Args:
        kind: `clip` or `document`.
        number: as lines of frames and pages have it; None: there is one such file.

    Raises:
        ToolError: there is none, or several and none is named.
    """
    opened: dict[int | None, Any] = {each.medium.number: each.medium for each in conversation.shown if each.medium}
    found: list[OpenedMedium] = [each for each in opened.values() if kind == each.kind.KIND]
    if not found:
        raise ToolError(f"the question has no {kind}")
    numbers = [each.number or 1 for each in found]
    if number is None and len(found) > 1:
        raise ToolError(f"there are several: {kind} is one of {', '.join(map(str, numbers))}", "arguments")
    if number is not None and number not in numbers:
        raise ToolError(f"{kind} is {plain(number, 40)}, and there is {', '.join(map(str, numbers))}", "arguments")
    return found[0 if number is None else numbers.index(number)]


def places_of(conversation: Conversation, medium: OpenedMedium) -> dict[int, MediaPlace]:
    """The places of its parts that were shown, by their numbers."""
    places = [each.place for each in conversation.shown if each.place and medium.shows(each.place)]
    return {each.index: each for each in places}


def time_of_frame(conversation: Conversation, clip: OpenedMedium, number: float) -> float:
    """Return the time in seconds at which a frame was shown. Raises ToolError: none has that number."""
    places = places_of(conversation, clip)
    if number not in places:
        raise ToolError(f"frame {number:g} was not shown: the frames are 1 to {max(places)}", "arguments")
    return places[int(number)].seconds or 0.0


def time_of_number(clip: OpenedMedium, number: float) -> float:
    """Return the time in seconds of a frame by its number in the file, from 0. Raises ToolError: there is none."""
    times = clip.times().times
    if number not in range(len(times)):
        raise ToolError(f"the clip has no frame {number:g}: its last one is {len(times) - 1}", "arguments")
    return times[int(number)]


def looked(conversation: Conversation, medium: OpenedMedium, wish: Wish, numbers: Sequence[int] = ()) -> Result:
    """Return parts of a clip or document, each with its place.

    Args:
        numbers: of these parts, where they were shown before; else they go on from the last one.

    Raises:
        ToolError: the problem would have too many pictures of clips and documents.
        DataError: the file can no longer be read.
        SetupError: a package that reads it is missing, as in the environment of an engine.
    """
    medium.kind.check_ready(medium.name)
    shown = sum(each.place is not None for each in conversation.shown)
    more = len(wish.at or wish.pages or ()) or wish.frames or 0
    if shown + more > MAX_PICTURES:
        most = f"at most {MAX_PICTURES} pictures of clips and documents are shown"
        raise ToolError(f"{most}: {MAX_PICTURES - shown} more can be, not {more}", "arguments")
    _, parts = READER.pictures(medium.kind.KIND, medium.source(), medium.name, wish, check_stop)
    first = max(places_of(conversation, medium)) + 1
    made = [show_input(open_file(each.data, medium.name), conversation.protocol, conversation.grid) for each in parts]
    for picture, part, number in zip(made, parts, numbers or range(first, first + len(parts)), strict=True):
        picture.place, picture.medium = medium.place(part, number), medium
    return Result(shown=made)
