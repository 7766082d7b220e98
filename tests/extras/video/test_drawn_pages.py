"""Pages of a PDF have the size that it says, and what PDFium does not draw of them is said."""

import io

import pytest
from extras.video.drawn_documents import annotated, by_hand, filled_in, lettered, scanned
from extras.video.test_hostile_media import parts
from PIL import Image
from support.tables import each_case

from virc_extras.video import worker

_FILES = "/Names <</EmbeddedFiles <</Names [(a.csv) <</Type /Filespec /F (a.csv)>>]>>>>"
_FIELD = "/Subtype /Widget /FT /Tx /T (a) /V (1)"
_XFA = "/AcroForm <</Fields [] /XFA (<xdp/>)>>"
_LATIN = "/Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding"
_ETHIOPIC = "/Subtype /Type1 /BaseFont /Helvetica /Encoding <</Differences [97 /uni1208 /uni1209]>>"
_CHINESE = """/Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UCS2-H /DescendantFonts [<</Type /Font
    /Subtype /CIDFontType0 /BaseFont /STSong-Light /CIDSystemInfo <</Registry (Adobe) /Ordering (GB1) /Supplement 4>>
    /FontDescriptor <</Type /FontDescriptor /FontName /STSong-Light /Flags 4>>>>]"""
_PAINTED = """/Subtype /Type3 /FontBBox [0 0 9 9] /FontMatrix [.1 0 0 .1 0 0] /FirstChar 233 /LastChar 233 /Widths [9]
    /CharProcs <</eacute 6 0 R>> /Encoding <</Differences [233 /eacute]>>"""
_LINE = "/Subtype /Line /L [20 20 90 80]"


@each_case(
    ("data", "said"),
    [
        (by_hand(root=_XFA), ["it is an XFA form, which cannot be drawn: a page that stands for it is shown"]),
        (by_hand(root=f"/NeedsRendering true {_XFA}", page=f"/Annots [<<{_FIELD}>>]"), ["it is an XFA form, which"]),
        (by_hand(root=_XFA, page=f"/Annots [<<{_FIELD}>>]"), []),
        (by_hand(root=_FILES), ["it encloses 1 file, not shown"]),
        (annotated("/Subtype /FileAttachment /AP <<>>"), ["it encloses 1 file, not shown"]),
        (by_hand(root=f"/Collection <</Type /Collection>> {_FILES}"), ["it encloses 1 file, not shown"]),
        (
            annotated(_LINE, "/Subtype /Square", "/Subtype /Stamp", f"{_LINE} /F 2", f"{_LINE} /F 32"),
            ["it has annotations that are not drawn: 2 of page 1"],
        ),
        (annotated("/Subtype /Link", "/Subtype /Popup", _FIELD, "/Subtype /Highlight", f"{_LINE} /AP <<>>"), []),
        (
            lettered("<6162>", _ETHIOPIC),
            ["it needs fonts neither embedded nor installed, without which text is missing"],
        ),
        (lettered("<4e2d6587>", _CHINESE, mode=3), []),
        (lettered("<6162>", _ETHIOPIC.replace("1208 /uni1209", "2003 /eacute")), []),  # a wide space
        (lettered("<e9>", _PAINTED), []),
        (scanned(1), []),
        (filled_in(), []),
    ],
)
def test_what_is_not_drawn_of_a_document_is_said(data: bytes, said: list[str]) -> None:
    warnings = [sentence for sentence, _ in parts(data).warnings("it")]
    assert [each[: len(start)] for each, start in zip(warnings, said, strict=True)] == said


@each_case(
    ("text", "font"), [("<4e2d6587>", _CHINESE), ("<00480069>", _CHINESE), ("<6162>", _ETHIOPIC), ("(\\344)", _LATIN)]
)
def test_a_missing_font_is_said_where_its_text_is_blank(text: str, font: str) -> None:
    shown = parts(lettered(text, font))
    is_blank = Image.open(io.BytesIO(shown.parts[0].data)).convert("L").getextrema() == (255, 255)
    named = [each.rsplit(": ")[1] for each, _ in shown.warnings("it")]
    assert named == [f"{'STSong-Light' if font == _CHINESE else 'Helvetica'} (page 1)"] * is_blank


@pytest.mark.parametrize(
    ("page", "width"),
    [("", 556), ("/UserUnit 3", 1667), ("/UserUnit 1.5", 834), ("/UserUnit .1", 556), ("/UserUnit 0", 556),
     ("/UserUnit 5 0 R", 556), ("/UserUnit (3)", 556), ("/UserUnit 99999", 2896), (f"/UserUnit {'9' * 40}", 556)],
)  # fmt: skip
def test_units_of_a_page_count(page: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MAX_PIXELS", 2**22)
    (part,) = parts(by_hand(page=page, more=("5 0 obj 3 endobj",))).parts
    assert Image.open(io.BytesIO(part.data)).width == width
