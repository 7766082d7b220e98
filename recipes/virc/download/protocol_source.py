"""The chat protocol that a released model was trained with, from the beginning of the rows that show it.

Its files on the hub hold none. Its system names rows that do: of those at most 1 MiB is read, by one ranged request.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory

from virc.core.errors import DataError, VircError, at_place
from virc.core.files import is_file, write_whole
from virc.core.text import clause, plain
from virc.data.formats.registry import RowsFile, parsed_info, recognised
from virc.data.protocol.extract import FoundProtocol, study
from virc.data.rows.llamafactory import INFO
from virc.download.data_files import file_of, info_of, listed, repo_of
from virc.download.hub.content import pieces
from virc.models.chat_protocol import written
from virc.reasoning.protocol import FILE_NAME, Coordinates
from virc.systems import speech, texts
from virc.systems.registry import Dataset, Model, System

MOST_BYTES = 2**20
"""Of the rows, from their beginning on."""
_MAX_ROWS = 1000

Warn = Callable[[str, str | None], None]
"""Called with a warning, and what to do about it."""


def fetch_chat_protocol(system: System | None, model: Model | None, folder: Path, warn: Warn) -> Path | None:
    """Write the chat protocol of a model into the folder of its weights; its file, or None where there is none.

    Args:
        system, model: what the weights are of, as `models.known` tells.
        warn: called with what the rows do not show; or why there is no chat protocol, which does the weights no harm.
    """
    target = folder / FILE_NAME
    if is_file(target):
        return target
    coordinates = (model and model.coordinates) or (system.coordinates if system else "pixel")
    if system is None or model is None or not system.takes(model):
        return None
    by_texts = texts.of(system.file.parent) is not None and system.worded
    if texts.own_words() if by_texts else coordinates not in system.protocol_source:
        return None
    try:
        unshown: Sequence[str] = ()
        protocol = speech.worded_by(system, coordinates) if by_texts else None
        if protocol is None:
            found = _found(system, coordinates)
            protocol, unshown = found.protocol, found.unshown
        write_whole(target, written(protocol))
    except (VircError, OSError) as error:
        why = error.message if isinstance(error, VircError) else clause(error)
        hint = "the weights are whole; «--protocol FILE» brings another, and «--protocol default» does without"
        warn(f"no chat protocol for {folder.name}: {why}", hint)
        return None
    for kind in unshown:
        hint = f"edit {target}, which repeats the other turns"
        warn(f"the chat protocol of {folder.name}: its rows show no {kind}", hint)
    return target


def _found(system: System, coordinates: Coordinates) -> FoundProtocol:
    speech.load_tools(system)
    dataset, _, name = system.protocol_source[coordinates].partition("/")
    if dataset not in system.datasets:
        raise DataError(f"{system.file} names no dataset {plain(dataset, 60)!r}")
    with TemporaryDirectory(prefix="virc-") as work:
        return _studied(_beginning(system.datasets[dataset], name, Path(work)), coordinates)


def _beginning(dataset: Dataset, name: str, work: Path) -> RowsFile:
    """The first `MOST_BYTES` of the rows of that name, as a file in `work`, with their columns and tags."""
    found = listed(repo_of(dataset), dataset.revision, dataset.files)
    whose = found.repo.name
    entries = parsed_info(info_of(found), f"{INFO} of {whose}")
    held = {file.name: file for file in found.files}
    file = held[file_of(name, entries, held, whose)]
    head = (work / "head").with_suffix(Path(file.name).suffix)
    head.write_bytes(b"".join(pieces(found.repo, found.commit, file, ends=min(file.size, MOST_BYTES))))
    format = recognised(head)
    if format is None:
        raise DataError(f"{plain(file.name, 80)} of {whose} is of no known format")
    return RowsFile(head, format, plain(file.name, 80), entries.get(name, {}))


def _studied(source: RowsFile, coordinates: Coordinates) -> FoundProtocol:
    """The chat protocol of the first row; of the others that came along whole too, where they agree with it.

    One row rarely shows what follows every tool.
    """
    rows = list(islice(source.rows(), _MAX_ROWS))
    whole = [(row.number, row.known()) for row in takewhile(lambda row: row.record is not None, rows)]
    if not whole:
        why = clause(rows[0].fault) if rows and rows[0].fault else "it is empty"
        raise DataError(f"{source.name} shows no whole row in its first MiB: {why}")
    with suppress(DataError):
        return study(whole, coordinates)
    with at_place(source.name):
        return study(whole[:1], coordinates)
