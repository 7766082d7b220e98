"""V*: small things in large photographs (Wu and Xie 2023, arXiv:2312.14135).

Read as it is published: `test_questions.jsonl` beside the image folders, where a JSON file of the same name as an image
says where its targets are; or the parquet files of `lmms-lab/vstar-bench`, which hold the images. The prompt is the
column `text`. There is no published rule: the authors' program compares how likely the options are
(penghao-wu/vstar, vstar_bench_eval.py). Here answers are scored as any other.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.files import contents
from virc.evaluation.benchmarks.hub_rows import HubBenchmark
from virc.evaluation.benchmarks.registry import Fields
from virc.systems.layouts.layout import Layout

_OPTION = re.compile(r"\(([A-Z])\) *(\S.*)")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MAX_TARGETS = 2**20  # bytes of the file beside an image
_Px = int | float


class _Targets(msgspec.Struct):
    """Boxes of what a question asks about: left, top, width, height in px."""

    bbox: list[tuple[_Px, _Px, _Px, _Px]] = []


class _VStar(HubBenchmark, frozen=True):
    def _problem(self, row: Fields, number: int, layout: Layout, folder: Path) -> Fields:
        fields = super()._problem(row, number, layout, folder)
        boxes = _boxes(folder / row["image"]) if isinstance(row["image"], str) else []
        return fields | ({"boxes": boxes} if boxes else {})


def _made(row: Mapping[str, Any], fields: Fields) -> Fields:
    made = {"category": {"type": row["category"].replace("_", " ")}}
    lines = [line.strip() for line in row["text"].splitlines()]
    options = [_OPTION.fullmatch(line) for line in lines]
    letters = "".join(option[1] for option in options if option)
    if len(letters) < 2 or not _LETTERS.startswith(letters):
        return made
    label = fields["answer"]
    if len(label) != 1 or label not in letters:
        raise DataError(f"its label {label[:20]!r} is none of its {len(letters)} choices")
    choices = [option[2] for option in options if option]
    question = "\n".join(lines[: next(at for at, option in enumerate(options) if option)]).strip()
    return made | {"question": question, "choices": choices, "answer": choices[letters.index(label)],
                   "prompt": row["text"]}  # fmt: skip


def _boxes(image: Path) -> list[list[_Px]]:
    """Left, top, right and bottom of what the question asks about, in px of the image; [] where that is not known."""
    try:
        targets = msgspec.json.decode(contents(image.with_suffix(".json"), _MAX_TARGETS), type=_Targets)
    except (OSError, ValueError, RecursionError):  # the problem can be asked all the same
        return []
    return [[left, top, left + width, top + height] for left, top, width, height in targets.bbox]


BENCHMARKS = (
    _VStar(
        "vstar",
        "191 questions on small things in large photographs",
        {"": ("test_questions.jsonl", "data/test-*.parquet")},
        {"id": "question_id", "images": "image", "question": "text", "answer": "label"},
        _made,
    ),
)
