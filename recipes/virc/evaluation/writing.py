"""Writes what an evaluation leaves in its folder: summary, report, page of problems and files of results.

Read `write_summary` first; `_write_results` writes the file of a model that others can check and compare with theirs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import VircError
from virc.core.files import expanded, write_json, write_whole
from virc.core.text import clause
from virc.evaluation import contamination, signing
from virc.evaluation import looks as looking
from virc.evaluation import results as result_files
from virc.evaluation.against import assumed_of, assumed_of_solver, compared, published_for
from virc.evaluation.answered import Answered, Result
from virc.evaluation.answers import Answers, EvalFolder
from virc.evaluation.asking import Work
from virc.evaluation.looks import Looks
from virc.evaluation.pages import problem_page
from virc.evaluation.pages.report import render
from virc.evaluation.pages.traces import mark_traces
from virc.evaluation.request import EvalRequest
from virc.evaluation.scored import Scored
from virc.evaluation.seeds import without_seed
from virc.evaluation.summary import SCHEMA, Reported, Summary, summarise
from virc.evaluation.verdicts import can_do_algebra
from virc.reasoning.protocol import Protocol, as_fields
from virc.solving.ablation import without_tools
from virc.solving.outcome import versions


def write_summary(work: Work, scored: Sequence[Scored], asked: Mapping[str, Protocol | None]) -> Summary:
    """Summarise an evaluation, and write the summary, the report and the files of results."""
    request, _, benchmark, folder, *_ = work
    answers, results = scored[0].answers, scored[0].results
    mark_traces(folder, results)
    summary = summarise(benchmark.name, results, facts_of(answers), request.crop_ablation)
    earlier = _earlier_assumptions(folder, set(answers) - {*asked})  # of models that this call did not ask
    assumptions = dict.fromkeys([*_assumptions(request, list(asked)), *earlier])
    looks = looks_of(scored) if len(scored) > 1 else []
    summary = msgspec.structs.replace(summary, assumed=list(assumptions), looks=looks)
    if request.against:
        summary = msgspec.structs.replace(summary, against=_compare_with_published(request, summary, list(asked)))
    if request.against_run:
        contaminated = contamination.compare(request.against_run, work.rows(), benchmark.base, results)
        summary = msgspec.structs.replace(summary, contamination=contaminated)
    try:
        write_json(folder.folder / "summary.json", {"schema": SCHEMA, **msgspec.to_builtins(summary), "error": None})
        write_whole(folder.report, render(summary, results).encode("utf-8", "backslashreplace"))
        arms = dict(zip(looking.ARMS, (each.results for each in scored), strict=False))
        problem_page.write(folder, work.rows(), benchmark.base, summary, answers, arms)
        for name, protocol in asked.items() if not request.estimate_only else ():
            _write_results(work, name, protocol, scored, summary)
    except OSError as error:
        raise VircError(f"cannot write {folder.folder}: {clause(error)}") from error
    return summary


def looks_of(scored: Sequence[Scored]) -> list[Looks]:
    """The verdict on each model that answered in all arms of the experiment (`looks.ARMS`)."""
    problems = list(zip(*(arm.results for arm in scored), strict=True))  # the results of a problem, one an arm
    guesses = [results[0].guessed for results in problems]

    def answers(model: str, results: Sequence[Result]) -> dict[looking.ArmName, Answered]:
        by_arm = zip(looking.ARMS, results, strict=True)
        return {arm: result.answers[model] for arm, result in by_arm if model in result.answers}

    models = [model for model in scored[0].answers if all(model in arm.answers for arm in scored)]
    return [looking.looks(model, [answers(model, results) for results in problems], guesses) for model in models]


def facts_of(answers: Answers) -> dict[str, dict[str, Any]]:
    """The `protocol` and `settings` of each model, from its first answer."""
    return {name: next(iter(lines.values())).facts for name, lines in answers.items()}


def _write_results(
    work: Work, model: str, protocol: Protocol | None, scored: Sequence[Scored], summary: Summary
) -> None:
    path, digests = work.folder.result(model), dict[looking.ArmName, str]()
    looks = next((each for each in summary.looks if each.model == model), None)
    further_arms = list(zip(looking.ARMS.items(), scored, strict=False))[1:]
    for (name, arm), arm_scored in further_arms if looks else ():
        arm_protocol = without_tools(protocol) if protocol and arm.ablation == "no-tools" else protocol
        arm_summary = summarise(summary.benchmark, arm_scored.results, facts_of(arm_scored.answers), arm.ablation)
        arm_path, arm_work = result_files.in_arm(path, name), work.in_arm(arm)
        head = _write_result(arm_path, arm_work, model, arm_protocol, arm_scored, arm_summary)
        digests |= {name: head.digest} if head else {}
    if looks:
        looks = msgspec.structs.replace(looks, model=_shown_name(model))
    verdict = {"looks": msgspec.to_builtins(looks), "arms": digests}
    if _write_result(path, work, model, protocol, scored[0], summary, **verdict) and work.request.sign:
        signing.sign(path, expanded(work.request.sign))


def _shown_name(model: str) -> str:
    """A model as it is published: a local path without its folders."""
    return Path(model).name if Path(model).is_absolute() else model


def _write_result(
    path: Path, work: Work, model: str, protocol: Protocol | None, scored: Scored, summary: Summary, **verdict: Any
) -> result_files.Head | None:
    figures = next((each for each in summary.models if each.name == model), None)
    if figures is None:
        return None
    with work.folder.answers(model).open("rb") as file:
        lines_by_id = {str(line["id"]): line for line in map(msgspec.json.decode, file)}
    name = _shown_name(model)
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
        figures=msgspec.to_builtins(msgspec.structs.replace(figures, name=name, reward={})),
        **verdict,
    )
    lines = (
        result_files.line_of(row, lines_by_id.get(str(row.id)), name, scored.verdicts.get((model, str(row.id))))
        for row in work.rows()
    )
    return result_files.write(path, head, lines)


def _assumptions(request: EvalRequest, asked: Sequence[str]) -> Iterator[str]:
    for name, setup in zip(asked, request.setups, strict=False):  # another solver comes after them
        model = without_seed(name).removesuffix(f" ({setup.config.strategy})")
        if assumed := assumed_of(model, Path.cwd(), setup.choice.system):
            yield ". ".join(assumed)
    if request.solver and (assumed := assumed_of_solver(request.solver)):
        yield ". ".join(assumed)


def _earlier_assumptions(folder: EvalFolder, earlier: Iterable[str]) -> Iterator[str]:
    try:
        before = msgspec.json.decode((folder.folder / "summary.json").read_bytes(), type=_Assumed).assumed
    except (OSError, msgspec.MsgspecError):
        return
    names = tuple(f"{name.partition(' (')[0]} is " for name in earlier)  # without their strategies
    yield from (each for each in before if each.startswith(names))


class _Assumed(msgspec.Struct):
    assumed: Sequence[str] = ()


def _compare_with_published(request: EvalRequest, summary: Summary, asked: Sequence[str]) -> list[Reported]:
    systems = dict(zip(asked, (setup.choice.system for setup in request.setups), strict=True))
    return [
        each
        for model in summary.models
        if model.name in systems
        for each in compared(model, summary.benchmark, published_for(model.name, Path.cwd(), systems[model.name]))
    ]
