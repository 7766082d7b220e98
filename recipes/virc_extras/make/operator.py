"""The interface of operators over rows: what a file of one defines, and what it is called with (`Row`, `Means`).

An operator is one file, whose docstring begins with its title. It defines

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True)
                                            its options, each with a default if there is a sensible one

and either, for one row at a time,

    run(row, means) -> Made                 `kept(...)` with the columns of new rows, or `left_out(rule, why)`

or, if rows depend on each other,

    measure(row, means) -> object | LeftOut the value of a row that `plan` needs, as JSON
    plan(measured, means) -> Plan           the rows of NEW, in order; `measured` can be iterated several times,
                                            and is read from the disk each time

An operator that asks models also defines

    ROLES: Mapping[str, Role]               the models that it asks with `means.ask(name, prompt, picture)`, as in a
                                            pipeline; or roles(options), if they depend on options
    requests(options) -> int                maximum requests for one row, for the estimate; default: one per role
"""

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, Generic, TypeVar

import msgspec
from PIL import Image

from virc.core.errors import ConfigError, DataError, NetworkError
from virc.core.files import write_whole
from virc.core.timeouts import Deadline
from virc.data.sample.pairing import Grader
from virc.data.sample.rollouts import Rollout, SampledProblem
from virc.reasoning.opening.pictures import open_image
from virc.solving.image_source import files_of
from virc.solving.rows import ProblemRow as AskedRow
from virc.solving.rows import file_name
from virc_extras.pipelines.asking import Roles
from virc_extras.pipelines.roles import OpenRole
from virc_extras.pipelines.speaking import Reply
from virc_extras.pipelines.turns import Part

Fields = Mapping[str, Any]
O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741 - of Options


class Row(AskedRow, frozen=True, kw_only=True):
    """A row that an operator gets.

    `images` are its pictures as they can be opened, and `question` is the text for a model, with its choices; both are
    empty if the row has none.

    Args:
        number: its position among the rows of all sources, from 1.
        fields: all its columns.
        base: folder that names of pictures start from.
        source: which of the files it is from, from 0.
    """

    id: str | int
    number: int
    fields: dict[str, Any]
    base: Path = Path()
    source: int = 0


class LeftOut(msgspec.Struct, frozen=True):
    """Why a row is left out: the rule, a name that is counted, and a sentence about this row."""

    rule: str
    why: str = ""


class Made(msgspec.Struct, frozen=True):
    """The result of an operator for a row: the columns of new rows, or why the row is left out."""

    rows: Sequence[Fields] = ()
    out: LeftOut | None = None


class Measured(msgspec.Struct, frozen=True):
    """The result of `measure` for a row."""

    number: int
    id: str | int
    source: int
    value: Any


class Plan(msgspec.Struct, frozen=True):
    """The rows of NEW, by number, in order; a row may be repeated.

    Args:
        left_out: number -> why.
        others: name -> rows of a further file, `NEW.name.jsonl` next to `NEW.jsonl`.
        ids: number -> another id.
    """

    order: Sequence[int]
    left_out: Mapping[int, LeftOut] = {}
    others: Mapping[str, Sequence[int]] = {}
    ids: Mapping[int, str] = {}


def kept(*rows: Fields) -> Made:
    """Return new rows made from one; several rows without ids get ids derived from its id."""
    return Made(rows)


def left_out(rule: str, why: str = "") -> Made:
    """Return that a row is left out: the rule, and the reason for this row."""
    return Made((), LeftOut(rule, why))


class Cost(msgspec.Struct):
    """The cost of requests: number of replies, and their tokens if the server counts them."""

    replies: int = 0
    prompt: int = 0
    completion: int = 0

    def add(self, other: "Cost") -> None:
        self.replies += other.replies
        self.prompt += other.prompt
        self.completion += other.completion


_NOBODY = Roles({})


class Means(Generic[O]):
    """What an operator can use for one row, or for its plan.

    Attributes:
        options: its options.
        seed: of this row.
        roles: the roles that it asks.
        opened: their models, for operators that need more than `ask`.
        deadline: of this row.
        max_turns: maximum turns of a solution by a chat protocol.
        cost: of its requests; `ask` adds its own.
        folder: the folder of NEW.
        offline: whether pictures on the network are refused.
    """

    def __init__(
        self,
        options: O,
        seed: int,
        place: Path,
        prefix: str = "",
        *,
        opened: Mapping[str, OpenRole] = {},
        deadline: Deadline | None = None,
        offline: bool = False,
        once: Callable[[str, Callable[[], Any]], Any] = lambda key, make: make(),
        rows: Callable[[str], Iterable[Row]] = lambda path: (),
        max_turns: int = 16,
        grader: Callable[[str, str], Grader] | None = None,
    ) -> None:
        self.options, self.seed = options, seed
        self.roles, self.opened, self.max_turns, self.cost = _NOBODY, opened, max_turns, Cost()
        self.deadline = deadline or Deadline(None)
        self.folder, self._place, self._prefix, self.offline = place.parent, place, prefix, offline
        self._once, self._rows, self._grader = once, rows, grader

    @cached_property
    def random(self) -> Random:
        """Draws the same for the same seed and row."""
        return Random(self.seed)

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """Return a JSON value that is made once per row and key, also if the command is killed and resumed."""
        return self._once(key, make)

    def ask(self, role: str, *parts: Part, after: Reply | None = None) -> Reply:
        """Return a role's reply to texts and pictures, after an earlier one in its conversation."""
        return self.roles[role].ask(*parts, after=after)

    def reward(self, system: str, role: str, problem: SampledProblem, rollout: Rollout) -> float:
        """Return a system's reward of a role's rollout.

        Raises:
            DataError: a column of a term is missing, or a term cannot be computed.
            ConfigError: there is no such system, or its reward cannot be computed here.
        """
        if self._grader is None:
            raise ConfigError(f"nothing is given that has the reward of {system}", "make(..., rewards=...)")
        value = self._grader(system, role)(problem, rollout)
        if value is None:
            raise DataError(f"a term of the reward of {system} cannot be had")
        return value

    def data(self, row: Row, index: int = 0) -> bytes:
        """Return the file of a row's picture. Raises DataError: there is none, or it cannot be read."""
        if index >= len(row.images):
            raise DataError(f"it has {len(row.images)} pictures, and picture {index + 1} is needed")
        try:
            ((data, _),) = files_of([row.pictures[index]], self.offline, self.deadline, row.base, row.trusted)
        except NetworkError as error:  # a wrong address in the row must not end the command
            raise DataError(error.args[0], error.unspelled_hint) from error
        return data

    def image(self, row: Row, index: int = 0) -> Image.Image:
        """Return a row's picture. Raises DataError: as `data`; it is none, or too large."""
        return open_image(self.data(row, index), f"picture {index + 1}")

    def save(self, image: Image.Image, name: str = "picture") -> str:
        """Write a picture, and return its path for rows of NEW; `name` distinguishes the pictures of a row."""
        file = io.BytesIO()
        image.save(file, "PNG")
        path = f"{self._place.stem}_images/{file_name(f'{self._prefix}{name}')}.png"
        write_whole(self.folder / path, file.getvalue())
        return path

    def rows(self, path: str | os.PathLike[str]) -> Iterator[Row]:
        """Return the rows of another file; its path is relative to the working folder, as on the command line."""
        yield from self._rows(os.fspath(path))
