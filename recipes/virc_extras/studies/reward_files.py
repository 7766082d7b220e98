"""Keeps the rewards of an environment: a file for each model, `rewards/ENVIRONMENT/MODEL.jsonl`.

A rerun takes up the rewards of the same replies by the same environment, but those that failed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from virc.core.errors import DataError
from virc.core.events import Reporter
from virc.core.files import contents, write_whole, writing
from virc.core.result_log import Id
from virc.core.text import clause
from virc.evaluation.answers import AnswerLine, EvalFolder
from virc.solving.rows import ProblemRow
from virc_extras.studies.environment_rewards import EnvironmentReward

SCHEMA = "virc.rewarded/2"
_MAX_BYTES = 2**30  # of a file of rewards
_AT_ONCE = 16  # problems


class _RewardLine(msgspec.Struct, frozen=True):
    """A line of `rewards/ENVIRONMENT/MODEL.jsonl`; `replies` and `environment` are hashes."""

    schema: str
    id: Id
    row: str | None
    replies: str
    environment: str
    model: str
    reward: EnvironmentReward

    @property
    def key(self) -> tuple[str, str | None, str, str]:
        return str(self.id), self.row, self.replies, self.environment


def keep_rewards(
    environment: str,
    digest: str,
    model: str,
    rows: Iterable[ProblemRow],
    lines: Mapping[str, AnswerLine],
    folder: EvalFolder,
    report: Reporter,
    score: Callable[[ProblemRow, AnswerLine], Awaitable[EnvironmentReward]],
) -> None:
    """Write the rewards of a model's answers; `score` is asked for those that the file does not have.

    Raises:
        VircError: the file cannot be written; DataError: it has something else than rewards.
    """
    file = folder.rewards(environment, model)
    before = {each.key: each for each in _read(file) if each.reward.failure is None}
    found = list[_RewardLine]()

    async def scored(row: ProblemRow, line: AnswerLine) -> _RewardLine:
        assert row.id is not None
        key = (str(row.id), line.row, line.replies_digest, digest)
        if key in before:
            return before[key]
        return _RewardLine(SCHEMA, row.id, line.row, line.replies_digest, digest, model, await score(row, line))

    async def scored_together(answered: Iterable[tuple[ProblemRow, AnswerLine]]) -> list[_RewardLine]:
        return await asyncio.gather(*(scored(*each) for each in answered))

    answered = ((row, lines[str(row.id)]) for row in rows if str(row.id) in lines)
    try:
        with asyncio.Runner() as runner:  # one event loop for all
            while some := runner.run(scored_together(islice(answered, _AT_ONCE))):
                found += some
    finally:
        _write(file, found)
    failures = [each.reward.failure for each in found if each.reward.failure is not None]
    report.note(f"{model}: {len(found) - len(failures)} of {len(found)} answers have a reward of {environment}")


def kept_rewards(
    environment: str, digest: str, folder: EvalFolder, answers: Mapping[str, Mapping[str, AnswerLine]]
) -> dict[tuple[str, str], EnvironmentReward]:
    """The rewards of answers by (model, id), of all models that have any."""
    return {
        (model, str(each.id)): each.reward
        for model, lines in answers.items()
        for each in _read(folder.rewards(environment, model))
        if (line := lines.get(str(each.id))) and each.key == (str(each.id), line.row, line.replies_digest, digest)
    }


def _read(file: Path) -> Iterator[_RewardLine]:
    if not file.is_file():
        return
    for number, text in enumerate(contents(file, _MAX_BYTES).splitlines(), 1):
        try:
            yield msgspec.json.decode(text, type=_RewardLine)
        except (ValueError, RecursionError) as error:
            sentence = f"{file} holds something else than rewards: line {number}: {clause(error)}"
            raise DataError(sentence, "delete it: it is made again from the answers") from error


def _write(file: Path, found: Sequence[_RewardLine]) -> None:
    text = b"".join(msgspec.json.encode(each) + b"\n" for each in found)
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text)
