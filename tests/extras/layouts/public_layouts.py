"""Layouts of public datasets, and the table of the docs that says what becomes of each."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from support.published import Layout


class Case(Layout, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A layout, and what virc makes of it.

    Args:
        outcome: `read`: without a layout; `proposed`: by the one that `virc data layout` writes; `yaml`: by `layout`;
            `refused`: with a message that holds `message`.
        answers: of the three rows, as they are read.
        pictures: of each row.
        fields: names of further fields that rows have.
    """

    outcome: str = "read"
    layout: str = ""
    message: str = ""
    answers: Sequence[str | None] = ("red", "green", "blue")
    pictures: int = 1
    fields: Sequence[str] = ()


CASES = msgspec.yaml.decode(Path(__file__).with_suffix(".yaml").read_bytes(), type=list[Case])
_OUTCOMES = {
    "read": "as they are",
    "proposed": "by what `virc data layout` writes, once a doubt is decided",
    "yaml": "by a YAML that you write",
    "refused": "not: the error says why",
}


def page() -> str:
    """The table of the docs: what becomes of each layout."""
    rows = []
    for outcome, read in _OUTCOMES.items():
        names = "; ".join(case.name for case in CASES if case.outcome == outcome)
        rows.append(f"| {read} | {names} |\n")
    return "| are read | rows of |\n|---|---|\n" + "".join(rows)
