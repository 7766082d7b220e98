"""The columns of rows that a reward reads, as its questions and the text of its own files say; no code is run."""

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from virc.core.text import nearest, plain
from virc.data.convert.change import PUBLISHED_SOURCE, SOURCE
from virc.rewards import user_code
from virc.rewards.check.finding import Finding
from virc.rewards.registry import Total

GIVEN = frozenset({SOURCE, PUBLISHED_SOURCE, "turn", "tool_info_gt", "file_sizes"})
"""Columns that conversion and single units add."""
_HOLD = ("columns", "extra")  # of a prompt, and of its record
_MAX_NAMED = 12


class Read(msgspec.Struct, frozen=True):
    """A column that is read.

    Args:
        by: the function or question that reads it.
        line: of the file; None: of a question.
        needed: the row must have it; else it is asked for with `get` or `in`.
    """

    column: str
    by: str
    file: Path
    line: int | None = None
    needed: bool = True


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


def findings(read: Collection[Read], known: Collection[str], named: Collection[str] = ()) -> Iterator[Finding]:
    """What a reward reads and rows lack.

    Args:
        read: by the reward.
        known: the columns of the rows.
        named: columns that the rows have under another name, as a field of every row.
    """
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
    """The columns that the functions of a file look up under a name that is written there."""
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
    """Whether an expression is the columns of a row."""
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
