"""The chat protocol of rows, and the rules that they are checked against: above all, what their boxes mean.

`rules_for` makes the rules of a file. The other functions find a chat protocol: `protocol_of` and `of_records` that of
plain questions and answers without tools, `shown_by` that of conversations with tools.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Literal

from virc.core.errors import DataError
from virc.data.check.result import FIRST, Rules, Survey
from virc.data.formats import rl, sft
from virc.data.formats.registry import RowsFile
from virc.data.protocol.extract import study
from virc.data.rows.boxes import units_of_boxes
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import Record, inputs_of, size_of, system_of
from virc.data.rows.sizes import Spoken, display_sizes
from virc.models import chat_protocol
from virc.models.chat_protocol import read_protocol
from virc.reasoning.call_forms import call_marks
from virc.reasoning.grammar import TAGS, Grammar, marks
from virc.reasoning.images import SQUARE
from virc.reasoning.messages import FormatError, parse
from virc.reasoning.protocol import FILE_NAME, Coordinates, Protocol
from virc.systems.registry import System

_NAMED_CALL = re.compile(
    r'"name"\s*:\s*"[^"]*"\s*,\s*"(?:arguments|parameters)"\s*:|"action_name"\s*:|"actions"\s*:\s*\['
)
"""A JSON object that calls a tool by its name, in any of the forms that grammars write."""
_MARKED, _UNMARKED = Grammar(calls=()), Grammar(think=None, calls=(), answer=None)

PLAIN = "{images}{question}"
"""The first message of a chat protocol in which nothing stands around a question."""
SURVEYED = 200
_NAMES: tuple[tuple[str, Coordinates], ...] = (("scale_fixed", "permille"), ("scale_dynamic", "pixel"))
"""Words in the names of the published files of ViRC, and the unit of their boxes."""


def protocol_of(found: Survey, usual_system: str) -> Protocol | None:
    """A chat protocol without tools, with the one system message that all rows have.

    None where they have several, unless rows call tools in messages of their own, or tools: it lists some, or a reply
    of those looked at closely calls one in its text. Then the rows are of a chat protocol, which the model needs.

    Args:
        usual_system: what the engine's template writes where a row has no system message.
    """
    records = [row.record for row in found.kept if row.record]
    replies = _replies(records)
    system = next(map(system_of, records), "")
    are_transcripts = any(record.has_tools for record in records)
    if not are_transcripts and (len(found.systems) != 1 or "<tools>" in system or any(map(_calls, replies))):
        return None
    return _of(system or usual_system, _MARKED if _all_marked(replies) else _UNMARKED)


def _of(system: str, grammar: Grammar) -> Protocol:
    return Protocol(
        system=system, first=PLAIN, image_line="{image}", after_image="", after_scale="",
        tools=(), repeat_limit=0, refusals=(), grammar=grammar,
    )  # fmt: skip


def of_records(records: Iterable[Record]) -> Protocol | None:
    """The chat protocol of questions and answers that are conversations; None where they are of another."""
    records = list(records)
    return _of(system_of(records[0]), _UNMARKED) if records and is_plain(records) else None


def shown_by(source: RowsFile, rows: Iterable[ParsedRow]) -> tuple[Protocol, bool]:
    rows = list(rows)
    known = [(row.number, row.known()) for row in [row for row in rows if row.record] or rows]
    try:
        found = study(known, needs_system=source.format != "conversation")  # such files have none
    except DataError as error:
        raise DataError(
            f"the rows of {source.file} do not show one chat protocol, which the model needs: {error.message}",
            f"put it next to the rows, as {FILE_NAME}",
        ) from error
    return found.protocol, found.unit_is_shown


def is_plain(records: Iterable[Record]) -> bool:
    """Whether no system message lists tools, and no reply calls one or has a mark of the three-tag format."""
    records = list(records)
    if any("<tools>" in system_of(record) for record in records):
        return False
    return not any(marks(reply, TAGS) or _calls(reply) for reply in _replies(records))


def _replies(records: Iterable[Record]) -> list[str]:
    return [message.content for record in records for message in record.messages if message.role == "assistant"]


def _calls(reply: str) -> bool:
    """Whether a reply calls a tool: in the marks of stock models, or by a JSON object that names the tool.

    A text such as f(2) is none: answers hold such.
    """
    return bool(call_marks().search(reply) or _NAMED_CALL.search(reply))


def _all_marked(replies: Sequence[str]) -> bool:
    try:
        return bool(replies) and all(parse(reply, _MARKED) for reply in replies)
    except FormatError:
        return False


def rules_for(
    source: RowsFile,
    rows: Iterable[ParsedRow],
    given: Coordinates | Literal["auto"],
    protocol_given: Protocol | None = None,
) -> tuple[Rules, str]:
    """The rules for a file, and why its boxes mean what they do: as given, by its protocol, its name or its boxes."""
    holds = source.holds
    rows = iter(rows)
    first = list(islice(rows, FIRST))
    protocol = protocol_given or _saved_with(source, first[0].record if first else None)
    plain = protocol is None and holds == "solutions" and is_plain(row.record for row in first if row.record)
    names = f"{source.name} {source.file.name}"
    by_name = next((coordinates for word, coordinates in _NAMES if re.search(word, names)), None)
    found: tuple[Coordinates, str]
    if given != "auto":
        found = given, "as --coordinates says"
    elif protocol:
        found = protocol.coordinates, f"as {'the system' if protocol_given else FILE_NAME} says"
    elif by_name:
        found = by_name, "as its name says"
    elif holds == "problems":
        found = "pixel", "no boxes"
    else:
        found = _from_boxes(chain(first, rows))
    return Rules(protocol, found[0], holds=holds, plain=plain), found[1]


def _saved_with(source: RowsFile, first: Record | None) -> Protocol | None:
    """The chat protocol next to rows, unless their first has another system message: then it is of another file."""
    file = source.media / FILE_NAME
    protocol = read_protocol(file) if file.is_file() else None
    has_system = first and first.messages and first.messages[0].role == "system"
    return None if protocol and first and has_system and system_of(first) != protocol.system else protocol


def other_than_system(source: RowsFile, system: System) -> tuple[str, str] | None:
    """A warning and a hint if replies are in another chat protocol than the system's, as the file next to them says."""
    if source.holds != "solutions" and source.format != rl.NAME:
        return None
    first = next(source.rows(), None)
    saved = _saved_with(source, first.record if first else None)
    target = rl.NAME if source.format == rl.NAME else sft.NAME
    return other_than(system, saved, shlex.quote(str(source.file)), target) if saved else None


def other_than(system: System, spoken: Protocol, rows: str, target: str) -> tuple[str, str] | None:
    """As `other_than_system`, of rows in the chat protocol `spoken`.

    Args:
        rows: the rows, as a command line names them.
        target: the format that they are to be converted to.
    """
    if lacking := chat_protocol.lacking_tools(system, spoken):
        sentence = f"the rows do not offer {', '.join(lacking)}, as the system {system.name} does"
    elif system.worded and not chat_protocol.speaks_as(spoken, chat_protocol.of_system(system), system.file.parent):
        sentence = f"the rows are in another chat protocol than the system {system.name}"
    else:
        return None
    return sentence, f"virc data convert {rows} --to DIR --format {target} --system {shlex.quote(system.called)}"


def _from_boxes(rows: Iterable[ParsedRow]) -> tuple[Coordinates, str]:
    """The unit that more of the first boxes need; else permille for inputs of 1000 x 1000 px, or pixels."""
    fits: Counter[tuple[bool, bool]] = Counter()
    square = inputs = 0
    for row in islice(rows, SURVEYED):
        if row.record and row.record.messages:
            files = [size_of(picture) for picture in row.record.images]
            fits.update(units_of_boxes(row.record, display_sizes(row.record, files, Spoken())))
            input_files = [files[index] for index in inputs_of(row.record) if index < len(files)]
            square, inputs = square + input_files.count(SQUARE), inputs + len(input_files)
    pixel, permille, boxes = fits[True, False], fits[False, True], sum(fits.values())
    if pixel != permille:
        least, most = sorted((pixel, permille))
        why = f"as {most} of the first {boxes} boxes fit nothing else, and {least} the other"
        return "pixel" if pixel > permille else "permille", why
    if boxes and 2 * square > inputs:
        return "permille", "the first boxes fit both, and most inputs are 1000 x 1000 px"
    return "pixel", "the first boxes fit both" if boxes else "no boxes in the first rows"
