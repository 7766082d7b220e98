"""What a server's refusal says of how many pictures, or how many tokens, fit into a conversation."""

import re

_WORDS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "eight": 8, "ten": 10}
_NUMBER = rf"(\d{{1,4}}|{'|'.join(_WORDS)})(?![\d.,]*\d|\s*(?:[kmg]i?b?\b|bytes|px|pixel|mega|tokens|%|seconds|x ?\d))"
_ALLOWED = re.compile(
    rf"(?:at most|up to|no more than|maximum|max\b|limit|only|allowed|allows?|exceed\w*|>)\D{{0,40}}?\b{_NUMBER}"
    rf"|{_NUMBER} images? (?:is|are|per|at most)"
)
_PICTURES = re.compile(r"\b(?:images?|pictures?|photos?|multi-?modal|media)\b")
_MANY = re.compile(r"at most|too many|limit|maximum|max\b|only|exceed|more than|support")
_TOO_LONG = re.compile(r"context|too long|input tokens|prompt tokens|maximum length|token limit")
_CONTEXT = re.compile(
    r"(?:context|kv)[ _](?:length|window|size)\D{0,40}?\b(\d{3,8})\b|max_kv_size is (\d{3,8})\b"
)


def pictures_allowed(said: str, count: int) -> int | None:
    """How many pictures a refusal of `count` names as the most; None: it names no number."""
    text = said.lower()
    if not _PICTURES.search(text):
        return None
    named = [next(filter(None, found.groups())) for found in _ALLOWED.finditer(text)]
    fitting = [number for number in (_WORDS.get(each) or int(each) for each in named) if 0 < number < count]
    return fitting[0] if fitting else None


def fewer(said: str, count: int) -> int | None:
    """How many pictures to try where `count` were refused; None: that was about something else."""
    text = said.lower()
    if (_PICTURES.search(text) and _MANY.search(text)) or _TOO_LONG.search(text):
        return max(1, count // 4)
    return None


def context(said: str) -> int | None:
    """Tokens of the longest conversation, where a refusal names them."""
    found = _CONTEXT.search(said.lower())
    return int(found[1] or found[2]) if found else None
