"""What `virc merge NAME` merges: shards of verl's actor, an adapter on its base, or a whole checkpoint of a run."""

import re
from pathlib import Path

import msgspec

from virc.backends import checkpoint, lora_config
from virc.core.errors import ConfigError
from virc.core.files import expanded, is_file, is_folder
from virc.core.text import plain
from virc.families import registry as families
from virc.models import provenance as origin
from virc.models import registry as models
from virc.models.provenance import Kind, Origin
from virc.reasoning.protocol import FILE_NAME
from virc.runs import run as runs
from virc.runs.checkpoint_formats import shards
from virc.runs.checkpoints import Checkpoint
from virc.runs.run import Run
from virc.tools.registry import CODE

_NAMES = {"adapter": "{}-merged", "model": "{}-gguf"}
"""What a model is called that is made of no run."""


class MergeSource(msgspec.Struct, frozen=True, kw_only=True):
    """What is merged.

    Args:
        folder: of the shards, the adapter or the model.
        texts: folder of config, tokenizer and image processor.
        code: folder with copies of the user's own tools of that chat protocol, if any.
        bytes: of the files of its weights.
    """

    folder: Path
    texts: Path
    name: str
    origin: Origin
    base: Path | None = None
    chat_protocol: Path | None = None
    code: Path | None = None
    run: Run | None = None
    bytes: int = 0


def find(name: str, workspace: Path, as_gguf: bool = False) -> MergeSource:
    """Find what a name means: a run (its newest whole checkpoint), `RUN@STEP`, a checkpoint folder or an adapter.

    With `as_gguf` it is to be written for llama.cpp, so that a complete model is one as well.
    """
    saved = models.checkpoint_of(name, workspace)
    if saved:
        return _of_run(*saved, name, as_gguf)
    place = expanded(name)
    actor = shards.actor_of(place) if is_folder(place) else None
    if actor:
        return _of_shards(actor, models.run_of(actor))
    weights = models.find(name, workspace)
    if weights.adapter:
        return _of_adapter(weights.adapter, weights.folder, models.run_of(weights.adapter))
    return _of_model(weights.folder, models.run_of(weights.folder), as_gguf)


def _of_run(run: Run, saved: Checkpoint, name: str, as_gguf: bool) -> MergeSource:
    is_newest = not name.endswith(f"@{saved.step}")
    noted = shards.newest(run.checkpoints)
    if is_newest and noted is not None and noted > saved.step:
        sentence = f"the newest checkpoint of {run.name}, of step {noted}, is gone or damaged"
        raise ConfigError(sentence, f"the one before: virc merge {run.name}@{saved.step}")
    actor = shards.actor_of(saved.folder)
    if actor:
        found = _of_shards(actor, run)
    elif is_file(saved.folder / lora_config.SETTINGS):
        base = models.find(str(saved.folder), run.folder.parent.parent)
        found = _of_adapter(saved.folder, base.folder, run)
    else:
        found = _of_model(saved.folder, run, as_gguf)
    return msgspec.structs.replace(found, name=run.name if is_newest else f"{run.name}@{saved.step}")


def _of_shards(actor: Path, run: Run | None) -> MergeSource:
    """Shards, which are complete only if verl recorded that it saved that step."""
    folder = actor.parent if actor.name == shards.ACTOR else actor
    step = _step(folder)
    noted = shards.newest(folder.parent)
    if step is not None and noted is not None and step > noted:
        message = f"{folder} is incomplete: its saving never ended, the last complete step is {noted}"
        raise ConfigError(message, f"virc merge {run.name}@{noted}" if run else None)
    found = shards.read_shards(actor)
    began = runs.info(run).adapter if run and found.adapter else None  # verl records only rank and alpha
    if (
        run
        and began
        and is_file(Path(began) / lora_config.SETTINGS)
        and lora_config.read_lora_config(Path(began)).rslora
    ):
        raise ConfigError(f"{run.name} continued an adapter of use_rslora, whose scale is not in its shards")
    _check_family(found.texts)
    base = Path(runs.info(run).base) if run else None
    size = sum(file.stat().st_size for file in found.files)
    return _source("shards", actor, found.texts, base, run, folder, size)


def _of_adapter(adapter: Path, base: Path, run: Run | None) -> MergeSource:
    named = lora_config.read_lora_config(adapter).base
    _check_family(base)
    if method := checkpoint.quantization(base):
        hint = f"name the model before that as base_model_name_or_path in {adapter / 'adapter_config.json'}"
        raise ConfigError(f"the base {base} is quantized ({method}), into which no adapter is merged", hint)
    size = checkpoint.file_bytes(base)
    return _source("adapter", adapter, base, base, run, adapter, size, models.root_of(base, named))


def _of_model(folder: Path, run: Run | None, as_gguf: bool) -> MergeSource:
    if run is None and not as_gguf:
        hint = f"virc solve --model {folder} ...; «--gguf» writes it for llama.cpp"
        raise ConfigError(f"{folder} is a complete model already", hint)
    _check_family(folder)
    if as_gguf and checkpoint.file_bytes(folder) and (method := checkpoint.quantization(folder)):
        raise ConfigError(f"{folder} is quantized ({method}): it is not written as GGUF", "merge the model before that")
    base = Path(runs.info(run).base) if run else folder
    return _source("model", folder, folder, base, run, folder, checkpoint.file_bytes(folder))


def _source(
    kind: Kind, folder: Path, texts: Path, base: Path | None, run: Run | None, named: Path, size: int, root: str = ""
) -> MergeSource:
    """A source with its origin and chat protocol; `named` is the folder that it is named after."""
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
    places = [place for place in (folder, named, run and run.folder, base) if place]
    return MergeSource(
        folder=folder,
        texts=texts,
        name=_NAMES.get(kind, "{}").format(source) if run is None else source,
        origin=about,
        base=base,
        chat_protocol=next((place / FILE_NAME for place in places if is_file(place / FILE_NAME)), None),
        code=next((place / CODE for place in places if is_folder(place / CODE)), None),
        run=run,
        bytes=size,
    )


def _step(folder: Path) -> int | None:
    found = re.fullmatch(r"(?:global_step_|checkpoint-)(\d{1,12})", folder.resolve().name)
    return int(found[1]) if found else None


def _check_family(folder: Path) -> None:
    family = checkpoint.model_type(folder)
    if family not in (known := families.run_here()):
        raise ConfigError(f"models of type {str(family)[:50]!r} cannot be merged", f"supported are {', '.join(known)}")
