"""Checks a system's reward on rows before anything starts, or on a drawn row where there are none."""

from collections.abc import Collection, Iterator
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
from virc.rewards.registry import Term, Total
from virc.solving import reading
from virc.systems.layouts.layout import Layout, names_of
from virc.systems.registry import Reward, System

_MAX_READ = 200  # rows whose columns are looked at

GIVEN = frozenset({SOURCE, PUBLISHED_SOURCE, "turn", "tool_info_gt", "file_sizes"})
"""Columns that conversion and single units add."""
_MAX_NAMED = 12


def check(system: System, reward: Reward, source: Source | None) -> list[Finding]:
    """Faults of a reward for rows; those that are certain hide the others. Raises DataError: no row can be read."""
    total = rewards.of(reward, system.file.parent)
    if source is None:
        return _drawn(system, reward, total)
    known, named = _columns(source), _named([source.laid_out.layout] if source.laid_out else [])
    found = [*missing_columns(asked(total), known, named)]
    return found or _tried(system, reward, total, source, known, named)


def _drawn(system: System, reward: Reward, total: Total) -> list[Finding]:
    layouts = list(system.rows.values())
    given = {"boxes" for each in layouts if each.boxes} | {"choices" for each in layouts if each.choices}
    read, named = asked(total), _named(layouts) - given
    near = [(term, column) for term, column in read if column in named or nearest(column, given)]
    found = [*missing_columns(near, given, named)] if layouts else []  # rows have columns that no layout names
    if found or not (reward.weights or user_code.own_files(reward, system.file.parent, ())):
        return found or [_untried([])]
    with TemporaryDirectory(prefix="virc-") as scratch:
        folder = write(SynthConfig(Path(scratch, "rows"), 1, formats=("sft",), workers=1))
        try:
            scores = _scores(system, reward, total, only_source(folder / "trajectories.json"))
        except ConfigError as error:
            failed = error.__cause__ or error  # without the number of the drawn row
            column = _no_column(error)
            return [_untried([column]) if column else Finding(str(failed), error.hint, True)]
    if read:
        return [_untried([column for _, column in read])]
    found = [each for each in trial.findings(scores, total, reward) if not each.of_row]
    # a reward that never differs may go by columns, which a drawn row has not
    return [msgspec.structs.replace(each, certain=each.certain and each.term is not None) for each in found]


def _untried(columns: Collection[str]) -> Finding:
    names = ", ".join(sorted({plain(each, 60) for each in columns}))
    why = f"it reads columns of rows ({names})" if names else "there are no rows"
    return Finding(f"the reward was not tried: {why}", "--data ROWS tries it on yours", False)


def _tried(
    system: System, reward: Reward, total: Total, source: Source, known: Collection[str], named: Collection[str]
) -> list[Finding]:
    try:
        scores = _scores(system, reward, total, source)
    except ConfigError as error:
        column = _no_column(error)
        return [Finding(error.message, _hint(column, known, named) if column else error.hint, True)]
    if not scores.rows:
        raise next(iter(scores.skipped), DataError(f"{source.file} has no rows"))
    return [*trial.findings(scores, total, reward)]


def _no_column(error: ConfigError) -> str | None:
    """The key that a row of a trial had not; None where the reward failed otherwise."""
    raised = (error.__cause__ or error).__cause__
    return str(raised.args[0]) if isinstance(raised, KeyError) and raised.args else None


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


def asked(total: Total) -> list[tuple[Term, str]]:
    places = ((term, place) for term in total.terms if term.question for place in term.question.places)
    return [(term, place.removeprefix("row.")) for term, place in places if place.startswith("row.")]


def missing_columns(
    read: Collection[tuple[Term, str]], known: Collection[str], named: Collection[str] = ()
) -> Iterator[Finding]:
    for term, column in read:
        if column not in known and column not in GIVEN:
            lacks = f"{term.name} reads the column {plain(column, 60)!r} ({term.file}), and no row has it"
            yield Finding(lacks, _hint(column, known, named), True, term.name)


def _hint(column: str, known: Collection[str], named: Collection[str]) -> str:
    if column in named:
        return "a layout reads it as a field of every row, such as {question}, {reference} or {image}"
    near = nearest(column, known)
    return f"did you mean {near!r}?" if near else _listed(known)


def _listed(known: Collection[str]) -> str:
    names = sorted(known)
    shown = ", ".join(plain(name, 40) for name in names[:_MAX_NAMED]) + ", …" * (len(names) > _MAX_NAMED)
    return f"columns are {shown}" if names else "these rows have no columns beyond question, answer and images"
