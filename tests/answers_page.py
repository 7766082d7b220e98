"""The table of `docs/evaluation.md` on how answers are read, from the recorded verdicts on the labelled pairs."""

from pathlib import Path

from scoring import answer_pairs

PAGE = Path(__file__).resolve().parents[1] / "docs" / "evaluation.md"
_START, _END = "<!-- answers -->\n", "<!-- end -->"


def page() -> str:
    """The page with its table as it should be."""
    before, start, rest = PAGE.read_text(encoding="utf-8").partition(_START)
    assert start, "the page has no place for the table of answers"
    return before + start + answer_pairs.table() + rest[rest.index(_END) :]
