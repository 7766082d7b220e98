"""The commands of rounds, each of which can be typed: `virc data sample`, `virc train` and `virc merge`.

`plan` is the entry: `_steps` goes through the rounds, and `_sampled` and `_trained` write the command of one step.

NAME-r2-STAGE            the run of a stage in round 2
data/NAME-r2-sample/     rows that the step `sample` of round 2 made
models/NAME-r2-STAGE/    the run as a model, if it is none by itself
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Literal

import msgspec

from virc.core.errors import ConfigError, DataError, UsageError, VircError
from virc.core.files import DATA, MODELS, expanded, is_file
from virc.data.formats import pairs
from virc.models import registry as models
from virc.runs import run as runs
from virc.stages import resolve as stages
from virc.stages.resolve import CONFIGS, Resolved
from virc.stages.sft import SIGNS
from virc.systems import registry as systems
from virc.systems.kinds import runs_in
from virc.systems.registry import System
from virc.training import inputs
from virc.training.request import Choices, TrainRequest
from virc_extras.rounds import steps
from virc_extras.rounds.system_key import BASE, LAST, Sample
from virc_extras.rounds.system_key import Step as StepOfSystem

Kind = Literal["sample", "train", "merge"]
_JUDGED = ("right", "reward", "grade")
"""Rules of pairs that may ask a judge."""
_ROUND = "{round}"
_TRAJECTORIES = "trajectories"


class RoundsRequest(Choices, frozen=True, kw_only=True):
    """Rounds to train; names of runs and rows begin with `name`, `base` is that of the first round, and `data` the
    JSONL file of the problems that are sampled. Assignments and signs are for the stages of a kind that has them.
    """

    rounds: int


class RoundCommand(steps.TypedStep, frozen=True, kw_only=True):
    """One command of a round.

    Args:
        start: the model that is sampled, trained or merged.
        source: of a sample, the file of problems.
        sample_settings: of a sample, settings that its rows must have been made with, as `rounds.run` checks.
    """

    round: int
    kind: Kind
    start: str
    source: Path | None = None
    sample_settings: Mapping[str, object] = {}
    resolved: Resolved | None = None

    @property
    def place(self) -> str:
        return f"round {self.round}, {self.name}"

    @property
    def paired(self) -> bool:
        return self.sample_settings.get("pairs") is not None


class Rounds(msgspec.Struct, frozen=True):
    system: System
    count: int
    name: str
    workspace: Path
    steps: tuple[RoundCommand, ...]


def plan(request: RoundsRequest) -> Rounds:
    """Every command of the rounds, all settings checked; nothing is started, and no file of rows has to be there.

    Raises:
        UsageError: the system has no rounds, or an option is missing or has no use.
        ConfigError: a setting is wrong, or what the first round begins with cannot be told.
    """
    system = systems.get(request.system)
    if not system.rounds:
        raise UsageError(f"{system.name} has no rounds", f"`rounds:` in its YAML, {system.file}, lists their steps")
    _check(request, system)
    name = request.name or system.name
    runs.new(request.workspace, f"{name}-r0", name)  # refuses what cannot name a run
    return Rounds(system, request.rounds, name, request.workspace, tuple(_steps(request, system, name)))


def missing(rounds: Rounds, left: Iterable[RoundCommand]) -> Iterator[VircError]:
    """An error for each file and each model that the steps start with, is not there, and is made by no step.

    Args:
        left: steps that are not done; only their models are needed.
    """
    folders, checked = {step.makes for step in rounds.steps}, set[str]()
    for step in rounds.steps:
        data = [value for word, value in pairwise(step.words) if word == "--data"]
        files = [str(step.source)] if step.source else data
        for file in files:
            if file in checked or str(Path(file).parent) in folders:
                continue
            checked.add(file)
            if not is_file(rounds.workspace / expanded(file)):
                yield DataError(f"there is no file {file}, which {step.place} takes", "put it there, or «--data FILE»")
        if step.round == 1 and step.resolved and not files:
            try:
                inputs.rows(step.resolved, rounds.workspace)
                if validation := step.resolved.config.validation_name():
                    inputs.named_rows(validation, step.resolved, rounds.workspace)
            except VircError as error:
                yield error
    models_made = {Path(step.makes).name for step in rounds.steps}
    reported = set[str]()
    for step in (step for step in left if step.start not in models_made | reported):
        try:
            if step.resolved:
                inputs.base(step.resolved, rounds.workspace)
            else:
                models.find(step.start, rounds.workspace, rounds.system)
        except VircError as error:
            reported.add(step.start)
            yield error


def _check(request: RoundsRequest, system: System) -> None:
    samples = [step.sample for step in system.rounds if step.sample]
    needs_data = any(sample.data is None for sample in samples)
    if request.data and not samples:
        raise UsageError(f"the rounds of {system.name} sample no problems", "leave «--data» out")
    if request.data is None and needs_data:
        raise UsageError(f"the rounds of {system.name} need problems with answers", "«--data FILE.jsonl»")
    judged = [each.pairs for each in samples if each.pairs in _JUDGED]
    kinds = {system.stages[step.train].kind for step in system.rounds if step.train}
    if "grade" in judged and request.judge_endpoint is None:
        raise UsageError(f"the rounds of {system.name} take pairs by a critic", "«--judge-endpoint URL»")
    if (request.judge_endpoint or request.judge_endpoints) and not (judged or "rl" in kinds):
        raise UsageError(f"no step of the rounds of {system.name} asks a judge", "leave «--judge-endpoint» out")
    signs = dict.fromkeys(sign for kind in sorted(kinds) for sign in SIGNS[kind])
    if unknown := next((sign for sign in request.stop_on if sign not in signs), None):
        raise UsageError(
            f"no stage of the rounds of {system.name} has the sign {unknown}", f"there are {', '.join(signs)}"
        )


def _steps(request: RoundsRequest, system: System, name: str) -> Iterator[RoundCommand]:
    # What the steps of a system name -> its newest model: the base, the last model, and the run of each stage.
    newest = {BASE: request.base or _first_base(request, system, name)}
    newest[LAST] = newest[BASE]
    for number in range(1, request.rounds + 1):
        row_files: dict[str, str] = {}  # name of a sample -> the file of rows that it makes in this round
        for step in system.rounds:
            if step.sample:
                sampled = _sampled(request, system, name, number, step.sample, newest)
                rows = pairs.NAME if step.sample.pairs else _TRAJECTORIES
                row_files[step.name] = f"{sampled.makes}/{rows}.jsonl"
                yield sampled
                continue
            trained = _trained(request, system, name, number, step, newest, row_files)
            yield trained
            run = Path(trained.makes).name
            newest |= {step.name: run, LAST: run}
            assert trained.resolved
            # No stage that trains whole weights starts from verl's shards, or from an adapter.
            is_no_model = runs_in(trained.resolved.kind).engine == "verl" or trained.resolved.config.lora is not None
            if is_no_model if step.merge is None else step.merge:
                yield RoundCommand(
                    round=number, name=f"merge {step.name}", kind="merge", says=f"make a model of {run}",
                    words=("virc", "merge", run), start=run, makes=f"{MODELS}/{run}",
                )  # fmt: skip


def _sampled(
    request: RoundsRequest, system: System, name: str, number: int, sample: Sample, newest: Mapping[str, str]
) -> RoundCommand:
    start, makes = _start(sample.start, newest), f"{DATA}/{name}-r{number}-{sample.name}"
    source = str(expanded(_numbered(str(request.data or sample.data), number)))
    options: dict[str, object] = {
        "samples": sample.samples, "keep": sample.keep, "temperature": f"{sample.temperature:g}", "seed": number,
        "pairs": sample.pairs, "margin": f"{sample.margin:g}" if sample.margin else None,
        "reward": system.called if sample.pairs == "reward" else None,
        "max-turns": sample.max_turns, "max-tokens": sample.max_tokens,
    }  # fmt: skip
    words = [word for key, value in options.items() if value is not None for word in (f"--{key}", str(value))]
    judges = _judges(request, named=sample.pairs == "reward") if sample.pairs in _JUDGED else []
    # An endpoint of the user's own settings serves one model, and each round samples another one.
    model = ("--system", system.called, "--model", start, "--endpoint", "none")
    rows = f"pairs by the rule {sample.pairs}" if sample.pairs else "right solutions"
    return RoundCommand(
        round=number, name=sample.name, kind="sample", says=f"{rows} of {start}",
        words=("virc", "data", "sample", source, "--to", makes, *model, *words, *judges),
        start=start, makes=makes, source=Path(source), sample_settings=_sample_settings(sample, number),
    )  # fmt: skip


def _sample_settings(sample: Sample, number: int) -> dict[str, object]:
    settings: dict[str, object] = {
        "n": sample.samples, "keep": sample.keep, "temperature": sample.temperature, "seed": number,
        "pairs": sample.pairs,
    }  # fmt: skip
    limits = {"max_turns": sample.max_turns, "max_tokens": sample.max_tokens}
    settings |= {name: value for name, value in limits.items() if value is not None}
    return {**settings, "margin": sample.margin} if sample.pairs else settings


def _trained(
    request: RoundsRequest, system: System, name: str, number: int, step: StepOfSystem, newest: Mapping[str, str],
    row_files: Mapping[str, str],
) -> RoundCommand:  # fmt: skip
    stage = step.name
    kind, run, start = system.stages[stage].kind, f"{name}-r{number}-{stage}", _start(step.start, newest)
    data = step.data and row_files.get(step.data, _numbered(step.data, number))
    chosen = [each for each in request.assignments if _is_for_kind(each, kind, system)]
    words = ["virc", "train", system.called, "--stage", stage, "--from", start, "--name", run]
    words += ["--data", data] if data else []
    words += ["--with", ",".join(request.overlays)] if request.overlays else []
    words += [word for each in chosen for word in ("--set", each)]
    judge, judges = (request.judge_endpoint, request.judge_endpoints) if kind == "rl" else (None, {})
    if kind == "rl":
        words += _judges(request, named=True)
    stop_on = tuple(sign for sign in request.stop_on if sign in SIGNS[kind])
    words += ["--stop-on", ",".join(stop_on)] if stop_on else []
    train_request = TrainRequest(
        system=request.system, stage=stage, overlays=request.overlays, base=start, data=Path(data) if data else None,
        assignments=tuple(chosen), name=run, judge_endpoint=judge, judge_endpoints=judges,
        stop_on=stop_on, workspace=request.workspace,
    )  # fmt: skip
    return RoundCommand(
        round=number, name=stage, kind="train", says=f"train {stage} from {start}", words=tuple(words), start=start,
        makes=f"{runs.FOLDER}/{run}", resolved=train_request.resolve(),
    )  # fmt: skip


def _start(named: str, newest: Mapping[str, str]) -> str:
    return newest.get(named, newest[BASE])


def _numbered(file: str, number: int) -> str:
    return file.replace(_ROUND, str(number))


def _judges(request: RoundsRequest, named: bool) -> list[str]:
    urls = [request.judge_endpoint] if request.judge_endpoint else []
    urls += [f"{name}={url}" for name, url in request.judge_endpoints.items()] if named else []
    return [word for url in urls for word in ("--judge-endpoint", url)]


def _is_for_kind(assignment: str, kind: str, system: System) -> bool:
    """Whether a setting is for stages of that kind. One that no stage has goes to all, whose check refuses it."""
    key = assignment.partition("=")[0].split(".")[0].strip()
    kinds = {system.stages[step.train].kind for step in system.rounds if step.train}
    kinds_with_it = {each for each in kinds if key in CONFIGS[each].__struct_fields__}
    return not kinds_with_it or kind in kinds_with_it


def _first_base(request: RoundsRequest, system: System, name: str) -> str:
    """What the first stage of the rounds starts from without `--from`; runs of these rounds do not count.

    Raises:
        ConfigError: no run of the stage before it has finished.
    """
    first = next(step.train for step in system.rounds if step.train)
    resolved = stages.resolve(system, first, request.overlays)
    config = resolved.config
    if config.base is not None:
        return str(config.base)
    root = stages.root_of(resolved)
    run_of_rounds = re.compile(rf"{re.escape(name)}-r\d+-")
    for run in reversed(runs.discover(request.workspace)):
        with suppress(ConfigError):  # another run whose record cannot be read
            info = runs.info(run)
            of_stage = (info.system, info.stage, info.root) == (system.name, config.after, root)
            if of_stage and not run_of_rounds.match(run.name) and runs.state(run).progress == "finished":
                return run.name
    raise ConfigError(
        f"no run of the stage {config.after} that began with {root} has finished, which the rounds begin with",
        f"virc train {system.called} --stage {config.after}, or name what to begin with: «--from»",
    )
