"""What a total needs of rows in addition to the reply: whether rules alone can give it, whatever is replied."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

import msgspec

from virc.core.text import did_you_mean, plain
from virc.data.convert.change import PUBLISHED_SOURCE, SOURCE
from virc.data.formats.registry import RowsFile
from virc.data.rows.record import Record
from virc.reasoning.protocol import Coordinates
from virc.rewards import registry as rewards
from virc.rewards.context import NO_ALGEBRA, NO_RAPIDFUZZ, NO_TOKENS, RewardContext, UnscoredError, no_judge
from virc.rewards.registry import Terms, Total
from virc.rewards.sample import Strict, prompt_of, sample

_MAX_READ = 200  # rows whose columns are looked at
_LOOK = '<think>a</think><tool_call>{"name": "display_image", "arguments": {"image_index": 0}}</tool_call>'
_HAD = (NO_ALGEBRA, NO_RAPIDFUZZ, NO_TOKENS)  # what terms lack here and have where they are asked for rewards
_ANSWER = "<think>a</think><answer>a</answer>"
_REPLIES = (_ANSWER, _LOOK)
"""One of each kind: a total may need of one kind what it does not need of the other."""

_GIVEN = frozenset({SOURCE, PUBLISHED_SOURCE, "turn", "tool_info_gt", "file_sizes"})
"""Columns that conversion and single units add."""


class Scorable(msgspec.Struct):
    """Rows that can be scored without a judge; `lacking`: term -> rows without what it needs, `why`: of one."""

    rows: int = 0
    by_rules: int = 0
    lacking: Counter[str] = msgspec.field(default_factory=Counter)
    why: dict[str, str] = {}

    @property
    def share(self) -> float:
        return self.by_rules / self.rows if self.rows else 0.0

    def add(self, unscored: dict[str, str]) -> None:
        self.rows += 1
        self.by_rules += not unscored
        self.lacking.update(unscored.keys())
        self.why.update(unscored)


def without_judge(
    records: Iterable[Record],
    total: Total,
    coordinates: Coordinates,
    strict: Strict = "own",
    judges: Iterable[str] = (),
) -> Scorable:
    """Try a total on rows without asking a judge; there will be those of `judges`: their terms do not count."""
    found = Scorable()
    with asyncio.Runner() as runner:
        for record in records:
            found.add(runner.run(lacking(record, total, coordinates, strict, judges)))
    return found


async def lacking(
    record: Record, total: Total, coordinates: Coordinates, strict: Strict, judges: Iterable[str]
) -> dict[str, str]:
    """Term -> what a row lacks for it, as in `without_judge`."""
    had = {no_judge(name) for name in judges}
    prompt = prompt_of(record, coordinates, strict)
    unscored: dict[str, str] = {}
    for reply in (sample(text, prompt) for text in _REPLIES):
        scored = await rewards.score(reply, total, RewardContext())
        absent = {name: why for name, why in scored.unscored.items() if why not in had and not why.startswith(_HAD)}
        # terms whose means are only missing here count as 1
        judged = dict.fromkeys(scored.unscored.keys() - absent.keys(), 1.0)
        with suppress(UnscoredError):
            rewards.called(total.total, total.file, Terms(reply.kind, {**scored.terms, **judged}, absent))
            absent = {}
        unscored |= absent
    return unscored


def missing_columns(total: Total, source: RowsFile) -> Iterator[tuple[str, str]]:
    """Columns that questions of terms name, and no row has: a sentence and a hint for each."""
    read = [(term, place) for term in total.terms if term.question for place in term.question.places]
    columns = [(term, place.removeprefix("row.")) for term, place in read if place.startswith("row.")]
    known = columns_of(source) if columns else set[str]()
    for term, column in columns:
        if column not in known | _GIVEN:
            lacks = f"{term.name} reads the column {plain(column, 60)!r} ({term.file}), and no row has it"
            listed = f"columns are {', '.join(sorted(known))}" if known else "rows have no further columns"
            yield lacks, did_you_mean(column, known, listed)


def columns_of(source: RowsFile) -> set[str]:
    """The columns of the first rows that no field of a row is read from."""
    return {name for row in islice(source.rows(), _MAX_READ) if row.record for name in row.record.extra}
