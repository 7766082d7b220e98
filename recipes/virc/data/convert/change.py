"""What happens to a record between two datasets: its question is found, its boxes and images are changed."""

import re
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import msgspec

from virc.core.errors import ConfigError, DataError, UsageError
from virc.core.files import expanded
from virc.core.limits import check_problem
from virc.core.text import clause, plain
from virc.data.convert.recode import Boxes, recoded, replayed
from virc.data.convert.reword import reworded
from virc.data.formats import rl
from virc.data.formats.registry import Holds, Row
from virc.data.protocol.extract import extract, question_of
from virc.data.rows.record import MARK, Picture, Record, final_answer, inputs_of
from virc.models.chat_protocol import DEFAULT, of_system, read_protocol
from virc.reasoning.grammar import TAGS
from virc.reasoning.protocol import FILE_NAME, Coordinates, Protocol, own_protocol
from virc.solving.rows import with_choices
from virc.systems import registry as systems
from virc.tools import registry as tools

Images = Literal["smart", "square_1000"]
_LINE = re.compile(r"^Question: (.+)$", re.MULTILINE)
_MOST_READ = 200  # rows in which a chat protocol is looked for
_TURNS = ("first", "image_line", "after_image", "after_scale")
SOURCE = "data_source"
"""The column that names the system a row is of, for stages of RL that take rows of several."""


class Change(msgspec.Struct, frozen=True):
    """How the records of one source are changed.

    Args:
        holds: what the rows of the target are.
        chat_protocol: the chat protocol they are written in, where it is known.
        goal: the chat protocol they are to be written in; None: as they are.
        system: the name of the system whose chat protocol the goal is, where that was asked for.
    """

    holds: Holds
    chat_protocol: Protocol | None = None
    goal: Protocol | None = None
    system: str | None = None

    @property
    def result(self) -> Protocol | None:
        """The chat protocol of the records after the change, where it is known."""
        return self.goal or self.chat_protocol

    @property
    def replays(self) -> bool:
        """Whether images or user turns are made anew."""
        here, there = self.chat_protocol, self.goal
        if here is None or there is None:
            return False
        return here.images != there.images or any(
            getattr(here, turn) != getattr(there, turn) for turn in _TURNS
        )

    @property
    def rewords(self) -> bool:
        """Whether every reply is written anew: for another system, or as it is in another grammar than our own."""
        return bool(
            self.system or (self.replays and self.chat_protocol and self.chat_protocol.grammar != TAGS)
        )


class Wanted(msgspec.Struct, frozen=True):
    """What is wanted of the rows' chat protocol; None where it is to stay.

    Args:
        coordinates: what boxes are to be counted in.
        images: how inputs are to be shown.
        protocol: file of the chat protocol to write where that changes, else of the chat protocol the rows have; or
            `default`.
        system: name or file of a system in whose words, grammar and boxes they are to be written.
    """

    coordinates: Coordinates | None = None
    images: Images | None = None
    protocol: str | None = None
    system: str | None = None


def change_for(file: Path, records: Iterable[Record], kinds: tuple[Holds, Holds], wanted: Wanted) -> Change:
    """How the records of a file are changed.

    Args:
        file: where they lie; its chat protocol may lie beside it.
        records: of the file; some are read where the chat protocol has to be found in them.
        kinds: what the rows of the file are and what those of the target are.

    Raises:
        ConfigError: a chat protocol file is wrong, or the chat protocol to write is not known.
        DataError: boxes or images are to be changed, and the rows do not show their chat protocol.
    """
    if wanted.system:
        return _for_system(file, records, kinds, wanted)
    given, beside = _given(wanted), _beside(file)
    source, holds = kinds
    moves = wanted.coordinates is not None or wanted.images is not None
    if source == "problems":
        goal = given or beside
        if holds == "prompts" and goal is None:
            raise ConfigError(
                f"{file} holds problems, and in which words they are to be put is not known",
                f"--protocol FILE, or --protocol {DEFAULT} for this project's own chat protocol",
            )
        return Change(holds, goal=goal)
    chat_protocol = beside if moves else given or beside
    if chat_protocol is None and (moves or holds != "solutions"):
        try:
            chat_protocol = _found(records, moves)
        except DataError as error:
            if moves:
                hint = f"put the chat protocol they are written in beside them, as {FILE_NAME}"
                raise DataError(f"the chat protocol of {file} is not plain: {error.message}", hint) from None
            # else the question may still have a line of its own
    return Change(
        holds, chat_protocol, _goal(file, chat_protocol, given, wanted) if chat_protocol and moves else None
    )


def _for_system(file: Path, records: Iterable[Record], kinds: tuple[Holds, Holds], wanted: Wanted) -> Change:
    """How the records of a file become rows of a system."""
    if wanted.coordinates or wanted.images or wanted.protocol:
        raise UsageError("a system says itself what its rows are like", "--system alone")
    system = systems.get(wanted.system or "")
    goal = of_system(system).protocol
    spoken = None if kinds[0] == "problems" else _beside(file) or _found(records, moves=True)
    return Change(kinds[1], spoken, goal, system.name)


def _found(records: Iterable[Record], moves: bool) -> Protocol | None:
    """The chat protocol that the first records show; None where it is not needed, as the first has its question."""
    read = islice(records, _MOST_READ)
    first = list(islice(read, 1))
    return extract(chain(first, read)) if moves or not first or first[0].question is None else None


def changed(change: Change, row: Row) -> tuple[Row, Boxes]:
    """The row with its record changed, or with a fault; and what was done to its boxes."""
    boxes = Boxes()
    if row.record is None:
        return row, boxes
    try:
        return Row(row.number, _changed(change, row.record, boxes)), boxes
    except DataError as error:
        return Row(row.number, fault=DataError(f"row {row.number}: {error.message}", error.hint)), Boxes()


def _changed(change: Change, record: Record, boxes: Boxes) -> Record:
    if change.holds != "solutions":
        grammar = change.chat_protocol.grammar if change.chat_protocol else TAGS
        answer = final_answer(record, grammar) if record.answer is None else record.answer
        question = _asked(record, change.chat_protocol) if record.question is None else record.question
        record = msgspec.structs.replace(record, question=question, answer=answer)
    if change.system:
        record = msgspec.structs.replace(record, extra={**record.extra, SOURCE: change.system})
    if change.rewords and change.goal and change.chat_protocol and record.messages:
        record = reworded(record, _asked(record, change.chat_protocol), change.chat_protocol, change.goal)
    elif change.goal and change.holds == "prompts" and not record.messages:
        record = replayed(record, asked_of(record), change.goal, change.goal, boxes)
    elif change.goal and change.chat_protocol and change.replays:
        record = replayed(
            record, _asked(record, change.chat_protocol), change.chat_protocol, change.goal, boxes
        )
    elif change.goal and change.chat_protocol:
        record = recoded(record, change.chat_protocol, change.goal, boxes)
    return _ready(record, change.holds)


def _asked(record: Record, chat_protocol: Protocol | None) -> str:
    """What the conversation asks."""
    text = next((each.content for each in record.messages if each.role == "user"), "").replace(MARK, "")
    if chat_protocol:
        question = question_of(text, chat_protocol, len(inputs_of(record)))
    else:
        line = _LINE.search(text)
        question = line[1] if line else None
    if not question:
        hint = f"name the chat protocol: --protocol {FILE_NAME}"
        raise DataError("its question is not known, only the chat protocol around it", hint)
    return question


def asked_of(record: Record) -> str:
    """The question of a problem as `virc solve --batch` asks it: its choices stand behind it."""
    choices = record.extra.get("choices")
    return with_choices(record.question or "", choices if isinstance(choices, list) else [])


def _ready(record: Record, holds: Holds) -> Record:
    """The record as a format of that kind can hold it, with images that are there."""
    pictures = record.images
    if holds == "solutions":
        if not record.messages:
            raise DataError("it has no conversation")
        if rl.is_cut(record):
            raise DataError(
                "the reply to its last message is not known", "--format prompts keeps the problem"
            )
    elif holds == "prompts":
        record = rl.complete(record)
        _check_text(record)
    else:
        pictures = tuple(record.images[at] for at in inputs_of(record) if at < len(record.images))
        check_problem([picture.name for picture in pictures], record.question or "")
    for picture in pictures:
        _check(picture, holds)
    return record


def _check_text(record: Record) -> None:
    """Refuse half a character, as JSON can hold it and parquet cannot."""
    labels = [value for value in record.extra.values() if isinstance(value, str)]
    texts = [
        *(message.content for message in record.messages),
        str(record.id),
        record.question,
        record.answer,
    ]
    try:
        "".join([text for text in texts if text] + labels).encode()
    except ValueError as error:
        raise DataError(f"it is no UTF-8: {clause(error)}") from None


def _check(picture: Picture, holds: Holds) -> None:
    if picture.data is not None or (picture.on_network and holds == "problems"):
        return
    try:
        picture.file()
    except OSError as error:
        raise DataError(f"image {plain(picture.name, 80)} cannot be read: {clause(error)}") from None


def _given(wanted: Wanted) -> Protocol | None:
    """The chat protocol the user names."""
    if wanted.protocol is None:
        return None
    if wanted.protocol == DEFAULT:
        coordinates = wanted.coordinates or "pixel"
        own = own_protocol(tools.schemas(tools.DEFAULT, coordinates), coordinates)
        return msgspec.structs.replace(own, images=wanted.images or "smart")
    given = read_protocol(expanded(wanted.protocol))
    for key in ("coordinates", "images"):
        theirs, ours = getattr(given, key), getattr(wanted, key)
        if ours is not None and theirs != ours:
            raise ConfigError(f"the chat protocol {wanted.protocol} is for {key} {theirs}, not {ours}")
    return given


def _beside(file: Path) -> Protocol | None:
    path = file.parent / FILE_NAME
    return read_protocol(path) if path.is_file() else None


def _goal(file: Path, chat_protocol: Protocol, given: Protocol | None, wanted: Wanted) -> Protocol | None:
    """The chat protocol to write; None where it is the one that is there."""
    goal = given or msgspec.structs.replace(
        chat_protocol,
        coordinates=wanted.coordinates or chat_protocol.coordinates,
        images=wanted.images or chat_protocol.images,
    )
    if given is None and goal.coordinates != chat_protocol.coordinates:
        if chat_protocol.system != _own_system(chat_protocol.tools, chat_protocol.coordinates):
            raise ConfigError(
                f"the system message of {file} is not this project's own, so how it would name other boxes "
                "is not known",
                f"give the protocol of {goal.coordinates} boxes: --protocol FILE, or --protocol {DEFAULT} for ours",
            )
        system = _own_system(goal.tools, goal.coordinates)
        goal = msgspec.structs.replace(goal, system=system)
    return None if goal == chat_protocol else goal


def _own_system(names: Sequence[str], coordinates: Coordinates) -> str | None:
    """The system message of our own chat protocol; None where a tool is not ours."""
    if not tools.discover().keys() >= set(names):
        return None
    return own_protocol(tools.schemas(names, coordinates), coordinates).system
