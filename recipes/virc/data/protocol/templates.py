"""Templates of a chat protocol: texts read by a known one, and which ones made some texts, by vote.

Each text votes for every template that could have made it, the likeliest first, and the template with most votes wins.
So one odd row does not change it, and fails when all rows are checked.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice, pairwise

import msgspec

from virc.core.limits.problem import MAX_IMAGES
from virc.reasoning.calls import Size
from virc.reasoning.images import SQUARE
from virc.reasoning.protocol import IMAGE, QUESTION, Protocol, fill
from virc.reasoning.resize import smart_resize

NUMBERS = ("index", "width", "height")
NUMBER = re.compile(r"(?<![0-9])[0-9]{1,9}(?![0-9])")
_DIGITS = "[0-9]{1,9}"
_ANY = "(?P<question>.*)"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_MAX_INPUTS = 256
_MAX_SHOWN = 40

_IMAGES = "{images}"
_ORDERS = (
    ("index", "width", "height"),
    ("width", "height", "index"),
    ("index", "height", "width"),
    ("height", "width", "index"),
)
_MARKERS = (
    re.compile(r"^[^\S\n]*question[^\S\n]*:[ \n]?", re.IGNORECASE | re.MULTILINE),
    re.compile(r"\bquestion[^\S\n]*:[ \n]?", re.IGNORECASE),
)
_STARTS = re.compile(r"^|\n|: |\{images\}\s*")
_ENDS = (re.compile(r"\r\n\r\n\s*|\n[^\S\n]*\n\s*"), re.compile(r"\n"), re.compile(r"\s"))
_MAX_NUMBERS, _MAX_PLACES, _VOTERS = 64, 8, 200
_SHORT = 12  # characters up to which a question may be in a sentence by chance
Span = tuple[int, int, str]
"""Start, end and placeholder of a part of a text."""


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


class FirstTurn(msgspec.Struct, frozen=True):
    """A first user turn, without its marks; `row` is the row's number.

    Args:
        count: of images, at least one.
        size: (width, height) in px of the first image's file, where it was read.
    """

    row: int
    text: str
    count: int
    question: str | None = None
    size: Size | None = None


class ToolTurn(msgspec.Struct, frozen=True):
    """A user turn after a tool, without its mark; `row` is the row's number.

    Args:
        index: of the image it shows.
        kind: the field of the chat protocol that is its template.
        size: (width, height) in px of the image's file, where it was read.
        question: of the row, once it is known.
    """

    row: int
    text: str
    index: int
    kind: str
    size: Size | None = None
    question: str = ""


def image_line_of(firsts: Sequence[FirstTurn]) -> str | None:
    return _commonest([_lines(first) for first in firsts[:_VOTERS]])


def first_of(firsts: Sequence[FirstTurn], image_line: str) -> str | None:
    framed = []  # the turns with {images} for their announcements, where they are found
    for first in firsts[:_VOTERS]:
        block = _block(first, image_line)
        text = first.text[: block.start()] + _IMAGES + first.text[block.end() :] if block else first.text
        framed.append((text, first.question))
    known = [_around_known(text, question) for text, question in framed if question]
    return _commonest(known, least=0.5) or _around_varied([text for text, _ in framed])


def after_of(turns: Sequence[ToolTurn], reminds: bool) -> str | None:
    """The template of most of these turns after one kind of tool; `reminds`: such turns usually repeat the question."""
    return _commonest([_after_templates(turn, reminds) for turn in turns[:_VOTERS]])


def _commonest(ballots: Sequence[Iterable[str]], least: float = 0) -> str | None:
    """The entry of most ballots, of several the one that came first; None where no more than `least` of all have it."""
    counts: Counter[str] = Counter()
    for ballot in ballots:
        counts.update(list(dict.fromkeys(ballot)))
    best = max(counts, key=lambda name: counts[name], default=None)
    return best if best is not None and counts[best] > least * len(ballots) else None


def _announcements(text: str, index: int, size: Size | None) -> list[list[Span]]:
    """Where three consecutive numbers may be an image's index and its sides; first where they are those of its file."""
    numbers = list(islice(NUMBER.finditer(text), _MAX_NUMBERS))
    shown = (size, smart_resize(*size), SQUARE) if size else ()
    found: list[tuple[bool, list[Span]]] = []
    for order in _ORDERS:
        for three in zip(numbers, numbers[1:], numbers[2:], strict=False):
            value = {name: int(number[0]) for name, number in zip(order, three, strict=True)}
            sides = value["width"], value["height"]
            turned = sides not in shown and sides[::-1] in shown
            if value["index"] == index and all(sides) and not turned:
                places = [(*number.span(), name) for name, number in zip(order, three, strict=True)]
                found.append((sides not in shown, places))
    return [places for _, places in sorted(found, key=lambda each: each[0])][:_MAX_PLACES]


def _template(text: str, places: Iterable[Span], offset: int = 0) -> str:
    for start, end, name in sorted(places, reverse=True):  # from the end, so that the spans before stay valid
        text = f"{text[: start - offset]}{{{name}}}{text[end - offset :]}"
    return text


def _lines(first: FirstTurn) -> Iterator[str]:
    """Templates of an announcement: the whole line, and where it may have more text, the line up to its last number."""
    text = first.text
    for places in _announcements(text, 0, first.size):
        start, last = text.rfind("\n", 0, places[0][0]) + 1, places[-1][1]
        end = text.find("\n", last)
        whole = text[start : end if end >= 0 else len(text)]
        line = _template(whole, places, start)
        if not _MARKERS[1].search(whole) and _block(first, line):
            yield line
        if first.count == 1:
            signs = re.match(r"[^\w\s]*", text[last:])
            end = last + (signs.end() if signs else 0)
            yield _template(text[start:end], places, start)


def _block(first: FirstTurn, image_line: str) -> re.Match[str] | None:
    return re.search(r"\n".join(block_lines(image_line, first.count)), first.text)


def _around_known(text: str, question: str) -> Iterator[str]:
    """Templates with the question at one of its positions, those after a marker first."""
    marked = {match.end() for marker in _MARKERS for match in marker.finditer(text)}
    for start in sorted(_places(text, question), key=lambda start: start not in marked):
        before, after = text[:start], text[start + len(question) :]
        if _IMAGES in before or _IMAGES in after:
            yield before + QUESTION + after


def _around_varied(texts: Sequence[str]) -> str | None:
    """The template around what varies; of equal texts, around what is between marker and last blank line."""
    distinct = list(dict.fromkeys(texts))
    before = _commonest([_opening(*pair) for pair in _pairs(distinct)])
    if before is None:
        return None
    rests = [text.removeprefix(before) for text in distinct if text.startswith(before)]
    after = _commonest([_closing(*pair, _IMAGES not in before) for pair in _pairs(rests)])
    return None if after is None else before + QUESTION + after


def _pairs(texts: Sequence[str]) -> list[tuple[str, str | None]]:
    return list(pairwise(texts)) if len(texts) > 1 else [(text, None) for text in texts]


def _opening(one: str, other: str | None) -> Iterator[str]:
    """What precedes the questions of two turns, or the question of the only one."""
    common = one if other is None else one[: common_start(one, other)]
    for marker in _MARKERS:
        if match := marker.search(common):
            yield common[: match.end()]
            return
    if other is not None:
        yield common[: max(match.end() for match in _STARTS.finditer(common))]


def _closing(one: str, other: str | None, with_images: bool) -> Iterator[str]:
    """What follows the questions of two turns: all from the first blank line, line end or space that they share.

    Of a single turn: all from its last blank line or line end.
    """
    common = one if other is None else one[len(one) - common_start(one[::-1], other[::-1]) :]
    stop = common.find(_IMAGES) if with_images else len(common)
    for boundary in _ENDS[: 2 if other is None else 3]:
        if starts := [match.start() for match in boundary.finditer(common, 0, max(stop, 0))]:
            yield common[starts[-1 if other is None else 0] :]
            return
    if other is not None and stop >= 0:
        yield common[stop:]


def _after_templates(turn: ToolTurn, reminds: bool) -> Iterator[str]:
    by_chance = not reminds and len(turn.question) <= _SHORT
    for places in _announcements(turn.text, turn.index, turn.size):
        plain = _template(turn.text, places)
        reminding = [
            _template(turn.text, [*places, (start, start + len(turn.question), "question")])
            for start in _places(turn.text, turn.question, places[-1][1])
        ]
        yield from [plain, *reminding] if by_chance else [*reminding, plain]


def _places(text: str, question: str, start: int = 0) -> list[int]:
    """Where a question is in a text from `start` on; first where it is no part of a longer word."""
    places: list[int] = []
    at = text.find(question, start) if question else -1
    while at >= 0 and len(places) < _MAX_PLACES:
        places.append(at)
        at = text.find(question, at + 1)
    return sorted(places, key=lambda at: _joined(text, at) or _joined(text, at + len(question)))


def _joined(text: str, at: int) -> bool:
    return text[at - 1 : at].isalnum() and text[at : at + 1].isalnum()
