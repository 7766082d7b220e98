"""Problems with their answers as trajectories: what `virc solve` sends a model, and the replies that it is to give."""

import math
from pathlib import Path

import msgspec

from virc.core.errors import ConfigError, DataError
from virc.core.json_stream import one_line
from virc.data.convert.recode import CUTS, DIGITS, errors_of, files_of, finished, session_of
from virc.data.rows.record import Record, answers_of, not_offered
from virc.families.registry import taught
from virc.models import registry as models
from virc.models.chat_protocol import of_system
from virc.models.load import Choice, grid_here, spoken_here
from virc.reasoning.bodies import BOX, INDEX
from virc.reasoning.calls import Size, ToolError
from virc.reasoning.coordinates import index_name, sides_of, written_as
from virc.reasoning.history import as_shown_on, input_grid
from virc.reasoning.messages import ToolText, Turn
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import QWEN2, Grid
from virc.reasoning.session import Rejected, Reply, Session
from virc.reasoning.writing import written
from virc.scoring.boxes import Box, boxes_of_row
from virc.scoring.references import references_of
from virc.systems import registry as systems
from virc.systems.registry import System


class Learner(msgspec.Struct, frozen=True):
    """The model that is to learn from rows: how it is spoken to, and the grid on which it sees images."""

    name: str
    protocol: Protocol
    grid: Grid

    def __str__(self) -> str:
        """What rows for it are like, as a clause."""
        most = f"images have at most {self.grid.max_pixels:,} pixels, as it sees them"
        return f"replies are in the chat protocol of {self.name}, and {most}"


def learner(
    model: str | None, system: str | None, protocol: str | None, max_pixels: int | None, workspace: Path = Path()
) -> Learner:
    """The learner that a user names.

    Args:
        model: None: the base of the system's stages, which need not be on this machine; without a system `tiny`.
        system: that whose words it is to learn; None: those that the model was trained with.
        protocol: file of its chat protocol, or `default`.
        max_pixels: lowers the model's own limit of an image, in px.
    """
    named, choice = systems.get(system) if system else None, Choice(protocol=protocol)
    try:
        weights = models.find(model or (_base(named) if named else None), workspace, named)
    except ConfigError:
        if model or named is None or protocol:
            raise
        words = of_system(named).protocol
        grid = input_grid(words, QWEN2).limited(max_pixels)
        return Learner(named.name, as_shown_on(taught(words), grid), grid)
    spoken = spoken_here(weights, choice)
    chosen = of_system(named) if named and not protocol else spoken.chat_protocol
    grid = grid_here(weights, spoken, choice).limited(max_pixels)
    return Learner(weights.name, as_shown_on(taught(chosen.protocol), grid), grid)


def _base(system: System) -> str | None:
    """The model that the first stage of a system begins with."""
    return next((str(base) for stage in system.stages.values() if (base := stage.settings.get("base"))), None)


def answered(record: Record, question: str, to: Learner) -> Record:
    """The trajectory of a problem: a crop of each of its boxes, and the answer; boxes alone are the answer."""
    session = session_of(record, question, to.protocol, to.grid)
    boxes, answers = boxes_of_row(record.extra) or [], answers_of(record)
    if not (answers or boxes):
        raise DataError("it has no answer")
    references = references_of({**record.extra, "answer": record.answer}, lambda: files_of(record)[0])
    if sentence := not_offered(record) or next((each.flaw for each in references if each.kind != "looks"), ""):
        raise DataError(sentence)
    written_boxes = [_box(box, files_of(record)[0], session) for box in boxes]
    tool = next((name for name in CUTS if name in to.protocol.tools), None)
    with errors_of(2):
        for box in written_boxes if answers and tool else ():
            names, inputs = to.protocol.image_names, session.history.inputs
            index = index_name(names, 0, inputs) if names else 0
            _feed(session, Turn("", (ToolText(tool or "", {BOX: box, INDEX: index}),)))
        _feed(session, Turn("", (), answers[0] if answers else one_line(written_boxes)))
    return finished(session, record, to.grid)


def _box(box: Box, size: Size, session: Session) -> list[float]:
    """A box in px of the first image's file of (width, height) px as its model writes it, to hold all of it."""
    target = session.protocol
    sides = sides_of(session.images[0].size, target.coordinates, size)
    parts = (min(max(at / side, 0), 1) * unit for at, side, unit in zip(box, size * 2, sides * 2, strict=True))
    left, top, right, bottom = parts
    if target.coordinates == "unit":
        return [round(each, DIGITS) for each in written_as((left, top, right, bottom), target.box)]
    whole = (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
    return [math.floor(each) for each in written_as(whole, target.box)]


def _feed(session: Session, turn: Turn) -> None:
    outcome = session.feed(Reply(written(turn, session.protocol.grammar)))
    if isinstance(outcome, Rejected):
        raise ToolError(outcome.reason)
