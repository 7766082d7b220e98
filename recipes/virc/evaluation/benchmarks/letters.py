"""The letter of a choice in a reply, as published programs read it."""

import re
from collections.abc import Sequence

LETTERS = "ABCDEFGHIJ"
NO_CHOICE = "Z"
"""What a reply chooses that refuses."""
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_SIGNS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_LAST_WORDS = 5
_SAID = re.compile(r"(?:correct\s+)?answer\s+is\s+\**([ABCD])\**", re.IGNORECASE)
_SHORT = 10  # words
PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option is",
    "The correct option is",
    "Best answer:",
    "Best option:",
)

JOINED_PREFIXES = (*PREFIXES[:4], PREFIXES[4] + PREFIXES[5], PREFIXES[6] + PREFIXES[7])
"""The same where a published list lacks two commas."""


def inferred(answer: str, choices: Sequence[str]) -> str | None:
    """The one letter that a reply has among its last words, or whose choice it quotes; None if that is none.

    Source: open-compass/VLMEvalKit@e8e78f0, vlmeval/utils/matching_util.py, can_infer.
    """
    letters = dict(zip(LETTERS, choices, strict=False))
    if any(refusal in answer for refusal in _REFUSALS):
        return NO_CHOICE
    words = answer.translate(_SIGNS).split()
    named = [letter for letter in letters if letter in words]
    if len(named) == 1 and words.index(named[0]) > len(words) - _LAST_WORDS:
        return named[0]
    if not named and NO_CHOICE in words:
        return NO_CHOICE
    if (said := _SAID.search(answer)) and said[1].upper() in letters:
        return said[1].upper()
    if len(answer) > 2 * sum(map(len, choices)):
        return None
    quoted = [letter for letter, choice in letters.items() if choice.lower() in answer.lower()]
    return quoted[0] if len(quoted) == 1 else None


def first_capital(
    answer: str,
    choices: Sequence[str] = ("(A)", "(B)", "(C)", "(D)", "(E)"),
    prefixes: Sequence[str] = PREFIXES,
    letters: str = "ABCDE",
) -> str:
    """The first letter in a reply behind one of the prefixes, else that of the first choice that holds the reply.

    Source: open-compass/VLMEvalKit@e8e78f0, vlmeval/dataset/utils/multiple_choice.py, extract_characters_regex.

    Args:
        choices: each behind its letter in brackets, `(A) red`.
        prefixes: are dropped wherever they stand.
        letters: that are looked for.
    """
    answer = answer.strip()
    for prefix in prefixes:
        answer = answer.replace(prefix, "")
    if found := re.search(f"[{letters}]", answer):
        return found[0]
    if len(answer.split()) > _SHORT:
        return ""
    return next((choice[1] for choice in choices if answer.lower() in choice.lower()), "")
