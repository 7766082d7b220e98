"""Evaluations made by hand, to be shown."""

from collections.abc import Mapping, Sequence

from virc.evaluation.answered import Answered, Categories, Result
from virc.evaluation.summary import Summary, summarise

RIGHT = Answered("4", True, "rule", turns=3, calls=2, seconds=1.5, tokens=120, prompt_tokens=900, replies=3)
WRONG = Answered("5", False, "judge", turns=1, seconds=0.5, tokens=40, trace="traces/m/1")
NONE = Answered(None, False, turns=4, calls=3, seconds=2.5, reason="turn 4 got no usable reply in 4 tries")
UNSAID = Answered("four", None, turns=2, calls=1, seconds=1.0)


def result(
    id: str | int, answers: Mapping[str, Answered], question: str = "How many?", categories: Categories | None = None
) -> Result:
    return Result(id, question, "4", {"kind": ("count",)} if categories is None else categories, answers)


def outcomes(*lines: str, names: Sequence[str] = ("one", "other", "third")) -> list[Result]:
    """A problem for each line: a letter for each model, of right, wrong, none, unsaid and missing."""
    kinds = {"r": RIGHT, "w": WRONG, "n": NONE, "u": UNSAID}
    return [
        result(at, {name: kinds[kind] for name, kind in zip(names, line, strict=False) if kind != "f"})
        for at, line in enumerate(lines, 1)
    ]


def summary_of(results: Sequence[Result], *names: str, benchmark: str = "mathvista") -> Summary:
    settings = {"device": "cpu", "sampling": {"temperature": 0.0, "seed": None}}
    return summarise(benchmark, results, {name: {"protocol": "own", "settings": settings} for name in names})
