"""Documents as the core shows them: their pages."""

from collections.abc import Callable
from pathlib import Path

from virc.core.extras import require
from virc.core.text import counted
from virc.reasoning.media import MediaChoice
from virc_extras.video.kinds import is_document
from virc_extras.video.limits import check_file
from virc_extras.video.parts import MediaParts
from virc_extras.video.worker import READER, Facts, Picture, Wish

KIND = "document"
CHOICES = ("pages",)
recognises = is_document
"""Whether a file is a PDF."""


def check_ready(name: str) -> None:
    """Raise SetupError if the package is missing that reads the file of that name."""
    require("pypdfium2", f"reading the document {name}", "pages")


def parts(source: bytes | Path, name: str, choice: MediaChoice, check: Callable[[], None]) -> MediaParts:
    """The pages of a document: those of `choice`, or the first 32."""
    check_ready(name)
    check_file(source, name)
    facts, shown = READER.pictures(KIND, source, name, Wish(pages=choice.pages or None), check)
    summary = f"{name} has {counted(facts.pages, 'page')}: {len(shown)} shown"
    left = facts.pages - len(shown)
    if choice.pages or not left:
        return MediaParts(shown, summary, facts)
    first, last = len(shown) + 1, min(2 * len(shown), facts.pages)
    sentence = f"{name} has {facts.pages:,} pages, and only the first {len(shown)} are looked at"
    return MediaParts(shown, summary, facts, [(sentence, f"«--page {first}-{last}» shows others")])


def called(page: Picture, number: int, facts: Facts) -> str:
    """What a page is called."""
    return f"page {page.page} of {facts.pages}"
