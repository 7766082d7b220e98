"""The page that lists the traces of several samples: what each answered, its grade, and which was taken."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from virc.core.errors import VircError
from virc.core.files import write_whole
from virc.core.text import clause, counted
from virc.core.web import html

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
    return html.render(
        "solving/traces/sample_index",
        html.asset("solving/traces/page.css"),
        ours=_OURS,
        question=question,
        byline=counted(len(samples), "sample"),
        is_graded=any(each.score is not None or each.remark for each in samples),
        samples=samples,
    )
