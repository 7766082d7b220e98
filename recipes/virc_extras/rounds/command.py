"""`virc train --rounds`: the steps of rounds as a script, as a table, and run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from virc.core.errors import EngineError, fields_of
from virc_cli.console import events, output
from virc_cli.console.tables import table
from virc_extras.rounds import plan as planning
from virc_extras.rounds import run as running
from virc_extras.rounds.plan import Rounds, RoundsRequest
from virc_extras.rounds.run import StepState, figures_text, left, overall, states
from virc_extras.rounds.steps import CONTINUE, StepFailedError

_SCHEMA, _OF_PLAN = "virc.train.rounds/1", "virc.train.rounds.plan/1"


def run(request: RoundsRequest, dry_run: bool, quiet: bool, verbose: bool, as_json: bool) -> None:
    found = planning.plan(request)
    if dry_run:
        _print_plan(found, as_json)
        return
    before = states(found)
    for error in planning.missing(found, left(found, before)):
        raise error
    if not quiet:
        _print_table(found, before)
    output.ends_when_stopped(f"stopped; {CONTINUE}")
    try:
        with events.printed(quiet, verbose) as report:
            running.run(found, report.send, options=("-q",) * quiet + ("-v",) * verbose)
    except StepFailedError as error:  # its command has printed why
        after = states(found)
        if as_json:
            failure = output.error_class(error.code)(error.message, error.hint)
            fields = {**_fields(found, after), "progress": "begun"}  # also where the first step has made nothing
            output.emit(_SCHEMA, fields, failure)
        output.note(f"stopped in {error.step.place}; {CONTINUE}")
        raise typer.Exit(error.code if error.code > 0 else EngineError.code) from error  # below 0: a signal ended it
    after = states(found)
    output.result(as_json, _SCHEMA, {**_fields(found, after)}, [str(Path(found.steps[-1].makes))])
    if not quiet:
        _print_table(found, after)


def _print_plan(found: Rounds, as_json: bool) -> None:
    """Every command, in order, as a script; a comment says how far each is. What is not there yet is a warning."""
    now = states(found)
    missing = list(planning.missing(found, left(found, now)))
    lines = []
    for step, each in zip(found.steps, now, strict=True):
        known = ", ".join(filter(None, (each.progress, figures_text(each.figures))))
        lines += [f"# round {step.round} of {found.count}: {step.says} ({known})", step.typed]
    fields = {**_fields(found, now), "missing": [fields_of(error) for error in missing]}
    output.result(as_json, _OF_PLAN, fields, lines)
    for error in () if as_json else missing:
        output.warn(error.message, error.hint)


def _print_table(found: Rounds, now: Sequence[StepState]) -> None:
    first = next((number for number, each in enumerate(now) if each.progress != "done"), None)
    rows = [("round", "step", "state", "figures", "makes")]
    for number, (step, each) in enumerate(zip(found.steps, now, strict=True)):
        progress = "next" if number == first and each.progress == "to do" else each.progress
        rows.append((str(step.round), step.name, progress, figures_text(each.figures) or "-", step.makes))
    for line in table(rows):
        output.note(line)


def _fields(found: Rounds, now: Sequence[StepState]) -> dict[str, Any]:
    steps = [
        {
            "round": step.round, "step": step.name, "kind": step.kind, "command": step.typed, "from": step.start,
            "makes": step.makes, "progress": each.progress, "figures": dict(each.figures),
        }
        for step, each in zip(found.steps, now, strict=True)
    ]  # fmt: skip
    return {"system": found.system.name, "rounds": found.count, "progress": overall(now), "steps": steps}
