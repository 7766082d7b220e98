"""The pages of a PDF as pictures, drawn by PDFium. Runs in the process of `worker` alone."""

import io
import math
from typing import IO, Any

import pypdfium2  # type: ignore[import-untyped, unused-ignore]
from PIL import Image

from virc.core.errors import DataError
from virc_extras.video.limits import MAX_PAGES

_END = 2**16  # bytes
_POINTS = 72  # to an inch: the unit of sizes in a PDF
DPI = 200
"""Dots per inch of a page, where all pictures of the document are not too large then."""


class Document:
    """A PDF.

    Attributes:
        count: of its pages.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._name = name
        try:
            self._pages: Any = pypdfium2.PdfDocument(file)
            self._pages.init_forms()  # else what is filled in is not drawn
        except pypdfium2.PdfiumError as error:
            if "password" in str(error) and _names_encryption(file):  # PDFium may mean a file before this one
                hint = f"qpdf --decrypt --password=PASSWORD {name} open.pdf"
                raise DataError(f"{name} is encrypted: it opens with a password alone", hint) from None
            raise DataError(f"{name} is damaged or cut short: it is no PDF that can be read") from None
        self.count = len(self._pages)
        if not 1 <= self.count <= MAX_PAGES:
            raise DataError(
                f"{name} has {self.count:,} pages, {f'over {MAX_PAGES:,}' if self.count else 'none to show'}"
            )

    def page(self, number: int, most: int) -> Image.Image:
        """A page, counted from 1, drawn at `DPI` or as large as `most` pixels allow."""
        try:
            page = self._pages[number - 1]
            width, height = page.get_size()
            if not (width > 0 and height > 0 and math.isfinite(width * height)):
                raise DataError(f"page {number} of {self._name} has no size")
            scale = min(DPI / _POINTS, math.sqrt(most / (width * height)))
            while (pixels := math.ceil(width * scale) * math.ceil(height * scale)) > most:  # sides are rounded up
                scale *= math.sqrt(most / pixels)
            drawn: Image.Image = page.render(scale=scale).to_pil().convert("RGB")
            page.close()
        except pypdfium2.PdfiumError:
            raise DataError(f"page {number} of {self._name} is damaged") from None
        return drawn


def _names_encryption(file: IO[bytes]) -> bool:
    """Whether a PDF names its encryption, which stands in clear at its end or, of one for the web, at its beginning."""
    size = file.seek(0, io.SEEK_END)
    ends = []
    for start in (0, max(0, size - _END)):
        file.seek(start)
        ends.append(file.read(_END))
    return any(b"/Encrypt" in each for each in ends)
