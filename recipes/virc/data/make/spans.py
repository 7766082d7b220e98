"""Phrases of a text that are changed, and found again by comparing both texts."""

import re
from collections.abc import Sequence

import msgspec

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
    """Whether comparing the texts finds the change in its place, and no other."""
    start, end = difference(before, after)
    return change.start <= start < end <= change.end and undone(after, [change]) == before


def difference(before: str, after: str) -> tuple[int, int]:
    """Where the second text is another than the first: start and end, compared word by word from both ends.

    (0, 0): it has nothing there, or they are the same.
    """
    first, second = ([*_PIECES.finditer(text)] for text in (before, after))
    most = min(len(first), len(second))
    head = next((at for at in range(most) if first[at][0] != second[at][0]), most)
    tail = next((at for at in range(most - head) if first[-1 - at][0] != second[-1 - at][0]), most - head)
    cut = second[head : len(second) - tail]
    return (cut[0].start(), cut[-1].end()) if cut else (0, 0)


def undone(text: str, changes: Sequence[Change]) -> str:
    """The text before its changes."""
    for each in sorted(changes, key=lambda change: change.start, reverse=True):
        text = text[: each.start] + each.original + text[each.end :]
    return text


def _places(text: str, words: Sequence[str]) -> list[tuple[int, int]]:
    """Where words stand one after the other, as whole words, in any case."""
    phrase = r"\s+".join(map(re.escape, words))
    return [each.span() for each in re.finditer(rf"(?<!\w){phrase}(?!\w)", text, re.IGNORECASE)]
