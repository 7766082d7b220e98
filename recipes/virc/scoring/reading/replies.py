"""Replies without thoughts and tags (`untagged`), without LaTeX and Markdown (`plain`), and their `sentences`."""

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from virc.reasoning.marks.special_tokens import answered, first_turn, without_special, without_thoughts
from virc.scoring import rules
from virc.scoring.reading.phrases import NAMED, RECALLED, REMARK, RETRACTION

_MARKUP = re.compile(r"<\|[a-z_]+\|>|</?(?:b|strong|em|i|p|br)\s*/?>")


def untagged(text: str) -> str:
    """A reply without its thoughts; the content of its last answer in marks, if it has one."""
    text = without_thoughts(first_turn(text))
    tagged = [each[2] for each in answered("answers", "alone").finditer(text) if each[2].strip()]
    text = _MARKUP.sub(" ", without_special(tagged[-1] if tagged else text)).strip()
    block = _FENCED.search(text)
    written = block[1] if block else text
    if not written.startswith("{") or len(written) > _MAX_JSON:
        return text
    try:
        fields = json.loads(written)
    except ValueError:
        return text
    only_value = next(iter(fields.values())) if len(fields) == 1 else None
    value = fields.get("answer", fields.get("final_answer", only_value))
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else text


_PICTOGRAPHS = (
    "\u231a\u231b\u23e9-\u23fa\u2605\u2606\u2610-\u2612\u2614\u261a-\u261f\u2639-\u263b\u26a0\u26a1\u2700-\u2714\u2717-\u2775\u2794-\u27bf"
    "\u2b05-\u2b07\u2b1b-\u2b55\U0001f000-\U0001f02b\U0001f300-\U0001f6ff\U0001f7e0-\U0001faff"
    "\U0001f1e6-\U0001f1ff"
)
"""Dingbats, emoji and flags; not the signs of units, music, cards, chess and geometry, nor numbers in circles."""
_JOINING = str.maketrans(dict.fromkeys("\u200d\u20e3\ufe0e\ufe0f"))
"""What joins emoji, and makes one of a digit."""
_BULLETS = "•‣⁃◦▪▫■□●○◆◇▶►▸◀◄◂"
_ARROWS = "\u2190-\u21ff\u27f0-\u27ff\u2900-\u297f"
_ORNAMENT = re.compile(
    rf"[{_PICTOGRAPHS}]+"
    rf"|(?:^|(?<=[:=]))[ \t]*(?:[{_ARROWS}{_BULLETS}]|[-=]{{1,2}}>)+(?=\s|\w)"
    rf"|(?:[{_ARROWS}{_BULLETS}]|(?<=\s)<[-=]{{1,2}})+[ \t]*$",
    re.MULTILINE,
)
"""An arrow or a bullet is an ornament at the beginning and the end of a line, and behind a colon."""


def unadorned(text: str) -> str:
    """A text without signs that are no value; the text itself where nothing else is in it."""
    return re.sub(r"(?<=\S)[ \t]{2,}", " ", _ORNAMENT.sub(" ", text.translate(_JOINING))).strip() or text


_FENCED = re.compile(r"```(?:json)?\s*(\{[^`]*\})\s*```\Z")
_MAX_JSON = 2000


class Box(NamedTuple):
    """What is in `\\boxed{}`, and where it begins and ends in a text."""

    content: str
    start: int
    end: int


_BRACE = re.compile(r"(?P<box>\\(?:boxed|fbox)\s{0,3}\{)|(?<!\\)[{}]")


def boxes(text: str) -> list[Box]:
    """The closed boxes of a text that are not in another box, in order."""
    found: list[Box] = []
    opened: list[re.Match[str]] = []
    for brace in _BRACE.finditer(text):
        if brace[0] != "}":
            opened.append(brace)
        elif opened and (box := opened.pop())["box"]:
            while found and found[-1].start > box.start():
                found.pop()
            found.append(Box(text[box.end() : brace.start()], box.start(), brace.end()))
    return found


_MATH = re.compile(r"\$\$?(?=[^\s$])([^$]{0,400}?[^\s$\\])\$\$?(?!\d)", re.DOTALL)
_DOLLAR = "\x00"  # stands for signs of money while those of LaTeX go
_RAISED = re.compile(r"(?<=\w)[⁻⁰¹²³⁴-⁹]+")


def _ended(math: re.Match[str]) -> str:
    """The text between signs of mathematics, with spaces after a command at its end, before the next word."""
    return f"{math[1]}  " if re.search(r"\\[a-zA-Z]+\Z", math[1]) else math[1]


_STOPS = str.maketrans({"。": ". ", "、": ", ", "！": "! ", "？": "? "})


def plain(text: str) -> str:
    """A text without LaTeX and Markdown, with one sign for signs of one meaning; case and line breaks stay."""
    text = _RAISED.sub(lambda found: "^" + unicodedata.normalize("NFKC", found[0]), text.translate(_STOPS))
    text = rules.same_signs(text)
    text = re.sub(r"(?<=\d)\*\*(?=\d)", "^", text)
    text = re.sub(r"```[a-z]*|\*\*|__|`", "", text)
    text = re.sub(r"(?<![\w*])\*(?=[^\s*])|(?<=[^\s*])\*(?![\w*])", "", text)
    text = re.sub(r"^\s*(?:#+|>+(?=\s*[^\s\d])|[-*•]\s)\s*", "", text, flags=re.MULTILINE)
    text = _MATH.sub(_ended, text.replace("\\$", _DOLLAR)).replace("$$", "").replace("$", _DOLLAR)
    if re.search(r"[\\^]|\{,\}", text):
        text = rules.without_latex(re.sub(r"\\(?=\s|\Z)", " ", text))
    return re.sub(" {2,}", " ", text.replace(_DOLLAR, "$")).strip()


def latex_of(text: str, short: str) -> str:
    """A plain short answer as it is written in a reply: in its LaTeX, where `1/2x` is `\\frac{1}{2}x`."""
    written = [*(box.content for box in boxes(text)), *_MATH.findall(text), text]
    written += [each.rpartition("=")[2].strip() for each in written]
    return next((each for each in written if plain(each) == short), short)


_ITEM_BEHIND = (
    r"(?:(?:[a-z] ?= ?)?[-+(\[$€£]{0,3}\d[^\s;=]{0,30}(?: [^\s;=]{1,30})?|(?-i:[A-Z]\w{0,30} [A-Z]\w{0,30})"
    r"|(?!(?:no|wait|sorry|so|thus|hence|done|thanks|verified|checked|qed|sure|correct|okay|see|\w{1,30}ly)\b)"
    r"[^\W\d]{1,30})[.\s]?(?:;|\n|\Z)"
)
"""The next item of a list with semicolons between its items."""
_END = re.compile(
    rf"(?<=[.!?])\s+|(?<=;)\s+(?=\S)(?!{_ITEM_BEHIND})"
    r"|\s*\n\s*|\.{3}\s*|…\s*"
    r"|,\s+(?=(?:no|wait|sorry|actually|i meant?|or rather)(?:[,:]|(?<=lly|ean|ant|her) ))",
    re.IGNORECASE,
)
_ABBREVIATED = re.compile(
    r"(?:^|\W)(?:[ap]\.?m|approx|e\.g|i\.e|etc|vs|mr|mrs|ms|dr|st|no|fig|eq|rs|sq|cu|jan|feb|mar|apr|aug|sept?|oct|nov"
    r"|dec|[a-z]\.[a-z])\.\Z",
    re.IGNORECASE,
)
_LABEL = re.compile(r"\W*(?:(?:option|choice)\s)?\(?[A-Z1-9]\)?\.", re.IGNORECASE)
_LABEL_AT_END = re.compile(r"(?:^|answer\W{0,3}|option |choice |\bis |\()\(?[A-Z]\)?\.\Z", re.IGNORECASE)
_RUNS_ON = re.compile(r"(?:(?<=:)|(?<=\bis)|(?<==)|(?<=\bare)|(?<=为)|(?<=是))[ \t]*\n\s*")
_HEADING = re.compile(
    r"^\W*((?:final |the |my |correct )*(?:answer|result|solution|conclusion))[^\w\n]*\n+", re.IGNORECASE | re.MULTILINE
)
_SAYS = re.compile(
    rf"{NAMED.pattern}|\b(?:is|are|was|were|am|do|does|fits?|has|have|can)\b|n't\b|'s not\b", re.IGNORECASE
)
"""Words by which a text is a sentence of its own, not the content of a choice."""
_MAX_BEFORE = 40  # characters before the end of a sentence, by which it is judged whether it is one


_ITEM = re.compile(r"(?:\d[.)]|[-•*])\s+([^:=\n.]{1,40}?)[,;.]?")


def listed(text: str) -> str | None:
    """The items of a list with commas between them, if all lines of a text are its items; None if not."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    items = [item[1].strip() for line in lines if (item := _ITEM.fullmatch(line))]
    return ", ".join(items) if len(items) == len(lines) > 1 else None


def sentences(text: str) -> Iterator[str]:
    """The sentences and lines of a plain text. `The answer is:` goes on in the next line, `B. blue` after its dot."""
    text = _HEADING.sub(r"\1: ", _RUNS_ON.sub(" ", text))
    start = 0
    for end in _END.finditer(text):
        before, after = text[max(start, end.start() - _MAX_BEFORE) : end.start()], text[end.end() :]
        is_line = "\n" in end[0]
        is_abbreviated = not is_line and _ABBREVIATED.search(before) and not re.match(r"[A-Z]", after)
        if is_abbreviated or (not is_line and _continues_label(before, after.partition("\n")[0])):
            continue
        if sentence := text[start : end.start()].strip():
            yield sentence
        start = end.end()
    if rest := text[start:].strip():
        yield rest


def _continues_label(before: str, after: str) -> bool:
    """Whether `B. blue` goes on: the letter begins a sentence, or a few words follow it at the end of a line."""
    if RETRACTION.match(after) or REMARK.match(after) or RECALLED.search(after):
        return False
    is_label = _LABEL_AT_END.search(before) and len(after.split()) <= 4 and not _SAYS.search(after)
    return bool(_LABEL.fullmatch(before) or is_label)
