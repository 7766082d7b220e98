"""Which known word was meant."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """A hint: the nearest known word; where none is near, `otherwise`, which is all of them by default."""
    names = sorted(known)
    lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word.lower(), lower, n=1)
    return f"did you mean {lower[near[0]]!r}?" if near else otherwise or f"there are {', '.join(names)}"
