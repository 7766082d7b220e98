"""PDFs drawn with Pillow, the number of each page in it as a bar code, and hostile ones written by hand."""

import io

from extras.video.drawn_clips import painted


def scanned(pages: int, size: tuple[int, int] = (320, 440)) -> bytes:
    """A PDF whose page N, from 1, is a picture of the number N."""
    file = io.BytesIO()
    first, *others = [painted(number, size) for number in range(1, pages + 1)]
    first.save(file, "PDF", save_all=True, append_images=others, resolution=72)
    return file.getvalue()


def by_hand(
    box: str = "0 0 200 100",
    count: int = 1,
    kids: str = "3 0 R",
    trailer: str = "",
    root: str = "",
    page: str = "",
    more: tuple[str, ...] = (),
) -> bytes:
    """A PDF of one empty page, or with further objects from 5 on, or with parts that are not as they should be."""
    objects = [
        f"1 0 obj <</Type /Catalog /Pages 2 0 R {root}>> endobj",
        f"2 0 obj <</Type /Pages /Kids [{kids}] /Count {count}>> endobj",
        f"3 0 obj <</Type /Page /Parent 2 0 R /MediaBox [{box}] {page}>> endobj",
        f"4 0 obj <</Filter /Standard /V 1 /R 2 /O <{'41' * 32}> /U <{'42' * 32}> /P -4>> endobj",
        *more,
    ]
    text, offsets = "%PDF-1.4\n", []
    for each in objects:
        offsets.append(len(text))
        text += each + "\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    end = f"trailer <</Size {len(objects) + 1} /Root 1 0 R {trailer}>>\nstartxref\n{len(text)}\n%%EOF"
    return f"{text}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode()


ENCRYPTED = by_hand(trailer=f"/Encrypt 4 0 R /ID [<{'43' * 16}> <{'43' * 16}>]")


def filled_in() -> bytes:
    """A form of one black field."""
    field = "<</Type /Annot /Subtype /Widget /FT /Tx /T (a) /V (1) /Rect [50 20 150 80] /F 4 /AP <</N 6 0 R>>>>"
    drawn = "<</Type /XObject /Subtype /Form /BBox [0 0 100 60] /Length 17>>stream\n0 0 100 60 re f  \nendstream"
    return by_hand(
        root="/AcroForm <</Fields [5 0 R]>>",
        page="/Annots [5 0 R]",
        more=(f"5 0 obj {field} endobj", f"6 0 obj {drawn} endobj"),
    )


def lettered(text: str, font: str, mode: int = 0) -> bytes:
    """A page of a text in a font, filled (`mode` 0) or as that behind a scan (3); object 6 draws a black character."""
    character, drawn = "9 0 d0 0 0 9 9 re f", f"BT {mode} Tr /F 20 Tf 20 40 Td {text} Tj ET"
    return by_hand(
        page=f"/Contents 5 0 R /Resources <</Font <</F <</Type /Font {font}>>>>>>",
        more=tuple(
            f"{number} 0 obj <</Length {len(each)}>>stream\n{each}\nendstream endobj"
            for number, each in enumerate((drawn, character), 5)
        ),
    )


def annotated(*annotations: str) -> bytes:
    """A page with these annotations."""
    return by_hand(page=f"/Annots [{' '.join(f'<</Type /Annot /Rect [20 20 90 80] {each}>>' for each in annotations)}]")
