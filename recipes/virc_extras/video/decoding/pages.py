"""The pages of a PDF as pictures, drawn by PDFium. Runs in the process of `worker` alone."""

import ctypes
import io
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

import pypdfium2  # type: ignore[import-untyped, unused-ignore]
from PIL import Image
from pypdfium2 import raw  # type: ignore[import-untyped, unused-ignore]

from virc.core.errors import DataError
from virc.core.text import counted, plain
from virc_extras.video.limits import MAX_PAGES

_END = 2**16  # bytes
_POINTS = 72  # to an inch: the unit of sizes in a PDF
DPI = 200
"""Dots per inch of a page, where all pictures of the document are not too large then."""
_UNIT = re.compile(rb"/Type/Page[^<>]*/UserUnit (\d+\.?\d*)[/>]")  # as PDFium writes it: its keys are sorted
_HIDDEN_FLAGS = raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW
_HIDDEN_KINDS = {getattr(raw, f"FPDF_ANNOT_{each}") for each in ("UNKNOWN", "LINK", "POPUP", "WIDGET", "SCREEN")}
_HIDDEN_TEXTS = {raw.FPDF_TEXTRENDERMODE_INVISIBLE, raw.FPDF_TEXTRENDERMODE_CLIP}  # as the text behind a scan


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
        self.count, self._form, files = len(self._pages), self._pages.get_formtype(), self._pages.count_attachments()
        self._files, self._fonts, self._annotations = files, dict[str, int](), dict[int, int]()
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
            scale = math.sqrt(most / (width * height))
            if scale > DPI / _POINTS:
                scale = min(scale, DPI / _POINTS * self._unit(number))
            while (pixels := math.ceil(width * scale) * math.ceil(height * scale)) > most:  # sides are rounded up
                scale *= math.sqrt(most / pixels)
            drawn: Image.Image = page.render(scale=scale).to_pil().convert("RGB")
            self._look(page, number)
            page.close()
        except pypdfium2.PdfiumError:
            raise DataError(f"page {number} of {self._name} is damaged") from None
        return drawn

    def notes(self) -> Iterator[str]:
        """What is not drawn of the document and of the pages that were drawn: sentences behind its name."""
        if self._form in (raw.FORMTYPE_XFA_FULL, raw.FORMTYPE_XFA_FOREGROUND):
            yield "is an XFA form, which cannot be drawn: a page that stands for it is shown"
        if self._files:
            yield f"encloses {counted(self._files, 'file')}, not shown"
        if fonts := ", ".join(f"{name} (page {page})" for name, page in self._fonts.items()):
            yield f"needs fonts neither embedded nor installed, without which text is missing: {plain(fonts)}"
        if pages := ", ".join(f"{count} of page {page}" for page, count in self._annotations.items()):
            yield f"has annotations that are not drawn: {plain(pages)}"

    def _look(self, page: Any, number: int) -> None:
        """Look for what is not drawn of a page, after it is drawn: then it has the appearances that PDFium makes."""
        for at in range(raw.FPDFPage_GetAnnotCount(page)):
            annotation = raw.FPDFPage_GetAnnot(page, at)
            kind = raw.FPDFAnnot_GetSubtype(annotation)
            if kind == raw.FPDF_ANNOT_WIDGET and self._form == raw.FORMTYPE_XFA_FOREGROUND:
                self._form = raw.FORMTYPE_ACRO_FORM  # the pages have its fields, too
            self._files += kind == raw.FPDF_ANNOT_FILEATTACHMENT
            is_hidden = kind in _HIDDEN_KINDS or raw.FPDFAnnot_GetFlags(annotation) & _HIDDEN_FLAGS
            if not is_hidden and not raw.FPDFAnnot_HasKey(annotation, b"AP"):
                self._annotations[number] = self._annotations.get(number, 0) + 1
            raw.FPDFPage_CloseAnnot(annotation)
        for name in _missing_fonts(page):
            self._fonts.setdefault(name, number)

    def _unit(self, number: int) -> float:
        """How many points a unit of a page is; PDFium says it in a copy of the page alone."""
        copy, file = pypdfium2.PdfDocument.new(), io.BytesIO()
        with suppress(pypdfium2.PdfiumError):
            copy.import_pages(self._pages, [number - 1])
            copy.save(file)
        found = _UNIT.search(file.getbuffer(), 0, _END)
        return max(1, float(found[1])) if found else 1


def _names_encryption(file: IO[bytes]) -> bool:
    """Whether a PDF names its encryption, which stands in clear at its end or, of one for the web, at its beginning."""
    size = file.seek(0, io.SEEK_END)
    ends = []
    for start in (0, max(0, size - _END)):
        file.seek(start)
        ends.append(file.read(_END))
    return any(b"/Encrypt" in each for each in ends)


def _missing_fonts(page: Any) -> Iterator[str]:
    """The names of fonts that are not embedded, and in which a character of the page has no outline."""
    texts = page.get_textpage()
    for at in range(texts.count_chars()):
        code = raw.FPDFText_GetUnicode(texts, at)
        if code < ord("\x7f") or not chr(code).isprintable():  # every substitute has ASCII
            continue
        text = raw.FPDFText_GetTextObject(texts, at)
        font = raw.FPDFTextObj_GetFont(text)
        is_drawn = raw.FPDFFont_GetIsEmbedded(font) or raw.FPDFFont_GetGlyphPath(font, code, 12)
        if not is_drawn and raw.FPDFTextObj_GetTextRenderMode(text) not in _HIDDEN_TEXTS:
            name = ctypes.create_string_buffer(256)
            raw.FPDFFont_GetBaseFontName(font, name, len(name))
            yield name.value.decode("utf-8", "replace")
