"""Checks and counts the rows that LLaMA-Factory is going to train on, and leaves some out if that was asked.

`check` is the entry. `checked`, which `preflight.pairs` shares, takes the rows through all steps: each is checked and
counted, those that are short enough (`within`) are written if need be (`write_rows`), and some are looked at closely.
"""

import re
import shlex
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.files import fresh_folder, is_file, write_whole
from virc.core.json_stream import Fields
from virc.data.check import llamafactory, plain
from virc.data.check.images import file_of
from virc.data.check.plain import rules_for
from virc.data.check.result import UNREAD_COLUMN, Fault, Rules, Survey, survey
from virc.data.check.row import check_row, check_without_images
from virc.data.formats import pairs, sft
from virc.data.formats.registry import RowsFile, Writing, file_for, only_source
from virc.data.rows.llamafactory import INFO, ValuesOfFile, guessed
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Picture, Record
from virc.families import registry as families
from virc.models.chat_protocol import read_protocol
from virc.reasoning.protocol import FILE_NAME, Coordinates, Protocol, as_fields
from virc.training.preflight import lengths as counts
from virc.training.preflight.lengths import Counted, Counting, Length, Text, counting, key_of, lengths, usual_system
from virc.training.preflight.types import Result, SftRequest

_UNITS: dict[Coordinates, str] = {
    "pixel": "pixels",
    "permille": "thousandths of the sides",
    "thousand": "thousandths of the sides",
}
"""The coordinates that stock models use; other ones are for a system to teach."""
_BOX = re.compile(r"-?\d+(?:\.\d+)?(?:[\s,()\[\]]+-?\d+(?:\.\d+)?){3}")
"""Four numbers one after the other."""

OnProgress = Callable[[str], None]


def check(request: SftRequest, on_progress: OnProgress = lambda text: None) -> Result:
    """Check all rows.

    Raises:
        DataError: LLaMA-Factory would stop at a row, drop it or cut it; the rows have no single chat protocol, or boxes
            that the base does not write.
        ConfigError: a file of the base or a chat protocol makes no sense.
        UsageError: `folder` is in use.
    """
    source = request.source
    if source.holds != "solutions":
        raise DataError(
            f"{source.file} holds {source.holds}, and no solutions",
            f"virc data convert {shlex.quote(str(source.file))} --to DIR --format {sft.NAME}",
        )
    return checked(request, guessed, lengths, write_rows, on_progress)


def checked(
    request: SftRequest, guess: Callable[[Fields], Fields], measure: Callable[[Counting, Sequence[Text]], list[Length]],
    write: Callable[[RowsFile, Iterable[ParsedRow], PictureStore], None], on_progress: OnProgress,
) -> Result:  # fmt: skip
    """Check and count rows in one pass, which writes those that LLaMA-Factory does not read as they are.

    A file that it reads is written, and read again for that, only where some of its rows differ from what is trained.

    Args:
        guess: makes an entry of `dataset_info.json` of the first row, if LLaMA-Factory needs one and none is there.
        write: writes rows into the folder of the store, with the pictures in it.
    """
    source, config, counted = request.source, request.config, Counted(request.config.cutoff_len)
    for fault in llamafactory.check_entry(source):
        raise DataError(f"{source.name} in {INFO}: {fault.message}", f"virc data check {shlex.quote(str(source.file))}")
    counted.found.left.add_all(source.left, f"{source.name} of {INFO}")
    rules = counting(request.base, config.min_pixels, config.max_pixels, config.cutoff_len)
    if source.laid_out and source.laid_out.layout.objects and not source.laid_out.layout.coordinates:
        layout = msgspec.structs.replace(source.laid_out.layout, coordinates=_unit_of(rules.model_type))
        source = msgspec.structs.replace(source, laid_out=msgspec.structs.replace(source.laid_out, layout=layout))
    with fresh_folder(request.folder) as new:
        of_base = msgspec.structs.replace(rules, pictures=None if request.is_trial else new)
        check_one, count_of = partial(check_without_images, holds=source.holds), partial(measure, of_base)
        values = ValuesOfFile()
        rows = counts.count(counted, source.rows(values), check_one, count_of, request.workers, on_progress)
        store = InPlace(new, counted.shown)
        as_it_is = source.as_engines_read and write is write_rows
        if as_it_is:
            deque(rows, 0)
        else:
            write(source, rows, store)
        if values.first and not source.info:
            source = msgspec.structs.replace(source, info=guess(values.first))
        protocol, faults = _studied(request, source, counted.found, rules.model_type)
        chosen = within(counted, config.filter_overlong, "cutoff_len", protocol.coordinates)
        differs = counted.differ or any(length.differ for length in counted.lengths)
        if as_it_is and (differs or len(chosen) < counted.found.rows or values.has_times):
            as_it_is, places = False, set(chosen)
            write(source, (row for at, row in enumerate(source.rows()) if at in places), store)
        if not as_it_is:
            write_whole(new / FILE_NAME, msgspec.json.format(msgspec.json.encode(as_fields(protocol))))
    found, trained = counted.found, source
    if as_it_is:
        request.folder.rmdir()
    else:
        trained = only_source(request.folder)
    keys = ("formatting", "ranking", "columns", "tags")
    entry: dict[str, Any] = {key: trained.info[key] for key in keys if key in trained.info}
    if not found.images:  # a column that no row has would stop LLaMA-Factory
        entry["columns"] = {key: name for key, name in entry["columns"].items() if key != "images"}
    return Result(
        **counted_fields(counted, chosen, faults),
        shrunk=sum(counted.lengths[at].shrunk for at in chosen),
        otherwise=found.rows - found.with_system(protocol.system),
        protocol=protocol,
        file=trained.file.absolute(),
        dataset=trained.name,
        entry=entry,
        media=trained.media.absolute(),
        rewritten=dict(Counter(why for at in chosen for why in counted.lengths[at].differ.values())),
    )


def _studied(request: SftRequest, source: RowsFile, found: Survey, model_type: str) -> tuple[Protocol, Counter[str]]:
    """The chat protocol of rows, and the faults of those that were kept and are checked closely here."""
    check_found(source, found)
    given = _chat_protocol_given(request, source, found) or plain.protocol_of(found, usual_system(model_type))
    rules = Rules(given, given.coordinates, holds=source.holds) if given else rules_for(source, found.kept, "auto")[0]
    closely = survey(found.kept, lambda row: check_row(rules, row).faults)
    check_found(source, closely)
    protocol, is_certain = (given, True) if given else plain.shown_by(source, closely.whole)
    if is_certain and protocol.tools and not request.config.mixed_coordinates:
        check_coordinates(request.source, request.name, model_type, protocol.coordinates)
    return protocol, closely.doubts


def within(counted: Counted, filter_overlong: bool, setting: str, coordinates: Coordinates) -> Sequence[int]:
    """The indices of the rows that are short enough.

    Raises:
        DataError: one cannot be counted; or rows are longer, and are not left out; or all of them are.
    """
    if counted.fault:
        raise counted.fault
    if counted.over and (not filter_overlong or not counted.within):
        raise counts.too_long(counted, coordinates, setting)
    return counted.within


def check_found(source: RowsFile, found: Survey) -> None:
    """Raises DataError: a survey found no rows, or rows at which training would stop."""
    if not found.rows:
        raise DataError(f"{source.file} holds no rows")
    if found.wrong:
        number, fault = found.wrong[0]
        raise _untrainable(source, f"{found.faulty:,} of {found.rows:,} rows", found.faults, number, fault)


def _untrainable(source: RowsFile, rows: str, kinds: Counter[str], number: int, fault: Fault) -> DataError:
    listed = ", ".join(f"{kind}: {count:,}" for kind, count in kinds.most_common())
    ignore = "«--ignore COLUMN» leaves a column out; " if UNREAD_COLUMN in kinds else ""
    return DataError(
        f"{rows} cannot be trained on ({listed}); row {number}: {fault.message}",
        f"{ignore}virc data check {shlex.quote(str(source.file))} lists them, and keeps the others with «--clean DIR»",
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
    trained = _unit_of(model_type)
    if trained and written in _UNITS and _UNITS[written] != _UNITS[trained]:
        file, to = shlex.quote(str(source.file)), f"--to DIR --format {source.format} --coordinates {trained}"
        raise DataError(
            f"boxes of {source.name} are counted in {_UNITS[written]}, and {base}, of type {model_type}, counts "
            f"in {_UNITS[trained]}",
            f"choose another base or system (virc systems ls), or virc data convert {file} {to}",
        )


def _unit_of(model_type: str) -> Coordinates | None:
    """The unit in which models of a type were trained to write boxes; None: they were not."""
    family = families.by_model_type(model_type)
    unit = family.coordinates if family else None
    return "permille" if unit == "thousand" else unit


def write_rows(source: RowsFile, rows: Iterable[ParsedRow], store: PictureStore) -> None:
    """Write rows of a file as a new dataset, in the folder of the store."""
    cleared: dict[str, Any] = {"id": None, "question": None, "answer": None, "extra": {}}
    records = (  # LLaMA-Factory stops at values of some further fields
        record if source.as_engines_read and not record.has_tools else msgspec.structs.replace(record, **cleared)
        for record in (row.known() for row in rows)
    )
    target: ModuleType = pairs if source.holds == "pairs" else sft
    file = file_for(store.folder, source.name, ".json")  # datasets makes no times of an array
    sft.write_rows(file, source.name, records, Writing(store), target.row_of, target.info)


class InPlace(PictureStore):
    """Gives images the names by which LLaMA-Factory finds them: where they are, or as `shown` says of their keys."""

    def __init__(self, folder: Path, shown: Mapping[str | bytes, str]) -> None:
        super().__init__(folder)
        self._shown = shown

    def name(self, picture: Picture, record: Record) -> str:
        if self._shown and (rewritten := self._shown.get(key_of(counts.opened(picture)))):
            return rewritten
        return str(Path(file_of(picture)).absolute()) if picture.data is None else super().name(picture, record)


def counted_fields(counted: Counted, chosen: Sequence[int], faults: Counter[str]) -> dict[str, Any]:
    """The fields of `Result` that are counted the same way for every kind of stage; `chosen` are indices of rows."""
    lengths, kept = [counted.lengths[at] for at in chosen], counted.found.kept
    tokens = [length.tokens for length in lengths]
    total = sum(tokens) + sum(length.shorter for length in lengths)
    records = [row.record for row in kept if row.record]
    texts = [[each.content for each in one.messages if each.role != "system"] + [one.rejected or ""] for one in records]
    return {
        "rows": len(tokens),
        "dropped": len(counted.over),
        "longest": max(tokens),
        "mean": total / len(tokens),
        "total": total,
        "percentiles": counts.percentiles(tokens),
        "images": sum(length.images for length in lengths),
        "looked_at": len(kept),
        "boxed": sum(any(map(_BOX.search, of_row)) for of_row in texts),
        "faults": dict(faults.most_common()),
        "left": tuple(counted.found.left.sentences()),
    }
