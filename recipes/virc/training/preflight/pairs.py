"""Checks and counts the pairs of replies that LLaMA-Factory is going to train on.

Both sides of a pair show the same images and are counted apart; the longer one decides whether the pair fits. For KTO,
which takes replies one by one, the rows are written again.
"""

import shlex
import shutil
from collections.abc import Iterable, Sequence
from tempfile import TemporaryFile
from typing import Any, TypeVar

import msgspec

from virc.core.errors import DataError
from virc.core.json_stream import one_line
from virc.data.formats import pairs, sft
from virc.data.formats.registry import RowsFile
from virc.data.rows.llamafactory import guessed
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Message, Record
from virc.training.preflight.lengths import Counting, Length, Text, lengths
from virc.training.preflight.sft import OnProgress, checked, write_rows
from virc.training.preflight.types import PairsRequest, Result

_NAME = "replies"
TAG = "kto_tag"


def check(request: PairsRequest, on_progress: OnProgress = lambda text: None) -> Result:
    source = request.source
    if source.holds != "pairs":
        file = shlex.quote(str(source.file))
        hint = f"virc data convert {file} --to DIR --format {pairs.NAME}, if its rows are pairs"
        raise DataError(f"{source.file} holds {source.holds}, and preferences are learnt from pairs", hint)
    write = _write_replies if request.config.loss == "kto" else write_rows
    found = checked(request, _guessed, lengths_of_pairs, write, on_progress)
    of_one = 2 if request.config.loss == "kto" else 1  # rows
    return msgspec.structs.replace(found, rows=of_one * found.rows, mean=found.mean / of_one)


Side = TypeVar("Side", Record, Text)


def rejected_side(pair: Side) -> Side:
    last = Message("assistant", pair.rejected or "")
    return msgspec.structs.replace(pair, messages=(*pair.messages[:-1], last), rejected=None)


def lengths_of_pairs(counting: Counting, pairs: Sequence[Text]) -> list[Length]:
    without = msgspec.structs.replace(counting, pictures=None)  # both sides show the same ones
    return [*map(_longer, lengths(counting, pairs), lengths(without, [*map(rejected_side, pairs)]))]


def entry_of(feedback: bool, file_name: str) -> dict[str, Any]:
    if not feedback:
        return pairs.info(file_name)
    entry = sft.info(file_name)
    return {**entry, "columns": {**entry["columns"], TAG: TAG}}


def _guessed(first: dict[str, Any]) -> dict[str, Any]:
    entry = guessed(first)
    return {**entry, "ranking": True, "columns": {**entry["columns"], **{side: side for side in pairs.SIDES}}}


def _longer(one: Length, other: Length) -> Length:
    """Of the sides of a pair, whose images are the same."""
    fits = [each.fits for each in (one, other) if each.fits is not None]
    shorter, longer = sorted((one.tokens, other.tokens))
    return msgspec.structs.replace(one, tokens=longer, shorter=shorter, fits=min(fits, default=None))


def _write_replies(source: RowsFile, rows: Iterable[ParsedRow], store: PictureStore) -> None:
    """Write both replies of each pair, better and worse in turns, and never one behind the other of the same prompt.

    LLaMA-Factory estimates how far the model has moved from the reply of the row before, which must be to another
    prompt (its `FeedbackDatasetProcessor`). So the other reply of each comes when all have had one.
    """
    file = store.folder / f"{_NAME}.json"
    with file.open("w", encoding="utf-8") as out, TemporaryFile("w+", encoding="utf-8", dir=store.folder) as others:
        for at, row in enumerate(rows):
            pair = row.known()
            if pair.has_tools:
                raise DataError(f"row {row.number} has tools, which no loss takes but sigmoid", "«--set loss=sigmoid»")
            lines = [_line(pair, True, store), _line(rejected_side(pair), False, store)]
            first, other = lines if at % 2 == 0 else reversed(lines)
            out.write(("[\n" if at == 0 else ",\n") + first)
            others.write(",\n" + other)
        others.seek(0)
        shutil.copyfileobj(others, out)
        out.write("\n]\n")
    sft.add_info(store.folder, _NAME, entry_of(True, file.name))


def _line(record: Record, wanted: bool, store: PictureStore) -> str:
    row = sft.row_of(msgspec.structs.replace(record, extra={}), store.names(record))
    return one_line({**{key: row[key] for key in ("messages", "images")}, TAG: wanted})
