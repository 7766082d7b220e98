"""Checks a system's reward on rows before anything starts, or on a drawn row where there are none."""

import ast
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from virc.core.errors import ConfigError, DataError
from virc.core.text import nearest, plain
from virc.data.convert.change import PUBLISHED_SOURCE, SOURCE
from virc.data.formats.registry import Source, get, only_source
from virc.data.synth.draw import SynthConfig, write
from virc.models.chat_protocol import of_system
from virc.rewards import registry as rewards
from virc.rewards import user_code
from virc.rewards.check import trial
from virc.rewards.check.trial import Finding
from virc.rewards.registry import Total
from virc.solving import reading
from virc.systems.layouts.layout import Layout, names_of
from virc.systems.registry import Reward, System

_MAX_READ = 200  # rows whose columns are looked at

GIVEN = frozenset({SOURCE, PUBLISHED_SOURCE, "turn", "tool_info_gt", "file_sizes"})
"""Columns that conversion and single units add."""
_HOLD = ("columns", "extra")  # of a prompt, and of its record
_MAX_NAMED = 12


class Read(msgspec.Struct, frozen=True):
    """A column that is read: `by` a function or a question (without a `line`); `needed`, not asked for with `get`."""

    column: str
    by: str
    file: Path
    line: int | None = None
    needed: bool = True


def check(system: System, reward: Reward, source: Source | None) -> list[Finding]:
    """What is wrong with a reward for rows; each fault that is certain hides those that are not.

    Args:
        reward: the system's own, or that of a stage.
        source: the rows; None: a drawn one, which has no other columns than question, answer and images, so that less
            is found.

    Raises:
        ConfigError: the reward cannot be used.
        DataError: none of the rows can be read.
    """
    total = rewards.of(reward, system.file.parent)
    if source is None:
        return _drawn(system, reward, total)
    layouts = [source.laid_out.layout] if source.laid_out else []
    found = [*missing_columns(read_by(total), _columns(source), _named(layouts))]
    return found if any(each.certain for each in found) else [*found, *_tried(system, reward, total, source)]


def _drawn(system: System, reward: Reward, total: Total) -> list[Finding]:
    layouts = list(system.rows.values())
    given = {"boxes" for each in layouts if each.boxes} | {"choices" for each in layouts if each.choices}
    read, named = read_by(total), _named(layouts) - given
    near = [each for each in read if each.column in named or nearest(each.column, given)]
    found = [*missing_columns(near, given, named)] if layouts else []  # rows have columns that no layout names
    if found or not (reward.weights or user_code.own_files(reward, system.file.parent, ())):
        return found
    with TemporaryDirectory(prefix="virc-") as scratch:
        folder = write(SynthConfig(Path(scratch, "rows"), 1, formats=("sft",), workers=1))
        try:
            scores = _scores(system, reward, total, only_source(folder / "trajectories.json"))
        except ConfigError as error:
            failed = error.__cause__ or error  # without the number of the drawn row
            lacks_column = isinstance(failed.__cause__, KeyError)
            return [_untried(read)] if lacks_column else [Finding(str(failed), error.hint, True)]
    return [_untried(read)] if read else [each for each in trial.findings(scores, total, reward) if not each.of_row]


def _untried(read: Sequence[Read]) -> Finding:
    names = ", ".join(sorted({each.column for each in read})) or "some"
    return Finding(
        f"the reward was not tried: it reads columns of rows ({names})", "--data ROWS tries it on yours", False
    )


def _tried(system: System, reward: Reward, total: Total, source: Source) -> list[Finding]:
    try:
        scores = _scores(system, reward, total, source)
    except ConfigError as error:
        return [Finding(error.message, error.hint, True)]
    if not scores.rows:
        raise next(iter(scores.skipped), DataError(f"{source.file} has no rows"))
    return [*trial.findings(scores, total, reward)]


def _scores(system: System, reward: Reward, total: Total, source: Source) -> trial.Scores:
    protocol = of_system(system).protocol
    rows = trial.rolled(source, reward, protocol, reading.grid_of(system), system.worded)
    return trial.scores(rows, total, reward)


def _columns(source: Source) -> set[str]:
    records = (row.record for row in islice(get(source.format).read(source), _MAX_READ) if row.record)
    return {name for record in records for name in record.extra}


def _named(layouts: list[Layout]) -> set[str]:
    """The columns that become fields of every row, so that they are no columns of it any more."""
    return {name for each in layouts for column in each.columns() for name in names_of(column)}


def read_by(total: Total) -> list[Read]:
    """The columns that the questions of a total, and the functions of files outside this package, read by name."""
    found = [
        Read(place.removeprefix("row."), term.name, term.file)
        for term in total.terms
        if term.question
        for place in term.question.places
        if place.startswith("row.")
    ]
    files = dict.fromkeys((total.file, *(term.file for term in total.terms)))
    return [*dict.fromkeys(found), *(each for file in files if user_code.is_own(file) for each in _in_file(file))]


def missing_columns(read: Collection[Read], known: Collection[str], named: Collection[str] = ()) -> Iterator[Finding]:
    """What a reward reads and rows lack; rows have `named` columns under another name, as a field of every row."""
    asked = {each.column for each in read if not each.needed}
    for each in read:
        if each.column in known or each.column in GIVEN:
            continue
        near = nearest(each.column, known)
        needed = each.needed and each.column not in asked
        if not needed and near is None:
            continue
        at = f"line {each.line} of {each.file}" if each.line else str(each.file)
        hint = f"did you mean {near!r}?" if near else _listed(known)
        if each.column in named:
            hint = "a layout reads it as a field of every row, such as {question}, {reference} or {image}"
        lacks = f"{each.by} reads the column {plain(each.column, 60)!r} ({at}), and no row has it"
        yield Finding(lacks, hint, needed, each.by)


def _listed(known: Collection[str]) -> str:
    names = sorted(known)
    shown = ", ".join(plain(name, 40) for name in names[:_MAX_NAMED]) + ", …" * (len(names) > _MAX_NAMED)
    return f"columns are {shown}" if names else "these rows have no columns beyond question, answer and images"


def _in_file(file: Path) -> Iterator[Read]:
    for part in ast.parse(file.read_text("utf-8")).body:
        names = {
            target.id
            for node in ast.walk(part)
            if isinstance(node, ast.Assign) and _holds(node.value, ())
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        by = getattr(part, "name", file.name)
        for node in ast.walk(part):
            if (found := _looked_up(node)) and _holds(found[0], names):
                yield Read(found[1], by, file, getattr(node, "lineno", None), isinstance(node, ast.Subscript))


def _holds(node: ast.expr, names: Collection[str]) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr in _HOLD) or (isinstance(node, ast.Name) and node.id in names)


def _looked_up(node: ast.AST) -> tuple[ast.expr, str] | None:
    """The mapping and the name of `m["name"]`, `m.get("name")` and `"name" in m`."""
    match node:
        case ast.Subscript(value=held, slice=ast.Constant(value=str() as name)):
            return held, name
        case ast.Call(func=ast.Attribute(value=held, attr="get"), args=[ast.Constant(value=str() as name), *_]):
            return held, name
        case ast.Compare(left=ast.Constant(value=str() as name), ops=[ast.In() | ast.NotIn()], comparators=[held]):
            return held, name
    return None
