"""Small data sets in the shape of MathVista and V* as they are published.

Written by the standard library, Pillow and pyarrow alone, so that the readers are held against something they did not
write.
"""

import base64
import csv
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


LETTERS = "ABCD"
COLOURS = ("red", "blue", "green", "grey")


def text64(at: int) -> str:
    """An image file of one grey as base64 text."""
    return base64.b64encode(picture(at)).decode()


def held(at: int) -> Fields:
    """An image file of one grey as `datasets` stores it."""
    return {"bytes": picture(at), "path": f"{at}.jpg"}


def parquet(file: Path, rows: Sequence[Fields]) -> Path:
    """Write rows as parquet; returns the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), file)
    return file


def tsv(file: Path, rows: Sequence[Fields]) -> Path:
    """Write rows as a table with tabs, as pandas does; returns the file."""
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, rows[0], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file


def hr_bench(at: int) -> Fields:
    """A row of HR-Bench."""
    return {
        "index": at, "question": f"What is the color of glove {at}?", "answer": LETTERS[at], "category": "single",
        **dict(zip(LETTERS, COLOURS, strict=True)), "cycle_category": "0", "image": text64(at),
    }  # fmt: skip


def mme_realworld(at: int) -> Fields:
    """A row of MME-RealWorld, as lmms-eval publishes it."""
    options = [*COLOURS, "The image does not feature the color"]
    return {
        "index": f"perception/traffic/{at}", "bytes": text64(at), "path": f"{at}.jpg", "answer": LETTERS[at],
        "question": f"What is the color of car {at}?", "category": "Perception/Remote Sensing", "l2-category": "color",
        "multi-choice options": [f"({letter}) {each}" for letter, each in zip("ABCDE", options, strict=True)],
    }  # fmt: skip


def treebench(at: int) -> Fields:
    """A row of TreeBench."""
    return {
        "index": at, "image": text64(at), "question": f"What is the man {at} holding?", "answer": LETTERS[at],
        **dict(zip(LETTERS, COLOURS, strict=True)), "multi-choice options": "A. red\nB. blue\nC. green\nD. grey",
        "category": "Perception/Attributes", "target_instances": "[[1, 2, 30, 40]]",
    }  # fmt: skip


def visualprobe(at: int) -> Fields:
    """A row of VisualProbe, whose paths count from the folder around those of its levels."""
    level = ("Hard", "Medium", "Easy")[at]
    return {
        "images": [f"VisualProbe_{level}/data/{at}.jpg"], "doc_id": f"hard_{at}", "solution": COLOURS[at],
        "problem": f"<image>\nWhat is the color of bird {at}?", "data_source": "visual_probe_hard",
    }  # fmt: skip


def blink(at: int) -> Fields:
    """A row of BLINK with two pictures."""
    return {
        "idx": f"val_Jigsaw_{at}", "question": "Which fits?", "sub_task": "Jigsaw", "image_1": held(at),
        "image_2": held(at), "image_3": None, "image_4": None, "choices": ["the second", "the third"],
        "answer": f"({LETTERS[at % 2]})", "explanation": None,
        "prompt": "Which fits?\nSelect from the following choices.\n(A) the second\n(B) the third",
    }  # fmt: skip


def chartqa(at: int) -> Fields:
    """A row of ChartQA, as lmms-eval publishes it."""
    return {"type": "human_test", "question": f"What is bar {at}?", "answer": f"{at + 1}.5", "image": held(at)}


def docvqa(at: int) -> Fields:
    """A row of DocVQA, as lmms-eval publishes it."""
    return {
        "questionId": str(40 + at), "question": f"Who signed page {at}?", "question_types": ["handwritten", "form"],
        "image": held(at), "docId": at, "ucsf_document_id": "x", "ucsf_document_page_no": "1", "data_split": "val",
        "answers": ["T.F. Riehl", "T. F. Riehl"],
    }  # fmt: skip


def mathvision(at: int) -> Fields:
    """A row of MathVision, whose pictures are in one."""
    return {
        "id": str(at), "question": f"Which is number {at}?\n<image1> or <image2>", "options": list("ABCDE"),
        "image": f"images/{at}.jpg", "decoded_image": held(at), "answer": LETTERS[at], "solution": None, "level": 2,
        "subject": "arithmetic",
    } if at else {
        "id": "0", "question": "How large is it?\n<image1>", "options": [*COLOURS, "$\\frac{1}{2}$"], "level": 1,
        "image": "images/0.jpg", "decoded_image": held(0), "answer": "E", "solution": None, "subject": "arithmetic",
    }  # fmt: skip


def mathverse(at: int) -> Fields:
    """A row of MathVerse; what its second one lists are no choices."""
    asked = f"How long is AB in figure {at}?\nChoices:\n" + ("C:4 cm\nD:5 cm" if at == 1 else "A:4 cm\nB:5 cm")
    return {
        "sample_index": str(at), "problem_index": "1", "problem_version": "Text Dominant", "question": asked,
        "image": held(at), "answer": "7" if at == 1 else "B", "question_for_eval": asked,
        "question_type": "free-form" if at == 1 else "multi-choice",
        "metadata": {"split": "testmini", "source": "x", "subject": "Plane Geometry", "subfield": "Length"},
        "query_wo": f"Please answer the question.\n{asked}", "query_cot": f"Please reason.\n{asked}",
    }  # fmt: skip


def charxiv(at: int) -> Fields:
    """A row of CharXiv, the first with a text as its answer, the others with numbers."""
    return {
        "category": "cs", "year": "20", "figure_path": f"{at}.jpg", "num_subplots": 1, "subplot_row": 0,
        "subplot_col": 0, "subplot_loc": None, "reasoning_q_source": 3, "reasoning_q": f"Which is lowest in {at}?",
        "reasoning_a": ("Joint-CNN", "12", "0.25")[at], "reasoning_a_type": (1, 4, 4)[at], "image": held(at),
        **{f"descriptive_q{number}": number for number in range(1, 5)},
        **{f"descriptive_a{number}": "x" for number in range(1, 5)},
    }  # fmt: skip


def hr_mmsearch(at: int) -> Fields:
    """A row of HR-MMSearch."""
    return {
        "sample_id": f"s{at}", "query": f"When did shop {at} open?", "query_image": held(at),
        "ground_truth": f"July {at + 1}, 1990", "difficulty": "hard", "category": "Brands",
    }  # fmt: skip


def o3_bench(at: int) -> Fields:
    """A row of O3-Bench, whose options are one text and whose evidence is two of three boxes."""
    boxes = {str(number): {"layout_id": number, "bbox": [number, 2.5, number + 30, 40]} for number in (1, 2, 3)}
    return {
        "file_name": f"images/map/{at}.jpg", "subset": "map", "question": f"Which exit is nearest to shop {at}?",
        "options": "A. Exit 1, north\nB. Exit 2, south\nC. No right choice", "answer": LETTERS[at], "explanation": "x",
        "target_layouts": [1, 3], "layout_infos": boxes, "img_width": 64, "img_height": 48,
    }  # fmt: skip


def vtc_bench(at: int) -> Fields:
    """A row of VTC-Bench, the last without choices."""
    choices = ("", "", "") if at == 2 else COLOURS[:3]
    return {
        "index": at + 1, "id": f"color_{at}", "category": "color", "image": f"images/color/{at}.jpg",
        "question": f"What is the color of fish {at}?", "answer": "red and blue" if at == 2 else LETTERS[at],
        **dict(zip(LETTERS, (*choices, ""), strict=True)),
    }  # fmt: skip


def zoombench(at: int) -> Fields:
    """A row of ZoomBench, the last without choices."""
    asked = f"What is the color of lamp {at}?"
    return {
        "id": str(at), "image": held(at), "crop_image": held(2 - at), "question_type": "open" if at == 2 else "mcq",
        "query": asked if at == 2 else f"{asked}\nA. red\nB. blue", "response": "green" if at == 2 else LETTERS[at],
    }  # fmt: skip
