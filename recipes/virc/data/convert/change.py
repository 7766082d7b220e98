"""What happens to a record between two datasets: its question is found, its boxes and images are changed.

Read `change_for` first: it decides once for a file how its records change (`Change`). `changed` then does so for each
row, in `_changed_record`. A `Change` has two chat protocols: rows are written in `chat_protocol`, and are to be written
in `goal`. `answered` makes the trajectory of a problem from its boxes and its answer.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import msgspec

from virc.core.errors import ConfigError, DataError, UsageError, errors_as
from virc.core.files import expanded, link_hint
from virc.core.http.addresses import is_private
from virc.core.json_stream import one_line
from virc.core.limits.problem import check_problem
from virc.core.text import clause, counted, plain
from virc.data.check.plain import PLAIN, of_records
from virc.data.convert.recode import (
    DIGITS,
    Boxes,
    check_texts_of_boxes,
    errors_of,
    files_of,
    finished,
    new_session,
    recoded,
    regenerated,
    reworded,
    shrunk,
    with_text_boxes,
)
from virc.data.formats import rl
from virc.data.formats.registry import Holds, RowsFile
from virc.data.protocol.extract import study
from virc.data.protocol.templates import question_of
from virc.data.rows.laid_out import without_marks
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import MARK, Picture, Record, answers_of, choices_of, final_answer, inputs_of, not_offered
from virc.data.rows.results import split_results
from virc.data.rows.transcripts import RESULT
from virc.families.registry import of_system as family_of
from virc.families.registry import taught
from virc.models import registry as models
from virc.models.chat_protocol import DEFAULT, of_system, read_protocol
from virc.models.load import Choice, grid_here, prompt_setup_here
from virc.reasoning.bodies import BOX, INDEX
from virc.reasoning.calls import Size, ToolError
from virc.reasoning.checking import as_written
from virc.reasoning.coordinates import sides_of, written_as
from virc.reasoning.grammar import TAGS
from virc.reasoning.history import as_shown_on, input_grid
from virc.reasoning.images import is_known
from virc.reasoning.media import PLACES
from virc.reasoning.messages import ToolText, Turn
from virc.reasoning.opening.pictures import opened_all
from virc.reasoning.protocol import FILE_NAME, Coordinates, Protocol, own_protocol
from virc.reasoning.resize import QWEN2, Grid
from virc.reasoning.session import Rejected, Reply, Session
from virc.reasoning.writing import written
from virc.scoring.answers import choices_named
from virc.scoring.boxes import Box, boxes_of_row
from virc.scoring.references import references_of
from virc.solving.image_source import TRUST
from virc.solving.rows import with_choices
from virc.systems import registry as systems
from virc.tools import registry as tools

Images = Literal["smart", "square_1000"]
_QUESTION_LINE = re.compile(r"^Question: (.+)$", re.MULTILINE)
_FIRST_LETTER = re.compile(r"(?:^|\s)[(\[]?A[).:\]、]", re.MULTILINE)
_CHOICES = re.compile(r"^\s*(?:choices|options)\b|^\s*\(?A[).:]", re.IGNORECASE | re.MULTILINE)
_MAX_READ = 200  # rows in which a chat protocol is looked for
_CONVERSATIONS: tuple[Holds, ...] = ("solutions", "pairs")
_TEMPLATES = ("first", "image_line", "after_image", "after_scale")
"""The fields of a chat protocol that hold the texts of user turns."""
SOURCE = "data_source"
"""The column that names the system a row is of, for stages of RL that take rows of several."""
PUBLISHED_SOURCE = "published_data_source"
"""The column for what stood there before, where that names no system: some rewards ask for it."""


class Learner(msgspec.Struct, frozen=True):
    """The model that is to learn from rows: its chat protocol, and the grid on which it sees images."""

    name: str
    protocol: Protocol
    grid: Grid

    def __str__(self) -> str:
        most = f"images have at most {self.grid.max_pixels:,} pixels, as it sees them"
        return f"replies are in the chat protocol of {self.name}, and {most}"


class Change(msgspec.Struct, frozen=True):
    """How the records of one source are changed.

    Args:
        holds: what the rows of the target are.
        chat_protocol: the chat protocol they are written in, where it is known.
        goal: the chat protocol to write them in; None leaves them as they are.
        system: the name of the system whose chat protocol the goal is, if one was named.
        grid: on which images are shown at most; None leaves them as they are.
        learner: the model that learns the answers of problems; None: they stay problems.
    """

    holds: Holds
    chat_protocol: Protocol | None = None
    goal: Protocol | None = None
    system: str | None = None
    grid: Grid | None = None
    learner: Learner | None = None

    @property
    def result(self) -> Protocol | None:
        return self.goal or self.chat_protocol

    @property
    def replays(self) -> bool:
        """Whether a session has to show the images and user turns again, as they differ between the two protocols."""
        source, goal = self.chat_protocol, self.goal
        if source is None or goal is None:
            return False
        fields = ("images", *_TEMPLATES)
        return self.grid is not None or any(getattr(source, name) != getattr(goal, name) for name in fields)

    @property
    def rewords(self) -> bool:
        """Whether every reply is written again: for another system, or because its grammar is not our own."""
        foreign = self.chat_protocol is not None and self.chat_protocol.grammar != TAGS
        inserted = any(each and each.results != "user" for each in (self.chat_protocol, self.goal))
        return bool(self.system) or inserted or (self.replays and foreign)


class Target(msgspec.Struct, frozen=True):
    """The chat protocol that rows are to have; None leaves each part as it is.

    Args:
        protocol: file of the chat protocol to write where that changes, else of the one the rows have; or `default`.
        system: name or file of a system whose chat protocol they are to be written in.
        max_pixels: most pixels of an image; images and boxes are made smaller to fit.
        answers: problems become trajectories that end with their answer.
        model: the one that is to learn these; None: `tiny`.
    """

    coordinates: Coordinates | None = None
    images: Images | None = None
    protocol: str | None = None
    system: str | None = None
    max_pixels: int | None = None
    answers: bool = False
    model: str | None = None


def change_for(source: RowsFile, records: Iterable[Record], kinds: tuple[Holds, Holds], target: Target) -> Change:
    """How the records of a file are changed; some are read where the chat protocol has to be found in them."""
    given_as, holds = kinds
    if target.answers:
        if kinds != ("problems", "solutions"):
            if given_as != "problems":
                raise UsageError(f"«--answers» is for problems, and {source.file} has replies", "without «--answers»")
            raise UsageError("«--answers» makes trajectories", "«--format sft»")
        to = learner(target.model, target.system, target.protocol, target.max_pixels)
        system = systems.get(target.system).name if target.system else None
        return Change(holds, goal=to.protocol, system=system, learner=to)
    if target.model:
        raise UsageError("«--model» is for «--answers»", "«--answers» makes trajectories of problems")
    change = _change_of_replies(source, records, kinds, target)
    if not target.max_pixels:
        return change
    grid, goal = QWEN2.limited(target.max_pixels), change.result
    if goal and given_as == "pairs" and goal.tools:
        hint = "virc data sample --pairs RULE --max-pixels N makes pairs of smaller images"
        raise UsageError("images of pairs in a chat protocol with tools stay as they are", hint)
    if goal and goal.images == "square_1000":
        raise UsageError("the chat protocol shows every image at 1000 x 1000 px", "«--images smart»")
    return msgspec.structs.replace(change, goal=goal and as_shown_on(goal, grid), grid=grid)


def _change_of_replies(
    source: RowsFile, records: Iterable[Record], kinds: tuple[Holds, Holds], target: Target
) -> Change:
    given_as, holds = kinds
    file = source.file
    asks_change = target.coordinates is not None or target.images is not None
    if given_as == "pairs" and (target.coordinates or target.images or (target.system and not source.laid_out)):
        hint = "without «--coordinates», «--images» and «--system»"
        raise UsageError("pairs stay in the chat protocol that they are written in", hint)
    path = source.media / FILE_NAME
    saved = read_protocol(path) if path.is_file() else None  # the chat protocol next to the rows
    if target.system:
        if target.coordinates or target.images or target.protocol:
            raise UsageError("a system decides coordinates, images and chat protocol", "«--system» alone")
        system = systems.get(target.system)
        of_target = of_system(system)
        if given_as in _CONVERSATIONS and source.laid_out:  # a layout reads rows into the system's chat protocol
            return Change(holds, of_target, system=system.name)
        protocol = None if given_as == "problems" else saved
        if given_as != "problems" and saved is None:
            records = list(islice(records, _MAX_READ))
            protocol = of_records(records) or _studied_protocol(file, records, needed=True)
        return Change(holds, protocol, of_target, system.name)
    named = _named_protocol(target)
    if given_as == "problems":
        goal = named or saved
        if holds == "prompts" and goal is None:
            raise ConfigError(
                f"{file} holds problems, and the chat protocol to write them in is not known",
                f"«--protocol FILE», or «--protocol {DEFAULT}» for this project's own chat protocol",
            )
        return Change(holds, goal=goal)
    # --protocol names the goal where something changes, else the chat protocol that the rows are in
    protocol = saved if asks_change else named or saved
    is_needed = asks_change
    if protocol is None and (asks_change or target.max_pixels or holds not in _CONVERSATIONS):
        records = list(islice(records, _MAX_READ))
        without_tools = of_records(records)
        is_needed = (asks_change or target.max_pixels is not None) and without_tools is None
        protocol = _written_plain(without_tools, file, holds, target)
    if protocol is None and (is_needed or holds not in _CONVERSATIONS):
        protocol = _studied_protocol(file, records, is_needed)
    goal = _protocol_with(file, protocol, named, target) if protocol and asks_change else None
    return Change(holds, protocol, goal)


def _written_plain(protocol: Protocol | None, file: Path, holds: Holds, target: Target) -> Protocol | None:
    """The chat protocol of questions and answers, if they are written again; None: their texts stay as they are."""
    if protocol and target.coordinates:
        raise UsageError(f"replies of {file} call no tools: there are no boxes to convert", "without «--coordinates»")
    return protocol if target.images or holds not in _CONVERSATIONS else None


def _studied_protocol(file: Path, records: Iterable[Record], needed: bool) -> Protocol | None:
    read = islice(records, _MAX_READ)
    first = list(islice(read, 1))
    if first and first[0].question is not None and not needed:
        return None  # the rows have a column of the question
    try:
        return study(enumerate(chain(first, read), 1)).protocol
    except DataError as error:
        if needed:
            hint = f"put the chat protocol they are written in next to them, as {FILE_NAME}"
            raise DataError(f"the chat protocol of {file} cannot be found: {error.message}", hint) from None
        return None  # the question may still have a line of its own


def records_as(source: RowsFile, holds: Holds, protocol: Protocol | None = None) -> Iterator[tuple[int, Record]]:
    """The rows of a file as prompts or problems, each with its number. Raises DataError: a row is faulty.

    Args:
        protocol: by which results inside of replies become messages of their own; None: there are none.
    """
    records = (row.record for row in source.rows() if row.record)
    change = change_for(source, records, (source.holds, holds), Target())
    for row in source.rows():
        record = row.record and split_results(row.record, protocol)
        yield row.number, changed(change, msgspec.structs.replace(row, record=record))[0].known()


def problems_of(source: RowsFile) -> Iterator[tuple[int, Record]]:
    """The problems of a file, each with its row's number; the question has the choices, and no turn follows it."""
    for number, record in records_as(source, "problems"):
        images = tuple(record.images[at] for at in inputs_of(record) if at < len(record.images))
        question = question_with_choices(record)
        yield number, msgspec.structs.replace(record, messages=(), images=images, question=question)


def changed(change: Change, row: ParsedRow, tool_sources: Sequence[str] = ()) -> tuple[ParsedRow, Boxes]:
    tools.load(tool_sources)
    boxes = Boxes()
    if row.record is None:
        return row, boxes
    try:
        return ParsedRow(row.number, _changed_record(change, row.record, boxes)), boxes
    except DataError as error:
        return ParsedRow(
            row.number, fault=DataError(f"row {row.number}: {error.args[0]}", error.unspelled_hint)
        ), Boxes()


def _changed_record(change: Change, record: Record, boxes: Boxes) -> Record:
    source, goal, grid = change.chat_protocol, change.goal, change.grid
    _check_texts_that_stay(change, record)
    original = with_text_boxes(record, goal, grid)
    record = split_results(original, source)
    if change.holds not in _CONVERSATIONS:
        answer = record.answer
        if answer is None and record.rejected is None:  # the better of two replies may still be wrong
            answer = final_answer(_up_to_answer(record, source), source.grammar if source else TAGS)
        question = _question(record, source) if record.question is None else record.question
        record = msgspec.structs.replace(record, question=question, answer=answer)
    if change.system:
        before = record.extra.get(SOURCE)
        kept = {PUBLISHED_SOURCE: before} if isinstance(before, str) and before not in systems.discover() else {}
        record = msgspec.structs.replace(record, extra={**record.extra, SOURCE: change.system, **kept})
    if change.learner:
        record = answered(record, question_with_choices(record), change.learner)
    elif goal and change.holds == "prompts" and not record.messages:
        record = regenerated(record, question_with_choices(record), goal, goal, boxes, grid)
    elif goal and source and change.rewords and record.messages:
        record = reworded(record, _question(record, source), source, goal, grid)
    elif goal and source and change.replays:
        record = regenerated(record, _question(record, source), source, goal, boxes, grid)
    elif goal and source:  # boxes and the system message alone
        record = recoded(record, source, goal, boxes)
    else:  # texts stay, also results inside turns, which `split_results` made messages of their own
        record = msgspec.structs.replace(record, messages=original.messages)
        record = shrunk(record, grid) if grid else record
    if change.holds != "pairs":
        record = msgspec.structs.replace(record, rejected=None)
    if change.holds == "prompts":  # by the boxes as they lie now
        record = msgspec.structs.replace(record, answer=sought(record, record.answer))
    return _fit_for_format(record, change.holds)


def _check_texts_that_stay(change: Change, record: Record) -> None:
    """Raise DataError: a text would be wrong in what the row becomes, as it stays as it is."""
    if record.has_tools and (change.goal or change.system or change.holds == "prompts"):
        raise DataError("its calls of tools are not written in a chat protocol", "«--format sft» alone keeps them")
    grid, protocol = change.grid, change.chat_protocol
    if change.learner:
        grid, protocol = change.learner.grid, change.learner.protocol
    if grid and (protocol is None or protocol.coordinates == "pixel"):
        check_texts_of_boxes(msgspec.structs.replace(record, messages=()) if change.replays else record, grid)


def _up_to_answer(record: Record, protocol: Protocol | None) -> Record:
    """The record up to the answer of its question: without tools, the first reply, as each reply answers a question."""
    if protocol is None or protocol.tools:
        return record
    end = next((number for number, each in enumerate(record.messages, 1) if each.role == "assistant"), None)
    return msgspec.structs.replace(record, messages=record.messages[:end])


def sought(record: Record, answer: str | None) -> str | None:
    """What replies are compared with: the answer, else the boxes of a question that asks where."""
    boxes = record.extra.get("boxes")
    return one_line(boxes) if answer is None and boxes else answer


def _question(record: Record, chat_protocol: Protocol | None) -> str:
    if not record.messages:
        raise DataError("it has neither a question nor a conversation")
    if record.question and record.extra.get(PLACES):  # lines of frames stand in the text
        return record.question
    text, inputs = next((each.content for each in record.messages if each.role == "user"), ""), len(inputs_of(record))
    if chat_protocol and chat_protocol.first == PLAIN and not chat_protocol.tools:
        question: str | None = without_marks(text, inputs)
    else:
        text = text.replace(MARK, "")
        question = question_of(text, chat_protocol, inputs) if chat_protocol else _question_on_line(record, text)
    if not question:
        hint = f"name the chat protocol: «--protocol {FILE_NAME}»; "
        hint += "a layout with `question: messages.0.content` reads a text"
        raise DataError("its question is not known, only the chat protocol around it", hint)
    return question


def _question_on_line(record: Record, text: str) -> str | None:
    """The question on a line of its own; None where the replies are not this project's, or choices stand behind it."""
    line = _QUESTION_LINE.search(text)
    ours = final_answer(record) is not None or record.messages[-1].role == "user"
    return line[1] if line and ours and not _CHOICES.search(text, line.end()) else None


def question_with_choices(record: Record) -> str:
    return with_choices(record.question or "", choices_of(record))


def _check_whole(record: Record) -> None:
    marks = sum(message.content.count(MARK) for message in record.messages)
    if record.messages and marks != len(record.images):
        had = counted(len(record.images), "image")
        raise DataError(f"its messages have {counted(marks, f'{MARK} mark')}, and it has {had}")
    if not record.messages and (sentence := not_offered(record)):
        raise DataError(sentence)


def _fit_for_format(record: Record, holds: Holds) -> Record:
    """The record as a format of that kind can hold it; its images are there."""
    pictures = record.images
    if holds == "pairs":
        if record.rejected is None:
            raise DataError("it has no rejected reply")
        if record.messages and record.messages[-1].content == record.rejected:
            raise DataError("its chosen reply is its rejected one: it has nothing to learn")
    elif holds == "solutions":
        if not record.messages:
            raise DataError("it has no conversation")
        if record.has_tools and record.messages[-1].role == RESULT:
            raise DataError("it ends with the result of a tool: engines drop such a row, or stop")
        if rl.is_cut(record):
            raise DataError(
                "the reply to its last message is not known",
                "«--format batch» writes the problem, which virc data sample can solve",
            )
    elif holds == "prompts":
        record = rl.complete(record)
    else:
        pictures = tuple(record.images[at] for at in inputs_of(record) if at < len(record.images))
        check_problem([picture.name for picture in pictures], record.question or "")
    for picture in pictures:
        _check_picture(picture, holds)
    _check_whole(record)
    return record


def _check_picture(picture: Picture, holds: Holds) -> None:
    """Raise a DataError for a missing file, or bytes that are no picture. Files are not opened; damaged bytes pass."""
    if picture.data is not None:
        if not is_known(picture.data):
            with opened_all([(picture.data, plain(picture.name, 80) or "an image without a name")]):
                pass  # a DataError says what the bytes are
    elif picture.on_network and holds == "problems":
        if picture.confined and is_private(picture.name):
            raise DataError(f"image {plain(picture.name, 80)} is a private address, which is not fetched", TRUST)
    else:
        try:
            picture.file()
        except OSError as error:
            sentence = f"image {plain(picture.name, 80)} cannot be read: {clause(error)}"
            raise DataError(sentence, link_hint(error)) from None


def _named_protocol(target: Target) -> Protocol | None:
    if target.protocol is None:
        return None
    if target.protocol == DEFAULT:
        coordinates = target.coordinates or "pixel"
        own = own_protocol(tools.schemas(tools.DEFAULT, coordinates), coordinates)
        return msgspec.structs.replace(own, images=target.images or "smart")
    given = read_protocol(expanded(target.protocol))
    for key in ("coordinates", "images"):
        actual, expected = getattr(given, key), getattr(target, key)
        if expected is not None and actual != expected:
            raise ConfigError(f"the chat protocol {target.protocol} is for {key} {actual}, not {expected}")
    return given


def _protocol_with(file: Path, source: Protocol, named: Protocol | None, target: Target) -> Protocol | None:
    """The chat protocol with the coordinates and images of the target; None where the rows are in it already."""
    goal = named or msgspec.structs.replace(
        source, coordinates=target.coordinates or source.coordinates, images=target.images or source.images
    )
    if named is None and goal.coordinates != source.coordinates:
        if source.system != _own_system(source.tools, source.coordinates):
            raise ConfigError(
                f"the system message of {file} is not this project's own, so its text for other boxes is not known",
                f"give the protocol of {goal.coordinates} boxes: «--protocol FILE», or «--protocol {DEFAULT}» for ours",
            )
        goal = msgspec.structs.replace(goal, system=_own_system(goal.tools, goal.coordinates))
    return None if goal == source else goal


def _own_system(names: Sequence[str], coordinates: Coordinates) -> str | None:
    if not tools.discover().keys() >= set(names):
        return None
    return own_protocol(tools.schemas(names, coordinates), coordinates).system


def learner(
    model: str | None, system: str | None, protocol: str | None, max_pixels: int | None, workspace: Path = Path()
) -> Learner:
    """The learner that a user names; without a model the base of the system's stages, without a system `tiny`."""
    named, choice = systems.get(system) if system else None, Choice(protocol=protocol, exact_words=True)
    bases = (each.settings.get("base") for each in (named.stages.values() if named else ()))
    try:
        weights = models.find(model or next((str(base) for base in bases if base), None), workspace, named)
    except ConfigError as error:
        if model or named is None or protocol:
            without = (
                "without its folder: «--system virc» in place of «--model», which writes replies in that chat protocol"
            )
            error.unspelled_hint = "; or ".join(filter(None, (error.unspelled_hint, without)))
            raise
        of_named = of_system(named)
        grid = input_grid(of_named, family_of(named).grid).limited(max_pixels)
        return Learner(named.name, as_shown_on(taught(of_named), grid), grid)
    prompt_setup = prompt_setup_here(weights, choice)
    chosen = of_system(named) if named and not protocol else prompt_setup.chat_protocol
    grid = grid_here(weights, prompt_setup).limited(max_pixels)
    return Learner(weights.name, as_shown_on(taught(chosen), grid), grid)


def answered(record: Record, question: str, to: Learner) -> Record:
    """The trajectory of a problem: its calls, a crop of each box, and the answer; boxes alone are the answer."""
    session = new_session(record, question, to.protocol, to.grid)
    boxes, answers = boxes_of_row(record.extra) or [], answers_of(record)
    if not (answers or boxes):
        raise DataError("it has no answer")
    references = references_of({**record.extra, "answer": record.answer}, lambda: files_of(record)[0])
    if sentence := not_offered(record) or next((each.flaw for each in references if each.kind != "looks"), ""):
        raise DataError(sentence)
    written_boxes = [_box_as_written(box, files_of(record)[0], session) for box in boxes]
    tool = next(filter(tools.cuts, to.protocol.tools), None)
    with errors_of(2):
        for call in _calls_of(record):
            _feed(session, Turn("", (call,)))
        if answers and tool:
            for box in written_boxes:
                arguments = as_written(tools.get(tool), {BOX: box, INDEX: 0}, session.view)
                _feed(session, Turn("", (ToolText(tool, arguments),)))
        _feed(session, Turn("", (), _answer_in_words(answers[0], record) if answers else one_line(written_boxes)))
    return finished(session, record, to.grid)


def _calls_of(record: Record) -> list[ToolText]:
    with errors_as(DataError, "its calls cannot be read", caught=msgspec.ValidationError):
        return msgspec.convert(record.extra.get("calls") or [], list[ToolText])


def _answer_in_words(answer: str, record: Record) -> str:
    """The answer as a reply gives it; where the question shows choices without letters, the text of the choice."""
    choices = choices_of(record)
    if answer in choices or _FIRST_LETTER.search("\n".join((record.question or "", *choices))):
        return answer
    return ", ".join(choices[at] for at in sorted(choices_named(answer, choices))) or answer


def _box_as_written(box: Box, size: Size, session: Session) -> list[float]:
    """A box in px of the first image's file, of (width, height) px, as the model writes it; rounded outwards."""
    target = session.protocol
    sides = sides_of(session.images[0].size, target.coordinates, size)
    # (width, height) doubled goes with left, top, right, bottom
    coordinates = zip(box, size * 2, sides * 2, strict=True)
    left, top, right, bottom = (min(max(pixel / side, 0), 1) * unit for pixel, side, unit in coordinates)
    if target.coordinates == "unit":
        return [round(each, DIGITS) for each in written_as((left, top, right, bottom), target.box)]
    whole = (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
    return [math.floor(each) for each in written_as(whole, target.box)]


def _feed(session: Session, turn: Turn) -> None:
    outcome = session.feed(Reply(written(turn, session.protocol.grammar)))
    if isinstance(outcome, Rejected):
        raise ToolError(outcome.reason)
