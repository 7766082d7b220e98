r"""The reward of Code-as-Thought: the answer, the choice of a strategy, the table that code holds, and the format.

    0.8 * right + 0.3 * decision + 0.15 * data + 0.05 * boxed

    right: 1 if the last \boxed{} is right by rule or algebra; 0 without a box
    decision: 1 if the reply has the strategy that its row calls for and is right, 0.5 if it only has the strategy
    data: for a reply that begins with <CODE>, 0.2 * columns + 0.1 * rows + 0.7 * values. `columns` is the share of the
        true columns for which the reply's table has one of a similar name, `rows` is 1 if both have as many rows, and
        `values` is the share of cells that agree, averaged over those pairs of columns. Numbers agree within one
        percent, texts without regard to case and spaces.
    boxed: 1 if the reply has a \boxed{}

From 0 to 1.3. Code is read and not run: the table is the last DataFrame called `chart_data`, else the first of another
name; it may be made of lists, dicts and names of these. The column `programmability` of a row is high (<CODE>) or low
(<DIRECT>), and its column `csv` has the true table.
Source: arXiv:2509.09286v1, equation 3 and the weights of section 5.1; section 4.3.2; algorithm 1 of appendix C.
Assumed: the 0.5 of `decision`, which the paper calls partial credit alone; that names are similar if rapidfuzz's
`ratio` is over 50; and that the last DataFrame of that name counts.
"""

import ast
import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from virc.core.errors import DataError
from virc.core.text import plain
from virc.rewards import published
from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc.rewards.terms.answers import graded
from virc_zoo.rollouts import of_last_reply

TERMS = ("right", "decision", "data", "boxed")
"""The functions below that `total` adds up."""
whole = of_last_reply
Table = Mapping[str, Sequence[Any]]
"""The columns of a table by their names; all are equally long."""
_STRATEGY = {"high": "<CODE>", "low": "<DIRECT>"}
_PARTIAL = 0.5
_LIKE = 50  # percent
_TOLERANCE = 0.01
_NAME = "chart_data"
_MAX_CELLS = 10_000
_CELL = (str, int, float, type(None))
_MAX_BITS = 1_000  # of a whole number; larger ones are no floats, and have no text in Python
_BLOCK = re.compile(r"```(?:python|py)?\n(.*?)(?:```|\Z)", re.DOTALL)


async def right(sample: Sample, context: RewardContext) -> float:
    """Whether the last box has the right answer: 1 or 0."""
    answer = published.boxed(sample.text)
    return 0.0 if answer is None else await graded(answer, sample, context)


async def decision(sample: Sample, context: RewardContext) -> float:
    """Whether the strategy is that of the row: 1 with a right answer, 0.5 with a wrong one, else 0."""
    wanted = _STRATEGY.get(str(sample.prompt.columns.get("programmability")).lower())
    if wanted is None:
        raise DataError("the row has neither high nor low in its column programmability")
    if strategy(sample.text) != wanted:
        return 0.0
    return 1.0 if await right(sample, context) else _PARTIAL


def data(sample: Sample, context: RewardContext) -> float:
    """How well the table of the reply's code is that of the row: 0 to 1; 0 of a reply without code."""
    if strategy(sample.text) != _STRATEGY["high"]:
        return 0.0
    true, said = table_of_row(sample.prompt.columns.get("csv")), table_of_code(sample.text)
    return likeness(said, true) if said and true else 0.0


def boxed(sample: Sample, context: RewardContext) -> float:
    r"""Whether the reply has a \boxed{}: 1 or 0."""
    return float(published.boxed(sample.text) is not None)


def strategy(reply: str) -> str | None:
    """The strategy that a reply begins with."""
    return next((each for each in _STRATEGY.values() if reply.lstrip().startswith(each)), None)


def likeness(said: Table, true: Table) -> float:
    """How well a table is the true one: 0 to 1."""
    from rapidfuzz import fuzz, process

    names = {name: _normal(name) for name in said}
    pairs = []  # column of the reply's table, column of the true one
    for true_name in true:
        _, percent, said_name = process.extractOne(_normal(true_name), names, scorer=fuzz.ratio)
        if percent > _LIKE:
            pairs.append((said_name, true_name))
    rows = 0.1 if _rows(said) == _rows(true) else 0.0
    if not pairs:
        return rows
    values = sum(_agreeing(said[said_name], true[true_name]) for said_name, true_name in pairs) / len(pairs)
    return 0.2 * len(pairs) / len(true) + rows + 0.7 * values


def table_of_row(text: Any) -> Table:
    """The table in a row's CSV; without columns where it has none."""
    if not isinstance(text, str):
        return {}
    try:
        head, *rows = list(csv.reader(io.StringIO(text.strip()))) or [[]]
    except csv.Error as error:
        raise DataError(f"the row's csv cannot be read: {plain(str(error), 60)}") from error
    return {name: [row[index] if index < len(row) else "" for row in rows if row] for index, name in enumerate(head)}


def table_of_code(reply: str) -> Table:
    """The table that the code of a reply makes; without columns where none can be read."""
    chosen: Table = {}
    for code in _BLOCK.findall(reply):
        variables: dict[str, Any] = {}
        for name, value in _assigned(code):
            try:
                if _is_table(value):
                    table = _columns(value, variables)
                    if name == _NAME or not chosen:
                        chosen = table
                else:
                    variables[name] = _read(value, variables)
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
                variables.pop(name, None)
    return chosen


def _assigned(code: str) -> Iterator[tuple[str, ast.expr]]:
    """The assignments of a program, in order: name and value. None if the text is no program."""
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for each in body:
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            yield each.targets[0].id, each.value


def _is_table(value: ast.expr) -> TypeGuard[ast.Call]:
    name = "DataFrame"
    match value:
        case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)):
            return called == name
    return False


def _columns(call: ast.Call, variables: Mapping[str, Any]) -> Table:
    """The table that a call of DataFrame makes: of a dict of columns, or of rows, which are dicts or are named by the
    argument `columns`. Raises ValueError.
    """
    named = {each.arg: each.value for each in call.keywords}
    content = _read(call.args[0] if call.args else named.get("data"), variables)
    rows = content if isinstance(content, list) else list(content.values())
    if not rows or sum(map(len, rows)) > _MAX_CELLS:
        raise ValueError("no cells, or too many")
    if not isinstance(content, dict):
        names = _read(named["columns"], variables) if "columns" in named else list(rows[0])
        if len(rows) * len(names) > _MAX_CELLS:
            raise ValueError("too many cells")
        cells_of_rows = [[row[name] for name in names] if isinstance(row, dict) else row for row in rows]
        columns = zip(*cells_of_rows, strict=True)
        content = dict(zip(names, map(list, columns), strict=True))
    cells = [cell for column in content.values() for cell in column]
    if len({*map(len, content.values())}) > 1 or not all(map(_is_cell, cells)):
        raise ValueError("columns of other lengths, or cells of several values")
    return {str(name): column for name, column in content.items()}


def _is_cell(value: Any) -> bool:
    return isinstance(value, _CELL) and not (isinstance(value, int) and value.bit_length() > _MAX_BITS)


def _read(value: ast.expr | None, variables: Mapping[str, Any]) -> Any:
    """The value of a literal, which may contain names of `variables`. Raises ValueError: it is none."""
    match value:
        case ast.Name(id=name) if name in variables:
            return variables[name]
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_read(part, variables) for part in parts]
        case ast.Dict(keys=keys, values=values):
            return {_read(key, variables): _read(each, variables) for key, each in zip(keys, values, strict=True)}
        case ast.Constant() | ast.UnaryOp():
            return ast.literal_eval(value)
        case ast.Attribute(attr="nan" | "NaN"):
            return math.nan
    raise ValueError("not a literal")


def _rows(table: Table) -> int:
    return len(next(iter(table.values())))


def _agreeing(said: Sequence[Any], true: Sequence[Any]) -> float:
    """The share of cells that agree, as far down as both columns go."""
    compared = [_same(one, other) for one, other in zip(said, true, strict=False)]
    return sum(compared) / len(compared) if compared else 0.0


def _same(said: Any, true: Any) -> bool:
    one, other = _number(said), _number(true)
    if one is None or other is None:
        return _normal(str(said)) == _normal(str(true))
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=_TOLERANCE)


def _number(cell: Any) -> float | None:
    """The number in a cell; NaN of an empty one, None of a text."""
    if cell is None or cell == "":
        return math.nan
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def _normal(text: str) -> str:
    return "".join(text.split()).lower()


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(0.8 * t.right + 0.3 * t.decision + 0.15 * t.data + 0.05 * t.boxed)
