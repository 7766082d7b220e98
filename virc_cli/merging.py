"""Merges a checkpoint: finds it, starts the process that writes its weights, and asks the model that comes of it."""

import random
import sys
from pathlib import Path

from virc.core import extras, processes
from virc.core.errors import SetupError
from virc.core.files import expanded, fresh_folder
from virc.core.plan import Step
from virc.data.synth.families import polygons
from virc.engines.merge import common as merging
from virc.envs import environment as environments
from virc.envs import making
from virc.envs.pins import DEVICES, Environment
from virc.merging import merge as recipe
from virc.merging.merge import Source
from virc.models.chat_protocol import DEFAULT
from virc.models.load import Choice, Opened, open_model
from virc.reasoning.protocol import FILE_NAME
from virc.runs import run as runs
from virc.solving.one import SolveConfig, solve
from virc_cli.console import output, plans, progress

_PACKAGE = Path(recipe.__file__).parents[1]
_PATIENCE = 300.0  # seconds for the one answer
_DOES = {"shards": "merging the shards of", "adapter": "adding to its base the adapter", "model": "copying"}


def merge(name: str, to: Path | None, dry_run: bool, as_json: bool) -> None:
    """Merge what a name stands for, and print the model's folder.

    Raises:
        ConfigError: there is no such checkpoint, it is incomplete, or the folder is there already.
        SetupError: the environment is missing, or the model fits neither disk nor memory.
        EngineError: the process failed.
    """
    source = recipe.find(name, Path())
    folder = recipe.target(source, Path(), to and expanded(to))
    origin = source.origin
    known = {"to": str(folder), "source": origin.source, "kind": origin.kind, "step": origin.step}
    output.know(**known)
    python, recipes = _interpreter(source)
    if dry_run:
        _show(source, python, recipes, folder, as_json)
        return
    output.note(f"{_DOES[origin.kind]} {origin.source}, {progress.sized(source.bytes)}, into {folder}")
    with fresh_folder(folder) as partial:
        plan = recipe.plan(source, python, recipes, partial)
        parameters = _run(plan.step) if plan else recipe.copy_weights(source, partial)
        recipe.complete(source, partial, folder.name, parameters)
        opened = _opened(source, partial)
    if source.chat_protocol is None:
        output.warn(
            f"no chat protocol lies beside {origin.source}: what it was trained with is not known",
            f"put its {FILE_NAME} into {folder}",
        )
    answer = _asked(opened) if opened else None
    output.note(f"{parameters:,} parameters; to publish it: hf upload USER/{folder.name} {folder}")
    if as_json:
        fields = known | {
            "parameters": parameters,
            "protocol": source.chat_protocol and "trained",
            "answer": answer,
        }
        output.emit({"schema": "virc.merge/1", **fields, "error": None})
    else:
        output.line(str(folder))


def _interpreter(source: Source) -> tuple[Path, Path]:
    """The interpreter that merges, and the folder with the code it imports.

    Raises:
        SetupError: verl's environment was not made, or this one lacks torch.
    """
    if source.origin.kind == "shards":
        environment = _of_verl(runs.info(source.run).device if source.run else None)
        return making.ready(environment), environments.recipes_in(environment)
    for extra in extras.discover():
        if extra.name == "local" and extra.missing:
            raise SetupError(
                f"merging {source.origin.source} needs {', '.join(extra.missing)}", extra.install
            )
    return Path(sys.executable), _PACKAGE


def _of_verl(device: str | None) -> Environment:
    """verl's environment for a device, else for another: merging needs none."""
    wanted = making.find("rl", device)
    others = [making.find("rl", other) for other in DEVICES]
    return next((each for each in (wanted, *others) if environments.interpreter(each)), wanted)


def _run(step: Step) -> int:
    """Run the process that merges; returns how many numbers the weights are."""
    with progress.shown() as show:

        def heard(line: str) -> None:
            if line.startswith(merging.TOLD):
                show(line.removeprefix(merging.TOLD))

        return merging.read(processes.output(step, heard))


def _show(source: Source, python: Path, recipes: Path, folder: Path, as_json: bool) -> None:
    plan = recipe.plan(source, python, recipes, folder)
    if as_json:
        step = plans.fields(plan) if plan else None
        fields = {"to": str(folder), "source": source.origin.source, "kind": source.origin.kind}
        output.emit({"schema": "virc.merge.plan/1", **fields, "plan": step, "error": None})
    elif plan:
        plans.show(plan)
    else:
        output.line(f"# the weights of {source.folder} are copied to {folder}")


def _opened(source: Source, folder: Path) -> Opened | None:
    """The merged model, loaded; None where this machine cannot.

    Raises:
        ConfigError: nothing can load it.
    """
    try:
        return open_model(Choice(model=str(folder), protocol=None if source.chat_protocol else DEFAULT))
    except SetupError as error:
        output.warn(
            f"the merged model is not asked anything: {error.message}", "virc solve --model DIR asks it"
        )
        return None


def _asked(opened: Opened) -> str | None:
    """What the merged model says about a drawn diagram; None where it says nothing."""
    diagram = polygons.generate(random.Random(0), "heldout")
    picture, question = polygons.draw(diagram), diagram.question
    try:
        config = SolveConfig(timeout=_PATIENCE)
        solved = solve(config, opened.backend, opened.chat_protocol.protocol, [picture], question)
    finally:
        opened.backend.close()
    if isinstance(solved.error, KeyboardInterrupt):  # the model stays, it is whole
        raise solved.error
    said = solved.answer or f"nothing ({solved.error})"
    output.note(f"asked about a drawn diagram, {question!r}, it says {said}; right is {diagram.answer}")
    return solved.answer
