"""Checkpoints to models: what a name stands for, which process merges it, and what lies beside the weights.

What can be merged are shards of verl's actor, with or without an adapter in them, and an adapter on its base. Weights
that are a whole model already are copied, without what only resuming needs.
"""

import re
import shutil
from pathlib import Path

import msgspec

from virc.backends import checkpoint
from virc.backends import lora_config as adapters
from virc.core.errors import ConfigError, VircError
from virc.core.files import MODELS, contents, expanded, is_file, is_folder, write_whole
from virc.core.plan import Plan, Step
from virc.core.text import clause, plain
from virc.engines import environment as engines
from virc.merging import card as model_card
from virc.models import provenance as origin
from virc.models import registry as models
from virc.models.provenance import Kind, Origin
from virc.reasoning.protocol import FILE_NAME
from virc.runs import run as runs
from virc.runs.checkpoint_formats import shards
from virc.runs.checkpoints import Checkpoint
from virc.runs.run import Run

_MOST_BYTES = 64 * 2**20
_CONFIG = "config.json"
_TEXTS = (
    "added_tokens.json", "chat_template.jinja", "chat_template.json", "generation_config.json", "merges.txt",
    "preprocessor_config.json", "processor_config.json", "special_tokens_map.json", "tokenizer.json",
    "tokenizer_config.json", "video_preprocessor_config.json", "vocab.json",
)  # fmt: skip
_LICENCES = re.compile(r"(LICEN[CS]E|NOTICE)(\.(txt|md))?", re.IGNORECASE)


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What is merged.

    Args:
        folder: of the shards, the adapter or the model.
        texts: folder of config, tokenizer and image processor.
        name: of the merged model, where nobody chooses one.
        origin: what is said of it beside the merged weights.
        base: folder of the weights that an adapter is on, or that a run began with.
        chat_protocol: file with the chat protocol it was trained with.
        run: the run that saved it; None: it is no run's of this workspace.
        bytes: of the files that hold its weights.
    """

    folder: Path
    texts: Path
    name: str
    origin: Origin
    base: Path | None = None
    chat_protocol: Path | None = None
    run: Run | None = None
    bytes: int = 0


def find(name: str, workspace: Path) -> Source:
    """What a name stands for: a run (its newest whole checkpoint), `RUN@STEP`, a checkpoint's folder, or an adapter.

    Raises:
        ConfigError: there is no such thing, or it is incomplete.
    """
    saved = models.checkpoint_of(name, workspace)
    if saved:
        return _of_run(*saved, name)
    place = expanded(name)
    actor = shards.actor_of(place) if is_folder(place) else None
    if actor:
        return _of_shards(actor, models.run_of(actor))
    weights = models.find(name, workspace)
    if weights.adapter:
        return _of_adapter(weights.adapter, weights.folder, models.run_of(weights.adapter))
    return _of_model(weights.folder, models.run_of(weights.folder))


def target(source: Source, workspace: Path, to: Path | None) -> Path:
    """Where the merged model goes: `models/NAME` of the workspace, if nowhere else.

    Raises:
        ConfigError: something is there already.
    """
    folder = to or workspace / MODELS / source.name
    if folder.exists() or folder.is_symlink():
        raise ConfigError(f"{folder} is there already", "choose another folder with --to")
    return folder


def plan(source: Source, python: Path, recipes: Path, folder: Path) -> Plan | None:
    """The process that writes the weights; None where they are copied.

    Args:
        python: of verl's environment for shards, else of this one.
        recipes: folder with the code of this package.
        folder: new folder for the weights.
    """
    if source.origin.kind == "model":
        return None
    if source.origin.kind == "shards":
        module, given = "verl.merge", [source.folder, folder]
    else:
        assert source.base
        module, given = "merge.adapter", [source.base, source.folder, folder]
    paths = (str(path.absolute()) for path in given)
    env = {**engines.environment(recipes), "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "-1"}
    argv = (str(python), "-m", f"virc.engines.{module}", *paths)
    return Plan(step=Step(argv, f"merge {source.origin.source}", env), files={})


def copy_weights(source: Source, folder: Path) -> int:
    """Copy the weights of a source that is a model already, and its config.

    Returns:
        How many numbers they are.

    Raises:
        VircError: the disk refuses.
    """
    checkpoint.check(source.folder)
    free = shutil.disk_usage(folder).free
    if source.bytes > free:
        raise VircError(f"the model takes {source.bytes} bytes, and {free} are free in {folder.parent}")
    index = source.folder / "model.safetensors.index.json"
    try:
        for file in (*source.folder.glob("model*.safetensors"), index, source.folder / _CONFIG):
            if is_file(file):
                shutil.copyfile(file, folder / file.name)
    except OSError as error:
        raise VircError(f"the model cannot be copied: {clause(error)}") from error
    return checkpoint.parameters(folder)


def complete(source: Source, folder: Path, name: str, parameters: int) -> None:
    """Put beside merged weights what belongs to a model: tokenizer, image processor, chat protocol, card, licences.

    Args:
        name: of the model.
        parameters: how many numbers its weights are.

    Raises:
        VircError: a file is missing, or the disk refuses.
    """
    checkpoint.image_settings(source.texts)
    licences = _licences(source.base) if source.base else []
    texts = [source.texts / each for each in _TEXTS if is_file(source.texts / each)]
    try:
        for file in (*texts, *licences):
            write_whole(folder / file.name, contents(file, _MOST_BYTES))
        if source.chat_protocol:
            write_whole(folder / FILE_NAME, contents(source.chat_protocol, _MOST_BYTES))
        info = runs.info(source.run) if source.run else None
        card = model_card.text(name, source.origin, info, parameters, [file.name for file in licences])
        write_whole(folder / "README.md", card.encode())
        origin.write(folder, source.origin)
    except OSError as error:
        raise VircError(f"the merged model cannot be written: {clause(error)}") from error
    checkpoint.check(folder)


def _of_run(run: Run, saved: Checkpoint, name: str) -> Source:
    is_newest = not name.endswith(f"@{saved.step}")
    if is_newest:
        _check_newest(run, saved)
    actor = shards.actor_of(saved.folder)
    if actor:
        found = _of_shards(actor, run)
    elif is_file(saved.folder / adapters.SETTINGS):
        base = models.find(str(saved.folder), run.folder.parent.parent)
        found = _of_adapter(saved.folder, base.folder, run)
    else:
        found = _of_model(saved.folder, run)
    return msgspec.structs.replace(found, name=run.name if is_newest else f"{run.name}@{saved.step}")


def _check_newest(run: Run, saved: Checkpoint) -> None:
    """Take no older checkpoint in silence for one that verl has saved and that was damaged since."""
    noted = shards.newest(run.checkpoints)
    if noted is not None and noted > saved.step:
        sentence = f"the newest checkpoint of {run.name}, of step {noted}, is gone or damaged"
        raise ConfigError(sentence, f"the one before: virc merge {run.name}@{saved.step}")


def _of_shards(actor: Path, run: Run | None) -> Source:
    """Shards, which are whole only if verl noted that it had saved that step."""
    folder = actor.parent if actor.name == shards.ACTOR else actor
    step = _step(folder)
    noted = shards.newest(folder.parent)
    if step is not None and noted is not None and step > noted:
        raise ConfigError(
            f"{folder} is incomplete: its saving never ended, the last that did was of step {noted}",
            f"virc merge {run.name}@{noted}" if run else None,
        )
    found = shards.read(actor)
    if run and found.adapter:
        _check_scale(run)
    _check_family(found.texts)
    base = Path(runs.info(run).base) if run else None
    size = sum(file.stat().st_size for file in found.files)
    return _source("shards", actor, found.texts, base, run, folder, size)


def _check_scale(run: Run) -> None:
    """Refuse an adapter that goes on with one scaled in another way: verl notes rank and alpha alone."""
    began = runs.info(run).adapter
    if began and is_file(Path(began) / adapters.SETTINGS) and adapters.read(Path(began)).rslora:
        raise ConfigError(
            f"{run.name} went on with an adapter of use_rslora, whose scale its shards do not say"
        )


def _of_adapter(adapter: Path, base: Path, run: Run | None) -> Source:
    named = adapters.read(adapter).base
    _check_family(base)
    size = checkpoint.file_bytes(base)
    return _source("adapter", adapter, base, base, run, adapter, size, models.root_of(base, named))


def _of_model(folder: Path, run: Run | None) -> Source:
    if run is None:
        raise ConfigError(
            f"{folder} is a whole model already, there is nothing to merge",
            f"virc solve --model {folder} ...",
        )
    _check_family(folder)
    size = checkpoint.file_bytes(folder)
    return _source("model", folder, folder, Path(runs.info(run).base), run, folder, size)


def _source(
    kind: Kind,
    folder: Path,
    texts: Path,
    base: Path | None,
    run: Run | None,
    named: Path,
    size: int,
    root: str = "",
) -> Source:
    """A source with where it comes from and its chat protocol; `named` is the folder it is called after."""
    step = _step(named)
    info = runs.info(run) if run else None
    source = f"{run.name}@{step}" if run and step is not None else plain(named.resolve().name)
    root = info.root if info else root
    about = Origin(
        kind=kind,
        source=source,
        system=info.system if info else None,
        stage=info.stage if info else None,
        step=step,
        steps=runs.state(run).total if run else None,
        root=origin.called(root) if root else None,
    )
    places = (folder, named, run and run.folder, base)
    return Source(
        folder=folder,
        texts=texts,
        name=f"{source}-merged" if kind == "adapter" and run is None else source,
        origin=about,
        base=base,
        chat_protocol=next(
            (place / FILE_NAME for place in places if place and is_file(place / FILE_NAME)), None
        ),
        run=run,
        bytes=size,
    )


def _step(folder: Path) -> int | None:
    found = re.fullmatch(r"(?:global_step_|checkpoint-)(\d{1,12})", folder.resolve().name)
    return int(found[1]) if found else None


def _check_family(folder: Path) -> None:
    family = checkpoint.read_json(folder / _CONFIG).get("model_type")
    if family not in checkpoint.FAMILIES:
        known = ", ".join(checkpoint.FAMILIES)
        raise ConfigError(f"models of type {str(family)[:50]!r} are not merged here", f"known are {known}")


def _licences(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if _LICENCES.fullmatch(path.name) and is_file(path))
