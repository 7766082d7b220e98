"""Pair graded replies of a row, each better one with each worse one, for preference training (Critic-V).

A row has columns of replies, as `teacher` adds them, and a column of the grade of each. New rows are of the format
`pairs`. Source: kyrieLei/Critic-V@7aa9b80, data_utils/utils/format.py, and score_add of score_compute.py.
"""

import re
from itertools import permutations
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from virc.data.rows.record import MARK
from virc.systems import texts
from virc_extras.make.operator import Made, Means, Row, kept, left_out
from virc_extras.make.operators.select import column_of
from virc_extras.make.self_labelled import first
from virc_extras.pipelines.turns import fill

_FOLDER = Path(__file__).parents[1]


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is paired, and what both replies answer.

    Args:
        replies: columns of replies: texts, or lists, each of whose texts is a line.
        grades: a column for each of them: a number, or an object whose numbers are added up.
        prompt: what replies answer, behind the picture, with columns in braces; {text:NAME} is a text of the authors.
        start: what replies begin with.
        margin: least difference of two grades.
    """

    replies: Annotated[tuple[str, ...], Meta(min_length=2)]
    grades: tuple[str, ...]
    prompt: str = "{question}"
    start: str = ""
    margin: Annotated[float, Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        """Refuse replies without a grade, and a text that is not here."""
        if len(self.replies) != len(self.grades):
            raise ValueError(f"{len(self.replies)} columns of replies have {len(self.grades)} of grades")
        texts.filled(self.prompt, _FOLDER)  # an absent text is said before teachers are asked


def run(row: Row, means: Means[Options]) -> Made:
    """Return a row for each two replies of which one is better."""
    options, fields = means.options, {**row.fields, "question": row.question}
    asked = texts.filled(options.prompt, _FOLDER)
    names = re.findall(r"\{(\w+)\}", asked)
    if lacking := [name for name in names if not isinstance(fields.get(name), str)]:
        return left_out("no prompt", f"{lacking[0]} is no text")
    written = [_text(column_of(row, name)) for name in options.replies]
    grades = [_grade(column_of(row, name)) for name in options.grades]
    graded = [(grade, text) for grade, text in zip(grades, written, strict=True) if text and grade is not None]
    images = [first(row, means)] if row.images else []
    prompt = MARK * len(images) + fill(asked, **{name: fields[name] for name in names})
    pairs = [
        {
            "messages": [{"role": "user", "content": prompt}], "chosen": _said(options.start + better),
            "rejected": _said(options.start + worse), "images": images, "margin": high - low,
        }
        for (high, better), (low, worse) in permutations(graded, 2)
        if high > low and high - low >= options.margin and better != worse
    ]  # fmt: skip
    return (
        kept(*pairs)
        if pairs
        else left_out("no better reply", f"{len(graded)} replies, and none is better than another")
    )


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _text(value: Any) -> str:
    """A reply as text, empty where there is none; of a list each line behind a line break.

    As published, where lines are numbered and each number with a dot becomes the break, those within a line, too.
    """
    if not isinstance(value, list):
        return value.strip() if isinstance(value, str) else ""
    lines = [line.strip() for line in value if isinstance(line, str) and line.strip()]
    return re.sub(r"\d+\. ", "\n", " ".join(f"{number}. {line}" for number, line in enumerate(lines, 1)))


def _grade(value: Any) -> float | None:
    """A grade as a number; None where it has none."""
    parts = [*value.values()] if isinstance(value, dict) else [value]
    numbers = [float(each) for each in parts if isinstance(each, int | float) and not isinstance(each, bool)]
    return round(sum(numbers), 2) if numbers else None
