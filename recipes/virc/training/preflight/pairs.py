"""Checks and counts the pairs of replies that LLaMA-Factory is going to train on.

Both sides of a pair show the same images and are counted apart; the longer one decides whether the pair fits. For KTO,
which takes replies one by one, the rows are written again.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec

from virc.core.errors import DataError, UsageError
from virc.core.files import fresh_folder, write_whole
from virc.core.json_stream import one_line
from virc.data.formats import pairs, sft
from virc.data.formats.registry import NumberedRow, RowsFile, only_source
from virc.data.rows.record import Message, Record
from virc.reasoning.protocol import FILE_NAME, as_fields
from virc.training.preflight.lengths import Length
from virc.training.preflight.sft import InPlace, OnProgress, Studied, result, studied, with_entry, within, write_chosen
from virc.training.preflight.types import PairsRequest, Result

_NAME = "replies"
TAG = "kto_tag"


def check(request: PairsRequest, on_progress: OnProgress = lambda text: None) -> Result:
    source = request.source
    if source.holds != "pairs":
        hint = f"virc data convert {source.file} --to DIR --format {pairs.NAME}, if its rows are pairs"
        raise DataError(f"{source.file} holds {source.holds}, and preferences are learnt from pairs", hint)
    read = studied(request, with_entry(source, _guessed), on_progress)
    better = read.counted(request, read.rows(), on_progress)
    worse = read.counted(request, map(rejected_side, read.rows()), on_progress)
    longer = msgspec.structs.replace(better, lengths=[*map(_longer, better.lengths, worse.lengths)])
    chosen = within(longer, request.config.filter_overlong, "cutoff_len", read.protocol.coordinates)
    if request.config.loss == "kto":
        places = set(chosen)
        rows = [row for at, row in enumerate(read.rows()) if at in places]
        source = _replies(request, read, rows, longer.files(chosen))
    else:
        source = write_chosen(request, read, chosen, longer)
    found = result(read, source, longer, chosen)
    total = sum(better.tokens(chosen)) + sum(worse.tokens(chosen))
    number = len(chosen) * (2 if request.config.loss == "kto" else 1)
    return msgspec.structs.replace(found, rows=number, total=total, mean=total / number)


def rejected_side(row: NumberedRow) -> NumberedRow:
    record = row.known()
    last = Message("assistant", record.rejected or "")
    return NumberedRow(
        row.number, msgspec.structs.replace(record, messages=(*record.messages[:-1], last), rejected=None)
    )


def entry_of(feedback: bool, file_name: str) -> dict[str, Any]:
    if not feedback:
        return pairs.info(file_name)
    entry = sft.info(file_name)
    return {**entry, "columns": {**entry["columns"], TAG: TAG}}


def _guessed(first: dict[str, Any]) -> dict[str, Any]:
    entry = sft.guessed(first)
    return {**entry, "ranking": True, "columns": {**entry["columns"], **{side: side for side in pairs.SIDES}}}


def _longer(one: Length, other: Length) -> Length:
    """Of the sides of a pair, whose images are the same."""
    fits = [each.fits for each in (one, other) if each.fits is not None]
    return msgspec.structs.replace(one, tokens=max(one.tokens, other.tokens), fits=min(fits, default=None))


def _replies(
    request: PairsRequest, read: Studied, rows: Sequence[NumberedRow], files: Collection[str | bytes]
) -> RowsFile:
    if request.folder is None:
        raise UsageError("KTO learns from replies one by one, and no folder is named for these")
    with fresh_folder(request.folder) as new:
        store, file = InPlace(new, request, files, read.rows()), new / f"{_NAME}.json"
        with file.open("w", encoding="utf-8") as out:
            for at, (record, wanted) in enumerate(one_by_one(rows)):
                row = sft.row_of(msgspec.structs.replace(record, extra={}), store.names(record))
                kept = {key: row[key] for key in ("messages", "images")}
                out.write(("[\n" if at == 0 else ",\n") + one_line({**kept, TAG: wanted}))
            out.write("\n]\n")
        sft.add_info(new, _NAME, entry_of(True, file.name))
        write_whole(new / FILE_NAME, msgspec.json.format(msgspec.json.encode(as_fields(read.protocol))))
    return only_source(request.folder)


def one_by_one(rows: Sequence[NumberedRow]) -> Iterator[tuple[Record, bool]]:
    """Both replies of each pair, better and worse in turns, and never one behind the other reply to the same prompt.

    LLaMA-Factory estimates how far the model has moved from the reply of the row before, which must be to another
    prompt (its `FeedbackDatasetProcessor`).
    """
    for first in (0, 1):
        for at, row in enumerate(rows):
            wanted = at % 2 == first
            yield row.known() if wanted else rejected_side(row).known(), wanted
