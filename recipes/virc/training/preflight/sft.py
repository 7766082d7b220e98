"""Checks and counts the rows that LLaMA-Factory is going to train on, and leaves some out if that was asked."""

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import DataError, UsageError
from virc.core.files import fresh_folder, is_file, write_whole
from virc.core.json_stream import array_rows, line_rows
from virc.data.check import llamafactory
from virc.data.check.coordinates import rules_for
from virc.data.check.result import Fault, Rules
from virc.data.check.row import check_row
from virc.data.check.survey import Survey, survey
from virc.data.formats import sft, trajectories
from virc.data.formats.registry import INFO, Row, Source, Writing, get, only_source
from virc.data.formats.sft import guessed
from virc.data.protocol.extract import study
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Picture, Record
from virc.models.chat_protocol import read_protocol
from virc.reasoning.protocol import FILE_NAME, Coordinates, Protocol, as_fields
from virc.training.lengths import counted as counts
from virc.training.lengths.counted import Counted
from virc.training.lengths.sft import counting, lengths
from virc.training.preflight.types import Result, SftRequest

TAKES: dict[str, Coordinates] = {"qwen2_vl": "permille", "qwen2_5_vl": "pixel", "qwen3_vl": "permille"}
"""What models of a type were trained to count boxes in."""
_UNITS: dict[Coordinates, str] = {
    "pixel": "pixels",
    "permille": "thousandths of the sides",
    "thousand": "thousandths of the sides",
}
"""The coordinates that stock models use; other ones are for a system to teach."""
STOPS = {"row", "image_missing", "image_unreadable", "image_broken"}
"""Faults of a row checked closely that keep it from training or inference."""
_LONGEST = 16

OnProgress = Callable[[str], None]


def check(request: SftRequest, on_progress: OnProgress = lambda text: None) -> Result:
    """Check all rows.

    Args:
        on_progress: gets the progress, after every row.

    Raises:
        DataError: LLaMA-Factory would stop at a row, drop it or cut it; the rows have no single chat protocol, or boxes
            that the base does not write.
        ConfigError: a file of the base or a chat protocol makes no sense.
        UsageError: fewer rows are to be written, and `folder` is missing or in use.
    """
    rules = counting(request.base, request.min_pixels, request.max_pixels, request.cutoff)
    source = _with_entry(request.source)
    found = survey(source, lambda rows: on_progress(f"row {rows} checked"))
    check_found(source, found)
    given = _chat_protocol_given(request, source, found)
    good, faults = _closely(source, found, given)
    protocol, certain = (given, True) if given else _chat_protocol_found(source, good)
    if certain and protocol.tools and not request.mixed_coordinates:
        check_coordinates(request.source, request.name, rules.model_type, protocol.coordinates)
    rows = get(source.format).read(source)
    counted = counts.count(
        partial(lengths, rules), request.cutoff, rows, found.rows, request.workers,
        lambda number: on_progress(f"row {number} of {found.rows}"),
    )  # fmt: skip
    if counted.over and (not request.filter_overlong or not counted.within):
        raise counts.too_long(counted, protocol.coordinates)
    chosen = counted.longest(request.probe) if request.probe else counted.within
    if len(chosen) < found.rows:
        source = _fewer(source, set(chosen), request.folder, protocol)
    return _result(source, found, counted, chosen, protocol, faults)


def _with_entry(source: Source) -> Source:
    """The source with the entry of `dataset_info.json` that its rows need, where it has none.

    Raises:
        DataError: its format is another, or its entry makes LLaMA-Factory read it in another way.
    """
    if source.format not in (sft.NAME, trajectories.NAME):
        raise DataError(
            f"{source.file} is of the format {source.format}, which LLaMA-Factory does not read",
            f"virc data convert {source.file} --to DIR --format {sft.NAME}",
        )
    for fault in llamafactory.check_source(source):
        raise DataError(f"{source.name} in {INFO}: {fault.message}", f"virc data check {source.file}")
    if source.info:
        return source
    with sft.opened(source.file) as file:
        values = array_rows(file) if source.format == sft.NAME else line_rows(file)
        first = next((row for _, row in values if isinstance(row, dict)), None)
    return msgspec.structs.replace(source, info=guessed(first)) if first else source


def check_found(source: Source, found: Survey) -> None:
    """Refuse a file without rows, or with rows that cannot be trained on.

    Raises:
        DataError: so it is.
    """
    if not found.rows:
        raise DataError(f"{source.file} holds no rows")
    if found.wrong:
        number, fault = found.wrong[0]
        raise useless(source, f"{found.faulty:,} of {found.rows:,} rows", found.faults, number, fault)


def useless(source: Source, rows: str, kinds: Counter[str], number: int, fault: Fault) -> DataError:
    """The error for rows that cannot be trained on.

    Args:
        rows: how many; `kinds` are their faults, `fault` that of row `number`.
    """
    listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    return DataError(
        f"{rows} cannot be trained on ({listed}); row {number}: {fault.message}",
        f"virc data check {source.file} lists them, and keeps the others with --clean DIR",
    )


def _chat_protocol_given(request: SftRequest, source: Source, found: Survey) -> Protocol | None:
    """The chat protocol in the file that the request names; where it names none, of the one beside the rows and that
    of the stage's system the first that is theirs.

    Raises:
        ConfigError: a file cannot be read.
        DataError: the file that the request names is of other rows.
    """
    if request.protocol is None:
        beside = source.media / FILE_NAME
        known = (read_protocol(beside) if is_file(beside) else None, request.chat_protocol)
        return next((each for each in known if each and found.with_system(each.system)), None)
    protocol = read_protocol(request.protocol)
    if found.with_system(protocol.system):
        return protocol
    raise DataError(
        f"no row of {source.file} has the system message of the chat protocol {request.protocol}",
        f"virc data protocol {source.file} finds the chat protocol that they have",
    )


def _closely(source: Source, found: Survey, protocol: Protocol | None) -> tuple[Sequence[Row], Counter[str]]:
    """Decode the images of some rows and parse their turns.

    Returns:
        Those without faults, all where there are none; how many others have a fault of each kind.

    Raises:
        DataError: a row has a fault that keeps it from being trained on.
    """
    by_chat_protocol = Rules("solutions", protocol.coordinates, protocol) if protocol else None
    rules = by_chat_protocol or rules_for(source, found.kept, "auto")[0]
    good: list[Row] = []
    faults: Counter[str] = Counter()
    for row in found.kept:
        its = check_row(rules, row).faults
        for fault in its:
            if fault.kind in STOPS:
                raise useless(source, "some rows", Counter([fault.kind]), row.number, fault)
        faults.update({fault.kind for fault in its})
        good += [] if its else [row]
    return good or found.kept, faults


def _chat_protocol_found(source: Source, rows: Sequence[Row]) -> tuple[Protocol, bool]:
    """The chat protocol that rows show, and whether they tell what their boxes mean.

    Raises:
        DataError: they show none, or several.
    """
    records = [row.record for row in rows if row.record]
    try:
        found = study(records, numbers=[row.number for row in rows])
    except DataError as error:
        raise no_protocol(source, error) from error
    return found.protocol, found.coordinates_from != "nothing"


def no_protocol(source: Source, error: DataError) -> DataError:
    """The error for rows that show no chat protocol, or several."""
    return DataError(
        f"the rows of {source.file} do not show one chat protocol, which the model needs: {error.message}",
        f"put it beside the rows, as {FILE_NAME}",
    )


def check_coordinates(source: Source, base: str, model_type: str, written: Coordinates) -> None:
    """Refuse rows whose boxes the base was not trained to write.

    Raises:
        DataError: so it is.
    """
    taken = TAKES[model_type]
    if written in _UNITS and _UNITS[written] != _UNITS[taken]:
        raise DataError(
            f"boxes of {source.name} are counted in {_UNITS[written]}, and {base}, of type {model_type}, counts "
            f"in {_UNITS[taken]}",
            f"choose another base, or virc data convert {source.file} --to DIR --coordinates {taken}",
        )


def _fewer(source: Source, places: Collection[int], folder: Path | None, protocol: Protocol) -> Source:
    """The rows at some places of a file as a separate dataset, whose images stay where they are.

    Raises:
        UsageError: the folder is missing or in use.
    """
    if folder is None:
        raise UsageError("not all rows are to be trained on, and no folder is named for those that are")
    format = get(source.format)
    rows = (row.record for at, row in enumerate(format.read(source)) if at in places)
    with fresh_folder(folder) as new:
        format.write(new, source.name, rows, Writing(_InPlace(new), folder))
        write_whole(new / FILE_NAME, msgspec.json.format(msgspec.json.encode(as_fields(protocol))))
    return only_source(folder)


class _InPlace(PictureStore):
    """Gives images the names by which LLaMA-Factory finds them from anywhere."""

    def name(self, picture: Picture, record: Record) -> str:
        """The path of the file."""
        return str(Path(llamafactory.file_of(picture)).absolute())


def _result(
    source: Source, found: Survey, counted: Counted, chosen: Sequence[int], protocol: Protocol, faults: Counter[str]
) -> Result:
    return Result(
        **counted_fields(found, counted, chosen, faults),
        shrunk=sum(counted.shrunk[at] for at in chosen),
        turned=counted.turned,
        otherwise=found.rows - found.with_system(protocol.system),
        protocol=protocol,
        file=source.file.absolute(),
        dataset=source.name,
        entry=_entry(source, found.images),
        media=source.media.absolute(),
    )


def counted_fields(found: Survey, counted: Counted, chosen: Sequence[int], faults: Counter[str]) -> dict[str, Any]:
    """The fields of `Result` that are counted the same way for every kind of stage.

    Args:
        chosen: places of the rows to train on.
    """
    tokens = array("q", (counted.tokens[at] for at in chosen))
    return {
        "rows": len(tokens),
        "dropped": len(counted.over),
        "longest": max(tokens),
        "mean": sum(tokens) / len(tokens),
        "total": sum(tokens),
        "percentiles": counts.percentiles(tokens),
        "longest_rows": tuple(counted.numbers[at] for at in counted.longest(_LONGEST)),
        "images": sum(counted.images[at] for at in chosen),
        "looked_at": len(found.kept),
        "faults": dict(faults.most_common()),
    }


def _entry(source: Source, images: int) -> dict[str, Any]:
    """What LLaMA-Factory is to know of the rows; a column that no row has would stop it."""
    entry: dict[str, Any] = {key: source.info[key] for key in ("formatting", "columns", "tags") if key in source.info}
    if not images:
        entry["columns"] = {key: name for key, name in entry["columns"].items() if key != "images"}
    return entry
