"""Rows that are questions and answers alone, as others publish most, and their chat protocol."""

from collections.abc import Iterable, Sequence

from virc.core.errors import DataError
from virc.data.check.survey import Survey
from virc.data.formats.registry import Row, Source
from virc.data.protocol.extract import study
from virc.data.rows.record import Record, system_of
from virc.reasoning.call_forms import MARKS
from virc.reasoning.grammar import TAGS, Grammar, marks
from virc.reasoning.messages import FormatError, parse
from virc.reasoning.protocol import FILE_NAME, Protocol
from virc.systems.samples.parts import NAMED, apart

_MARKED, _UNMARKED = Grammar(calls=()), Grammar(think=None, calls=(), answer=None)


def protocol_of(found: Survey, usual_system: str) -> Protocol | None:
    """A chat protocol without tools, with the one system message that all rows have.

    None where they have several, or tools: it lists some, or a reply of those looked at closely calls one. Then the
    rows are of a chat protocol, which the model needs.

    Args:
        usual_system: what the engine's template writes where a row has no system message.
    """
    records = [row.record for row in found.kept if row.record]
    replies = _replies(records)
    system = next(map(system_of, records), "")
    if len(found.systems) != 1 or "<tools>" in system or any(map(_calls, replies)):
        return None
    return _of(system or usual_system, _MARKED if _all_marked(replies) else _UNMARKED)


def _of(system: str, grammar: Grammar) -> Protocol:
    return Protocol(
        system=system, first="{images}{question}", image_line="{image}", after_image="", after_scale="",
        tools=(), repeat_limit=0, refusals=(), grammar=grammar,
    )  # fmt: skip


def of_records(records: Iterable[Record]) -> Protocol | None:
    """The chat protocol of questions and answers that are conversations; None where they are of another."""
    records = list(records)
    return _of(system_of(records[0]), _UNMARKED) if records and is_plain(records) else None


def shown_by(source: Source, rows: Iterable[Row]) -> tuple[Protocol, bool]:
    """The chat protocol that rows show, and whether they show what their boxes mean.

    Raises:
        DataError: they show none, or several.
    """
    rows = list(rows)
    known = [row for row in rows if row.record] or rows
    records = [row.known() for row in known]
    try:
        system = "" if source.format == "conversation" else None  # which such files do not have
        found = study(records, numbers=[row.number for row in known], system=system)
    except DataError as error:
        raise DataError(
            f"the rows of {source.file} do not show one chat protocol, which the model needs: {error.message}",
            f"put it beside the rows, as {FILE_NAME}",
        ) from error
    return found.protocol, found.coordinates_from != "nothing"


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
    return bool(MARKS.search(reply)) or any(call.body in NAMED and "{" in call.text for call in apart(reply).calls)


def _all_marked(replies: Sequence[str]) -> bool:
    try:
        return bool(replies) and all(parse(reply, _MARKED) for reply in replies)
    except FormatError:
        return False
