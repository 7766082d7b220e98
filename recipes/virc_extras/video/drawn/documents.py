"""Documents of 12 pages with a number on each: one names a page, and the question is which number is on that."""

import io
import random
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from virc.core.extras import require
from virc.data.synth import sketch
from virc.data.synth.problem import Label, Split, split_of
from virc.data.synth.sketch import Style
from virc_extras.video.drawn import writing
from virc_extras.video.drawn.clips import numbered, picture_of

NAME = "documents"
ABOUT = "PDFs of 12 pages, with two facts on far pages"
TOOLS = ("turn_to",)
write = writing.write
COLUMN, ENDING = "document", ".pdf"
PAGES = 12
_DPI = 200  # so that a page is shown as it was drawn


class DrawnDocument(msgspec.Struct, frozen=True):
    """One problem: what is on each page, the page that is asked about, and that which it names; both from 1."""

    labels: Sequence[Label]
    asked: int
    named: int
    style: Style

    @property
    def question(self) -> str:
        return f"Page {self.asked} names a page. Which number is on that?"

    @property
    def answer(self) -> str:
        return self.labels[self.named - 1].text

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [{"name": "turn_to", "arguments": {"pages": [page]}} for page in (self.asked, self.named)]

    @property
    def evidence(self) -> list[dict[str, Any]]:
        labels = {page: self.labels[page - 1] for page in (self.asked, self.named)}
        return [{"page": page, "box": label.box, "text": label.text} for page, label in labels.items()]

    def split(self) -> Split:
        return split_of(f"{NAME}|{self.asked}|{self.named}|{self.answer}")


def check_ready() -> None:
    """Raise SetupError if PDFium, which reads what is drawn, is not installed."""
    require("pypdfium2", "drawing documents", "pages")


def generate(rng: random.Random, split: Split) -> DrawnDocument:
    """A document whose asked pages and number are of that split."""
    return sketch.draw_until_legible(lambda: _generate(rng), split)


def file_of(document: DrawnDocument) -> bytes:
    """The document as PDF."""
    file, then = io.BytesIO(), time.gmtime(0)
    first, *others = [picture_of(label, document.style) for label in document.labels]
    first.save(
        file, "PDF", save_all=True, append_images=others, resolution=_DPI, quality=95, creationDate=then, modDate=then
    )
    return file.getvalue()


def _generate(rng: random.Random) -> DrawnDocument:
    style = sketch.random_style(rng)
    asked, named = rng.sample(range(2, PAGES + 1), 2)
    texts = [str(rng.randint(PAGES + 1, 99)) for _ in range(PAGES)]
    texts[asked - 1] = str(named)
    return DrawnDocument([numbered(rng, text, style) for text in texts], asked, named, style)
