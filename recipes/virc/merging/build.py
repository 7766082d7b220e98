"""Makes a model of a checkpoint: weights, tokenizer, image processor, chat protocol, licences and a card."""

import json
import random
import shutil
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from virc.backends import checkpoint, inventory, lora
from virc.config.taken import Left
from virc.core import entry_points, extras, processes
from virc.core.errors import ConfigError, SetupError, VircError, errors_as
from virc.core.events import OnEvent, Reporter
from virc.core.files import MODELS, contents, expanded, fresh_folder, is_file, write_whole
from virc.core.plan import Plan, Step
from virc.data.synth.families import polygons
from virc.engines import environment as engines
from virc.engines.merge import common
from virc.envs import environment as environments
from virc.envs import making
from virc.envs.pins import DEVICES
from virc.merging import card as model_card
from virc.merging import source as sources
from virc.merging.source import MergeSource
from virc.models import provenance
from virc.models import registry as models
from virc.models.chat_protocol import DEFAULT, read_protocol
from virc.models.load import Choice, Opened, open_model
from virc.reasoning.protocol import FILE_NAME
from virc.rewards.user_code import copy, with_beside
from virc.runs import run as runs
from virc.solving.one import SolveConfig, solve
from virc.stages.resolve import assumed_defaults
from virc.systems import texts as published_texts
from virc.systems.registry import discover
from virc.tools.registry import CODE, ToolMissingError

_PACKAGE = Path(__file__).parents[2]
_ELSEWHERE = "choose another folder with «--to»"
_SECONDS = 300.0  # for the one answer
_MOST_BYTES = 64 * 2**20
_MERGING = {"shards": "merging the shards of", "adapter": "adding to its base the adapter", "model": "copying"}


class MergePlan(msgspec.Struct, frozen=True):
    """How a checkpoint is merged; `python` writes the weights: of verl's environment for shards, else this one.

    Args:
        left: what is not read of its files.
    """

    source: MergeSource
    folder: Path
    python: Path
    recipes: Path
    gguf: bool = False
    left: Left = msgspec.field(default_factory=Left)

    def process(self, folder: Path) -> Plan | None:
        """The process that writes the weights into a folder; None: they are copied."""
        source = self.source
        if source.origin.kind == "model":
            return None
        module, given = "verl.merge", [source.folder, folder]
        if source.origin.kind == "adapter":
            assert source.base
            module, given = "merge.adapter", [source.base, source.folder, folder]
        env = {**engines.environment(self.recipes), "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "-1"}
        argv = (str(self.python), "-m", f"virc.engines.{module}", *(str(path.absolute()) for path in given))
        return Plan(step=Step(argv, f"merge {source.origin.source}", env), files={})


class Merged(msgspec.Struct, frozen=True):
    """A merged model.

    Args:
        answer: about a drawn diagram; None where it gave none or cannot be loaded here.
    """

    folder: Path
    parameters: int
    answer: str | None
    gguf: Path | None = None


def merge(
    source: str | Path,
    *,
    to: str | Path | None = None,
    gguf: bool = False,
    ignore: Iterable[str] = (),
    on_event: OnEvent | None = None,
) -> Path:
    """Make a model of a checkpoint, and ask it about a drawn diagram; returns its folder.

    Args:
        source: a run (its newest whole checkpoint), `RUN@STEP`, the folder of a checkpoint, or an adapter.
        to: new folder for the model; None: `models/RUN`.
        gguf: write `NAME-Q8_0.gguf` and `mmproj-NAME-F16.gguf` for llama.cpp into it, too.
        ignore: names of files of weights, and of settings of an adapter, that are left out.
        on_event: gets progress and warnings.

    Raises:
        ConfigError: there is no such checkpoint, it is incomplete, or the folder exists or its name is another's.
        SetupError: the environment is missing, or the model fits neither disk nor memory.
        EngineError: the process failed.
    """
    return write(prepare(str(source), Path(to) if to else None, gguf, tuple(ignore)), on_event).folder


def prepare(name: str, to: Path | None = None, gguf: bool = False, ignore: Collection[str] = ()) -> MergePlan:
    source = sources.find(name, Path(), gguf)
    left = _unread(source, ignore)
    folder = expanded(to) if to else Path(MODELS, source.name)
    if folder.exists() or folder.is_symlink():
        there = provenance.read_provenance(folder)
        made = f", merged from {there.source}" if there else ""
        raise ConfigError(f"{folder} already exists{made}", _ELSEWHERE)
    named = folder.absolute().parent in (Path.cwd(), Path.cwd() / MODELS)  # its name alone means it
    if named and (other := models.meaning(folder.name, Path(), source=source.origin.source)):
        raise ConfigError(f"a model cannot be called {folder.name}: {other}", _ELSEWHERE)
    if gguf:
        entry_points.of_option("merge", "gguf").check(source.texts)
    if source.origin.kind == "shards":
        first = making.find("rl", runs.info(source.run).device if source.run else None)
        others = (making.find("rl", other) for other in DEVICES)  # merging needs no device
        environment = next((each for each in (first, *others) if environments.interpreter(each)), first)
        return MergePlan(source, folder, making.ready(environment), environments.recipes_in(environment), gguf, left)
    for extra in extras.discover():
        if extra.name == "local" and extra.missing:
            raise SetupError(f"merging {source.origin.source} needs {', '.join(extra.missing)}", extra.install)
    return MergePlan(source, folder, Path(sys.executable), _PACKAGE, gguf, left)


def _unread(source: MergeSource, ignore: Collection[str]) -> Left:
    """What nothing reads of the files that are merged. Raises ConfigError: the model is another one without it."""
    left = Left()
    if model := {"adapter": source.base, "model": source.folder}.get(source.origin.kind):
        left.update(inventory.of_model(model, ignore))
    if source.origin.kind == "adapter":
        left.update(lora.check_adapter(source.folder, source.base, ignore))
    return left


def write(plan: MergePlan, on_event: OnEvent | None = None) -> Merged:
    """Write the model's folder, whole or not at all, and ask the model; see `merge`."""
    report, source, folder = Reporter(on_event), plan.source, plan.folder
    origin = source.origin
    size = f"{source.bytes / 2**30:.1f} GiB"
    report.note(f"{_MERGING[origin.kind]} {origin.source}, {size}, into {folder}")
    for sentence in plan.left.sentences():
        report.note(sentence)
    with fresh_folder(folder) as partial:
        process = plan.process(partial)
        parameters = _run(process.step, report) if process else copy_weights(source, partial)
        complete(source, partial, folder.name, parameters)
        file = _as_gguf(plan, partial, report) if plan.gguf else None
        opened = _opened(source, partial, report)
    if source.chat_protocol is None:
        unknown = f"there is no chat protocol next to {origin.source}: the one it was trained with is unknown"
        report.warn(unknown, f"put its {FILE_NAME} into {folder}")
    return Merged(folder, parameters, _answer(opened, report) if opened else None, file and folder / file.name)


def _as_gguf(plan: MergePlan, folder: Path, report: Reporter) -> Path:
    report.note("writing it as GGUF, too")
    with errors_as(VircError, "the GGUF file cannot be written"):
        file: Path = entry_points.of_option("merge", "gguf").convert(folder, folder, plan.folder.name)
    return file


def copy_weights(source: MergeSource, folder: Path) -> int:
    """Raises VircError: the disk refuses."""
    checkpoint.check_checkpoint(source.folder)
    free = shutil.disk_usage(folder).free
    if source.bytes > free:
        raise VircError(f"the model takes {source.bytes} bytes, and {free} are free in {folder.parent}")
    files = (checkpoint.INDEX, "config.json")
    with errors_as(VircError, "the model cannot be copied"):
        for file in (source.folder / each for each in (*checkpoint.weight_files(source.folder), *files)):
            if is_file(file):
                shutil.copyfile(file, folder / file.name)
    return checkpoint.parameters(folder)


def complete(source: MergeSource, folder: Path, name: str, parameters: int) -> None:
    """Raises VircError: a file is missing, or the disk refuses."""
    checkpoint.image_settings(source.texts)
    beside = sorted(source.base.glob("*")) if source.base else []
    licences = [path for path in beside if inventory.kind_of(path.name) == "licences" and is_file(path)]
    texts = [source.texts / each for each in inventory.texts(source.texts)]
    with errors_as(VircError, "the merged model cannot be written"):
        for file in (*texts, *licences):
            write_whole(folder / file.name, contents(file, _MOST_BYTES))
        if source.chat_protocol:
            write_whole(folder / FILE_NAME, contents(source.chat_protocol, _MOST_BYTES))
        code = _copy_tools(source, folder)
        info = runs.info(source.run) if source.run else None
        system = discover().get(info.system) if info else None
        assumed = []
        if info and system:
            assumed = [each.said(info.settings if each.stage in (None, info.stage) else {}) for each in system.assumed]
            assumed += assumed_defaults(system, info.stage, info.settings, info.origins)
        card = model_card.text(name, source.origin, info, parameters, [file.name for file in licences], code, assumed)
        if system and source.chat_protocol:
            spoken = msgspec.to_builtins(read_protocol(source.chat_protocol))
            if credited := published_texts.credited(system.file.parent, json.dumps(spoken)):
                card = model_card.with_section(card, "Texts of others", "\n".join(credited))
        write_whole(folder / "README.md", card.encode())
        provenance.write(folder, source.origin)
    checkpoint.check_checkpoint(folder)


def _copy_tools(source: MergeSource, folder: Path) -> dict[str, str]:
    if source.code is None or source.chat_protocol is None:
        return {}
    offered = read_protocol(source.chat_protocol).tools
    files = {f"{name}.py": source.code / f"{name}.py" for name in offered if name.isidentifier()}
    return copy(with_beside((name, file) for name, file in files.items() if is_file(file)), folder / CODE)


def _run(step: Step, report: Reporter) -> int:
    def on_line(line: str) -> None:
        if line.startswith(common.PROGRESS):
            report.progress(line.removeprefix(common.PROGRESS))
        else:
            report.log(line)

    return common.read_printed(processes.output(step, on_line))


def _opened(source: MergeSource, folder: Path, report: Reporter) -> Opened | None:
    """The merged model, loaded; None where this machine cannot."""
    try:
        return open_model(Choice(model=str(folder), protocol=None if source.chat_protocol else DEFAULT))
    except SetupError as error:
        report.warn(f"the merged model was not tried: {error.message}", "virc solve --model DIR tries it")
        return None
    except ToolMissingError as error:  # which merging does not need
        report.warn(f"the merged model was not tried: {error.message}", f"where its tools are: {source.code}")
        return None


def _answer(opened: Opened, report: Reporter) -> str | None:
    diagram = polygons.generate(random.Random(0), "heldout")
    picture, question = polygons.draw(diagram), diagram.question
    try:
        config = SolveConfig(timeout=_SECONDS)
        solved = solve(config, opened.backend, opened.chat_protocol, [picture], question)
    finally:
        opened.backend.close()
    if isinstance(solved.error, KeyboardInterrupt):  # the model stays, it is whole
        raise solved.error
    answer = solved.answer or f"nothing ({solved.error})"
    report.note(f"asked about a drawn diagram, {question!r}, it answers {answer}; the right answer is {diagram.answer}")
    return solved.answer
