"""Which known word was meant."""

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is nearest; None where none is near."""
    lower = {name.lower(): name for name in sorted(known)}
    near = difflib.get_close_matches(word.lower(), lower, n=1)
    return lower[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """A hint: the nearest known word; where none is near, `otherwise`, which is all of them by default."""
    names = sorted(known)
    near = nearest(word, names)
    return f"did you mean {near!r}?" if near else otherwise or f"there are {', '.join(names)}"
