"""Datasets from one format into another: chosen, changed on the way, and written completely or not at all.

`convert` plans which sources make which dataset (`_planned`), lets `subset` choose rows, and writes them (`_written`).
A `_Stream` passes the chosen rows through their change to the format.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from fractions import Fraction
from functools import partial
from pathlib import Path

import msgspec

from virc.config.taken import Left, ignoring
from virc.core.errors import ConfigError, DataError, UnreadError, UsageError
from virc.core.files import fresh_folder
from virc.core.text import plain
from virc.core.work.parallel import in_order
from virc.data.convert.change import Change, Target, change_for, changed
from virc.data.convert.recode import Boxes
from virc.data.convert.subset import Dataset, SubsetSource, ends, limited, mixed, split
from virc.data.formats import registry as formats
from virc.data.formats import rl
from virc.data.formats.registry import RowsFile, Writing
from virc.data.rows.llamafactory import INFO
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Record, placed_in, with_one_system
from virc.models.chat_protocol import written
from virc.reasoning.media import USUAL_MEDIA, MediaChoice, media_reader
from virc.reasoning.protocol import FILE_NAME, Protocol
from virc.tools import registry as tools

MIX = "mix"
_MAX_FAULTS = 20
_RECORDING = re.compile(r"(?:video|clip|scene|recording|sequence|episode|patient|session|document)(?:_?(?:id|name))?")


class Split(msgspec.Struct, frozen=True):
    """A part to set aside: its name, its share of the rows, 0 < share < 1, and a column that keeps rows together."""

    name: str
    share: float
    group_by: str | None = None


class ConvertConfig(msgspec.Struct, frozen=True):
    """What to convert, and how.

    Args:
        to: folder to make; it must not exist, or be empty.
        name: one dataset of that name is made of all sources; None: each keeps its own.
        embed: images go into the rows, where the format can hold them.
        weights: of the sources in one mix.
        seed: the same rows are chosen for the same seed.
        split: rows set aside as a dataset next to the other.
        skip_faulty: rows that cannot be read or written are left out, not an error.
        workers: processes that go through trajectories again where images change.
        media: which frames of clips become pictures.
    """

    sources: Sequence[Path]
    to: Path
    format: str
    name: str | None = None
    target: Target = Target()
    embed: bool = False
    limit: int | None = None
    weights: Sequence[Fraction] = ()
    seed: int = 0
    split: Split | None = None
    skip_faulty: bool = False
    layout: Path | None = None
    ignore: Sequence[str] = ()
    workers: int = 1
    trust_rows: bool = False
    media: MediaChoice = USUAL_MEDIA


class Written(msgspec.Struct):
    """How many rows of one dataset were read, written, and left out as faulty."""

    name: str
    rows_in: int = 0
    rows_out: int = 0
    left_out: int = 0


class Report(msgspec.Struct):
    """What was done.

    Args:
        boxes: how exact the boxes are that were written again.
        images_bytes: size of the images on disk.
        unshared_bytes: what it would be if every row had its own.
        rows_bytes: size of the files of rows.
        reasons: why columns were taken for fields, where rows alone show that.
        left: what comes with the rows, is not used, and is lost.
        chat_protocols: how many chat protocols are known of the rows; if it is one, its file is written.
    """

    datasets: list[Written] = []
    lost: str = ""
    faults: list[str] = []
    reasons: list[str] = []
    left: list[dict[str, object]] = []
    boxes: Boxes = msgspec.field(default_factory=Boxes)
    images_bytes: int = 0
    unshared_bytes: int = 0
    rows_bytes: int = 0
    chat_protocols: int = 0


def convert(config: ConvertConfig, on_progress: Callable[[int], None] = lambda done: None) -> Report:
    """Make the folder, completely or not at all.

    Raises:
        UsageError: the folder is in use, or names and weights do not fit the datasets.
        ConfigError: a chat protocol is wrong or not known; another run makes the folder.
        DataError: a row cannot be read or written (without `skip_faulty`), or there are too few.
        VircError: the disk refuses.
    """
    clips = media_reader("rows")
    with_clips = [file for file in config.sources if clips.names_media(file)] if clips else []
    if config.media != USUAL_MEDIA and not with_clips:
        given = {"«--page»": config.media.pages, "«--fps»": config.media.fps, "«--frames»": config.media.frames}
        option = next(name for name, value in given.items() if value)
        raise UsageError(f"{option} chooses in clips and documents, and no row names one", f"leave {option} out")
    datasets = [] if with_clips else _planned(config)
    with (
        fresh_folder(config.to) as folder,
        clips.as_pictures(folder, config, with_clips) if with_clips else nullcontext() as made,
    ):
        if made:
            datasets = _planned(msgspec.structs.replace(config, sources=made.files))
        if config.weights:
            datasets = [mixed(dataset, config.seed, config.weights, config.limit) for dataset in datasets]
        elif config.limit is not None:
            datasets = [limited(dataset, config.seed, config.limit) for dataset in datasets]
        if config.split:
            datasets = split(datasets, config.seed, *msgspec.structs.astuple(config.split))
        report = _written(config, folder, datasets, on_progress)
        if made:
            made.tell(report)
        if not any(dataset.rows_out for dataset in report.datasets):
            raise DataError("no row is left to write")
    return report


def _planned(config: ConvertConfig) -> list[Dataset]:
    holds = formats.writer(config.format).HOLDS
    if config.embed and holds != "prompts":
        raise UsageError(f"rows of {config.format} hold no images", "«--embed» is for rl and prompts")
    found = formats.named_sources(config.sources, config.target.system, config.layout, config.ignore, config.trust_rows)
    parts = [part_of(source, config) for source in found]
    if config.weights and len(config.weights) != len(parts):
        listed = ", ".join(plain(part.source.name, 60) for part in parts)
        raise UsageError(f"«--weights» needs one number per dataset, and has {len(config.weights)} for {listed}")
    datasets = [Dataset(part.source.name, [part]) for part in parts]
    if config.name or config.weights:
        datasets = [Dataset(config.name or MIX, parts)]
    taken = set()
    for dataset in datasets:
        if formats.file_for(Path(), dataset.name, ".json").name in (INFO, FILE_NAME):
            raise UsageError(f"no dataset can be called {dataset.name}", "choose another name: «--name»")
        if dataset.name.casefold() in taken:
            hint = "convert them one by one, or make one of them: «--name»"
            raise UsageError(f"two datasets would be called {dataset.name}", hint)
        taken.add(dataset.name.casefold())
    for dataset in datasets:
        if holds != "problems" and len(_chat_protocols([dataset])) > 1:
            sentence = f"the sources of {dataset.name} have different chat protocols"
            raise ConfigError(sentence, "make one dataset of each: without «--name» and «--weights»")
    return datasets


def part_of(source: RowsFile, config: ConvertConfig) -> SubsetSource:
    """Raises UsageError, ConfigError, DataError: its rows cannot become those of the format."""
    kinds = source.holds, formats.get(config.format).HOLDS
    if kinds == ("problems", "solutions") and not config.target.answers:
        hint = f"«--answers» makes trajectories of their answers; a model solves them: {formats.solving(source)}"
        raise DataError(f"{source.file} holds problems without trajectories", hint)
    if kinds[1] == "pairs" and kinds[0] != "pairs":
        hint = f"pairs of a model's own solutions: {formats.solving(source, '--pairs right')}"
        raise DataError(f"{source.file} holds {kinds[0]}, and no pairs of replies", hint)
    units = source.format == rl.NAME
    if units and kinds[1] == "solutions":
        hint = "convert the trajectories that they were made of; «--format batch» writes the problems, to be solved"
        raise DataError(f"{source.file} has a row for each reply, not trajectories", hint)
    if source.unread:
        sentence = f"nothing reads {' and '.join(source.unread)} of {source.name} in {source.file.parent / INFO}"
        options = ignoring(source.unread)
        raise DataError(sentence, f"{options} leaves out what is not to be read")
    part = SubsetSource(source, Change(kinds[1]), units and config.format != rl.NAME, config.skip_faulty)
    records = (row.record for row in part.rows() if row.record)
    return msgspec.structs.replace(part, change=change_for(source, records, kinds, config.target))


def _chat_protocols(datasets: Iterable[Dataset]) -> list[Protocol]:
    found: list[Protocol] = []
    for protocol in (part.change.result for dataset in datasets for part in dataset.parts):
        known = [msgspec.structs.replace(each, name="") for each in found]
        if protocol and msgspec.structs.replace(protocol, name="") not in known:
            found.append(protocol)
    return found


def _written(
    config: ConvertConfig, folder: Path, datasets: Sequence[Dataset], on_progress: Callable[[int], None]
) -> Report:
    target = formats.get(config.format)
    store = PictureStore(folder)
    settings = Writing(store, config.embed)
    others = [part.source for dataset in datasets for part in dataset.parts if part.source.format != config.format]
    have_replies = any(source.holds != "problems" for source in others)  # problems alone lose nothing
    lose_rejected = target.HOLDS != "pairs" and any(source.holds == "pairs" for source in others)
    lost = [target.LOST if have_replies else "", "the rejected replies" if lose_rejected else ""]
    report = Report(lost="; ".join(filter(None, lost)))
    parts = [part for dataset in datasets for part in dataset.parts]
    learners = [f"{each}; «--model NAME» is for another model" for part in parts if (each := part.change.learner)]
    report.reasons = list(dict.fromkeys([*(line for part in parts for line in part.source.reasons), *learners]))
    left = Left()
    for part in parts:
        left.add_all(part.source.left, f"{part.source.name} of {INFO}")
    for dataset in datasets:
        stream = _Stream(config, dataset, report, left, on_progress)
        if dataset.marks is None or any(map(any, dataset.marks)):
            protocol = next(iter(_chat_protocols([dataset])), None)
            writing = msgspec.structs.replace(settings, number=stream.number)
            writing = msgspec.structs.replace(writing, grammar=protocol.grammar) if protocol else writing
            try:
                stream.written.rows_out = target.write(folder, dataset.name, stream, writing)
            except DataError as error:
                raise stream.located(error) from None
        report.datasets.append(stream.written)
    report.left = left.fields()
    report.rows_bytes = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    report.images_bytes, report.unshared_bytes = store.stored_bytes, store.shown_bytes
    chat_protocols = _chat_protocols(datasets)
    report.chat_protocols = len(chat_protocols)
    if report.chat_protocols == 1:
        (folder / FILE_NAME).write_bytes(written(chat_protocols[0]))
    return report


class _Stream:
    """The changed records of a dataset on their way to a format; counts them and knows which row is being written."""

    def __init__(
        self, config: ConvertConfig, dataset: Dataset, report: Report, left: Left, on_progress: Callable[[int], None]
    ) -> None:
        self.written = Written(dataset.name)
        self._config, self._dataset, self._report, self._on_progress = config, dataset, report, on_progress
        self._left, self._group_by = left, config.split and config.split.group_by
        self._at: tuple[SubsetSource, int] | None = None  # the row that the format is writing
        self._before = self._last = 0  # rows of the parts before, and the last row read of the part

    def __iter__(self) -> Iterator[Record]:
        for part, marks in self._dataset.marked_parts():
            workers = self._config.workers if part.change.replays else 1
            protocols = filter(None, (part.change.chat_protocol, part.change.goal))
            loads = tools.sources(name for each in protocols for name in each.tools)
            change = partial(changed, part.change, tool_sources=loads)
            for row, boxes in in_order(change, self._marked(part, marks), workers):
                if row.record:
                    self._report.boxes.add(boxes)
                    self._at = (part, row.number)
                    record = with_one_system(row.record)
                    moved = ["a later system message begins the text behind it"] * (record is not row.record)
                    self._report.reasons += {*moved, *self._ways(record.extra)}.difference(self._report.reasons)
                    yield placed_in(self._config.to, record)
                elif row.fault:
                    self._leave_out(part, row.fault, row.number)
            self._at = None
            self._before, self._last = self._before + self._last, 0

    def _ways(self, columns: Iterable[str]) -> list[str]:
        """How to split by columns of recordings, if nothing is named to split by."""
        names = filter(_RECORDING.fullmatch, columns if self._config.split and not self._group_by else ())
        return [f"«--group-by {name}» keeps rows of one {name} on one side of the split" for name in names]

    def number(self) -> int:
        assert self._at
        return self._before + self._at[1]

    def located(self, error: DataError) -> DataError:
        if self._at is None:
            return error
        part, number = self._at
        return part.located(DataError(f"row {number}: {error.args[0]}", error.unspelled_hint))

    def _marked(self, part: SubsetSource, marks: bytearray | None) -> Iterator[ParsedRow]:
        mark = iter(marks or ())
        for row in part.rows(self._count):
            self._last = max(self._last, row.number)
            # marks are of rows with records; faulty rows go to the dataset that is not set aside
            is_chosen = (marks is None or bool(next(mark))) if row.record else not self._dataset.aside
            if is_chosen:
                unread = {name: holds for name, holds in row.unread.items() if name != self._group_by}
                if lost := msgspec.structs.replace(row, unread=unread).lost:
                    self._at = None  # it is not the row that is being written
                    raise part.located(DataError(lost.message, "; ".join([*self._ways(unread), str(lost.hint)])))
                self._left.add_all(row.left, f"row {row.number}")
                yield row

    def _count(self) -> None:
        self.written.rows_in += 1
        self._on_progress(self.written.rows_in)

    def _leave_out(self, part: SubsetSource, fault: DataError, number: int) -> None:
        self._at = None
        located = part.located(fault, number)
        if not self._config.skip_faulty or ends(fault):
            raise located
        unread = (fault.rows or 0) if isinstance(fault, UnreadError) else 0
        self.written.rows_in += unread
        self.written.left_out += 1 + unread
        if len(self._report.faults) < _MAX_FAULTS or unread:
            self._report.faults.append(located.message)
