"""Checks, counts and writes the rows that verl is going to roll out.

verl filters, resizes and fails by its own rules, hours later or without a message. What it reads is therefore written
here: every row has a question, an answer, no more tokens than there is room for, and an image, unless its system has
a tool that finds some.

`check` is the entry; `_checked` takes one file of rows through all its steps in one pass, and then looks closer at some
rows. `_Part.rows` makes the records that are checked and written; `lengths` counts tokens, in other processes too.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from virc.backends.chatml import render
from virc.backends.checkpoint import folder_grid, read_json
from virc.backends.tokenizer import tokenizer
from virc.core.errors import ConfigError, DataError
from virc.core.files import is_file
from virc.core.tables import parquet as parquet_rows
from virc.core.text import clause, did_you_mean
from virc.data.check import plain as plain_rows
from virc.data.check.images import why_closed
from virc.data.check.result import Fault, Rules, Survey, survey
from virc.data.check.row import check_row, check_without_images, references_in, unread
from virc.data.check.turns import check_conversation
from virc.data.convert.change import SOURCE, Change, changed, question_with_choices
from virc.data.formats import prompts, rl
from virc.data.formats.registry import RowsFile
from virc.data.protocol.templates import question_of
from virc.data.rows import verl as verl_rows
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import (
    MARK,
    Message,
    Picture,
    Record,
    content_of,
    images_of,
    inputs_of,
    message_of,
    placed_in,
)
from virc.data.rows.remembered import decoded, remembered
from virc.data.rows.sizes import Spoken, display_size, display_sizes
from virc.families import registry as families
from virc.models.chat_protocol import offering, read_protocol
from virc.reasoning import turns
from virc.reasoning.calls import Size
from virc.reasoning.images import image_size
from virc.reasoning.media import lines_of, parts_of_files, places_of
from virc.reasoning.opening.pictures import stored_image
from virc.reasoning.protocol import FILE_NAME, Protocol
from virc.reasoning.resize import MAX_PIXELS, smart_resize
from virc.rewards import registry as rewards
from virc.rewards.context import JUDGE
from virc.rewards.needs import Scorable, lacking
from virc.rewards.sources import Speaker
from virc.training.preflight import lengths as counts
from virc.training.preflight.lengths import BaseCounting, Length, Text
from virc.training.preflight.sft import OnProgress, check_coordinates, check_found, counted_fields, within
from virc.training.preflight.types import Result, RlRequest

TRAIN, VALIDATION = "train.parquet", "validation.parquet"
_SEARCHED_ROWS = 200  # rows in which a chat protocol is searched for


class Counting(BaseCounting, frozen=True):
    """What lengths depend on; the chat protocol says how the question's images are shown, None: as to the base."""

    protocol: Protocol | None = None

    @property
    def square(self) -> bool:
        """Whether the question's images are shown at 1000 x 1000 px."""
        return self.protocol is not None and self.protocol.images == "square_1000"

    @property
    def spoken(self) -> Spoken:
        return Spoken(self.protocol, grid=self.grid)


def counting(base: Path, max_pixels: int, rollouts: str) -> Counting:
    tokenizer(base)
    model_type = str(read_json(base / "config.json").get("model_type"))
    families.check_rl(model_type, rollouts)
    return Counting(base, model_type, folder_grid(base, max_pixels))


def lengths(counting: Counting, rows: Sequence[Text]) -> list[Length]:
    """The length of each prompt; `shrunk` counts images that are shown at another size than the prompt announces."""
    return [_length(counting, row) for row in rows]


def _length(counting: Counting, row: Text) -> Length:
    try:
        files = [_size(file) for file in row.files if isinstance(file, str)]
        sizes = display_sizes(Record(row.messages), files, counting.spoken)
    except (ValueError, DataError) as error:
        return Length(fault=error.message if isinstance(error, DataError) else clause(error))
    # A row of one unit ends with its reference reply, if it has one; this is no part of the prompt.
    prompt = row.messages[:-1] if row.messages[-1].role == "assistant" else row.messages
    messages = [message_of(message, images) for message, images in zip(prompt, images_of(Record(prompt)), strict=True)]
    views = [counting.grid.views(*smart_resize(*size, counting.grid)) for size in sizes if size]
    marks = families.of(counting.model_type).marks
    tokens = len(render(messages, views, _plain(counting.base), generate=True, marks=marks).ids)
    # Prompts announce sizes on the grid of Qwen2.5-VL, without the limit that this base has.
    announced = display_sizes(Record(row.messages), files, Spoken(counting.protocol))
    differing = [size for size, expected in zip(sizes, announced, strict=True) if size != expected]
    return Length(tokens=tokens, images=len(sizes), shrunk=0 if counting.square else len(differing))


def _plain(base: Path) -> Any:
    """The base's tokenizer as `render` calls it; names of special tokens within texts are ordinary text to it."""
    return SimpleNamespace(encode=lambda text, **_: _ids(base, text), convert_tokens_to_ids=tokenizer(base).token_to_id)


@lru_cache(4096)
def _ids(base: Path, text: str) -> list[int]:
    """The ids of a text. They are cached since the units of one solution share all messages but the last."""
    base_tokenizer = tokenizer(base)
    base_tokenizer.encode_special_tokens = True
    return list(base_tokenizer.encode(text, add_special_tokens=False).ids)


def _size(file: str) -> Size:
    return remembered(Path(file), lambda: stored_image(Path(file), file)).size


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """One file of rows, for training or for validation.

    Args:
        protocol: the chat protocol in which the model is prompted.
        chat_protocol: the one that the rows are written in; None: they are problems, or are of several systems.
        paths: folder and name of an image -> its path, once it has been found.
    """

    request: RlRequest
    source: RowsFile
    protocol: Protocol
    chat_protocol: Protocol | None
    counting: Counting
    store: PictureStore
    paths: dict[tuple[str, str], str] = {}

    def rows(self) -> Iterator[ParsedRow]:
        """The rows as they are rolled out: units, or whole problems."""
        change = Change("problems" if self.request.config.rollout == "multi_turn" else "prompts", self.chat_protocol)
        for row in self.source.rows():
            try:
                yield from (ParsedRow(row.number, record, unread=row.unread) for record in self._made(change, row))
            except (DataError, OSError) as error:
                message, hint = (error.message, error.hint) if isinstance(error, DataError) else (clause(error), None)
                yield ParsedRow(row.number, fault=DataError(f"{message}; {hint}" if hint else message))

    def _made(self, change: Change, row: ParsedRow) -> Iterator[Record]:
        if row.record and row.record.messages:  # what follows takes a whole conversation for granted
            faults = check_conversation(row.record, self.source.holds)
            if fault := next(iter(faults), None):
                raise DataError(fault.message)
        changed_row, _ = changed(change, row)
        if changed_row.record is None:
            raise changed_row.fault or DataError("it cannot be read")
        # Files are named by absolute paths; images stored in the row are written to the run's folder.
        pictures = tuple(Picture(self._path(each), confined=False) for each in changed_row.record.images)
        record = msgspec.structs.replace(placed_in(None, changed_row.record), images=pictures)
        if self.request.config.rollout == "multi_turn":
            yield prompts.opening(self._prompted(record))
            return
        for unit in rl.split(record, self.protocol.grammar):
            if self.request.tools and unit.messages[0].role == "system":  # this message offers the added tools
                system = msgspec.structs.replace(unit.messages[0], content=self.protocol.system)
                yield msgspec.structs.replace(unit, messages=(system, *unit.messages[1:]))
            else:
                yield unit

    def _path(self, picture: Picture) -> str:
        if picture.data is not None:
            return str(self.store.folder / self.store.add(picture))
        key = str(picture.folder), picture.name
        if key not in self.paths:  # finding a file costs more than the rest of a row
            self.paths[key] = str(picture.file())
        return self.paths[key]

    def _prompted(self, record: Record) -> Record:
        """A problem with the messages that open its solution; only images of its question stay."""
        protocol, question = self.speaker_of(record).protocol, question_with_choices(record)
        images = tuple(record.images[index] for index in inputs_of(record))
        places = places_of(record.extra, len(images))
        if record.messages and self.chat_protocol and not any(places):
            text = next(each.content for each in record.messages if each.role == "user").replace(MARK, "")
            question = question_of(text, self.chat_protocol, len(images)) or question
        sizes = [
            display_size(image_size(Path(each.name), each.name, MAX_PIXELS), self.counting.spoken) for each in images
        ]
        asked = turns.with_marks_repeated(question, parts_of_files(places))
        opened = turns.opening(protocol, asked, sizes, lines_of(places, protocol))
        messages = tuple(Message(each.role, content_of(each)) for each in opened)
        return msgspec.structs.replace(record, messages=messages, images=images, question=question)

    def speaker_of(self, record: Record) -> Speaker:
        """The chat protocol and reward of the system that the row names, else those of the stage."""
        return self.request.sources.get(str(record.extra.get(SOURCE)), self.own)

    @property
    def own(self) -> Speaker:
        return Speaker(self.protocol, self.request.config.reward, 1, self.request.beside)


def check(request: RlRequest, on_progress: OnProgress = lambda text: None) -> Result:
    """Check all rows, and write those to be rolled out.

    Raises:
        DataError: verl would stop at a row or lose it, the reward lacks what a row must have, or the rows have no
            single chat protocol, or boxes that the base does not write.
        ConfigError: a file of the base, a chat protocol or a reward makes no sense.
    """
    rules = counting(request.base, request.config.max_pixels, request.config.rollout_engine)
    request.folder.mkdir(parents=True, exist_ok=True)
    store = PictureStore(request.folder)
    media = set[str]()
    result = _checked(request, request.source, TRAIN, rules, store, media, on_progress)
    if result.rows < request.config.train_batch_size:
        raise DataError(
            f"{result.rows} rows are fewer than the {request.config.train_batch_size} prompts of a step",
            f"«--set train_batch_size={result.rows}» «--set ppo_mini_batch_size={result.rows}», or more rows",
        )
    if request.validation:
        validation = _checked(request, request.validation, VALIDATION, rules, store, media, on_progress)
        if validation.protocol.system != result.protocol.system:
            raise DataError(
                f"{request.validation.file} has another chat protocol than {request.source.file}",
                "choose rows with the same one, or «--set validation=null»",
            )
        result = msgspec.structs.replace(
            result,
            validation=validation.file,
            lacking=dict(Counter(result.lacking) + Counter(validation.lacking)),
            lacks="; ".join(filter(None, (result.lacks, validation.lacks))),
        )
    return msgspec.structs.replace(result, media=Path(os.path.commonpath(media or {str(request.home)})))


def _checked(
    request: RlRequest, source: RowsFile, name: str, rules: Counting, store: PictureStore, media: set[str],
    on_progress: OnProgress,
) -> Result:  # fmt: skip
    """Check one file of rows and write `name`, verl's file; folders of their images are added to `media`."""
    part, config = _part(request, source, rules, store), request.config
    if part.chat_protocol is not None:
        check_coordinates(source, request.name, rules.model_type, part.protocol.coordinates)
    counted, scorable = counts.Counted(config.prompt_length), Scorable()
    ids: Counter[bytes] = Counter()
    systems: Counter[str] = Counter()
    faults_of, measure = partial(_faults, part, ids, systems), partial(lengths, part.counting)
    rows = counts.count(counted, part.rows(), faults_of, measure, request.workers, on_progress)
    new = request.folder / f".{name}.new"
    _write(new, part, _scored(part, rows, scorable), media)
    surveyed = counted.found
    check_found(source, surveyed)
    for named in request.sources if name == TRAIN else ():
        if named not in systems:
            others = [each for each in systems if each not in request.sources]
            near = did_you_mean(named, others, f"a row names its system in its column {SOURCE}")
            raise DataError(f"no row of {source.file} is of {named}, which `sources` names", near)
    closely, off_grid = _closely(part, surveyed)
    faults = closely.doubts
    repeated = sum(count - 1 for count in ids.values())
    faults.update({"id_repeated": repeated} if repeated else {})
    chosen = within(counted, config.filter_overlong, "prompt_length", part.protocol.coordinates)
    new.replace(request.folder / name)
    messages = {speaker.protocol.system for speaker in (part.own, *request.sources.values())}
    return Result(
        **counted_fields(counted, chosen, faults),
        shrunk=sum(counted.lengths[index].shrunk for index in chosen) if config.rollout == "per_cru" else 0,
        otherwise=surveyed.rows - sum(map(surveyed.with_system, messages)),
        protocol=part.protocol,
        file=request.home / name,
        dataset=source.name,
        entry={},
        media=request.home,
        off_grid=off_grid,
        lacking=dict(scorable.lacking),
        lacks="; ".join(f"{term} {why}" for term, why in scorable.why.items()),
        of_no_source={
            system: count for system, count in systems.items() if request.sources and system not in request.sources
        },
    )


def _part(request: RlRequest, source: RowsFile, rules: Counting, store: PictureStore) -> _Part:
    """Find the chat protocol that the rows are written in, and the one in which the model is prompted."""
    requested = request.protocol and read_protocol(request.protocol)
    of_rows = None
    if source.holds != "problems":
        of_rows = requested or _in_folder(source)
        if of_rows is None and not request.sources:  # rows of several systems have no common chat protocol
            rows = list(islice(source.rows(), _SEARCHED_ROWS))
            of_rows = plain_rows.of_records(row.record for row in rows if row.record)
            of_rows = of_rows or plain_rows.shown_by(source, rows)[0]
    if request.config.rollout == "multi_turn":  # the model is prompted in its own way
        of_model = request.chat_protocol if request.chat_protocol.name != "own" else None
        protocol = requested or of_model or of_rows or request.chat_protocol
    else:
        assert of_rows
        protocol = of_rows
    for name, speaker in request.sources.items():  # the rows of a stage show images in one way
        if speaker.protocol.images != protocol.images:
            shown_so = f"images: {speaker.protocol.images}, and the stage itself {protocol.images}"
            raise ConfigError(f"the source {name} has {shown_so}", "train on its rows in a stage of their own")
    return _Part(
        request=request, source=source, protocol=offering(protocol, request.tools), chat_protocol=of_rows,
        counting=msgspec.structs.replace(rules, protocol=protocol), store=store,
    )  # fmt: skip


def _in_folder(source: RowsFile) -> Protocol | None:
    """The chat protocol that is stored with the rows, if it is that of the first row."""
    file = source.media / FILE_NAME
    if not is_file(file):
        return None
    protocol = read_protocol(file)
    first = next(source.rows(), None)
    messages = first.record.messages if first and first.record else ()
    return protocol if messages and messages[0].content == protocol.system else None


def _faults(part: _Part, ids: Counter[bytes], systems: Counter[str], row: ParsedRow) -> Iterator[Fault]:
    """Faults of a row that `changed` does not refuse. Adds the row's id to `ids`, and its system to `systems`."""
    if (record := row.record) is None:
        yield unread(row)
        return
    yield from check_without_images(row, "prompts", part.speaker_of(record).protocol)
    if part.source.holds == "problems":
        yield from references_in(record)[1]
    if record.id is not None:
        ids[msgspec.json.encode([record.id, record.extra.get("turn")])] += 1
    if record.extra.get(SOURCE) is not None:
        systems[str(record.extra[SOURCE])] += 1


def _scored(part: _Part, rows: Iterable[ParsedRow], scorable: Scorable) -> Iterator[ParsedRow]:
    """The same rows; adds to `scorable` which can be scored, whatever the judge answers: a run stops at any other."""
    reward = part.request.config.reward
    named = {name for name, judge in {JUDGE: reward.judge, **reward.judges}.items() if judge.endpoint}
    speakers = (part.own, *part.request.sources.values())
    totals = [(speaker, rewards.of(speaker.reward, speaker.beside)) for speaker in speakers]
    with asyncio.Runner() as runner:
        for row in rows:
            own = part.speaker_of(record := row.known())
            speaker, total = next(each for each in totals if each[0] == own)
            # Once a judge is named, `check_judge` has refused terms whose judge is not.
            judges = named | {term.asks.judge for term in total.terms if term.asks} if named else set()
            coordinates, strict = speaker.protocol.coordinates, speaker.reward.strict
            scorable.add(runner.run(lacking(record, total, coordinates, strict, judges)))
            yield row


def _closely(part: _Part, surveyed: Survey) -> tuple[Survey, int]:
    """Check the rows that a survey kept: decode their images and, of single units, parse their turns.

    Returns:
        The survey of these rows, and the number of images that are shown at another size than their file has.
    """
    rules = Rules(part.protocol, part.protocol.coordinates, holds="prompts")
    off_grid = 0

    def faults(row: ParsedRow) -> Sequence[Fault]:
        nonlocal off_grid
        if part.request.config.rollout != "per_cru":
            return [why_closed(each, error) for each in row.known().images if (error := decoded(each).error)]
        result = check_row(rules, row)
        off_grid += result.counts.off_grid
        return result.faults

    closely = survey(surveyed.kept, faults)
    check_found(part.source, closely)
    return closely, off_grid


def _write(file: Path, part: _Part, rows: Iterable[ParsedRow], media: set[str]) -> None:
    request = part.request
    turns = request.config.rollout == "per_cru"

    def image(picture: Picture) -> dict[str, object]:
        path = Path(picture.name)
        if path.is_relative_to(request.folder):
            path = request.home / path.relative_to(request.folder)
        media.add(str(path.parent))
        return {"image": f"file://{path.as_posix()}"}

    def fields() -> Iterator[dict[str, object]]:
        for index, record in enumerate(row.record for row in rows):
            assert record
            yield verl_rows.fields_of(record, index, [image(each) for each in record.images], turns)

    parquet_rows.write_rows(file, verl_rows.schema(embed=False, turns=turns), fields())
