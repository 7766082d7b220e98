"""Texts of user turns, read by the templates of a known chat protocol."""

import re
from functools import lru_cache

from virc.core.limits.problem import MAX_IMAGES
from virc.reasoning.calls import Size
from virc.reasoning.protocol import IMAGE, QUESTION, Protocol, fill

NUMBERS = ("index", "width", "height")
_DIGITS = "[0-9]{1,9}"
_ANY = "(?P<question>.*)"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_MAX_INPUTS = 256


def question_of(text: str, protocol: Protocol, inputs: int | None = None) -> str | None:
    """The question inside a first user turn of that chat protocol, exactly; None where the text does not match it.

    Args:
        text: the turn without its marks.
        inputs: how many images it announces. It matters only where nothing separates announcements and question, and
            the question itself begins like one; None: as many as there seem to be.
    """
    found = read_first(text, protocol, inputs)
    return found[0] if found else None


def read_first(text: str, protocol: Protocol, inputs: int | None = None) -> tuple[str, list[Size]] | None:
    """The question and the announced sizes (width, height) in px; None where `fill` would not make that text."""
    if inputs is not None and not 0 <= inputs <= _MAX_INPUTS:
        return None
    first, image_line = (each.replace(IMAGE, "") for each in (protocol.first, protocol.image_line))
    match = _first_pattern(first, image_line, inputs).fullmatch(text)
    if not match:
        return (text, []) if protocol.first_around(text) == QUESTION else None
    question, block = match.groupdict().get("question", ""), match.groupdict().get("images", "")
    if not image_line:  # nothing announces an image but its mark
        return (question, []) if fill(first, images=block, question=question) == text else None
    sizes = [_size(found) for found in re.finditer(regex(image_line, **named_numbers()), block)]
    lines = "\n".join(
        fill(image_line, index=index, width=width, height=height) for index, (width, height) in enumerate(sizes)
    )
    return (question, sizes) if fill(first, images=lines, question=question) == text else None


def read_after(text: str, template: str, index: int, question: str) -> Size | None:
    """The announced size in px of a turn after a tool; None where `fill` would not make that text."""
    match = _after_pattern(template).fullmatch(text)
    if not match:
        return None
    width, height = _size(match)
    made = fill(template, index=index, width=width, height=height, question=question)
    return (width, height) if made == text else None


def regex(template: str, **parts: str) -> str:
    """The regular expression of a template's texts; `parts` are the patterns of its placeholders' values.

    A named group is used at its first position only, and the same text is matched at later ones. Other placeholders
    are literal, as `fill` leaves them.
    """
    pieces = []
    for at, piece in enumerate(_PLACEHOLDER.split(template)):
        if at % 2 == 0 or piece not in parts:
            pieces.append(re.escape(f"{{{piece}}}" if at % 2 else piece))
        else:
            pieces.append(parts[piece])
            if parts[piece].startswith("(?P<"):
                parts[piece] = f"(?P={piece})"
    return "".join(pieces)


def named_numbers() -> dict[str, str]:
    return {name: f"(?P<{name}>{_DIGITS})" for name in NUMBERS}


@lru_cache(maxsize=64)
def _first_pattern(first: str, image_line: str, inputs: int | None) -> re.Pattern[str]:
    count = MAX_IMAGES if inputs is None else inputs
    numbers = ({"index": str(index), "width": _DIGITS, "height": _DIGITS} for index in range(count))
    *lines, block = [regex(image_line, **each) for each in numbers] or [""]
    for line in reversed(lines):
        block = line + (rf"\n{block}" if inputs else rf"(?:\n{block})?")
    return re.compile(regex(first, images=f"(?P<images>{block})", question=_ANY), re.DOTALL)


@lru_cache(maxsize=64)
def _after_pattern(template: str) -> re.Pattern[str]:
    return re.compile(regex(template, **named_numbers(), question=_ANY), re.DOTALL)


def _size(match: re.Match[str]) -> Size:
    """Sides that a template does not state are 0."""
    sides = match.groupdict(default="0")
    return int(sides.get("width", 0)), int(sides.get("height", 0))
