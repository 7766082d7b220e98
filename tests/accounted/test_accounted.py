"""All that comes in is used, named or refused: ordinary inputs of each edge, changed in one place.

`known.txt` lists what is passed over today. It may only shrink: another violation fails, and so does one that is listed
and no longer holds.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from accounted import judge, mutations
from accounted.mutations import Mutant
from accounted.trial import Effect, run

_KNOWN = frozenset(Path(__file__).with_name("known.txt").read_text().splitlines())
_SAMPLED = 19  # every so many mutants one is in the sample


class Violation(AssertionError):  # noqa: N818 (a verdict, as those of `judge`)
    """A change is passed over, or makes noise."""


def _mutants() -> list[Mutant]:
    return [mutant for edge in mutations.edges() for mutant in mutations.mutants(edge)]


def _cases() -> Iterator[Any]:
    for at, mutant in enumerate(_mutants()):
        marks = [pytest.mark.xfail(strict=True, raises=Violation)] if mutant.id in _KNOWN else []
        is_sampled = at % _SAMPLED == 0 and not {"agent", "mcp", "needs"} & mutant.ways
        yield pytest.param(mutant, id=mutant.id, marks=marks if is_sampled else [*marks, pytest.mark.integration])


@cache
def _before(edge: str, of: str) -> Effect:
    with TemporaryDirectory() as folder:
        effect = run(mutations.ordinary(edge, of), Path(folder))
    if effect.code and edge != "errors":
        raise ValueError(f"the ordinary input {of} of {edge} is refused: {sorted(effect.told)}")
    return effect


@pytest.mark.parametrize("mutant", [*_cases()])
def test_a_change_is_used_named_or_refused(mutant: Mutant, tmp_path: Path) -> None:
    after = run(mutant.world(), tmp_path)
    verdict = judge.judge(mutant.sort, mutant.names, _before(mutant.edge, mutant.of), after)
    if verdict in judge.VIOLATIONS:
        raise Violation(f"{verdict}: {mutant.id}; exit code {after.code}; {sorted(after.told)}")


def test_known_violations_are_those_of_mutants() -> None:
    assert not _KNOWN - {mutant.id for mutant in _mutants()}


def test_there_are_enough_mutants_of_every_edge() -> None:
    mutants = _mutants()
    assert len({mutant.id for mutant in mutants}) == len(mutants)
    assert sum(mutant.sort != "harmless" for mutant in mutants) >= 500
    assert sum(mutant.sort == "harmless" for mutant in mutants) >= 250
