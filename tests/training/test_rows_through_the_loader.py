"""Rows of every kind leave the loader of LLaMA-Factory's environment as they were written: texts, types, images."""

import json
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from stage_rows import chat_protocol, request
from support.engine_python import interpreter
from support.tables import each_case

from virc.training.preflight import pairs, sft
from virc.training.preflight.types import PairsRequest

pytestmark = pytest.mark.engine

Row = dict[str, Any]

LOAD = """
import json, sys
from datasets import disable_progress_bars, load_dataset
disable_progress_bars()
kind = {"json": "json", "jsonl": "json", "parquet": "parquet", "arrow": "arrow"}
def loaded(file):
    rows = load_dataset(kind[file.rpartition(".")[2]], data_files=[file], split="train", cache_dir=sys.argv[1])
    return rows.to_list()
json.dump([loaded(file) for file in sys.argv[2:]], sys.stdout, default=repr)
"""

TEXTS: Mapping[str, tuple[str, ...]] = {
    "whole numbers": ("3", "12", "-7"),
    "decimals": ("0.50", "1e-7", "3.10"),
    "zeros in front": ("007", "00", "0123"),
    "large numbers": ("9223372036854775809", "123456789012345678901234567890", "1e400"),
    "the words of JSON": ("null", "true", "false"),
    "words for no value": ("None", "NaN", "N/A"),
    "dates": ("2024-05-01", "1999-12-31", "2024-02-29"),
    "times": ("2024-05-01T10:00:00Z", "2024-05-02 11:00", "2024-05-02T11:00:00+02:00"),
    "times with fractions": ("2024-05-01T10:00:00.5", "2024-05-01 10:00:00.123456", "2024-05-01 10:00:00.1Z"),
    "times of the day": ("10:00", "23:59:59", "00:00:00"),
    "a date and words": ("2024-05-01", "on 2024-05-02", "never"),
    "texts that are lists": ("[1, 2]", "[[0, 0, 10, 10]]", "[]"),
    "texts that are objects": ('{"a": 1}', "{}", '{"b": [null]}'),
    "texts that are quoted": ('"B"', '"', "'a'"),
    "separators of Unicode": ("a\u2028b", "a\u2029b", "a\x85b\x0cc"),
    "line breaks": ("a\nb", "a\r\nb", "\ta"),
    "backslashes": (r"\frac{1}{2}", r"C:\new\table", "\\"),
    "slashes": ("1/2", "https://a.example/b?c=d", "</answer>"),
    "spaces around": (" a", "a ", " a b "),
    "no letters": (".", "-", "0"),
    "hexadecimal digits": ("123e4567-e89b-12d3-a456-426614174000", "0x1F", "DEADBEEF"),
    "an ending in capitals": ("a", "b"),
    "one after many": ("x", "x", "2024-05-01"),
}


def written(folder: Path, kind: str, texts: tuple[str, ...], in_pairs: bool) -> tuple[list[Row], Path]:
    """Rows with these replies, and the file of them that a stage hands to LLaMA-Factory."""
    folder.mkdir()
    Image.new("RGB", (56, 56), "white").save(folder / "a.png")
    chat_protocol(folder, system="")
    other = {"role": "assistant", "content": texts[-1] + " no"}
    rows = []
    for at, text in enumerate(texts):
        shown = at == len(texts) - 1  # the images of the others are empty
        asked = {"role": "user", "content": "<image>What?" * shown or text}
        says = {"role": "assistant", "content": text}
        turns = {"messages": [asked], "chosen": says, "rejected": other} if in_pairs else {"messages": [asked, says]}
        rows.append({**turns, "images": ["a.png"] * shown})
    file = folder / ("ROWS.JSONL" if "capitals" in kind else "rows.jsonl")  # LLaMA-Factory 0.9.5 knows no .JSONL
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    of_kind = partial(request, file, PairsRequest) if in_pairs else partial(request, file)
    found = (pairs.check if in_pairs else sft.check)(of_kind(folder=folder.with_name(f"{folder.name}-run")))
    return rows, found.file


def without_images(row: Row) -> Row:
    """The columns of a row that hold its texts."""
    return {name: row[name] for name in ("messages", "chosen", "rejected") if name in row}


@each_case("in_pairs", [False, True])
def test_rows_come_back_as_they_were_written(in_pairs: bool, tmp_path: Path) -> None:
    cases = {kind: written(tmp_path / str(at), kind, texts, in_pairs) for at, (kind, texts) in enumerate(TEXTS.items())}
    command: list[str | Path] = [
        interpreter("sft"),
        "-c",
        LOAD,
        tmp_path / "cache",
        *(file for _, file in cases.values()),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    for (kind, (rows, _)), loaded in zip(cases.items(), json.loads(done.stdout), strict=True):
        assert [*map(without_images, loaded)] == [*map(without_images, rows)], kind
        assert [len(row["images"]) for row in loaded] == [len(row["images"]) for row in rows], kind
