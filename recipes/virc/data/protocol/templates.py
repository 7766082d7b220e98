"""Texts of a known chat protocol parsed: the question and the image sizes in them."""

import re
from functools import lru_cache

from virc.core.limits.problem import MAX_IMAGES
from virc.reasoning.calls import Size
from virc.reasoning.protocol import IMAGE, QUESTION, Protocol, fill

NUMBERS = ("index", "width", "height")
NUMBER = re.compile(r"(?<![0-9])[0-9]{1,9}(?![0-9])")
_DIGITS = "[0-9]{1,9}"
_ANY = "(?P<question>.*)"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_MAX_INPUTS = 256
_MAX_SHOWN = 40


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


def block_lines(image_line: str, count: int) -> list[str]:
    """The regular expressions of the announcements of `count` images, without groups."""
    plain = dict.fromkeys(NUMBERS, _DIGITS)
    return [regex(image_line, **plain | {"index": str(index)}) for index in range(count)]


def departure(text: str, template: str) -> str:
    """Where a text departs from a template, as a clause that shows both; numbers are ignored."""
    head, _, tail = template.partition(QUESTION)
    found, head, tail = squashed(text), squashed(head), squashed(tail)
    if not found.startswith(head):
        same = common_start(found, head)
        return _instead(found[same:], head[same:])
    if not found.endswith(tail):
        same = common_start(found[::-1], tail[::-1])
        return _instead(found[: len(found) - same][-_MAX_SHOWN:], tail[: len(tail) - same][-_MAX_SHOWN:])
    return "its numbers, or the question in it, are not those of the row"


def common_start(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def squashed(text: str) -> str:
    """A text or a template with # for every number."""
    return NUMBER.sub("#", re.sub(r"\{(?:index|width|height)\}", "#", text))


def _instead(found: str, expected: str) -> str:
    return f"{found[:_MAX_SHOWN]!r} is where the others have {expected[:_MAX_SHOWN]!r}"


def named_numbers() -> dict[str, str]:
    return {name: f"(?P<{name}>{_DIGITS})" for name in NUMBERS}


@lru_cache(maxsize=64)
def _first_pattern(first: str, image_line: str, inputs: int | None) -> re.Pattern[str]:
    *lines, block = block_lines(image_line, MAX_IMAGES if inputs is None else inputs) or [""]
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
