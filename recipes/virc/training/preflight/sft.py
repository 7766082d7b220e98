"""Checks and counts the rows that LLaMA-Factory is going to train on, and leaves some out if that was asked.

`check` is the entry, with four steps that `preflight.pairs` shares: `studied` checks every row, `Studied.counted`
counts tokens, `within` chooses the rows that are short enough, and `write_chosen` writes these to a file if need be.
"""

import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from virc.core.errors import DataError, UsageError
from virc.core.files import fresh_folder, is_file, write_whole
from virc.core.json_stream import array_rows, line_rows
from virc.core.text import plain as plain_text
from virc.core.work.parallel import in_order
from virc.data.check import llamafactory, plain
from virc.data.check.images import file_of
from virc.data.check.plain import rules_for
from virc.data.check.result import UNREAD_COLUMN, Fault, Rules, Survey, survey
from virc.data.check.row import check_row, check_without_images
from virc.data.formats import pairs, sft
from virc.data.formats.registry import INFO, NumberedRow, RowsFile, Writing, only_source
from virc.data.formats.sft import guessed
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Picture, Record
from virc.models.chat_protocol import read_protocol
from virc.reasoning.encoded import as_png
from virc.reasoning.images import open_image
from virc.reasoning.protocol import FILE_NAME, Coordinates, Protocol, as_fields
from virc.training.preflight import lengths as counts
from virc.training.preflight.lengths import Counted, counting, key_of, lengths, usual_system
from virc.training.preflight.types import Result, SftRequest

TAKES: dict[str, Coordinates] = {"qwen2_vl": "permille", "qwen2_5_vl": "pixel", "qwen3_vl": "permille"}
"""Type of a model -> the unit in which such models were trained to write boxes."""
_UNITS: dict[Coordinates, str] = {
    "pixel": "pixels",
    "permille": "thousandths of the sides",
    "thousand": "thousandths of the sides",
}
"""The coordinates that stock models use; other ones are for a system to teach."""
_FILES_PER_PROCESS = 50
"""Images; one process has rewritten them before another has started."""

_BOX = re.compile(r"-?\d+(?:\.\d+)?(?:[\s,()\[\]]+-?\d+(?:\.\d+)?){3}")
"""Four numbers one after the other."""

_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d(?::?\d\d){0,2}(?:Z|[+-]\d\d(?::?\d\d)?)?)?")
"""What pyarrow's reader of JSON takes for a time."""

OnProgress = Callable[[str], None]


def check(request: SftRequest, on_progress: OnProgress = lambda text: None) -> Result:
    """Check all rows.

    Raises:
        DataError: LLaMA-Factory would stop at a row, drop it or cut it; the rows have no single chat protocol, or boxes
            that the base does not write.
        ConfigError: a file of the base or a chat protocol makes no sense.
        UsageError: fewer rows are to be written, and `folder` is missing or in use.
    """
    source = request.source
    if source.holds != "solutions":
        raise DataError(
            f"{source.file} holds {source.holds}, and no solutions",
            f"virc data convert {source.file} --to DIR --format {sft.NAME}",
        )
    read = studied(request, with_entry(source, guessed), on_progress)
    counted = read.counted(request, read.rows(), on_progress)
    chosen = within(counted, request.config.filter_overlong, "cutoff_len", read.protocol.coordinates)
    return result(read, write_chosen(request, read, chosen, counted), counted, chosen)


class Studied(msgspec.Struct, frozen=True):
    """Rows that are checked, their lengths not counted yet.

    Args:
        found: of all rows, each checked without its images.
        faults: kind of fault -> how many of the rows checked closely have it; training takes such rows.
        measure: counts the tokens of rows.
    """

    source: RowsFile
    found: Survey
    faults: Counter[str]
    protocol: Protocol
    measure: counts.Measure

    def rows(self) -> Iterable[NumberedRow]:
        return self.source.rows()

    def counted(self, request: SftRequest, rows: Iterable[NumberedRow], on_progress: OnProgress) -> Counted:
        cutoff, total = request.config.cutoff_len, self.found.rows
        return counts.count(self.measure, cutoff, rows, total, request.workers, on_progress)


def studied(request: SftRequest, source: RowsFile, on_progress: OnProgress) -> Studied:
    config = request.config
    rules = counting(request.base, config.min_pixels, config.max_pixels, config.cutoff_len)
    if source.laid_out and source.laid_out.layout.objects and not source.laid_out.layout.coordinates:
        layout = msgspec.structs.replace(source.laid_out.layout, coordinates=TAKES[rules.model_type])
        source = msgspec.structs.replace(source, laid_out=msgspec.structs.replace(source.laid_out, layout=layout))
    check_one = partial(check_without_images, holds=source.holds)
    found = survey(source.rows(), check_one, lambda rows: on_progress(f"row {rows} checked"))
    check_found(source, found)
    given = _chat_protocol_given(request, source, found) or plain.protocol_of(found, usual_system(rules.model_type))
    row_rules = Rules(source.holds, given.coordinates, given) if given else rules_for(source, found.kept, "auto")[0]
    closely = survey(found.kept, lambda row: check_row(row_rules, row).faults)
    check_found(source, closely)
    protocol, is_certain = (given, True) if given else plain.shown_by(source, closely.whole)
    if is_certain and protocol.tools and not config.mixed_coordinates:
        check_coordinates(request.source, request.name, rules.model_type, protocol.coordinates)
    return Studied(source, found, closely.doubts, protocol, partial(lengths, rules))


def write_chosen(request: SftRequest, read: Studied, chosen: Sequence[int], counted: Counted) -> RowsFile:
    """The file with the rows to train on; `chosen` are indices of rows."""
    differs = counted.by_url or any(length.differ for length in counted.lengths) or _has_times(read.source)
    if len(chosen) == read.found.rows and read.source.as_engines_read and not differs:
        return read.source
    indices = set(chosen)
    rows = (row for index, row in enumerate(read.rows()) if index in indices)
    return _write_rows(read.source, rows, request, read.protocol, counted.files(chosen))


def result(read: Studied, source: RowsFile, counted: Counted, chosen: Sequence[int]) -> Result:
    keys = ("formatting", "ranking", "columns", "tags")
    entry: dict[str, Any] = {key: source.info[key] for key in keys if key in source.info}
    if not read.found.images:  # a column that no row has would stop LLaMA-Factory
        entry["columns"] = {key: name for key, name in entry["columns"].items() if key != "images"}
    return Result(
        **counted_fields(read.found, counted, chosen, read.faults),
        shrunk=sum(counted.lengths[at].shrunk for at in chosen),
        otherwise=read.found.rows - read.found.with_system(read.protocol.system),
        protocol=read.protocol,
        file=source.file.absolute(),
        dataset=source.name,
        entry=entry,
        media=source.media.absolute(),
        rewritten=dict(Counter(why for at in chosen for why in counted.lengths[at].differ.values())),
    )


def within(counted: Counted, filter_overlong: bool, setting: str, coordinates: Coordinates) -> Sequence[int]:
    """The indices of the rows that are short enough.

    Raises:
        DataError: rows are longer, and are not left out; or all of them are.
    """
    if counted.over and (not filter_overlong or not counted.within):
        raise counts.too_long(counted, coordinates, setting)
    return counted.within


def with_entry(source: RowsFile, guess: Callable[[dict[str, Any]], dict[str, Any]]) -> RowsFile:
    """The source with the entry of `dataset_info.json` that LLaMA-Factory needs for its rows.

    That is the source's own; else it is guessed from the first row, and from whether any row has a system message.
    """
    for fault in llamafactory.check_entry(source):
        raise DataError(f"{source.name} in {INFO}: {fault.message}", f"virc data check {source.file}")
    if source.info or not source.as_engines_read:
        return source
    with sft.opened(source.file) as file:
        values = line_rows(file) if source.file.suffix.lower() == ".jsonl" else array_rows(file)
        first, system_message = None, dict[str, str]()
        for row in (row for _, row in values if isinstance(row, dict)):
            first = first or row
            if isinstance(row.get("system"), str):
                system_message = {"system": row["system"]}
                break
    return msgspec.structs.replace(source, info=guess(first | system_message)) if first else source


def check_found(source: RowsFile, found: Survey) -> None:
    """Raises DataError: a survey found no rows, or rows at which training would stop."""
    if not found.rows:
        raise DataError(f"{source.file} holds no rows")
    if found.wrong:
        number, fault = found.wrong[0]
        raise _untrainable(source, f"{found.faulty:,} of {found.rows:,} rows", found.faults, number, fault)


def _untrainable(source: RowsFile, rows: str, kinds: Counter[str], number: int, fault: Fault) -> DataError:
    listed = ", ".join(f"{kind}: {count:,}" for kind, count in kinds.most_common())
    ignore = "--ignore COLUMN leaves a column out; " if UNREAD_COLUMN in kinds else ""
    return DataError(
        f"{rows} cannot be trained on ({listed}); row {number}: {fault.message}",
        f"{ignore}virc data check {shlex.quote(str(source.file))} lists them, and keeps the others with --clean DIR",
    )


def _chat_protocol_given(request: SftRequest, source: RowsFile, found: Survey) -> Protocol | None:
    """The chat protocol that the request names, else that of the rows' folder or of the system, if rows are in it."""
    if request.protocol is None:
        file = source.media / FILE_NAME
        candidates = (read_protocol(file) if is_file(file) else None, request.chat_protocol)
        return next((each for each in candidates if each and found.with_system(each.system)), None)
    protocol = read_protocol(request.protocol)
    if found.with_system(protocol.system):
        return protocol
    raise DataError(
        f"no row of {source.file} has the system message of the chat protocol {request.protocol}",
        "name the chat protocol that the rows are written in, or none: virc reads it from rows in the form of ViRC",
    )


def check_coordinates(source: RowsFile, base: str, model_type: str, written: Coordinates) -> None:
    trained = TAKES[model_type]
    if written in _UNITS and _UNITS[written] != _UNITS[trained]:
        raise DataError(
            f"boxes of {source.name} are counted in {_UNITS[written]}, and {base}, of type {model_type}, counts "
            f"in {_UNITS[trained]}",
            f"choose another base, or virc data convert {source.file} --to DIR --coordinates {trained}",
        )


def _write_rows(
    source: RowsFile,
    rows: Iterable[NumberedRow],
    request: SftRequest,
    protocol: Protocol,
    files: Collection[str | bytes],
) -> RowsFile:
    """Write rows of a file as a new dataset; images stay where they are, but `files` are written as they are shown."""
    if request.folder is None:
        raise UsageError("not all rows are to be trained on as they are, and no folder is named for those that are")
    with fresh_folder(request.folder) as new:
        records = (row.known() for row in rows)
        if not source.as_engines_read:
            # LLaMA-Factory stops at values of some further fields.
            cleared: dict[str, Any] = {"id": None, "question": None, "answer": None, "extra": {}}
            records = (msgspec.structs.replace(record, **cleared) for record in records)
        rows_with_files = source.rows() if files else ()
        settings = Writing(InPlace(new, request, files, rows_with_files))
        target: ModuleType = pairs if source.holds == "pairs" else sft
        lines = (sft.line_of(record, settings, target.row_of) for record in records)
        sft.write_array(new, source.name, lines, target.info)  # of which datasets makes no times
        write_whole(new / FILE_NAME, msgspec.json.format(msgspec.json.encode(as_fields(protocol))))
    return only_source(request.folder)


def _has_times(source: RowsFile) -> bool:
    """Whether datasets 4.0.0 makes times of texts: all of a field look like some in a part of a file of lines."""
    if source.file.suffix.lower() != ".jsonl":
        return False
    with sft.opened(source.file) as file:
        start, alike = 0, dict[str, bool]()
        for _, row in line_rows(file):
            for path, value in sft.values_of(row) if isinstance(row, dict) else ():
                if isinstance(value, str):
                    alike[path] = alike.get(path, True) and bool(_TIME.fullmatch(value))
            if file.tell() - start > sft.FIRST_PART:
                if any(alike.values()):
                    return True
                start, alike = file.tell(), {}
    return any(alike.values())


class InPlace(PictureStore):
    """Gives images the names by which LLaMA-Factory finds them; those of `files` are written as they are shown."""

    def __init__(
        self, folder: Path, request: SftRequest, files: Collection[str | bytes], rows: Iterable[NumberedRow]
    ) -> None:
        super().__init__(folder)
        self._shown: dict[str | bytes, str] = {}
        if files and not request.is_trial:
            workers = max(1, min(request.workers, len(files) // _FILES_PER_PROCESS))
            images = in_order(_as_shown, _with_keys(rows, set(files)), workers)
            self._shown = {key: self.add(Picture("", data=png)) for key, png in images}

    def name(self, picture: Picture, record: Record) -> str:
        if self._shown and (rewritten := self._shown.get(key_of(counts.opened(picture)))):
            return rewritten
        return str(Path(file_of(picture)).absolute()) if picture.data is None else super().name(picture, record)


def _with_keys(rows: Iterable[NumberedRow], keys: set[str | bytes]) -> Iterator[tuple[str | bytes, str | bytes, str]]:
    """Key, file (path or bytes) and a name for errors of each image whose key is in `keys`, once each."""
    for row in rows:
        for picture in row.known().images if keys else ():
            file = counts.opened(picture)
            if (key := key_of(file)) in keys:
                keys.remove(key)
                yield key, file, f"row {row.number}: the image {plain_text(picture.name or 'in the row', 200)}"


def _as_shown(image: tuple[str | bytes, str | bytes, str]) -> tuple[str | bytes, bytes]:
    key, file, name = image
    return key, as_png(open_image(file if isinstance(file, bytes) else Path(file), name)).data


def counted_fields(found: Survey, counted: Counted, chosen: Sequence[int], faults: Counter[str]) -> dict[str, Any]:
    """The fields of `Result` that are counted the same way for every kind of stage; `chosen` are indices of rows."""
    tokens = counted.tokens(chosen)
    records = [row.record for row in found.kept if row.record]
    texts = [[each.content for each in one.messages if each.role != "system"] + [one.rejected or ""] for one in records]
    return {
        "rows": len(tokens),
        "dropped": len(counted.over),
        "longest": max(tokens),
        "mean": sum(tokens) / len(tokens),
        "total": sum(tokens),
        "percentiles": counts.percentiles(tokens),
        "images": sum(counted.lengths[at].images for at in chosen),
        "looked_at": len(found.kept),
        "boxed": sum(any(map(_BOX.search, of_row)) for of_row in texts),
        "faults": dict(faults.most_common()),
    }
