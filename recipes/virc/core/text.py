"""Text in sentences: what programs and users wrote, shortened, and the nearest known word."""

import difflib
from collections.abc import Iterable


def plain(text: object, most: int = 300) -> str:
    """Foreign text as part of one printed line: no control characters, no full stop, `most` characters."""
    printable = "".join(c if c.isprintable() else " " for c in str(text)[: 4 * most])
    line = " ".join(printable.split())
    return line[:most].rstrip(". ") + ("…" if len(line) > most else "")


def clause(error: BaseException) -> str:
    """The reason an exception gives, on one line, beginning small (but `JSON`) and without a full stop."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        said = f"{error.object[error.start]!a} is half a character"
    text = plain(said, 200)
    if not text:
        return type(error).__name__
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def nearest(word: str, known: Iterable[str]) -> str | None:
    lower = {name.lower(): name for name in sorted(known)}
    near = difflib.get_close_matches(word.lower(), lower, n=1)
    return lower[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """A hint: the nearest known word; where none is near, `otherwise`, which is all of them by default."""
    names = sorted(known)
    near = nearest(word, names)
    return f"did you mean {near!r}?" if near else otherwise or f"there are {', '.join(names)}"


def counted(count: int, noun: str) -> str:
    """A number of things: 1 row, 2 rows."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def sized(count: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(1.0, seconds):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
