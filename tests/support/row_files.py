"""Files of rows and of pictures that tests of several rooms write."""

import io
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

Row = dict[str, Any]
SIZE = (252, 196)  # px, on the patch grid of Qwen2-VL, and small enough for `tiny`: shown as it is
NUMBERS = ("12", "47", "85")
COLOURS = ("red", "green", "blue")
PLACES = ((14, 14), (140, 28), (84, 98))
SIDE = 84  # px of a square with a number


def picture(at: int) -> Image.Image:
    """A white page with a number in a coloured square."""
    image = Image.new("RGB", SIZE, "white")
    left, top = PLACES[at]
    draw = ImageDraw.Draw(image)
    draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), fill=COLOURS[at])
    draw.text((left + 16, top + 22), NUMBERS[at], fill="white", font_size=36)
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(at: int) -> bytes:
    return encoded(picture(at))


def embedded(at: int) -> Row:
    """An image as `datasets` saves it."""
    return {"bytes": png(at), "path": None}


def saved(folder: Path, name: str, at: int) -> str:
    return save(folder, name, picture(at))


def save(folder: Path, name: str, image: Image.Image) -> str:
    """The name of an image that is saved in a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return name


def lines(file: Path, rows: Sequence[Row]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def array(file: Path, value: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, ensure_ascii=False))
    return file


def parquet(file: Path, rows: Sequence[Row]) -> Path:
    import pyarrow
    import pyarrow.parquet

    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file


def save_to_disk(folder: Path, rows: Sequence[Row], files: int = 1) -> Path:
    """A folder as `datasets.save_to_disk` writes a set with the one split `train`."""
    import pyarrow

    split = folder / "train"
    split.mkdir(parents=True, exist_ok=True)
    names = [f"data-{at:05}-of-{files:05}.arrow" for at in range(files)]
    for at, name in enumerate(names):
        table = pyarrow.Table.from_pylist(list(rows[at::files]))
        with pyarrow.ipc.new_stream(split / name, table.schema) as stream:
            stream.write_table(table)
    (split / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (split / "dataset_info.json").write_text(json.dumps({"citation": "", "features": {}}))
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train"]}))
    return folder


def asked(at: int) -> str:
    return f"Which colour has square {at}?"


def question(at: int) -> str:
    return f"Which number is in the {COLOURS[at]} square?"
