"""Files of rows and of pictures that tests of several rooms write."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.published_rows import picture

Row = dict[str, Any]


def png(at: int) -> bytes:
    file = io.BytesIO()
    picture(at).save(file, "PNG")
    return file.getvalue()


def saved(folder: Path, name: str, at: int) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(at))
    return name


def lines(file: Path, rows: Sequence[Row]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def array(file: Path, value: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, ensure_ascii=False))
    return file


def asked(at: int) -> str:
    return f"Which colour has square {at}?"
