"""The page that lists the traces of several samples: what each answered, its grade, and which was taken."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from virc.core.errors import VircError
from virc.core.files import write_whole
from virc.core.text import clause, counted
from virc.core.web.html import asset, fill, safe

PAGE = "index.html"
_OURS = '<meta name="generator" content="virc samples">'


class Listed(msgspec.Struct, frozen=True):
    """A sample: the name of its trace's folder, its answer, its grade and what was said of it; and if it was taken."""

    folder: str
    answer: str | None
    score: float | None = None
    remark: str | None = None
    taken: bool = False


def write_index(folder: Path, question: str, samples: Sequence[Listed]) -> None:
    """Write the page into the folder that holds those of the samples; a page of somebody else stays as it is.

    Raises:
        VircError: the disk refused.
    """
    page = folder / PAGE
    try:
        if page.exists() and _OURS not in page.read_text(encoding="utf-8", errors="replace"):
            return
        write_whole(page, _rendered(question, samples).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise VircError(f"cannot write {page}: {clause(error)}") from error


def _rendered(question: str, samples: Sequence[Listed]) -> str:
    graded = any(each.score is not None or each.remark for each in samples)
    heads = ("Sample", "Answer", *(("Grade", "Remark") if graded else ()), "")
    return fill(
        "solving/sample_index",
        asset("solving/trace_page.css"),
        ours=_OURS,
        question=safe(question),
        byline=counted(len(samples), "sample"),
        heads="".join(f'<th scope="col">{each}</th>' for each in heads),
        rows="\n".join(_row(each, graded) for each in samples),
    )


def _row(each: Listed, graded: bool) -> str:
    cells = [f'<a href="{safe(each.folder)}/{PAGE}">{safe(each.folder)}</a>', safe(each.answer or "no answer")]
    if graded:
        cells += ["–" if each.score is None else f"{each.score:g}", safe(each.remark or "")]
    cells.append("taken" if each.taken else "")
    return "<tr>" + "".join(f'<td dir="auto">{cell}</td>' for cell in cells) + "</tr>"
