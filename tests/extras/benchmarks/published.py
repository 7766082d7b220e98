"""Small data sets in the shape of MathVista and V* as they are published.

Written by the standard library, Pillow and pyarrow alone, so that the readers are held against something they did not
write.
"""

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from PIL import Image

Fields = dict[str, Any]

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_METADATA = pa.struct(
    [
        *((name, pa.string()) for name in ("category", "context", "grade")),
        *((name, pa.int64()) for name in ("img_height", "img_width")),
        ("language", pa.string()),
        ("skills", pa.list_(pa.string())),
        *((name, pa.string()) for name in ("source", "split", "task")),
    ]
)
MATHVISTA = pa.schema(
    [
        *((name, pa.string()) for name in ("pid", "question", "image")),
        ("decoded_image", _IMAGE),
        ("choices", pa.list_(pa.string())),
        ("unit", pa.string()),
        ("precision", pa.float64()),
        *((name, pa.string()) for name in ("answer", "question_type", "answer_type")),
        ("metadata", _METADATA),
        ("query", pa.string()),
    ]
)
ENDING = "Answer with the option's letter from the given choices directly."


def picture(shade: int, form: str = "JPEG") -> bytes:
    """An image file of one grey."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (shade, shade, shade)).save(file, form)
    return file.getvalue()


def figure(pid: str, /, **changed: Any) -> Fields:
    """A row of MathVista without its image, with other values in some columns; `...` takes a column away."""
    fields: Fields = {
        "pid": pid, "question": f"How long is AB in figure {pid}?", "image": f"images/{pid}.jpg", "choices": None,
        "unit": "cm", "precision": 1.0, "answer": "1.2", "question_type": "free_form", "answer_type": "float",
        "metadata": {
            "category": "math-targeted-vqa", "context": "geometry diagram", "grade": "high school",
            "img_height": 48, "img_width": 64, "language": "english",
            "skills": ["geometry reasoning", "algebraic reasoning"], "source": "Geometry3K", "split": "testmini",
            "task": "geometry problem solving",
        },
        "query": f"Hint: a chat protocol of theirs.\nQuestion: How long is AB in figure {pid}? (Unit: cm)",
    }  # fmt: skip
    return {name: value for name, value in (fields | changed).items() if value is not ...}


def choice(pid: str, /, **changed: Any) -> Fields:
    """A row of MathVista with choices."""
    chosen = {
        "question": "Which is it?", "choices": ["(A) 4 cm", "(B) 5 cm"], "unit": None, "precision": None,
        "answer": "(B) 5 cm", "question_type": "multi_choice", "answer_type": "text",
    }  # fmt: skip
    return figure(pid, **chosen | changed)


def mathvista(folder: Path, rows: Iterable[Fields], name: str = "testmini-00000-of-00001-7256", group: int = 2) -> Path:
    """Write rows as parquet that holds their images; returns the file."""
    held = [
        {"decoded_image": {"bytes": picture(at), "path": f"{row.get('pid')}.jpg"}} | row for at, row in enumerate(rows)
    ]
    known = {name for row in held for name in row}
    file = folder / "data" / f"{name}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([field for field in MATHVISTA if field.name in known])
    pq.write_table(pa.Table.from_pylist(held, schema=schema), file, row_group_size=group)
    return file


def mathvista_json(folder: Path, rows: Sequence[Fields], split: str = "testmini") -> Path:
    """Write rows as one object beside their images; returns the file."""
    (folder / "images").mkdir(parents=True)
    for at, row in enumerate(rows):
        (folder / "images" / f"{row['pid']}.jpg").write_bytes(picture(at))
    file = folder / f"annot_{split}.json"
    file.write_text(json.dumps({row["pid"]: row for row in rows}, indent=1), encoding="utf-8")
    return file


def search(number: int, /, **changed: Any) -> Fields:
    """A row of V* with two choices or four."""
    kind = ("direct_attributes", "relative_position")[number % 2]
    options = (["rubber", "cotton", "kevlar (woven)", "leather"], ["left of it", "right of it"])[number % 2]
    listed = "\n".join(f"({'ABCD'[at]}) {option}" for at, option in enumerate(options))
    fields = {
        "image": f"{kind}/sa_{number}.jpg", "text": f"What is the material of glove {number}?\n{listed}\n{ENDING}",
        "category": kind, "label": "B", "question_id": number,
    }  # fmt: skip
    return {name: value for name, value in (fields | changed).items() if value is not ...}


def vstar(folder: Path, rows: Sequence[Fields]) -> Path:
    """Write rows as lines beside their images, each with the boxes of its targets; returns the file."""
    for number in range(len(rows)):
        image = folder / str(search(number)["image"])
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(picture(number))
        targets = {
            "target_object": ["glove"], "bbox": [[10, 20, 5, 6], [1.5, 2, 3, 4]],
            "question": "What is it made of?", "options": ["It is made of cotton.", "It is made of rubber."],
        }  # fmt: skip
        image.with_suffix(".json").write_text(json.dumps(targets))
    file = folder / "test_questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def parquet(file: Path, rows: Sequence[Fields]) -> Path:
    """Write rows as parquet; returns the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), file)
    return file
