"""What an operator over rows is, and what it gets.

An operator is one file, whose docstring begins with its title. It defines

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True)
                                            its options, each with a default where it can have one

and either, for one row at a time,

    run(row, means) -> Made                 `kept(...)` with the columns of new rows, or `left_out(rule, why)`

or, where rows depend on each other,

    measure(row, means) -> object | LeftOut what is kept in memory of a row: a value that JSON has
    plan(measured, means) -> Plan           which rows there are, in which order; `measured` is read from the disk,
                                            several times where need be

An operator that asks models also defines

    ROLES: Mapping[str, Role]               whom it asks, as a pipeline does; `means.ask(name, prompt, picture)` asks;
                                            or roles(options), where they depend on options
    requests(options) -> int                the most requests for one row, for the estimate; default: one a role
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
from virc.data.sample.rollouts import Problem, Rollout
from virc.reasoning.opening.pictures import open_image
from virc.solving.image_source import files_of
from virc.solving.pipelines.asking import Roles
from virc.solving.pipelines.roles import OpenRole
from virc.solving.pipelines.speaking import Reply
from virc.solving.pipelines.turns import Part
from virc.solving.rows import Row as AskedRow
from virc.solving.rows import file_name

Fields = Mapping[str, Any]
O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741 - of Options


class Row(AskedRow, frozen=True, kw_only=True):
    """A row that an operator gets.

    `images` are its pictures as they can be opened and `question` is as a model is asked it, with its choices; both are
    empty where the row has none.

    Args:
        number: its place among the rows of all sources, from 1.
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
    """What an operator makes of a row: the columns of new rows, none where it is left out."""

    rows: Sequence[Fields] = ()
    out: LeftOut | None = None


class Measured(msgspec.Struct, frozen=True):
    """What is in memory of a row: its number, its id, its source, and what `measure` gave."""

    number: int
    id: str | int
    source: int
    value: Any


class Plan(msgspec.Struct, frozen=True):
    """Which rows there are, by their numbers, in order; one may come several times.

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
    """Return rows that are made of one; several get ids of their own, unless they have some."""
    return Made(rows)


def left_out(rule: str, why: str = "") -> Made:
    """Return that a row is left out, by which rule, and what it is about this one."""
    return Made((), LeftOut(rule, why))


class Cost(msgspec.Struct):
    """What models were asked: replies, and their tokens where the server counts them."""

    replies: int = 0
    prompt: int = 0
    completion: int = 0

    def add(self, other: "Cost") -> None:
        self.replies += other.replies
        self.prompt += other.prompt
        self.completion += other.completion


_NOBODY = Roles({})


class Means(Generic[O]):
    """What an operator has for one row, or for its plan.

    Attributes:
        options: its options.
        seed: of this row.
        roles: the roles that it asks.
        opened: their models, where `ask` is not enough.
        deadline: of this row.
        max_turns: of a solution by a chat protocol.
        cost: what its models were asked; `ask` counts itself.
        folder: that NEW is in.
        offline: whether pictures on the network are not opened.
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
        """Return a value that JSON has and that is made once for a row, also where the command was killed meanwhile."""
        return self._once(key, make)

    def ask(self, role: str, *parts: Part, after: Reply | None = None) -> Reply:
        """Return a role's reply to texts and pictures, after an earlier one in its conversation."""
        return self.roles[role].ask(*parts, after=after)

    def reward(self, system: str, role: str, problem: Problem, rollout: Rollout) -> float:
        """Return a system's reward of a role's rollout.

        Raises:
            DataError: the row lacks what a term needs, or a term cannot be had.
            ConfigError: there is no such system, or none of its rewards can be had here.
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
            ((data, _),) = files_of([row.pictures[index]], self.offline, self.deadline, row.base)
        except NetworkError as error:  # not the fault of a model, but that of the address in the row
            raise DataError(error.message, error.hint) from error
        return data

    def image(self, row: Row, index: int = 0) -> Image.Image:
        """Return a row's picture. Raises DataError: as `data`; it is none, or too large."""
        return open_image(self.data(row, index), f"picture {index + 1}")

    def save(self, image: Image.Image, name: str = "picture") -> str:
        """Write a picture, and return its name in rows of NEW; `name` tells it apart from others of this row."""
        file = io.BytesIO()
        image.save(file, "PNG")
        path = f"{self._place.stem}_images/{file_name(f'{self._prefix}{name}')}.png"
        write_whole(self.folder / path, file.getvalue())
        return path

    def rows(self, path: str | os.PathLike[str]) -> Iterator[Row]:
        """Return the rows of another file, whose names are as those on the command line."""
        yield from self._rows(os.fspath(path))
