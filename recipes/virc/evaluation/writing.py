"""Writes what an evaluation leaves in its folder: summary, report, page of problems and files of results.

Read `write_summary` first; `_write_results` writes the file of a model that others can check and compare with theirs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc.core.files import write_json, write_whole, writing
from virc.evaluation import results as result_files
from virc.evaluation.answers import Answers, EvalFolder
from virc.evaluation.asking import Work
from virc.evaluation.columns import Evaluated
from virc.evaluation.pages import problem_page
from virc.evaluation.pages.report import render
from virc.evaluation.pages.traces import mark_traces
from virc.evaluation.scored import Scored
from virc.evaluation.summary import SCHEMA, Summary, summarise
from virc.evaluation.verdicts import can_do_algebra
from virc.reasoning.protocol import Protocol, as_fields
from virc.solving.ablation import without_tools
from virc.solving.outcome import versions


def write_summary(work: Work, scored: Sequence[Scored], asked: Mapping[str, Protocol | None]) -> Summary:
    """Summarise an evaluation, and write the summary, the report and the files of results."""
    request, columns, benchmark, folder, *_ = work
    answers, results = scored[0].answers, scored[0].results
    mark_traces(folder, results)
    summary = summarise(benchmark.name, results, facts_of(answers), request.crop_ablation, columns)
    earlier = _earlier_assumptions(folder, set(answers) - {*asked})  # of models that this call did not ask
    assumptions = dict.fromkeys([*work.assumptions, *earlier])
    systems = dict(zip(asked, (setup.choice.system for setup in request.setups), strict=False))
    evaluated = Evaluated(summary, [arm.results for arm in scored], work.rows, benchmark.base, systems)
    added = {key: value for column in columns for key, value in column.of_evaluation(evaluated).items()}
    summary = msgspec.structs.replace(summary, assumed=list(assumptions), columns=added)
    with writing(folder.folder):
        write_json(folder.folder / "summary.json", {"schema": SCHEMA, **summary.fields, "error": None})
        write_whole(folder.report, render(summary, results, columns).encode("utf-8", "backslashreplace"))
        names = [arm.name for arm in work.every_arm]
        further = dict(zip(names[1:], (each.results for each in scored[1:]), strict=False))
        problem_page.write(folder, work.rows(), benchmark.base, summary, answers, results, further, columns)
        for name, protocol in asked.items() if not request.estimate_only else ():
            _write_results(work, name, protocol, scored, summary)
    return summary


def facts_of(answers: Answers) -> dict[str, dict[str, Any]]:
    """The `protocol` and `settings` of each model, from its first answer."""
    return {name: next(iter(lines.values())).facts for name, lines in answers.items()}


def _write_results(
    work: Work, model: str, protocol: Protocol | None, scored: Sequence[Scored], summary: Summary
) -> None:
    path, digests = work.folder.result(model), dict[str, str]()
    is_in_all = all(model in each.answers for each in scored)
    for arm, arm_scored in list(zip(work.every_arm, scored, strict=False))[1:] if is_in_all else ():
        arm_protocol = without_tools(protocol) if protocol and arm.ablation == "no-tools" else protocol
        facts = facts_of(arm_scored.answers)
        arm_summary = summarise(summary.benchmark, arm_scored.results, facts, arm.ablation, work.columns)
        arm_path = result_files.in_arm(path, arm)
        head = _write_result(arm_path, work.in_arm(arm), model, arm_protocol, arm_scored, arm_summary)
        digests |= {arm.name: head.digest} if head else {}
    added = {key: value for column in work.columns for key, value in column.of_file(summary, model).items()}
    if _write_result(path, work, model, protocol, scored[0], summary, **added, arms=digests):
        for column in work.columns:
            column.on_file(path)


def shown_name(model: str) -> str:
    """A model as it is published: a local path without its folders."""
    return Path(model).name if Path(model).is_absolute() else model


def _write_result(
    path: Path, work: Work, model: str, protocol: Protocol | None, scored: Scored, summary: Summary, **added: Any
) -> result_files.Head | None:
    figures = next((each for each in summary.models if each.name == model), None)
    if figures is None:
        return None
    with work.folder.answers(model).open("rb") as file:
        lines_by_id = {str(line["id"]): line for line in map(msgspec.json.decode, file)}
    name = shown_name(model)
    unverified = {key for column in work.columns for key in column.unverified}
    fields = {key: value for key, value in figures.fields.items() if key not in unverified}
    head = result_files.Head(
        benchmark=work.benchmark.name,
        published=work.benchmark.scorer,
        split=work.request.split,
        crop_ablation=work.ablation,
        model=name,
        problems=len(work.problems),
        chat_protocol=None if protocol is None else as_fields(protocol),
        versions=versions(),
        algebra=can_do_algebra(),
        judge=scored.judge,
        rules=result_files.rules_digest(),
        figures={**fields, "name": name},
        **added,
    )
    lines = (
        result_files.line_of(row, lines_by_id.get(str(row.id)), name, scored.verdicts.get((model, str(row.id))))
        for row in work.rows()
    )
    return result_files.write(path, head, lines)


def _earlier_assumptions(folder: EvalFolder, earlier: Iterable[str]) -> Iterator[str]:
    try:
        before = msgspec.json.decode((folder.folder / "summary.json").read_bytes(), type=_Assumed).assumed
    except (OSError, msgspec.MsgspecError):
        return
    names = tuple(f"{name.partition(' (')[0]} is " for name in earlier)  # without their strategies
    yield from (each for each in before if each.startswith(names))


class _Assumed(msgspec.Struct):
    assumed: Sequence[str] = ()
