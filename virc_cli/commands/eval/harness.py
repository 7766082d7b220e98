"""Prints what lmms-eval gives, or what it would be given."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from virc.core.events import Reporter
from virc.evaluation.harness import harness
from virc.evaluation.harness.harness import ModelOutcome, PreparedHarness
from virc.evaluation.request import EvalRequest
from virc.evaluation.summary import SCHEMA
from virc_cli.commands.eval.figures import harness_table
from virc_cli.console import output, plans

_UNMEASURED: dict[str, object] = dict.fromkeys(
    "pairs commonest crop_ablation against reward assumed seeds contamination looks".split()
)
"""Fields of `virc.eval/1` that a harness does not measure."""


def run(request: EvalRequest, dry_run: bool, as_json: bool, report: Reporter) -> None:
    """Have lmms-eval ask each model, and print the figures."""
    prepared = harness.prepare(request, dry_run, report)
    problems = len(prepared.own.problems) if prepared.own else None
    known = {"folder": str(prepared.folder), "benchmark": prepared.name, "problems": problems}
    output.know(**known)
    if dry_run:
        _show(prepared, known, as_json)
        return
    version, outcomes = harness.run(prepared, report)
    fields = {**known, "problems": outcomes[0].outcome.problems, **_fields(version, outcomes)}
    output.know(**fields)
    harness.check(outcomes)
    if as_json:
        output.emit(SCHEMA, {**fields, **_UNMEASURED})
        return
    output.line(f"{prepared.name}: {outcomes[0].outcome.problems} problems, asked by {version}")
    output.line("")
    output.lines(harness_table(outcomes))
    for each in outcomes:
        report.note(f"results of lmms-eval: {each.outcome.results}")


def _fields(version: str, outcomes: list[ModelOutcome]) -> dict[str, Any]:
    return {
        "models": [
            {"name": each.run.model, "score": each.score and msgspec.to_builtins(each.score)} for each in outcomes
        ],
        "harness": [
            {
                "name": version,
                "model": each.run.model,
                "task": each.run.task,
                "figures": msgspec.to_builtins(each.outcome.figures),
                "answered": each.outcome.answered,
                "failed": len(each.outcome.failures),
                "results": str(each.outcome.results),
                "log": str(each.run.log),
            }
            for each in outcomes
        ],
    }


def _show(prepared: PreparedHarness, known: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        shown = [{"model": run.model, "task": run.task, **plans.fields(plan)} for run, plan, _ in prepared.runs]
        fields = {**known, "models": None, "harness": shown, **_UNMEASURED}
        output.emit(SCHEMA, fields)
        return
    for run, plan, _ in prepared.runs:
        plans.show(plan)
        if prepared.own:
            first = json.dumps(next(prepared.own.rows(False)), ensure_ascii=False)
            output.line(f"\n# {run.problems}: {len(prepared.own.problems)} lines, such as")
            output.line(first if len(first) <= 500 else f"{first[:500]}…")
