"""V*: small things in large photographs (Wu and Xie 2023, arXiv:2312.14135).

Read as it is published: `test_questions.jsonl` beside the image folders, where a JSON file of the same name as an image
says where its targets are; or the parquet files of `lmms-lab/vstar-bench`, which hold the images. The prompt is the
column `text`. There is no published rule: the authors' program compares how likely the options are
(penghao-wu/vstar, vstar_bench_eval.py). Here answers are scored as any other.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.files import contents, is_file
from virc.download.benchmarks import HUB_IDS
from virc.evaluation.benchmarks.registry import Fields, Placed, data_url, inside, problems
from virc.solving.rows import Row

NAME = "vstar"
ABOUT = "191 questions on small things in large photographs"
HUB = HUB_IDS[NAME]
SPLITS: tuple[str, ...] = ()

_QUESTIONS = "test_questions.jsonl"
_OPTION = re.compile(r"\(([A-Z])\) *(\S.*)")
_MAX_TARGETS = 2**20  # bytes of the file beside an image


class _Image(msgspec.Struct, rename={"data": "bytes"}):
    data: bytes


class _Problem(msgspec.Struct):
    """A problem as it is published; its image is a path, or within the row."""

    image: str | _Image
    text: str
    category: str
    label: str
    question_id: str | int


_Px = int | float


class _Targets(msgspec.Struct):
    """Boxes of what a question asks about: left, top, width, height in px."""

    bbox: list[tuple[_Px, _Px, _Px, _Px]] = []


def rows(folder: Path, split: str | None) -> Iterator[Row]:
    """The problems in order; as `Benchmark.rows`."""
    files = sorted(folder.glob("data/test-*.parquet"))
    if not is_file(folder / _QUESTIONS) and not files:
        raise DataError(f"{folder} holds no {_QUESTIONS}", f"virc download eval {NAME} --to {folder}")
    found = _from_lines(folder / _QUESTIONS) if is_file(folder / _QUESTIONS) else _from_parquet(files)
    return problems(found, lambda fields: _as_problem(fields, folder))


def _from_lines(file: Path) -> Iterator[Placed]:
    from virc.core.json_stream import line_rows
    from virc.data.formats.sft import opened

    with opened(file) as lines:
        for number, fields in line_rows(lines):
            yield f"{file.name}:{number}", fields


def _from_parquet(files: list[Path]) -> Iterator[Placed]:
    from virc.core.tables import parquet as parquet_rows

    for file in files:
        for number, fields in parquet_rows.read_rows(file):
            yield f"{file.name}, row {number}", fields


def _as_problem(fields: Fields, folder: Path) -> Fields:
    problem = msgspec.convert(fields, _Problem)
    within = isinstance(problem.image, _Image)
    image = data_url(problem.image.data) if isinstance(problem.image, _Image) else inside(folder, problem.image)
    boxes = [] if within else _boxes(folder / image)
    question, choices = _asked(problem.text)
    at = ord(problem.label) - ord("A") if len(problem.label) == 1 else -1
    if choices and not 0 <= at < len(choices):
        raise DataError(f"its label {problem.label[:20]!r} is none of its {len(choices)} choices")
    made: dict[str, Any] = {
        "id": problem.question_id,
        "image": image,
        "question": question,
        "answer": choices[at] if choices else problem.label,
        "category": {"type": problem.category.replace("_", " ")},
    }
    return (
        made | ({"choices": choices, "prompt": problem.text} if choices else {}) | ({"boxes": boxes} if boxes else {})
    )


def _asked(text: str) -> tuple[str, list[str]]:
    """The question without what follows its choices, and these; another text as it is."""
    lines = [line.strip() for line in text.splitlines()]
    options = [_OPTION.fullmatch(line) for line in lines]
    letters = "".join(option[1] for option in options if option)
    if len(letters) < 2 or not "ABCDEFGHIJKLMNOPQRSTUVWXYZ".startswith(letters):
        return text, []
    before = lines[: next(at for at, option in enumerate(options) if option)]
    return "\n".join(before).strip(), [option[2] for option in options if option]


def _boxes(image: Path) -> list[list[_Px]]:
    """Left, top, right and bottom of what the question asks about, in px of the image; [] where that is not known."""
    try:
        targets = msgspec.json.decode(contents(image.with_suffix(".json"), _MAX_TARGETS), type=_Targets)
    except (OSError, ValueError, RecursionError):  # the problem can be asked all the same
        return []
    return [[left, top, left + width, top + height] for left, top, width, height in targets.bbox]
