"""What a stock model says in a reply, in whichever usual way it or its server writes thoughts, calls and answers.

A model that was trained by one chat protocol is read by its grammar alone (`messages.parse`). Stock models are not:
the same weights write Hermes JSON, XML, a code block or bare JSON, and their servers may take thoughts and calls out of
the text. `read` takes thoughts off first, as they are never a part of an answer; then it looks for calls (`_calls`),
and else for the answer (`_answer`). What is between marks of a call is one. Any other text is a call only if it names
a tool that the conversation offers, and has the arguments of its schema (`_guessed`).
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice, takewhile
from typing import Any

import msgspec

from virc.reasoning.bodies import BOX, INDEX, Called, FormatError, ToolText, decoded
from virc.reasoning.call_forms import (
    ENVELOPES,
    MAX_CALL,
    MAX_MARK,
    Found,
    call_marks,
    calls_of,
    closing,
    is_quoted,
    marked,
    object_of,
)
from virc.reasoning.calls import Tool
from virc.reasoning.checking import takes, types
from virc.reasoning.coordinates import NAMED_SIDES, numbers_in
from virc.reasoning.grammar import HERMES, CallForm, Grammar, marks
from virc.reasoning.marks.families import names_of, pairs_of, pattern
from virc.reasoning.marks.special_tokens import (
    MAX_THOUGHTS,
    answered,
    apart,
    first_turn,
    last_answer,
    thought_closes,
    thought_opens,
    unwrapped,
    without_special,
    without_thoughts,
)
from virc.reasoning.messages import Turn
from virc.reasoning.writing import written

__all__ = ["ParsedReply", "Sent", "canonical", "makes_call", "read_leniently"]

_BRACES = r"[^{}]*+"
for _ in range(6):  # braces within braces
    _BRACES = rf"[^{{}}]*+(?:\{{{_BRACES}\}}[^{{}}]*+)*+"
_TEX = rf"\\boxed\{{({_BRACES})\}}"
_TEX_ALONE = re.compile(rf"\$*{_TEX}\$*\.?")
"""An answer that is nothing but a box around it, as models write it that were trained on mathematics."""
_FINAL = re.compile(
    r"\W*(?:(?:so|thus|therefore|hence|and),? )?(?:(?:the|my|die|la) )?(?:final |correct )?"
    r"(?:answer|antwort|réponse|respuesta|risposta|resposta|ответ|(?:最终)?答案)\W{0,4}(?:is|ist|est|es|è|é|[是:：])",
    re.IGNORECASE,
)
"""The beginning of a last line that says what the answer is."""
_CALLING = re.compile(r"\w\(\s*(?:\w+\s*=|\[)")
_SENTENCE = re.compile(r"(?<=[.!?。])\s")
_GOES_ON_THINKING = re.compile(
    r"\b(?:let me|let us|let's|i(?:'ll| will| need| have| should| must| think| guess)|need to|wait|hmm+|maybe|perhaps"
    r"|might|not sure|look(?:ing)? (?:at|again|closer))\b|让我|我需要|[?？:：…]\W*\Z|\.\.\.\Z",
    re.IGNORECASE,
)
"""A last line that is no answer: it plans, doubts or asks."""
_MAX_SHORT, _FEW = 200, 3
"""Characters that the last line of a thought may have to be the answer; and its words, if it has no number."""
_OBJECT, _WRAPPED = r"(?:\[\s*)?\{\s*[\"']", r"(?:```[a-z_]*\n\s*)?(?:print\()?"
_REST = re.compile(r"[^\w\n]*(?:#[^\n]*)?(?:\n|\Z)")
"""What may follow a function's call on its line: brackets, a full stop, a comment; no words."""
_GOES_ON = re.compile(r"[`\"')\]*]*[,;:]?[ \t]+[a-zß-öø-ÿα-ωа-я]")
"""What follows an object within a sentence: a small letter."""
_FENCED = re.compile(r"[)\]\s]*```")
_FENCE_LINE, _BLANK = r"^[ \t>]*+(?:```|~~~)", r"[ \t]*+\n"
_CODE_BLOCK = re.compile(
    rf"{_FENCE_LINE}.*?{_FENCE_LINE}|(?<=\S){_BLANK}{_BLANK}(?:(?:{_BLANK})*+(?: {{4}}|\t)[^\n]*+\n?)++",
    re.MULTILINE | re.DOTALL,
)
"""A block of code as Markdown has it: between fences (one without an end is a call that was cut), or indented."""
_QUOTED_LINE, _OPENING_QUOTE = re.compile(r"\s*>"), re.compile(r"[`\"'“‘«「]\s*\Z")
_TRANSCRIBES = re.compile(
    r"(?:^|[.!?]\s)(?![^.!?\n]*\b(?:what|that|which|to|i|we|my|let|zoom\w*|crop\w*|look\w*|closer)\b)[^.!?\n]*"
    r"(?:\b(?:reads?|says?|shows?|contains?|displays?|writes?|zeigt|muestra|dice|affiche|dit|ocr|transcri(?:pt|bed)\w*"
    r"|(?:here(?:'s| is) the|extracted) text)\b|显示|写着)[^.!?\n]*[:：]\W*\Z",
    re.IGNORECASE | re.MULTILINE,
)
"""The end of a text that introduces the text of a picture: `The sign says:`, `Transcription:`."""
_BETWEEN = re.compile(r"(?:[\s,;]|```[a-z_]*)*")
_MAX_GUESSES = 50
"""Places in a reply that are tried."""
_ENVELOPE = re.compile(rf"[\"'](?:{'|'.join(ENVELOPES)})[\"']\s*:")
_ARGUMENTS = re.compile(r"\b(?:bbox|image_index|img_idx|arguments)\w*(?:[\"']\s*:|\s*=)")
"""Other fields of a tool call, however badly it is written."""
ALIASES = {
    "bbox": BOX, "box": BOX, "box_2d": BOX, "bbox2d": BOX, "bounding_box": BOX, "region": BOX, "coordinates": BOX,
    "img_idx": INDEX, "image_idx": INDEX, "img_index": INDEX, "image_id": INDEX, "index": INDEX,
    "factor": "scale_factor", "scale": "scale_factor",
}  # fmt: skip
"""Other names of our tools' arguments, as models that know a similar tool write them."""
_TOOLS = dict.fromkeys(("image_zoom_in_tool", "zoom_in", "zoom", "zoom_image", "crop", "image_crop"), "crop_image")
"""Names of tools that cut out a box, as models know them that were trained with one; ours is not among them."""
_BEHIND_NAME, _BEFORE_NAME = re.compile(r"\.call\Z|:\d+\Z"), re.compile(r"\Amcp_[a-z\d]+_|[./:]|__")
"""What stands around a tool's name where models take it for a server's: `functions.NAME:0`, `mcp__SERVER__NAME`."""
_CUT_IN_CALL = "the token limit cut the reply within its tool call"


class Sent(msgspec.Struct, frozen=True):
    """A reply of a stock model as the next request has it: as it was written, to its last call, without its thought.

    Args:
        text: all of it.
        before: its text without the calls.
        calls: by the names that the model wrote; their arguments are objects.
        results: of a server that makes the calls: the text result of each call, or its error.
        message: the turn as the server sent it, which is sent back so.
    """

    text: str
    before: str = ""
    calls: tuple[Called, ...] = ()
    results: tuple[str, ...] = ()
    message: Mapping[str, Any] | None = None


class ParsedReply(msgspec.Struct, frozen=True):
    """What a reply says; and of a stock model, how the next request repeats it."""

    turn: Turn
    sent: Sent | None = None

    def calling(self, calls: Sequence[ToolText]) -> "ParsedReply":
        return ParsedReply(msgspec.structs.replace(self.turn, calls=tuple(calls)), self.sent)


class _Rules(msgspec.Struct, frozen=True):
    """How a reply is read."""

    form: CallForm  # how calls are written by rule, with the names of tools and arguments that stand for ours
    tools: Mapping[str, Tool]  # those that may be called, by our names
    cut: bool  # the token limit ended the reply, so that missing brackets are not added
    most: int = 1  # calls of it that are taken
    question: str = ""

    @property
    def exact(self) -> set[str]:
        """The names by which the conversation offers tools."""
        return {*self.tools, *self.form.names}

    @property
    def usual(self) -> set[str]:
        """Those, and the names by which models know the same tools."""
        return self.exact | {name for name, tool in _TOOLS.items() if tool in self.tools}

    def our_name(self, name: str) -> str:
        """Our name of the tool that a model calls by some name."""
        known = {**_TOOLS, **{name: name for name in self.tools}, **self.form.names}
        bare = _BEHIND_NAME.sub("", name.strip(" `\"'"))
        ends = (name, bare, *(bare[each.end() :] for each in _BEFORE_NAME.finditer(bare)))
        return next((known[each] for each in ends if each in known), name)

    def types(self, name: str) -> Mapping[str, frozenset[str]]:
        tool = self.tools.get(self.our_name(name))
        return types(tool) if tool else {}

    def own(self, text: str) -> list[Found]:
        """The calls in marks, without those that the text only shows."""
        return _without_shown(text, marked(text, self.cut), self)

    def fits(self, called: Called) -> bool:
        """Whether a call names an offered tool and has the arguments of its schema."""
        tool = self.tools.get(self.our_name(called.name))
        with suppress(FormatError):
            return tool is not None and takes(tool, _tool(called.name, _arguments(called, self), self).arguments)
        return False


def read_leniently(
    text: str,
    grammar: Grammar,
    tools: Mapping[str, Tool],
    *,
    thought: str | None = None,
    calls: tuple[Called, ...] = (),
    cut: bool = False,
    question: str = "",
) -> ParsedReply:
    """Read a reply.

    Args:
        text: its content.
        grammar: the form that calls are written in by rule: its first form says which names of tools and arguments
            stand for which of ours.
        tools: those that may be called, ours by name.
        thought: what the server sent as the thought.
        calls: those that the server sent as such; as many are taken as the grammar allows.
        cut: the token limit ended the reply.
        question: what was asked; an object by the names of arguments is the answer where it asks for them.

    Returns:
        What it says; arguments have our names, numbers and boxes that were written as text are numbers.

    Raises:
        FormatError: there is neither a call nor an answer, or a call that cannot be read, or the reply was cut before
            its answer was whole.
    """
    form = next((form for form in grammar.calls if form.body == "call"), HERMES)
    rules = _Rules(form, tools, cut, grammar.most_calls, question)
    text = first_turn(text)
    tagged, rest = apart(text)
    thoughts = _joined(thought or "", tagged)
    for _ in range(MAX_THOUGHTS):  # some models think several times
        if not thought_closes().search(rest) or _marked_before_close(rest):
            break
        tagged, behind = apart(rest)
        if not behind.strip() and not thought_opens().search(rest):  # the end mark of no thought, at the end
            rest = tagged
            break
        thoughts, rest = _joined(thoughts, tagged), behind
    if calls:
        return _calling(thoughts, _without_marks(rest), calls[: rules.most], rules)
    if not rest.strip():  # all of it is in the thought, for example if the server did not see where that ends
        return _of_thought_alone(thoughts, rules, is_sent=not text.strip())
    if found := _adjacent(_calls(rest, rules), rest, rules.most):
        before, as_written = _without_marks(rest[: found[0].start]), rest[: found[-1].end].strip()
        return _calling(thoughts, before, _readable(found, rules), rules, as_written)
    answer = _answer(rest, rules)
    mark = answered("answers").search(rest)  # without a mark, all of it is the answer
    before = _without_marks(rest[: mark.start()]) if mark else ""
    return ParsedReply(Turn(_joined(thoughts, before), answer=answer), Sent(rest.strip()))


def makes_call(text: str, tools: Mapping[str, Tool]) -> bool:
    """Whether a text calls a tool in marks of any family; a call that it only shows is none.

    Args:
        tools: those that may be called, ours by name.
    """
    return bool(_Rules(HERMES, tools, cut=False).own(text))


def canonical(turn: Turn, grammar: Grammar) -> str:
    """A turn as its grammar writes it; marks of the grammar that stand in its thought or answer are taken out.

    Raises:
        FormatError: it would be read in another way all the same.
    """
    clean = Turn(_unmarked(turn.think, grammar), turn.calls, turn.answer and _unmarked(turn.answer, grammar))
    return written(clean, grammar)


def _marked_before_close(text: str) -> bool:
    """Whether a call or an answer begins before the next thought: what follows that thought is made up by the model."""
    thought = min(found.start() for found in (thought_opens().search(text), thought_closes().search(text)) if found)
    marked = (call_marks().search(text), answered("answers").search(text))
    return any(found.start() < thought for found in marked if found)


def _calling(
    thoughts: str, before: str, calls: Sequence[Called], rules: _Rules, as_written: str | None = None
) -> ParsedReply:
    """What a reply with calls says, whose text is `before` up to the calls, and `as_written` up to the end of the last.

    None: the server took the calls out of the text.
    """
    called = tuple(Called(each.name, _arguments(each, rules)) for each in calls)
    if as_written is None:
        listed = (f'{{"name": {json.dumps(each.name)}, "arguments": {json.dumps(each.arguments)}}}' for each in called)
        as_written = _joined(before, *(f"{rules.form.open}\n{call}\n{rules.form.close}" for call in listed))
    tools = tuple(_tool(each.name, each.arguments, rules) for each in called if isinstance(each.arguments, dict))
    return ParsedReply(Turn(_joined(thoughts, before), tools), Sent(as_written, before, called))


def _arguments(called: Called, rules: _Rules) -> dict[str, Any]:
    """The arguments of a call as an object, by the names that the model wrote."""
    arguments: object = called.arguments
    for _ in range(2):  # some servers encode them twice
        if isinstance(arguments, str):
            arguments = object_of(arguments, rules.cut) if arguments.strip() else {}
    if rules.cut and not arguments:
        raise FormatError("length", _CUT_IN_CALL)
    names = {str(at): name for at, name in enumerate(rules.types(called.name) or (BOX,))}
    with suppress(TypeError, ValueError, RecursionError):
        if isinstance(arguments, dict):
            return {names.get(key, key): value for key, value in json.loads(json.dumps(arguments)).items()}
    raise FormatError("json", "the arguments of the tool call are no JSON object")


def _adjacent(found: Iterable[Found], text: str, most: int) -> list[Found]:
    """The first calls of a text, at most `most`, as long as no words stand between them."""
    taken: list[Found] = []
    for each in found:
        if len(taken) == most or (taken and not _BETWEEN.fullmatch(text, taken[-1].end, each.start)):
            break
        taken.append(each)
    return taken


def _of_thought_alone(thought: str, rules: _Rules, is_sent: bool) -> ParsedReply:
    """What a reply says that is nothing but a thought: marked calls or an answer in it count; `is_sent`: the server
    sent it as the thought, and may have taken a short answer for one.
    """
    found = _adjacent(rules.own(thought), thought, rules.most)
    if found:
        before = _without_marks(thought[: found[0].start])
        as_written = thought[found[0].start : found[-1].end]
        return _calling(before, "", _readable(found, rules), rules, as_written)
    if rules.cut:
        raise FormatError("length", "the token limit cut the reply within its thought")
    before, conclusion = _split_conclusion(thought, is_sent)
    if answer := _plain(conclusion):
        return ParsedReply(Turn(_without_marks(before), answer=answer), Sent(answer))
    raise FormatError("tags", "the reply is a thought without a call or an answer" if thought else "the reply is empty")


def _split_conclusion(thought: str, is_sent: bool) -> tuple[str, str]:
    """A thought up to the answer that comes after its end mark, in marks, or in its last line; and that answer."""
    thought = thought.rstrip()
    ends = list(thought_closes().finditer(thought))
    if ends and thought[ends[-1].end() :].strip():
        return thought[: ends[-1].start()], thought[ends[-1].end() :]
    if marked := [each for each in _concluding().finditer(thought) if any(each.groups())]:
        return thought[: marked[-1].start()], next(filter(None, marked[-1].groups()))
    before, _, last = thought.rpartition("\n")
    if _FINAL.match(last):
        return before, last
    sentence = _SENTENCE.split(last)[-1]
    if _FINAL.match(sentence):
        return thought.removesuffix(sentence), sentence
    is_paragraph = not before or (before.endswith("\n") and (len(last.split()) <= _FEW or re.search(r"\d|\*\*", last)))
    is_answer = is_sent and is_paragraph and len(last) <= _MAX_SHORT and not _GOES_ON_THINKING.search(last)
    return (before, last) if is_answer else (thought, "")


def _calls(text: str, rules: _Rules) -> Iterator[Found]:
    """The calls in a text: those in marks, else those that are guessed, unless it says itself what the answer is."""
    calls = rules.own(text)
    return iter(calls or ([] if _concludes(text) else _without_shown(text, _guessed(text, rules), rules)))


def _without_shown(text: str, found: Iterable[Found], rules: _Rules) -> list[Found]:
    """The calls without those that a text only shows.

    A call in a `>` quotation is shown, and one in a closed block of code behind the title of a transcription or before
    an answer. A call of a tool that nobody offers is shown in any closed block, and behind a quotation mark.
    """
    blocks = [block.span() for block in _CODE_BLOCK.finditer(text)]
    is_answered, names = bool(blocks) and _concludes(text[blocks[-1][1] :]), rules.usual

    def is_made(each: Found) -> bool:
        line = text[text.rfind("\n", 0, each.start) + 1 : each.start]
        start, end = blocks[bisect_right(blocks, (each.start, len(text))) - 1] if blocks else (0, 0)
        is_in_block = start <= each.start < end
        if not any(name in text[each.start : each.end] for name in names):
            is_shown = is_in_block or bool(_OPENING_QUOTE.search(line[-MAX_MARK:]))
        else:
            title = text[max(0, start - _MAX_SHORT) : start]
            is_shown = is_in_block and bool(is_answered or _TRANSCRIBES.search(title))
        return not (is_shown or _QUOTED_LINE.match(line))

    return [each for each in found if is_made(each)]


@cache
def _concluding() -> re.Pattern[str]:
    """An answer in marks or in TeX, or the end of one."""
    box_opens, box_closes = map(pattern, zip(*pairs_of("boxes"), strict=True))
    opens, closes = rf"(?:<(?:{names_of('answers')})>|{box_opens})", rf"(?:</(?:{names_of('answers')})>|{box_closes})"
    return re.compile(rf"(?:{opens}((?:(?!{opens}).)*?))?{closes}|{_TEX}", re.DOTALL | re.IGNORECASE)


def _concludes(text: str) -> bool:
    """Whether a text says what the answer is: in marks, or at the beginning of a sentence of its last line."""
    last = text.rstrip().rpartition("\n")[2]
    after_brackets = _SENTENCE.split(re.split(r"[)\]}]", last)[-1])
    if last.rstrip("` .;").endswith(")") and _CALLING.search(last):  # 'The answer is too small, so crop_image(...)'
        last = ""
    return bool(_concluding().search(text) or any(map(_FINAL.match, (last, *after_brackets))))


def _guessed(text: str, rules: _Rules) -> list[Found]:
    """The calls that no mark opens: of an offered tool, with the arguments it takes.

    If there is none, what names a tool and one of its arguments is a call that was written badly.
    """
    calls, badly_written = list[Found](), list[Found]()
    for place in islice(_starts(text, rules), _MAX_GUESSES):
        start = place.start("call")
        end = closing(text, start)
        piece, fence = text[start:end], _FENCED.match(text, end)
        is_object = piece[:1] in "[{"  # else it is written as a function
        is_in_sentence = _GOES_ON.match(text, end) if is_object else not _REST.match(text, end)
        if is_in_sentence or is_quoted(text, start):
            continue
        called = calls_of(piece, rules.cut)
        fitting = tuple(takewhile(rules.fits, called))
        found = Found(place.start(), fence.end() if fence else end, fitting)
        is_named = _is_named(piece, called, rules)
        if is_object:  # without a tool's own name, it may be a box with a label
            is_call = is_named or bool(_ENVELOPE.search(piece))
        else:  # or a function of a library
            is_call = is_named or piece.partition("(")[0] in rules.exact or "=" in piece
        if fitting and is_call:
            calls.append(found)
        if is_named:
            badly_written.append(Found(found.start, found.end, called))
    return calls or badly_written


def _starts(text: str, rules: _Rules) -> Iterator[re.Match[str]]:
    """Where a JSON object, or a function by the name of a tool, begins: the group `call`."""
    names = "|".join(map(re.escape, rules.usual))
    server = r"(?:(?:functions|tools?|virc|default_api)\.|mcp__\w{1,40}?__)?"
    named = rf"\[?(?<!def )(?<![\w.]){server}(?:{names})(?:\.call)?(?=\(|\s*(?::\s*)?\{{)"
    return re.finditer(rf"{_WRAPPED}(?P<call>{_OBJECT}|{named})", text)


def _is_named(piece: str, called: Sequence[Called], rules: _Rules) -> bool:
    """Whether a piece of text has the name of a tool as it is offered, and the name of one of its arguments."""
    if called:
        name = called[0].name
        return name in rules.exact and any(key in piece for key in ("arguments", *rules.types(name)))
    return any(name in piece for name in rules.exact) and bool(_ARGUMENTS.search(piece)) and object_of(piece) is None


def _readable(found: Sequence[Found], rules: _Rules) -> list[Called]:
    """The calls that are taken. Raises FormatError: one of them cannot be read."""
    if all(each.calls for each in found):
        return [call for each in found for call in each.calls][: rules.most]
    if rules.cut:
        raise FormatError("length", _CUT_IN_CALL)
    raise FormatError("json", "the reply holds a tool call that cannot be read")


def _tool(name: str, arguments: Mapping[str, Any], rules: _Rules) -> ToolText:
    """A call by our names of the tool and its arguments, with numbers and boxes that were written as text as such."""
    form, types, ours = rules.form, rules.types(name), dict[str, Any]()
    for key, value in arguments.items():
        our_key = form.keys.get(key, ALIASES.get(key, key) if ALIASES.get(key) not in arguments else key)
        if our_key is not None:
            ours.setdefault(our_key, value if "string" in types.get(our_key, ()) else _value(our_key, value))
    return ToolText(rules.our_name(name), {**form.default, **form.given, **ours})


def _value(name: str, value: object) -> object:
    if isinstance(value, str):
        value = numbers_in(value) if name == BOX else _number(value)
    if name != BOX:
        return int(value) if isinstance(value, float) and value.is_integer() and name == INDEX else value
    if isinstance(value, Mapping):
        sides = next((sides for sides in NAMED_SIDES if all(side in value for side in sides)), None)
        value = [value[side] for side in sides] if sides else value
    if isinstance(value, list) and value and all(isinstance(each, list) for each in value):
        value = [side for each in value for side in each]
    if isinstance(value, list):
        return [_number(side) if isinstance(side, str) else side for side in value]
    return value


def _number(text: str) -> object:
    with suppress(FormatError):
        return decoded(text.strip(), whole=True)
    return text


def _answer(text: str, rules: _Rules) -> str:
    """What a reply without a call answers.

    Raises:
        FormatError: nothing, or the arguments of a call alone, or the token limit cut it.
    """
    answers = answered("answers").findall(text)
    if rules.cut and not (answers and answers[-1][2]):
        raise FormatError("length", "the token limit cut the reply before its answer was whole")
    bare = text.strip().strip("`").removeprefix("json")[:MAX_CALL]
    is_bare = not (answers or _concludes(text) or _GOES_ON.match(bare, closing(bare)))
    value = object_of(bare) if is_bare else None
    arguments = value.get("arguments", value) if isinstance(value, dict) else value
    if isinstance(arguments, dict):  # it may be a call that lacks its name, or an object that the question asks for
        names, is_nested = {rules.form.keys.get(key, key) for key in arguments}, arguments is not value
        is_asked = not is_nested and all(key in rules.question for key in arguments)
        if BOX in names and (is_nested or names == {BOX, INDEX}) and not is_asked:
            raise FormatError("json", "the reply holds the arguments of a call without the name of one of its tools")
    answer = _plain(text)
    if not answer:
        raise FormatError("tags", "the reply holds neither a call nor an answer")
    return answer


def _plain(text: str) -> str:
    """An answer without the marks, thoughts and special tokens around it."""
    text = unwrapped(without_special(without_thoughts(last_answer(text))).strip())
    alone = _TEX_ALONE.fullmatch(text)
    return alone[1].strip() if alone else text


def _without_marks(text: str) -> str:
    return without_special(thought_closes().sub("", thought_opens().sub("", text))).strip()


def _joined(*parts: str) -> str:
    return "\n".join(part.strip() for part in parts if part.strip())


def _unmarked(text: str, grammar: Grammar) -> str:
    while found := marks(text, grammar):  # what remains of two may be a mark again
        for mark in reversed(found):
            text = text[: mark.start] + text[mark.end :]
    return text.strip()
