"""A demo all of whose steps are done, in a moment: files as the commands leave them."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from support.made import add, make, metric

from virc.envs import pins as envs
from virc.evaluation.answered import Answered, Result
from virc.evaluation.summary import SCHEMA, summarise
from virc.runs import run as runs
from virc_extras.demo import plan as demo
from virc_extras.demo.plan import ENVIRONMENTS, STAGES, Demo, Took

EASY, HARD = range(10), range(10, 20)
"""Ids of the problems held out."""
RIGHT: Mapping[str, set[int]] = {
    "base": {0, 1}, "instruct": set(range(1, 7)), "practice": {*range(8), 10}, "rl": {*range(8), *range(10, 16)},
    "direct": {3},
}  # fmt: skip
"""Which of them each model solves greedily."""
DRAWN: Mapping[str, set[int]] = {
    "base": set(), "instruct": {1}, "practice": {1, 2}, "rl": {*range(1, 9), 12}, "direct": set(),
}  # fmt: skip
"""And which with replies drawn at temperature 1."""
QUICK = Demo(full=False, seed=0, size=demo.QUICK)


def environments(cache: Path) -> None:
    """Register this interpreter as that of the engines."""
    for engine in ENVIRONMENTS:
        place = envs.get(engine, "cpu", cache).registration
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps({"python": sys.executable}))


def finish(folder: Path, begun: Demo = QUICK) -> None:
    """Everything that the steps of a demo make."""
    demo.begin(folder, begun)
    for step in demo.plan(begun):
        kind, _, name = step.makes.partition("/")
        if kind in ("data", "models", "course"):
            (folder / step.makes).mkdir(parents=True, exist_ok=True)
        elif kind == "runs":
            _run(folder, name)
        for seconds, code in ((1.26, 130), (2.5, 0)) if step.name == "instruct data" else ((2.5, 0),):
            demo.note(folder, Took(step.name, seconds, code))
    rows = [
        {"id": id, "question": "?", "answer": str(id % 7), "category": {"difficulty": _difficulty(id)}}
        for id in (*EASY, *HARD)
    ]
    (folder / "data" / "heldout" / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    every = {name: RIGHT[name] for name in begun.compared}
    evaluate(folder, begun, "greedy", every)
    evaluate(folder, begun, "sampled", {name: DRAWN[name] for name in every})
    evaluate(folder, begun, "counterfactual", {name: {2, 3, 4} for name in STAGES[1:]})
    evaluate(folder, begun, "blank", {name: {5} for name in STAGES})
    evaluate(folder, begun, "strange", {name: {0, 1, 3} for name in every}, EASY[:4])
    pages(folder, begun, [8, 1, 19, 12, 13])


def _run(folder: Path, name: str) -> None:
    run = make(folder, name)
    main = (lambda step: {"loss": None, "reward": step / 4}) if name == "rl" else (lambda step: {})
    add(run, *(metric(step, 40, **main(step)) for step in range(1, 41)))
    runs.write_state(run, progress="finished", step=40, total=40)


def _difficulty(id: int) -> str:
    return "easy" if id in EASY else "hard"


def evaluate(
    folder: Path, begun: Demo, name: str, right: Mapping[str, set[int]], ids: Sequence[int] = (*EASY, *HARD)
) -> None:
    """The figures of an evaluation; a model that came of a run is named with its step, as `virc eval` does.

    Every model refuses 9 and 19, and only 19 cannot be read.
    """
    names = {each: begun.base if each == "base" else each if each == "rl" else f"{each}@40" for each in right}
    results = [
        Result(
            id, "?", str(id % 7), {"difficulty": (_difficulty(id),)},
            {
                names[each]: Answered(
                    None if id % 10 == 9 else "1", id in solved, "rule", turns=4, calls=3, rejected=1,
                    failure="no_answer" if id % 10 == 9 else None, evidence=[0.9, id % 2],
                )
                for each, solved in right.items()
            },
            unreadable=id == 19,
        )
        for id in ids
    ]  # fmt: skip
    place = folder / "evals" / name
    place.mkdir(parents=True, exist_ok=True)
    summary = summarise(name, results, {each: {} for each in names.values()})
    fields = {"schema": SCHEMA, **msgspec.to_builtins(summary), "error": None}
    (place / "summary.json").write_text(json.dumps(fields))


def pages(folder: Path, begun: Demo, ids: Sequence[int]) -> None:
    """Answers of the last stage with a page each."""
    evaluate(folder, begun, "pages", {"rl": RIGHT["rl"]})
    place = folder / "evals" / "pages" / "answers"
    place.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, object]] = [{"id": 11, "answer": "4"}]  # it is right, and has no page
    lines += [
        {"id": id, "answer": str(id % 7) if id in RIGHT["rl"] else "50", "trace": f"evals/pages/traces/rl/{id}"}
        for id in ids
    ]
    (place / "rl.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
