"""Pairs of a better and a worse reply to the same turns, as LLaMA-Factory reads them for preference training.

    {"messages": [system?, user, (assistant, user)*], "chosen": {"role": "assistant", "content": …},
     "rejected": {"role": "assistant", "content": …}, "images": […], "margin": 0.5, …}

Images are those of the messages: both replies share them. `margin`, by how much the first is better, is optional. Files
are lines or one array; others that LLaMA-Factory reads with `ranking`, such as those of RLHF-V, are read too.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from virc.core.errors import DataError
from virc.data.formats import sft
from virc.data.formats.registry import Holds, RowsFile, Writing, file_for
from virc.data.rows.llamafactory import COLUMNS, ValuesOfFile
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import Record

NAME = "pairs"
HOLDS: Holds = "pairs"
LOST = ""
SIDES = ("chosen", "rejected")


def recognises(path: Path) -> bool:
    row = sft.first_row(path) if path.suffix.lower() in (".json", ".jsonl") else None
    return row is not None and any(name in row for name in COLUMNS) and all(
        isinstance(row.get(side), dict) for side in SIDES
    )  # fmt: skip


def read(source: RowsFile, start: int = 1, values: ValuesOfFile | None = None) -> Iterator[ParsedRow]:
    """The rows of the file, named as in its entry; as `sft.read`, with the rejected reply next to the chosen one."""
    columns = source.info.get("columns")
    chosen, rejected = (str((columns if isinstance(columns, dict) else {}).get(side) or side) for side in SIDES)
    with sft.opened(source.file) as file:
        if values and source.file.suffix.lower() == ".jsonl":
            values.place = file.tell
        numbered = sft.values_in(source.file)(file, start)
        yield from sft.rows(source, numbered, "row", sides=(chosen, rejected), values=values)


def write(folder: Path, name: str, records: Iterable[Record], settings: Writing) -> int:
    return sft.write_rows(file_for(folder, name, ".jsonl"), name, records, settings, row_of, info)


def row_of(record: Record, image_names: Iterable[str]) -> dict[str, Any]:
    """The row of a pair; `image_names` are relative to the folder of the file. Raises DataError: it is no pair."""
    if record.rejected is None or not record.messages:
        raise DataError(f"{record.called} has no rejected reply", "virc data sample FILE --pairs RULE makes pairs")
    row = sft.row_of(record, image_names)
    *shared, chosen = row.pop("messages")
    start = {"id": row.pop("id")} if "id" in row else {}
    sides = {"chosen": chosen, "rejected": {"role": "assistant", "content": record.rejected}}
    return {**start, "messages": shared, **sides, **{key: row[key] for key in row if key not in SIDES}}


def info(file_name: str, has_tools: bool = False) -> dict[str, Any]:
    entry = sft.info(file_name, has_tools)
    return {**entry, "ranking": True, "columns": {**entry["columns"], "chosen": "chosen", "rejected": "rejected"}}
