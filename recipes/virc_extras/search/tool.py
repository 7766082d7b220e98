"""`search`: find the page that fits a query best, among pictures of pages with a text next to each.

The variable `VIRC_PAGES` names their folder: `page.png` or `page.jpg`, and what stands on it in `page.txt`. Texts are
ranked by BM25 (Robertson and Zaragoza, 2009) as the package bm25s computes it. As with VRAG-RL's search engine
(github.com/Alibaba-NLP/VRAG, VRAG-RL/vrag_agent/generation.py), a search shows the first page in rank that no search
before it has shown. A page is brought within the area that pictures of questions have (`input_pixels`).
"""

import math
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from PIL import Image

from virc.core.errors import ConfigError, SetupError
from virc.core.extras import require
from virc.core.files import expanded, is_folder
from virc.reasoning.calls import Call, Conversation, Result, function_schema
from virc.reasoning.images import open_image
from virc.reasoning.resample import Rescaled

NAME = "search"
TEMPLATE = "after_image"
FINDS_PICTURES = True
"""A question may come without a picture where a tool has this."""
SCHEMA = function_schema(
    NAME,
    "Search the pages, and look at the best one that was not shown before.",
    ("query",),
    query={"type": "string", "description": "words to search for"},
)

PAGES = "VIRC_PAGES"
"""The variable that names the folder of the pages."""
_PICTURES = (".png", ".jpg", ".jpeg")


class _Index:
    """The pages of a folder, and BM25 of their texts."""

    def __init__(self, folder: Path) -> None:
        import bm25s  # type: ignore[import-untyped]

        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _PICTURES)
        self.pages = [file for file in files if file.with_suffix(".txt").is_file()]
        texts = [file.with_suffix(".txt").read_text("utf-8", errors="replace") for file in self.pages]
        words = _words(texts)
        if not any(words):
            raise ConfigError(f"{folder} has no page: a picture and a text of the same name, such as p1.png and p1.txt")
        self._bm25 = bm25s.BM25()
        self._bm25.index(words, show_progress=False)

    def ranked(self, query: str) -> list[Path]:
        """The pages that have a word of the query, the best first; of equals, by name."""
        words = _words([query])[0]
        if not words:
            return []
        scores = self._bm25.get_scores(words).tolist()
        found = [(-score, page) for score, page in zip(scores, self.pages, strict=True) if score > 0]
        return [page for _, page in sorted(found)]


def ready() -> None:
    """Refuse to search where there is nothing to search in. Raises SetupError or ConfigError: what is missing."""
    _index(_folder())


def ranked(query: str) -> list[Path]:
    """The pictures of the pages that have a word of a query, the best first.

    Raises:
        SetupError: bm25s is not installed, or `VIRC_PAGES` is not set.
        ConfigError: the folder has no pages.
    """
    return _index(_folder()).ranked(query)


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """The best page that no search of this conversation has shown; a text where there is none.

    Raises:
        DataError: the picture of the page cannot be read.
    """
    shown: tuple[Path, ...] = conversation.kept.get(NAME, ())
    page = next((each for each in ranked(call.arguments["query"]) if each not in shown), None)
    if page is None:
        return Result("No other page has a word of this query.")
    conversation.kept[NAME] = (*shown, page)
    return Result(images=[_within(open_image(page, str(page)), conversation.protocol.input_pixels)])


def _within(page: Image.Image, bounds: tuple[int, int] | None) -> Image.Image | Rescaled:
    """A page at an area, in pixels, between two bounds; crops are cut from all of its pixels."""
    least, most = bounds or (0, page.width * page.height)
    area = min(max(page.width * page.height, least), most)
    times = math.sqrt(area / (page.width * page.height))
    if times == 1:
        return page
    return Rescaled(page, (max(1, int(page.width * times)), max(1, int(page.height * times))))


def _folder() -> Path:
    require("bm25s", "the tool search", "search")
    named = os.environ.get(PAGES)
    if not named:
        raise SetupError("the tool search has no pages to search", f"export {PAGES}=DIR, a folder of pages")
    folder = expanded(named)
    if not is_folder(folder):
        raise SetupError(f"{PAGES} names {named}, which is no folder", f"export {PAGES}=DIR, a folder of pages")
    return folder.resolve()


@cache
def _index(folder: Path) -> _Index:
    return _Index(folder)


def _words(texts: Sequence[str]) -> list[list[str]]:
    import bm25s  # type: ignore[import-untyped]

    words: list[list[str]] = bm25s.tokenize(list(texts), stopwords="en", show_progress=False, return_ids=False)
    return words
