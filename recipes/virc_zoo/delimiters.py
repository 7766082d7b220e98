"""The text between delimiters such as `<answer>` and `</answer>`, found in time that is linear in the text.

A regular expression such as `<a>(.*?)</a>` starts again at every opening delimiter, so that a reply of nothing else
takes seconds.
"""

from collections.abc import Iterator

from virc.rewards.published import boxed


def between(text: str, start: str = "<answer>", end: str = "</answer>") -> Iterator[str]:
    """Return the text between each pair of delimiters, left to right; pairs do not overlap."""
    at = 0
    while True:
        first = text.find(start, at) + len(start)
        last = text.find(end, first) if first >= len(start) + at else -1
        if last < 0:
            return
        yield text[first:last]
        at = last + len(end)


def on_one_line(text: str, start: str = "<answer>", end: str = "</answer>") -> str | None:
    """Return the first text between delimiters on one line; None where there is none."""
    return next((found for line in text.split("\n") for found in between(line, start, end)), None)


def in_last_box(text: str) -> str | None:
    r"""Return what the braces behind the last \boxed, else \fbox, have, stripped; None where they are not closed."""
    command = r"\boxed" if r"\boxed" in text else r"\fbox"
    _, brace, behind = text.rpartition(command)[2].partition("{") if command in text else ("", "", "")
    return boxed(rf"\boxed{{{behind}") if brace else None
