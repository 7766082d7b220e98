"""Checks a system's reward on rows before anything starts, or on a drawn row where there are none."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from virc.core.errors import ConfigError, DataError
from virc.core.text import nearest
from virc.data.formats.registry import Source, get, only_source
from virc.data.synth.draw import SynthConfig, write
from virc.models.chat_protocol import of_system
from virc.rewards import registry as rewards
from virc.rewards import user_code
from virc.rewards.check import columns, trial
from virc.rewards.check.finding import Finding
from virc.rewards.registry import Total
from virc.solving import reading
from virc.systems.layouts.layout import Layout, names_of
from virc.systems.registry import Reward, System

_MAX_READ = 200  # rows whose columns are looked at


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
    found = [*columns.findings(columns.read_by(total), _columns(source), _named(layouts))]
    return found if any(each.certain for each in found) else [*found, *_tried(system, reward, total, source)]


def _drawn(system: System, reward: Reward, total: Total) -> list[Finding]:
    layouts = list(system.rows.values())
    given = {"boxes" for each in layouts if each.boxes} | {"choices" for each in layouts if each.choices}
    read, named = columns.read_by(total), _named(layouts) - given
    near = [each for each in read if each.column in named or nearest(each.column, given)]
    found = [*columns.findings(near, given, named)] if layouts else []  # rows have columns that no layout names
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


def _untried(read: Sequence[columns.Read]) -> Finding:
    """That a reward reads columns, which a drawn row has not."""
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
