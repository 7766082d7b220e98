"""Prepares a run: everything is found and checked first, then its folder appears as a whole.

A `TrainRequest` is `requested` (its settings and cluster), has a run to be (`new_run`), and becomes `Prepared`:
weights, environment and rows are found and checked. `begin` writes the files of the run. A dry run takes the same way
with a list for what is missing, and so does `check_again` for a run whose rows have changed.
"""

import json
import netrc
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from virc.backends import checkpoint
from virc.cluster import jobs, submitting
from virc.cluster.jobs import Target
from virc.cluster.site import Site
from virc.core import processes
from virc.core.errors import ConfigError, DataError, SetupError, VircError
from virc.core.events import Reporter
from virc.core.files import DATA, expanded, is_file, write_json, write_whole
from virc.core.locks import held
from virc.core.text import counted as count_text
from virc.core.work.parallel import cores
from virc.data.check.plain import other_than
from virc.data.check.result import survey
from virc.data.check.row import check_without_images
from virc.data.formats import sft as sft_format
from virc.data.formats.registry import RowsFile, left_out
from virc.engines import registry as engines
from virc.envs import environment as environments
from virc.envs import making
from virc.envs.hardware import Machine
from virc.envs.pins import Environment, pinned
from virc.models import chat_protocol, sizes
from virc.models.chat_protocol import read_protocol
from virc.models.registry import Weights, meaning
from virc.reasoning.protocol import FILE_NAME
from virc.rewards import registry as rewards
from virc.rewards import sources, user_code
from virc.rewards.sources import Speaker, speakers
from virc.rewards.trial import missing_columns
from virc.rewards.verl import Settings
from virc.runs import attempts
from virc.runs import run as runs
from virc.runs.checkpoints import FORMATS
from virc.runs.run import Info, Run
from virc.stages.resolve import Resolved
from virc.systems import registry as systems
from virc.systems import texts
from virc.systems.kinds import runs_in
from virc.tools import registry as tools
from virc.training import changes, inputs, rl_setup, tool_packages
from virc.training.estimate import fits
from virc.training.estimate.needs import PEAK, USUAL, UTILISATION, estimate
from virc.training.inputs import Base
from virc.training.preflight import process as preflight
from virc.training.preflight.pairs import entry_of
from virc.training.preflight.rl import TRAIN, VALIDATION
from virc.training.preflight.sft import check_found
from virc.training.preflight.types import PairsRequest, Request, Result, RlRequest, SftRequest
from virc.training.request import TrainRequest

_PACKAGE = Path(__file__).parents[2]


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage needs, found, and checked as far as it is on this machine.

    Args:
        run: the run to be; `folder` has its files until it begins.
        python: interpreter of the engine's environment; in a dry run where it would be.
        recipes: folder with the code of virc that the engine gets; in a dry run where it would be.
        added_tools: names or files of tools that rows of RL are offered in addition to those of their chat protocol.
        checked: what the check of the rows found; None: a dry run without them, or without the base.
    """

    request: TrainRequest
    resolved: Resolved
    run: Run
    folder: Path
    base: Base
    source: RowsFile
    validation: RowsFile | None = None
    target: Target | None = None
    environment: Environment
    python: Path
    recipes: Path
    added_tools: tuple[str, ...] = ()
    checked: Result | None = None

    @property
    def result(self) -> Result:
        assert self.checked
        return self.checked

    @property
    def sources(self) -> list[Path]:
        """The files that its rows come from."""
        found = [each for each in (self.source, self.validation) if each]
        return [file for each in found for file in each.shards or (each.file,)]


def requested(request: TrainRequest) -> tuple[TrainRequest, Resolved, Target | None]:
    """The settings of a stage, and the cluster that it is for; its job may bring the reward's judge along."""
    resolved = request.resolve()
    target = jobs.target(request.launcher, resolved.kind, request.site, request.ray_address)
    request, resolved = rl_setup.with_job_judge(request, resolved, target)
    return request, resolved, target


def prepare(
    request: TrainRequest, resolved: Resolved, run: Run, folder: Path, report: Reporter, *,
    target: Target | None = None, here: Machine | None = None, missing: list[VircError] | None = None,
) -> Prepared:  # fmt: skip
    """Find and check everything the stage needs; cheap checks come before gigabytes are installed.

    Args:
        folder: gets what the run will have, among it the rows to train on, if they are not the source's own file.
        here: this machine, if the stage is to start on it now.
        missing: of a dry run, which makes no environment and tries no tool: gets errors about what is missing, in place
            of raising them.
    """
    is_dry, workspace = missing is not None, request.workspace
    check_texts(resolved, report)
    added_tools = rl_setup.tools_of(resolved, request.tools)
    if not is_dry:
        fits.refuse_no_judge(resolved.config, resolved.system.overlays)
    base = inputs.future_base(resolved, workspace)
    with noted(missing):
        try:
            base = inputs.base(resolved, workspace)
        except ConfigError as error:
            if isinstance(target, Site) and error.hint and not is_dry:
                error.hint += "; --launcher slurm --dry-run prints the job without it"
            raise
    if base_is_here := not missing:
        inputs.check_weights(base)
    resolved = inputs.with_adapter(resolved, base)
    config = resolved.config
    environment = making.find(runs_in(resolved.kind).environment, config.device)
    python = environments.interpreter(environment)
    if missing is not None and python is None:
        missing.append(SetupError(f"the environment {environment.name} has not been made", "virc train makes it first"))
    source, validation = inputs.rows(resolved, workspace, missing), None
    if absent := left_out(Path(config.data)):
        more = ", …" if len(absent) > 3 else ""
        report.note(f"{config.data}: {len(absent)} files are not here: {', '.join(absent[:3])}{more}")
    with noted(missing):
        validation = inputs.validation(resolved, workspace)
    if here:
        fits.refuse_unfit(config, here, overlays=resolved.system.overlays)
    with noted(missing):
        check_trackers(resolved)
    if resolved.kind == "rl":
        with noted(missing):
            rl_setup.check_job_judge(request, resolved, target)
        with noted(missing):
            rl_setup.check_judge(resolved, source if is_file(source.file) else None, here is not None, report)
    if not is_dry:
        python = making.made(environment, report.send)
    prepared = Prepared(
        request=request, resolved=resolved, run=run, folder=folder, base=base, source=source, validation=validation,
        target=target, environment=environment, python=python or environment.python, added_tools=added_tools,
        recipes=(environments.recipes_place if is_dry else environments.recipes_in)(environment),
    )  # fmt: skip
    if not is_dry or (base_is_here and is_file(source.file) and is_file(base.folder / "tokenizer.json")):
        result = _checked(prepared, python, here is not None, report, missing)
        prepared = msgspec.structs.replace(prepared, checked=result)
    if prepared.checked:
        check_rows(prepared, report)
    elif is_file(source.file):
        _read_all(prepared, report, missing)
    return prepared


@contextmanager
def noted(missing: list[VircError] | None, kind: type[VircError] = VircError) -> Iterator[None]:
    """Add an error of the block to `missing`, if there is such a list, in place of raising it."""
    try:
        yield
    except kind as error:
        if missing is None:
            raise
        missing.append(error)


def _checked(
    prepared: Prepared, python: Path | None, starts_here: bool, report: Reporter, missing: list[VircError] | None
) -> Result | None:
    """Check and count the rows in a process of the engine's interpreter; of a dry run without one in this one's.

    Returns None where this interpreter lacks what such a process imports.
    """
    resolved, environment, recipes = prepared.resolved, prepared.environment, _PACKAGE
    to_check = rows_request(prepared, is_trial=missing is not None)
    if python:
        with noted(missing):
            _check_packages(resolved, environment, python)
        with noted(missing):
            tool_packages.check_tool_packages(to_check, resolved.name, environment, python)
        # The engine's interpreter finds systems of an editable install in the copy alone, which a run would use too.
        recipes = prepared.recipes if missing is None else environments.recipes_in(environment)
    elif not all(map(find_spec, ("tokenizers", "pyarrow") if resolved.kind == "rl" else ("tokenizers",))):
        return None
    if isinstance(to_check, RlRequest) and to_check.config.rollout == "multi_turn" and starts_here:
        to_check = msgspec.structs.replace(to_check, tries_tools=True)
    return counted(to_check, python or Path(sys.executable), recipes, report)


def _read_all(prepared: Prepared, report: Reporter, missing: list[VircError] | None) -> None:
    """Check rows without their lengths, if the base or the tokenizer's package is not here; DataError as of the run."""
    resolved, source = prepared.resolved, prepared.request.reading(prepared.source)
    protocol = chat_protocol.of_system(resolved.system).protocol
    check = partial(check_without_images, holds=source.holds, protocol=protocol)
    if resolved.kind == "rl":
        with suppress(VircError):  # the check of all rows reports it
            total = rewards.of(resolved.config.reward, resolved.system.file.parent)
            for lacks, hint in missing_columns(total, source):
                report.warn(lacks, hint)
    with noted(missing, SetupError):  # such as parquet without pyarrow
        found = survey(source.rows(), check, lambda number: report.progress(f"row {number} read"))
        check_found(source, found)
        count = count_text(found.rows, "row")
        report.note(f"{count} can be read; lengths and images are checked once nothing is missing")


def rows_request(prepared: Prepared, is_trial: bool = False) -> Request:
    """What to check in the rows of a stage."""
    request, resolved, base = prepared.request, prepared.resolved, prepared.base
    config, system_folder = resolved.config, resolved.system.file.parent
    common: dict[str, Any] = {
        "source": request.reading(prepared.source),
        "base": base.folder,
        "name": base.name,
        "protocol": request.protocol and expanded(request.protocol).absolute(),
        "loads": tuple(tools.source(name, system_folder) for name in resolved.system.offered),
        "workers": cores(),
        "folder": (prepared.folder / DATA).absolute(),
        "is_trial": is_trial,
    }
    if resolved.kind == "rl":
        weights = Weights(base.name, base.folder, adapter=base.adapter)
        return RlRequest(
            **common,
            config=msgspec.structs.replace(config, reward=rewards.located(config.reward)),
            validation=prepared.validation and request.reading(prepared.validation),
            home=(prepared.run.folder / DATA).absolute(),
            chat_protocol=chat_protocol.of_stage(resolved.system, weights).protocol,
            tools=prepared.added_tools,
            beside=system_folder,
            sources=speakers(config),
        )
    worded = chat_protocol.of_system(resolved.system).protocol if resolved.system.worded else None
    kind = PairsRequest if resolved.kind == "dpo" else SftRequest
    return kind(**common, config=config, chat_protocol=worded)


def counted(request: Request, python: Path, recipes: Path, report: Reporter) -> Result:
    """Check and count the rows in a process of the engine's environment."""
    for line in request.source.reasons:
        report.note(line)
    return preflight.read_failure(processes.output(preflight.step(request, python, recipes), report.progress))


@contextmanager
def new_run(request: TrainRequest, resolved: Resolved) -> Iterator[tuple[Run, Path]]:
    """The run to be, and a folder that becomes the run's if the block ends without an error; else it is deleted."""
    run = future_run(request, resolved)
    with scratch(run.folder.with_name(f".{run.name}.new"), run.folder) as partial:
        runs.new(request.workspace, run.name, resolved.name)  # another process may have begun it meanwhile
        yield run, partial
        partial.rename(run.folder)


def future_run(request: TrainRequest, resolved: Resolved) -> Run:
    """The run to be, whose name means no other model. Raises ConfigError: the name that was asked for is taken."""
    return runs.new(
        request.workspace, request.name, resolved.name,
        lambda name: meaning(name, request.workspace, resolved.system),
    )  # fmt: skip


@contextmanager
def scratch(folder: Path, lock: Path) -> Iterator[Path]:
    """A new folder in `runs/`, held by a lock; it is deleted when the block ends, and so is an empty `runs/`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with held(lock):
            shutil.rmtree(folder, ignore_errors=True)  # what a killed process left
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        with suppress(OSError):  # it is not empty
            folder.parent.rmdir()


def begin(prepared: Prepared) -> Info:
    """Write the files of a run into its folder to be."""
    info, resolved = info_of(prepared, write_code(prepared)), prepared.resolved
    write_json(prepared.folder / "run.json", info)
    head = f"# {resolved.name}; virc train {resolved.system.called} --stage {resolved.stage} --config THIS\n"
    write_whole(prepared.folder / "settings.yaml", (head + inputs.settings_text(info)).encode())
    packages = _packages(prepared.environment, prepared.python)
    lines = [f"{name}=={version}\n" for name, version in sorted(packages.items())]
    write_whole(prepared.folder / "environment.txt", "".join(lines).encode())
    return info


def info_of(prepared: Prepared, code: Mapping[str, str]) -> Info:
    """What the run is; `code` are the digests of copies of user code."""
    resolved, base, environment = prepared.resolved, prepared.base, prepared.environment
    target = prepared.target
    return Info(
        name=prepared.run.name, system=resolved.system.name, stage=resolved.stage,
        kind=resolved.kind, overlays=resolved.overlays,
        created=datetime.now(UTC).isoformat(timespec="seconds"), base=str(base.folder),
        adapter=str(base.adapter) if base.adapter else None, root=base.root,
        ignore=prepared.request.ignore, trust_rows=prepared.request.trust_rows,
        settings=msgspec.to_builtins(resolved.config), origins=dict(resolved.origins),
        environment=environment.name, device=environment.device, python=str(prepared.python),
        recipes=str(prepared.recipes), code=dict(code),
        launcher="local" if target is None else "slurm" if isinstance(target, Site) else "ray",
        site=msgspec.to_builtins(target) if target else {},
        site_file=jobs.site_file(prepared.request.site) if isinstance(target, Site) else None,
        **rows_fields(prepared),
    )  # fmt: skip


def rows_fields(prepared: Prepared) -> dict[str, Any]:
    """The fields of `Info` about the rows; of rows that were not checked, where and what they would be."""
    result, source, home = prepared.checked, prepared.source, prepared.run.folder

    def moved(path: Path) -> str:
        """Where a path will be once the run begins."""
        return str(home / path.relative_to(prepared.folder) if path.is_relative_to(prepared.folder) else path)

    if result:
        return {
            "data": moved(result.file), "media": moved(result.media), "dataset": result.dataset, "entry": result.entry,
            "rows": result.rows, "longest": result.longest,
            "validation": moved(result.validation) if result.validation else None,
        }  # fmt: skip
    place: dict[str, Any] = {"media": str(source.media.absolute()), "rows": 0, "longest": 0}
    config, name = prepared.resolved.config, source.file.name
    if prepared.resolved.kind == "rl":
        validation = str(home / DATA / VALIDATION) if config.validation else None
        return {**place, "data": str(home / DATA / TRAIN), "dataset": "", "validation": validation}
    pairs = prepared.resolved.kind == "dpo"
    entry = source.info or (entry_of(config.loss == "kto", name) if pairs else sft_format.info(name))
    return {**place, "data": str(source.file.absolute()), "dataset": source.name, "entry": entry}


def check_again(run: Run, system: str | None, report: Reporter) -> None:
    """Check the changed rows of a run, which then continues with them; `system`: its file, if it is not installed.

    Raises:
        VircError: they cannot be trained on, or more than rows and images has changed.
    """
    changes.check_unchanged(run, accepted=changes.OF_ROWS)
    info = runs.info(run)
    config = msgspec.structs.replace(inputs.config_of(info), base=info.adapter or info.base, after=None)
    resolved = Resolved(systems.get(system or info.system), info.stage, config, info.origins, info.overlays)
    request = TrainRequest(
        system=resolved.system.called, stage=info.stage, ignore=info.ignore, trust_rows=info.trust_rows,
        workspace=run.workspace,
        protocol=None if info.kind == "rl" else run.folder / FILE_NAME,
    )  # fmt: skip
    with attempts.alone(run), scratch(run.folder.with_name(f".{run.name}.new"), run.folder) as folder:
        prepared = prepare(request, resolved, run, folder, report)
        if (folder / DATA).is_dir():
            shutil.rmtree(run.folder / DATA, ignore_errors=True)
            (folder / DATA).rename(run.folder / DATA)
        info = msgspec.structs.replace(info, **rows_fields(prepared))
        write_json(run.folder / "run.json", info)
        changes.write_digests(run, info, run.folder, prepared.sources)
    report.note(f"{run.name} goes on with {info.rows} rows as they are now")


def write_code(prepared: Prepared) -> dict[str, str]:
    """Write the files that the run's processes read, except rows; returns name -> SHA-256 of copies of user code.

    Of rows that were not checked, the chat protocol and the settings of the stage's own reward are not known.
    """
    resolved, result, folder = prepared.resolved, prepared.checked, prepared.folder
    config, beside, home = resolved.config, resolved.system.file.parent, prepared.run.folder.absolute()
    names: Sequence[str] = result.protocol.tools if result else ()
    if result:
        write_json(folder / FILE_NAME, result.protocol)
    else:
        names = tools.load((*resolved.system.offered, *prepared.added_tools), beside)
    if resolved.kind != "rl":
        return user_code.copy(user_code.own_tools(beside, names), folder / user_code.CODE)
    media = result.media if result else prepared.source.media.absolute()
    common = Settings(
        reward=config.reward, folder=str(media), kept=str(home / user_code.JUDGED), rollout=config.rollout,
        base=str(prepared.base.folder), max_pixels=config.max_pixels,
    )  # fmt: skip
    files, code = dict[str, str](), dict[str, str]()
    for name, speaker in speakers(config).items():
        part, future = (sources.settings_of(each, name).parent for each in (folder, home))
        part.mkdir(parents=True)
        copied, settings = _rewarding(speaker, part, future, common)
        code |= {f"{sources.FOLDER}/{name}/{file}": digest for file, digest in copied.items()}
        files[name] = str(future / sources.REWARD)
        write_json(part / FILE_NAME, speaker.protocol)
        write_json(part / sources.REWARD, settings)
    if result is None:
        return user_code.copy(user_code.own_files(config.reward, beside, names), folder / user_code.CODE) | code
    reward = msgspec.structs.replace(config.reward, strict=rl_setup.strict_of(config.reward, resolved, result))
    own, settings = _rewarding(Speaker(result.protocol, reward, config.max_turns, beside), folder, home, common)
    write_json(folder / sources.REWARD, msgspec.structs.replace(settings, sources=files))
    return own | code


def _rewarding(speaker: Speaker, folder: Path, home: Path, common: Settings) -> tuple[dict[str, str], Settings]:
    """Copy a system's own files to `folder`, which will be `home`; returns digests and the settings of its reward."""
    asking = rl_setup.asking_terms_of(speaker.reward, speaker.beside)
    files = user_code.own_files(speaker.reward, speaker.beside, speaker.protocol.tools)
    settings = msgspec.structs.replace(
        common,
        reward=user_code.moved(speaker.reward, speaker.beside, home / user_code.CODE),
        beside=str(home / user_code.CODE),
        coordinates=speaker.protocol.coordinates,
        protocol=str(home / FILE_NAME),
        max_turns=speaker.max_turns,
        said={each.name: each.said() for each in rl_setup.published_questions(asking)},
    )
    return user_code.copy(files, folder / user_code.CODE), settings


def _check_packages(resolved: Resolved, environment: Environment, python: Path) -> None:
    needed = engines.of_kind(resolved.kind).plan.needs(resolved.config)
    installed = _packages(environment, python) if needed else {}
    for package, setting in needed.items():
        if package not in installed:
            engine = environment.engine.name
            add = f"virc env create {engine} --with {package}, " if package in resolved.config.trackers else ""
            raise SetupError(
                f"{resolved.name} needs {package}, which the environment {environment.name} does not have",
                f"{add}--set {setting}, or your own environment that has it: virc env use {engine}",
            )


def _packages(environment: Environment, python: Path) -> dict[str, str]:
    """Package -> version, asked of the interpreter only if its packages are not those that virc pins."""
    if environments.registered(environment) is None and not environment.extra:
        return pinned(environment)
    packages: dict[str, str] = json.loads(processes.output(environments.versions_step(python)))
    return packages


def check_rows(prepared: Prepared, report: Reporter) -> None:
    """Report what the check of the rows found.

    Raises:
        DataError: a reward cannot score rows, or images would be shown at another size than the rows' boxes are in.
    """
    result, config = prepared.result, prepared.resolved.config
    if prepared.resolved.kind == "rl":
        rl_setup.check_reward(result, prepared.resolved, report)
    if result.rewritten:
        kinds = ", ".join(f"{why} {count}" for why, count in sorted(result.rewritten.items()))
        pictures = f"{sum(result.rewritten.values())} of {result.images} images"
        report.note(f"{pictures} are written as solving shows them, and not as LLaMA-Factory would ({kinds})")
    _check_sizes(prepared, report)
    if prepared.request.ignore:
        report.note(f"columns left out: {', '.join(prepared.request.ignore)}")
    unit, mean = "rows", f"tokens a row: mean {result.mean:.0f},"
    if prepared.resolved.kind == "dpo" and config.sides == 2:
        unit, mean = "pairs", f"tokens of both sides: mean {result.mean:.0f}; of the longer side:"
    longest = f"99 % at most {result.percentiles[2]}, longest {result.longest}"
    report.note(f"{result.rows} {unit}, {result.images} images; {mean} {longest}")
    if config.order == "written":
        report.note("rows are taken in the order of the file")
    if result.dropped:
        report.warn(f"{result.dropped} rows longer than {config.longest} tokens are left out")
    checks = f"virc data check {_rows(prepared)}"
    for kind, count in result.faults.items():
        report.warn(f"{count} of {result.looked_at} rows checked closely have the fault {kind}", checks)
    if prepared.resolved.system.offered and not result.protocol.tools:
        report.note("the rows call no tools, and so will the model: they are learnt as questions and answers")
    elif warning := _other_protocol(prepared):
        report.warn(*warning)
    if result.otherwise:
        report.warn(f"{result.otherwise} rows have another system message than the chat protocol's")


def check_texts(resolved: Resolved, report: Reporter) -> None:
    """Raises ConfigError: a published text that the system refers to is not here, or is another one."""
    system = resolved.system
    texts.check_texts(system.file.parent)
    asking = rl_setup.asking_terms(resolved) if resolved.kind == "rl" and resolved.config.reward.total else ()
    questions = rl_setup.published_questions(asking)
    for question in questions:
        question.said()  # raises
    folders = [system.file.parent, *(question.file.parent for question in questions if question.file)]
    if reworded := next(filter(texts.is_own_wording, folders), None):
        hint = f"without --own-words, after virc download texts --system {texts.system_of(reworded)}"
        report.warn(f"{system.name} is trained in our own words, not in those of the authors", hint)


def _check_sizes(prepared: Prepared, report: Reporter) -> None:
    """Report images that are shown smaller. Raises DataError: boxes in pixels would not fit them any more."""
    result, config, base = prepared.result, prepared.resolved.config, prepared.base
    base_limit = checkpoint.image_grid(checkpoint.image_settings(base.folder)).max_pixels
    at_limit = config.max_pixels >= base_limit
    limit = f"the {base_limit:,} pixels that {base.name} sees" if at_limit else f"max_pixels, {config.max_pixels:,}"
    no_use = f"--set max_pixels cannot raise the limit of {base.name}, {base_limit:,} pixels"
    if not result.shrunk:
        if config.max_pixels > base_limit and prepared.resolved.origins.get("max_pixels") == "--set":
            report.note(no_use)
        return
    shrunk = f"{result.shrunk} of {result.images} images have more than {limit}"
    rows = _rows(prepared)
    target = {"sft": "sft", "dpo": "pairs"}.get(prepared.resolved.kind)
    target = target or ("rl" if config.rollout == "per_cru" else "prompts")
    convert = f"virc data convert {rows} --to DIR --format {target} --max-pixels {min(base_limit, config.max_pixels)}"
    hint = f"{convert} makes rows that fit; {no_use}" if at_limit else f"--set max_pixels={base_limit}, or {convert}"
    if result.protocol.coordinates != "pixel":
        report.note(f"{shrunk}: they are shown smaller")
    elif result.protocol.tools and result.boxed:
        raise DataError(f"{shrunk}: they would be shown smaller, and boxes in pixels would not fit them", hint)
    else:
        report.warn(f"{shrunk}: they are shown smaller, and boxes in pixels, if replies have some, do not fit", hint)


def _rows(prepared: Prepared) -> str:
    """The rows as they are named on a command line."""
    data = prepared.resolved.config.data
    return shlex.quote(data if expanded(data).exists() else str(next(iter(prepared.sources), prepared.result.file)))


def _other_protocol(prepared: Prepared) -> tuple[str, str] | None:
    """A warning and a hint if the rows teach another chat protocol than the system's, or than the base knows.

    Multi-turn RL prompts anew; and rows may have more tools than the base knows.
    """
    base, rows, resolved = prepared.base, prepared.result.protocol, prepared.resolved
    if resolved.kind != "rl" or resolved.config.rollout != "multi_turn":
        target = {"rl": "rl", "dpo": "pairs"}.get(resolved.kind, "sft")
        if warning := other_than(resolved.system, rows, _rows(prepared), target):
            return warning
    file = chat_protocol.trained_with(Weights(base.name, base.folder, adapter=base.adapter))
    if file is None:
        return None
    trained = read_protocol(file)
    if chat_protocol.speaks_as(rows, trained, prepared.resolved.system.file.parent):
        return None
    added = [name for name in rows.tools if name not in {*trained.tools, *tools.discover()}]
    options = "".join(f" --tools +{name}" for name in added)
    convert = f"virc data convert {_rows(prepared)} --to DIR --format batch"
    problems = f"DIR/{prepared.result.dataset}.jsonl"
    hint = f"{convert}, then virc data sample {problems} --to NEW --endpoint URL --protocol {file}{options}"
    return f"the rows are in another chat protocol than {base.name} was trained with, which it has to learn again", hint


def check_machine(prepared: Prepared, here: Machine, report: Reporter) -> None:
    """Report what the stage needs. Raises SetupError: it does not fit this machine, or a node of its job."""
    config, result, shape = prepared.resolved.config, prepared.result, sizes.of_folder(prepared.base.folder)
    of_rows = partial(estimate, config, shape, result.longest, result.rows, result.total)
    first = (config.gpus or (0,))[0]
    needed = of_rows(gpu=here.gpus[first].name if first < len(here.gpus) else USUAL)
    where, size = "a GPU", needed.device_gib
    if config.device == "cpu":
        where, size = "of main memory", needed.host_gib
    parts = [f"about {fits.size_text(size)} {where}"]
    if needed.disk_gib is not None:
        parts.append(f"{fits.size_text(needed.disk_gib)} of disk")
    if needed.steps is not None:
        parts.append(f"{needed.steps} step{'s' if needed.steps > 1 else ''}")
    if needed.judge_calls:
        parts.append(f"{needed.judge_calls[0]:,} to {needed.judge_calls[1]:,} questions to the judge a step")
    if needed.gpu_hours is not None:
        parts.append(f"{needed.gpu_hours:.3g} GPU-hours at {needed.assumed}")
    report.note(", ".join(parts))
    overlays = prepared.resolved.system.overlays
    if over := fits.over_target(config, shape, needed, overlays):
        raise fits.refusal(over)
    if prepared.target is None:
        fits.refuse_unfit(config, here, needed, overlays)
    elif isinstance(prepared.target, Site):
        needed, first_save = of_rows(gpu=max(PEAK, key=PEAK.__getitem__)), None
        if needed.gpu_hours and needed.steps:  # seconds until a job can have saved anything, on the fastest GPU
            on_request = FORMATS[runs_in(prepared.resolved.kind).engine].SAVES_WHEN_ASKED
            share = (1 if on_request else min(config.save_steps, needed.steps)) / needed.steps
            first_save = needed.gpu_hours * UTILISATION * share * 3600 / (config.devices * config.nodes)
        file = jobs.site_file(prepared.request.site)
        submitting.check_need(prepared.target, file, msgspec.to_builtins(config), needed.host_gib, first_save)


class _Tracker(msgspec.Struct, frozen=True):
    """A tracker that needs an account.

    Args:
        key, mode: environment variables with its key and its mode.
        without: modes that need no key.
        file: where its own login leaves a key; `host`: the entry in that file, "" for any.
    """

    key: str
    mode: str
    without: tuple[str, ...]
    host: str
    file: str


_TRACKERS = {
    "wandb": _Tracker("WANDB_API_KEY", "WANDB_MODE", ("offline", "disabled", "dryrun"), "api.wandb.ai", ".netrc"),
    "swanlab": _Tracker("SWANLAB_API_KEY", "SWANLAB_MODE", ("offline", "local", "disabled"), "", ".swanlab/.netrc"),
}


def check_trackers(resolved: Resolved) -> None:
    for name in resolved.config.trackers:
        tracker = _TRACKERS.get(name)
        if tracker and not _has_key(tracker) and os.environ.get(tracker.mode) not in tracker.without:
            sentence = f"{resolved.name} reports to {name} (trackers), and there is no {tracker.key} here"
            raise ConfigError(sentence, f"--set trackers=[], or {tracker.mode}=offline in the environment")


def _has_key(tracker: _Tracker) -> bool:
    if os.environ.get(tracker.key):
        return True
    with suppress(OSError, netrc.NetrcParseError):
        hosts = netrc.netrc(str(Path.home() / tracker.file)).hosts
        return bool(hosts) if not tracker.host else tracker.host in hosts
    return False
