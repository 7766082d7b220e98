"""Replies that look like answers and are none: a box alone, endless repetition, and repeated greedy replies.

`checked` marks a single reply as unusable; `Repeated` follows the replies of a conversation.
"""

import re
from collections.abc import Sequence

import msgspec

from virc.reasoning.images import Shown
from virc.reasoning.marks.families import all_of, names_of, pattern
from virc.reasoning.marks.special_tokens import first_turn
from virc.reasoning.session import Rejected, Reply, Session, Unit
from virc.reasoning.trace import CallResult
from virc.solving.traces.page import in_words

REPEATED = "at temperature 0 the model gave"
"""The beginning of the sentence about a hopeless conversation."""
TIMES = 3
"""So many equal greedy calls with equal results, or equal unusable greedy replies, end a solution."""
_OF_A_CALL = ("tool", "deviation", "unit")
"""Faults by whose reason two replies are compared; for other faults the whole replies are."""


_TAIL = 8000  # characters at the end of a reply in which a repetition is looked for
_LOOPS = ((8, 120), (24, 48))
"""(times, characters): a text is a loop if it is repeated so often and all repetitions have so many characters.

A column of a table may have the same short word several times.
"""
_JSON = re.compile(r"(?:```(?:json)?\s*)?([\[{].*[\]}])\s*(?:```)?", re.DOTALL)
_BOX_KEYS = frozenset({"bbox_2d", "box_2d", "bbox", "bounding_box", "point_2d"})
"""Names of a box in an object; what is next to it, such as a label, may answer the question."""
_PLACE = re.compile(
    r"\b(?:where|b?box(?:es)?(?:_2d)?|bounding|coordinates?|locat\w*|positions?|places?|regions?|areas?|detect\w*|ground\w*"
    r"|points?(?:_2d)?|mark|find|outline|segment|corner|où|wo|dónde|donde|dove|onde|где)\b|框|坐标|位置|定位|哪里|どこ|座標|어디",
    re.IGNORECASE,
)
"""Words of a question that a box can answer."""


def checked(reply: Reply, session: Session) -> Reply:
    """The reply for the session: one that only looks like an answer has the cause as its `refusal`.

    Replies that call tools, and those of models with a chat protocol of their own, are returned as they are.
    """
    if session.protocol.reading != "lenient" or reply.refusal or reply.calls:
        return reply
    text, cause = first_turn(reply.text), None
    if is_box_alone(text, session.question):
        cause = f"its reply is nothing but a box: {' '.join(text.split())[:80]}"
    elif repeated := repeated_to_the_end(text):
        cause = f"its reply repeats {repeated[:60]!r} to the end"
    return msgspec.structs.replace(reply, refusal=cause) if cause else reply


def is_box_alone(text: str, question: str) -> bool:
    """Whether a reply is the marks of a box alone, or with numbers if the question asks for no place."""
    asks_for_place = _PLACE.search(question)
    if _is_json_of_boxes(text):
        return not asks_for_place
    name = names_of("places")
    box = rf"</?(?:{name})>|<\|/?(?:{name})(?:_start|_end)?\|>|{pattern(all_of('boxes'))}|<loc_?\d+>"
    # with its numbers; GLM's box is not among them, which stands around an answer
    numbered = rf"<(?:{name}|\|(?:{name})(?:_start)?\|)>[\d\s.,;:()\[\]{{}}%-]+(?:</\w+>|<\|/?\w+\|>|\Z)"
    rest, numbers = re.subn(numbered, "", text, flags=re.IGNORECASE)
    rest, marks = re.subn(box, "", rest, flags=re.IGNORECASE)
    if rest.strip() or not (marks or numbers):
        return False
    return not (numbers and asks_for_place)


def _is_json_of_boxes(text: str) -> bool:
    found = _JSON.fullmatch(text.strip())
    if not found:
        return False
    try:
        value = msgspec.json.decode(found[1])
    except (ValueError, RecursionError):
        return False
    items = value if isinstance(value, list) else [value]
    return bool(items) and all(isinstance(item, dict) and item and item.keys() <= _BOX_KEYS for item in items)


def repeated_to_the_end(text: str) -> str | None:
    """The text that is repeated up to the end of a reply, as of `_LOOPS`; None if there is none.

    The last repetition may be cut. A text with letters or digits counts only if its repeated part has some: the rules
    of a table may be long. The search is that of Knuth, Morris and Pratt: for each beginning of the reversed text,
    `borders` has the length of the longest shorter beginning that it also ends with; the rest of it is its period.
    """
    is_wordless = not any(map(str.isalnum, text))
    reverse = " ".join(text[-2 * _TAIL :].split())[-_TAIL:][::-1]
    shortest = min(characters for _, characters in _LOOPS)
    borders = [0] * (len(reverse) + 1)
    border = 0
    for length in range(2, len(reverse) + 1):
        while border and reverse[length - 1] != reverse[border]:
            border = borders[border]
        if reverse[length - 1] == reverse[border]:
            border += 1
        borders[length] = border
        period = length - border
        is_loop = length >= shortest and any(length >= max(characters, times * period) for times, characters in _LOOPS)
        if is_loop and (is_wordless or any(map(str.isalnum, reverse[:period]))):
            return reverse[:period][::-1].strip()
    return None


class Repeated:
    def __init__(self) -> None:
        self._images_of: dict[bytes, list[Sequence[Shown]]] = {}  # reply or call -> the images of each time

    def sentence(self, verdict: Unit | Rejected, session: Session) -> str | None:
        """Why the conversation is hopeless after this greedy reply; None: it is not.

        A unit is hopeless if each of its calls was made `TIMES` times, on the same picture and with the same result.
        Two pictures are the same if their pixels are: a picture that is shown again has another index.
        """
        if isinstance(verdict, Rejected):
            compared = verdict.reason if verdict.kind in _OF_A_CALL else verdict.text
            times = self._count(msgspec.json.encode([verdict.kind, compared]), ())
            what = f"the same reply, which could not be used: {verdict.reason}"
        else:
            if verdict.answer is not None:
                return None
            results = {_key(each): each for each in verdict.results}  # a call that stands twice in a unit counts once
            times = min((self._times(key, each, session) for key, each in results.items()), default=0)
            what = " and ".join(_in_words(each) for each in results.values())
        return f"{REPEATED} {TIMES} times {what}" if times >= TIMES else None

    def _times(self, key: bytes, result: CallResult, session: Session) -> int:
        source = () if result.call is None or result.call.index is None else (result.call.index,)
        return self._count(key, [session.images[index] for index in (*source, *result.images)])

    def _count(self, key: bytes, images: Sequence[Shown]) -> int:
        """How often this reply or call came with these images, this time included."""
        images_of_key = self._images_of.setdefault(key, [])
        images_of_key.append(images)
        return sum(len(each) == len(images) and all(map(_same, each, images)) for each in images_of_key)


def _key(result: CallResult) -> bytes:
    """A call and its result, without the index of its image and the parts of a pixel in its box."""
    call = result.call and msgspec.structs.replace(result.call, index=None, region=None)
    return msgspec.json.encode([call, result.text, result.error, result.reason])


def _same(one: Shown, other: Shown) -> bool:
    return one is other or (one.size == other.size and one.pixels.tobytes() == other.pixels.tobytes())


def _in_words(result: CallResult) -> str:
    if result.call is None:
        return f"a call that could not be used: {result.reason or result.error}"
    return f"the same call with the same result: {in_words(result.call)}"
