"""Change phrases of a text, and say where: one of a caption, to be found (ViCrit), or several of an answer (Critic-V).

By rules, a word is exchanged for another of its kind; a model changes nouns as well. With one change the new question
is the changed text, and its answer the wrong phrase; with more, the column `corrupted` has the text. `changes` has the
place of each in it, in characters, as comparing both texts finds it again.
Source: arXiv:2506.10128 (ViCrit), 3.1 and table 5, not its prompt and its examples; kyrieLei/Critic-V@7aa9b80,
data_utils/inject/error_inject.py, for 1 to 5 faults in an answer.
"""

import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from virc.core.text import clause
from virc_extras.make.operator import Made, Means, Row, kept, left_out
from virc_extras.make.operators.select import column_of
from virc_extras.pipelines.speaking import Role

Kind = Literal["number", "colour", "place", "attribute", "noun"]
WORDS: Mapping[Kind, Sequence[str]] = {
    "number": ["two/three/four/five/six/seven/eight/nine/ten"],
    "colour": ["red/blue/green/yellow/black/white/brown/grey/pink/purple"],
    "place": [
        "the left/the right", "the top/the bottom", "above/below", "in front of/behind", "inside/outside",
        "foreground/background", "upper/lower",
    ],
    "attribute": [
        "large/small", "tall/short", "wooden/metal/plastic", "round/square", "full/empty", "thick/thin", "wide/narrow",
        "smooth/rough", "bright/dark", "striped/plain", "clean/dirty", "wet/dry", "standing/sitting",
    ],
}  # fmt: skip
"""Words that rules exchange within a group."""
_STANDING = {
    kind: re.compile(rf"(?<![\w'’-])(?:{'|'.join(groups).replace('/', '|')})(?![\w'’-])", re.IGNORECASE)
    for kind, groups in WORDS.items()
}
PROMPT = """{question}Text about the picture: {text}

Make the text wrong in {count}, by changing a {kinds}; the picture has to show that it is wrong. Of each place copy a \
phrase of 1 to 5 words exactly, which stands in the text once, and write the wrong phrase that takes its place, which \
stands in it nowhere else. Answer with JSON alone:
{{"changes": [{{"original": "...", "replacement": "...", "detail": "what is wrong"}}]}}"""

MAX_WORDS = 6
"""Most words of a phrase."""
_PIECES = re.compile(r"\w+|[^\w\s]")


class Change(msgspec.Struct, frozen=True):
    """One changed phrase: where it is in the changed text, in characters, what was there, and what is there."""

    start: int
    end: int
    original: str
    replacement: str


class UnfitError(Exception):
    """A change that cannot be used: the name of the rule against it, and a sentence."""

    def __init__(self, rule: str, why: str) -> None:
        super().__init__(why)
        self.rule, self.why = rule, why


def changed(text: str, original: str, replacement: str) -> tuple[str, Change]:
    """The text with another phrase in place of one that stands in it once. Raises UnfitError: that is not possible."""
    words, others = original.split(), replacement.split()
    if not words or not others or [each.lower() for each in words] == [each.lower() for each in others]:
        raise UnfitError("nothing changed", f"{original!r} and {replacement!r} are the same, or one is empty")
    if max(len(words), len(others)) > MAX_WORDS:
        raise UnfitError("phrase too long", f"{original!r} or {replacement!r} has over {MAX_WORDS} words")
    if len(places := _places(text, words)) != 1:
        raise UnfitError("phrase not there once", f"{original!r} stands {len(places)} times in the text")
    ((start, end),), new = places, " ".join(others)
    new = new[0].upper() + new[1:] if text[start].isupper() else new
    made = text[:start] + new + text[end:]
    if len(places := _places(made, others)) != 1:
        raise UnfitError("answer not there once", f"{new!r} stands {len(places)} times in the changed text")
    change = Change(start, start + len(new), text[start:end], new)
    if not is_only(text, made, change):
        raise UnfitError("not one change", f"a comparison does not find {new!r} in the changed text")
    return made, change


def is_only(before: str, after: str, change: Change) -> bool:
    """Whether two texts differ by that change alone."""
    start, end = difference(before, after)
    return change.start <= start < end <= change.end and undone(after, [change]) == before


def difference(before: str, after: str) -> tuple[int, int]:
    """Where the second text is another than the first: start and end, compared word by word from both ends.

    (0, 0): it has nothing there, or they are the same.
    """
    first, second = ([*_PIECES.finditer(text)] for text in (before, after))
    most = min(len(first), len(second))
    head = next((index for index in range(most) if first[index][0] != second[index][0]), most)
    tail = next((index for index in range(most - head) if first[-1 - index][0] != second[-1 - index][0]), most - head)
    cut = second[head : len(second) - tail]
    return (cut[0].start(), cut[-1].end()) if cut else (0, 0)


def undone(text: str, changes: Sequence[Change]) -> str:
    """The text as it was before changes."""
    for each in sorted(changes, key=lambda change: change.start, reverse=True):
        text = text[: each.start] + each.original + text[each.end :]
    return text


def _places(text: str, words: Sequence[str]) -> list[tuple[int, int]]:
    phrase = r"\s+".join(map(re.escape, words))
    return [each.span() for each in re.finditer(rf"(?<!\w){phrase}(?!\w)", text, re.IGNORECASE)]


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is changed, and by whom.

    Args:
        column: of the text; Critic-V: answer.
        kinds: of phrases that may be changed.
        by: `rules`, or a `model` in the role `teacher`, which sees the picture.
        most: most changes that a model makes; Critic-V: 5.
    """

    column: str = "caption"
    kinds: Annotated[tuple[Kind, ...], Meta(min_length=1)] = ("number", "colour", "place", "attribute")
    by: Literal["rules", "model"] = "rules"
    most: Annotated[int, Meta(ge=1, le=20)] = 1

    def __post_init__(self) -> None:
        if self.by == "rules" and ("noun" in self.kinds or self.most > 1):
            raise ValueError("rules change no noun, and one phrase alone: by=model does more")


class Proposed(msgspec.Struct, frozen=True):
    """A change as a model writes it."""

    original: str
    replacement: str
    detail: str = ""


class Proposal(msgspec.Struct, frozen=True):
    """The reply of a model that is asked for changes."""

    changes: Annotated[list[Proposed], Meta(min_length=1)]


def roles(options: Options) -> Mapping[str, Role]:
    """The models that are asked: a teacher, or none where rules change the text."""
    return {"teacher": Role(temperature=0.7)} if options.by == "model" else {}


def run(row: Row, means: Means[Options]) -> Made:
    """The row with the changed text and its changes; left out where nothing in the text can be changed."""
    options, text = means.options, column_of(row, means.options.column)
    if not isinstance(text, str) or not text.strip():
        return left_out("no text", f"{options.column} has none")
    try:
        if options.by == "rules":
            made, change = by_rules(text, options.kinds, means.random)
            found: list[dict[str, Any]] = [msgspec.to_builtins(change)]
        else:
            made, found = put_in(text, _proposed(row, means, text))
    except UnfitError as error:
        return left_out(error.rule, error.why)
    if options.most == 1:
        return kept({**row.fields, "question": made, "answer": found[0]["replacement"], "changes": found})
    return kept({**row.fields, "corrupted": made, "changes": found})


def by_rules(text: str, kinds: Sequence[Kind], random: Random) -> tuple[str, Change]:
    """A text in which one word is exchanged for another of its kind, and the change."""
    for kind in random.sample(kinds, len(kinds)):
        standing = {word.lower() for word in _STANDING[kind].findall(text)}
        groups = [group.split("/") for group in WORDS[kind]]
        pairs = [(word, other) for group in groups for word in group if word in standing for other in group]
        for word, other in random.sample(pairs, len(pairs)):
            article = "an" if word[0] in "aeiou" else "a" if other[0] in "aeiou" else None  # suits `word` alone
            if not re.search(rf"\b{article} {word}\b", text, re.IGNORECASE):
                try:
                    return changed(text, word, other)
                except UnfitError:
                    continue
    raise UnfitError("no such phrase", f"it has no {' or '.join(kinds)} that a rule changes")


def put_in(text: str, proposed: Sequence[Proposed]) -> tuple[str, list[dict[str, Any]]]:
    """A text with proposed changes, and the changes as a row has them."""
    made, changes = text, list[Change]()
    for each in proposed:
        made, new = changed(made, each.original, each.replacement)
        shift = len(new.replacement) - len(new.original)  # earlier changes after the new one move by this
        for index, old in enumerate(changes):
            if old.start > new.start:
                changes[index] = msgspec.structs.replace(old, start=old.start + shift, end=old.end + shift)
        changes.append(new)
    if undone(made, changes) != text:
        raise UnfitError("changes overlap", "one changes what another put in")
    details = [{"detail": each.detail} for each in proposed]
    return made, [msgspec.to_builtins(each) | detail for each, detail in zip(changes, details, strict=True)]


def _proposed(row: Row, means: Means[Options], text: str) -> Sequence[Proposed]:
    most, kinds = means.options.most, " or ".join(means.options.kinds)
    count = "one place" if most == 1 else f"1 to {most} places"
    asked = f"Question about the picture: {row.question}\n" if row.question else ""
    prompt = PROMPT.format(question=asked, text=text, count=count, kinds=kinds)
    reply = means.ask("teacher", *([means.image(row)] if row.images else []), prompt)
    try:
        found = msgspec.json.decode(reply[max(reply.find("{"), 0) : reply.rfind("}") + 1], type=Proposal).changes
    except (ValueError, RecursionError) as error:
        raise UnfitError("no such JSON", clause(error)) from None
    if len(found) > most:
        raise UnfitError("too many changes", f"{len(found)} were proposed, at most {most} are asked for")
    return found
