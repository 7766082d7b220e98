#!/usr/bin/env python
"""A page as readers without a clone have it: `.ci/as_published.py REF <README.md` prints it for the package index.

Lines that install name the package in place of the clone, what stands between the comments `clone` and `/clone` is left
out, and links lead to the tag or commit REF of REPOSITORY_URL; where that is not set, they are plain text.
"""

import os
import posixpath
import re
import sys
from collections.abc import Callable

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_OF_A_CLONE = re.compile(r"<!-- clone -->\n.*?<!-- /clone -->\n+", re.DOTALL)
_INSTALLED = re.compile(r"(?<!-e )'\.(\[[\w,]+\])'|(?<=pip install )\.(?=[`\s])")


def installed(text: str) -> str:
    """The text of a page whose commands install from the package index."""
    return _INSTALLED.sub(lambda found: f"'virc{found[1]}'" if found[1] else "virc", _OF_A_CLONE.sub("", text))


def pictured(text: str, page: str) -> str:
    """The text of a page of the site, with a link to the picture of its examples at its end."""
    if "figure.png" not in text or "pictures/figure.png" in text:
        return text
    solve = posixpath.relpath("solve.md", posixpath.dirname(page) or ".")
    return f"{text.rstrip()}\n\n`figure.png` in examples is [this picture]({solve}), or one of yours.\n"


def linked(text: str, target_of: Callable[[str, bool], str | None]) -> str:
    """The text of a page with other targets of its relative links; None leaves the shown text alone.

    Args:
        target_of: gets a target and whether it is a picture.
    """

    def mended(link: re.Match[str]) -> str:
        image, shown, target = link.groups()
        if "://" in target or target.startswith("#"):
            return link[0]
        target = target_of(target, bool(image))
        return f"{image}[{shown}]({target})" if target else shown

    return _LINK.sub(mended, text)


def for_index(text: str, repository: str | None, ref: str) -> str:
    """The text of a page beside README.md for the package index or the page of a release."""

    def target_of(target: str, is_picture: bool) -> str | None:
        return f"{repository.rstrip('/')}/{'raw' if is_picture else 'blob'}/{ref}/{target}" if repository else None

    return linked(installed(text), target_of)


if __name__ == "__main__":
    for stream in (sys.stdin, sys.stdout):
        stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    print(for_index(sys.stdin.read(), os.environ.get("REPOSITORY_URL"), sys.argv[1]), end="")
