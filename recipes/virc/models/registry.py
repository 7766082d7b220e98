"""What a model name means: a folder with weights on this machine, perhaps an adapter, and the system it belongs to.

`find` looks a name up (`_lookup`): as a folder, under `models/`, in the hub's cache, in this package (`_places`), then
as a run. A `Model` is an entry of a system's YAML, `Weights` are files. Nothing is downloaded here: a model not on this
machine is an error that names the command to fetch it (`_missing`).
"""

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import msgspec

from virc.backends import lora_config
from virc.backends.gguf import model as gguf
from virc.backends.gguf.model import GGUF
from virc.core.errors import ConfigError
from virc.core.files import HIDDEN, MODELS, RECORD, expanded, is_file, is_folder, json_or_none
from virc.core.plugins import SEARCH_PATH
from virc.core.text import did_you_mean
from virc.models import provenance
from virc.runs import run as runs
from virc.runs.checkpoint_formats import shards
from virc.runs.checkpoints import Checkpoint, checkpoint, checkpoints
from virc.runs.run import Run
from virc.systems import registry as systems
from virc.systems.names import HUB_ID
from virc.systems.registry import Model, System

PACKAGE = Path(__file__).parent
"""Folder of the models inside this package, each under its name."""
EMBEDDED = "tiny"
"""The one of them that is meant where nobody chose a model."""
EMBEDDED_FOLDER = PACKAGE / EMBEDDED
REAL_MODELS = (
    "for a real model: `virc config set endpoint URL`, or `«--model FOLDER»`, "
    "or `virc download ViRC-7B` and `«--model ViRC-7B»`"
)
_MODEL = "config.json"
NAMES = "a folder, a hub id such as ORG/NAME, or a name of `virc systems ls` or `virc runs ls`"
"""The hint where a name is that of no model here, and near to none."""
_MAX_RECORD = 256 * 2**20  # bytes: that of a repository of a million files has half as many

_SERVICES: Mapping[str, tuple[str, str]] = {
    r"(gpt|chatgpt)-|o[1-9](-|$)": ("OpenAI", "https://api.openai.com/v1"),
    r"claude-": ("Anthropic", "https://api.anthropic.com/v1"),
    r"gemini-": ("Google", "https://generativelanguage.googleapis.com/v1beta/openai"),
    r"grok-": ("xAI", "https://api.x.ai/v1"),
    r"(pixtral|mistral|magistral)-(large|medium|small)": ("Mistral", "https://api.mistral.ai/v1"),
    r"(openai|anthropic|google|x-ai|mistralai)/(gpt|chatgpt|o[1-9]|claude|gemini|grok|pixtral-large|mistral-medium)": (
        "OpenRouter", "https://openrouter.ai/api/v1"
    ),
}  # fmt: skip
"""Beginning of a name -> the service that has the model, and its address."""
_ENDING = r"(\Z|[-._:@])"  # of the short name of a model in what a server calls it
_OF_OLLAMA = re.compile(r"[\w.-]+(/[\w.-]+)?:[\w.-]+")


class Weights(msgspec.Struct, frozen=True):
    """A model on this machine.

    Args:
        name: as given; of a run, `NAME@STEP`.
        folder: its weights; of an adapter, those of its base.
        adapter: folder of a LoRA adapter on these weights.
        judge: it was named as a judge of answers, which is prompted in plain chat and belongs to no system.
        gguf: the model is this file in that folder, for llama.cpp; None: it is the folder.
    """

    name: str
    folder: Path
    system: System | None = None
    model: Model | None = None
    adapter: Path | None = None
    judge: bool = False
    gguf: GGUF | None = None


def find(name: str | None, workspace: Path, system: str | System | None = None, *, with_gguf: bool = False) -> Weights:
    """Find the weights that a name means.

    Args:
        name: folder, short name, name under the workspace's `models/`, or hub id; or a run, which means its
            newest whole checkpoint, or `RUN@STEP`. None: the only model of `system`, else the embedded one.
        with_gguf: a GGUF file is a model too; else it is refused, since only llama.cpp reads it.

    Raises:
        ConfigError: no such model, or it or the base of an adapter is not on this machine; or the run has saved
            nothing, or not at that step.
    """
    chosen_system = _system(system)
    name = name or _only_model(chosen_system)
    if name and name.lower().endswith(gguf.SUFFIX):
        return _gguf(name, chosen_system, with_gguf)
    weights = _lookup(name, workspace, chosen_system)
    if weights is None:
        raise _missing(name or EMBEDDED, chosen_system, workspace)
    return weights if is_file(weights.folder / _MODEL) else _with_base(weights, workspace)


def _gguf(name: str, chosen: System | None, with_gguf: bool) -> Weights:
    if not with_gguf:
        raise ConfigError(f"{name} is a GGUF file, which llama.cpp alone reads", "name the folder it was made from")
    file = gguf.read_gguf(expanded(name))
    system, model = asked_as(*served(file.file.stem, file.name, chosen), chosen)
    return Weights(file.file.stem, file.file.parent, system, model, gguf=file)


def default(system: str | System | None = None) -> str:
    return _only_model(_system(system)) or EMBEDDED


def _only_model(system: System | None) -> str | None:
    return next(iter(system.models)) if system and len(system.models) == 1 else None


def embedded() -> tuple[str, ...]:
    return tuple(sorted(config.parent.name for config in PACKAGE.glob(f"*/{_MODEL}")))


def is_embedded(folder: Path) -> bool:
    return folder.parent == PACKAGE


def folder_of(hub_id: str, workspace: Path, by_hand: bool) -> Path | None:
    """Where `virc download` puts that model; None where another model of the same last name is.

    Args:
        by_hand: take a folder that it did not make for that model, too.
    """
    folder = workspace / MODELS / Path(hub_id).name
    fetched = downloaded_from(folder)
    return folder if fetched == hub_id or (by_hand and fetched is None) else None


class _Record(msgspec.Struct):
    repo: str
    kind: str


def downloaded_from(folder: Path) -> str | None:
    """The hub id of the model whose files `virc download` put into a folder; None where it put none."""
    record = json_or_none(folder / HIDDEN / RECORD, _Record, _MAX_RECORD)
    return record.repo if record and record.kind == "model" else None


def download_of(hub_id: str, system: System | None) -> str:
    """The command that fetches a model: by its short name where it has one, for its chat protocol comes with it."""
    of_system = system.models.items() if system else ()
    short = next((short for short, model in of_system if model.hub == hub_id), None)
    if system is None or short is None:
        return f"virc download {hub_id}"
    return f"virc download {short}" + (f" --system {system.called}" if system.called != system.name else "")


def run_of(folder: Path) -> Run | None:
    """The run that a folder is of: the run's own, one of its checkpoints, or the actor of one."""
    place = folder.resolve()
    if place.name == shards.ACTOR:
        place = place.parent
    for run in (Run(place), Run(place.parent.parent)):
        if is_file(run.folder / "run.json") and place.parent in (run.folder.parent, run.checkpoints):
            return run
    return None


def root_of(folder: Path, name: str) -> str:
    """The name of the model at the beginning of the chain of stages that made a folder's weights; `name` by default."""
    run = run_of(folder)
    if run:
        return runs.info(run).root
    merged = provenance.read_provenance(folder)
    return merged.root if merged and merged.root else name


def known(name: str, system: str | System | None = None) -> tuple[System | None, Model | None]:
    """The system and model that a short name, a hub id or a path ending in a short name means."""
    chosen = _system(system)
    for candidate in (chosen,) if chosen else systems.mentioning(Path(name).name):
        for short, model in candidate.models.items():
            if name == model.hub or Path(name).name == short:
                return candidate, model
    return chosen, None


def served(
    name: str, root: str | None = None, system: str | System | None = None
) -> tuple[System | None, Model | None]:
    """The system and model that a server's model is of.

    Args:
        name: what the server calls it: a short name, a hub id, or a system's name, in any case. After the short name
            of a released model, more may follow, such as `-Q4_K_M`.
        root: the folder or hub id of its weights, if the server tells.
    """
    chosen = _system(system)
    return _served(name, root, chosen) if chosen else _served_by_any(name, root, os.environ.get(SEARCH_PATH))


@cache
def _served_by_any(name: str, root: str | None, _search_path: str | None) -> tuple[System | None, Model | None]:
    """Among all systems that are found; kept, since their files are searched."""
    return _served(name, root, None)


def _served(name: str, root: str | None, chosen: System | None) -> tuple[System | None, Model | None]:
    names = [called for called in (root, name) if called]
    # the beginnings of a name that may be the short name of a model
    keys = {last[: cut.start()] for last in (Path(each).name for each in names) for cut in re.finditer(_ENDING, last)}
    candidates = [chosen] if chosen else list(systems.with_keys(keys))
    for called in names:
        if (by_hub := known(called, chosen))[1]:
            return by_hub
        last = Path(called).name.casefold()
        for candidate in candidates:
            for short in sorted(candidate.models, key=len, reverse=True):
                is_released = candidate.models[short].hub is not None  # no other model has such a name
                ending = _ENDING if is_released else r"\Z"
                if re.match(re.escape(short.casefold()) + ending, last):
                    return candidate, candidate.models[short]
    alike = (each for each in systems.discover() if each.casefold() == name.casefold())
    by_name = (found for each in alike if (found := systems.discover()[each]).models and found.offered)
    return chosen or next(by_name, None), None


def asked_as(
    system: System | None, model: Model | None, chosen: str | System | None = None
) -> tuple[System | None, Model | None]:
    """The system as which a model of it, found by its name, is asked: none where its family is, and none is chosen."""
    return (None, None) if system and model and not chosen and not system.takes(model) else (system, model)


def judges(name: str, system: str | System | None = None) -> Mapping[str, Model]:
    """The judges among which one has that short name; none if it names no judge."""
    chosen = _system(system)
    candidates = (chosen,) if chosen else systems.mentioning(name)
    return next((each.judges for each in candidates if name in each.judges), {})


def _system(system: str | System | None) -> System | None:
    if isinstance(system, System):
        return system
    return systems.get(system) if system else None


def _lookup(name: str | None, workspace: Path, system: System | None) -> Weights | None:
    called = name or EMBEDDED
    chosen, (system, model) = system, known(called, system)
    judge = None if model else judges(called, system).get(called)
    if judge:
        folders = (place for place in _places(name, judge, workspace) if is_file(place / _MODEL))
        return next((Weights(called, folder, judge=True) for folder in folders), None)
    places = _places(name, model, workspace)
    for file in (_MODEL, lora_config.SETTINGS):
        for place in places:
            if is_file(place / file):
                _refuse_ambiguous(called, place, workspace)
                return Weights(called, place, *_origin(place, *asked_as(system, model, chosen)))
    saved = checkpoint_of(called, workspace)
    if saved is None:
        return None
    run, step = saved
    saved_as = f"{run.name}@{step.step}"
    if not step.merged:
        raise _in_shards(saved_as, called)
    return Weights(saved_as, step.folder, *_origin(step.folder, *asked_as(system, model, chosen)))


def _origin(folder: Path, system: System | None, model: Model | None) -> tuple[System | None, Model | None]:
    """The system and model of a folder: by its name, else those of the run that made it."""
    if model is not None:
        return system, model
    run = run_of(folder)
    merged = None if run else provenance.read_provenance(folder)
    name = runs.info(run).system if run else merged and merged.system
    if not name:
        return system, model
    system = system or systems.discover().get(name)
    return known(root_of(folder, folder.name), system) if system else (None, None)


def _refuse_ambiguous(name: str, place: Path, workspace: Path) -> None:
    """Refuse a name of two models: a folder of `models/`, and a run that has saved other weights since."""
    run = _run(name, workspace) if place == workspace / MODELS / name else None
    saved = checkpoints(run) if run else []
    if not run or not saved:
        return
    newest, origin = saved[-1], provenance.read_provenance(place)
    saved_as = f"{run.name}@{newest.step}"
    if origin and origin.source == saved_as:
        merged_at = (place / provenance.FILE_NAME).stat().st_mtime_ns
        if merged_at >= newest.folder.stat().st_mtime_ns:
            return
    made = f"made from {origin.source}" if origin else "made from no run"
    raise ConfigError(
        f"{name} is two models: {MODELS}/{name}, {made}, and the run {name}, which saved step {newest.step} since",
        f"say {MODELS}/{name} or {saved_as}",
    )


def checkpoint_of(name: str, workspace: Path) -> tuple[Run, Checkpoint] | None:
    """The run and its whole checkpoint that a name means: the newest of a run, or `RUN@STEP`.

    Raises:
        ConfigError: the run has saved nothing whole, or not at that step.
    """
    stem, at, step = name.rpartition("@")
    run = _run(name, workspace)
    if run:
        if found := checkpoints(run):
            return run, found[-1]
        message = f"the run {run.name} has saved no whole checkpoint"
        if runs.state(run).progress == "running":
            raise ConfigError(f"{message} yet", f"it is running: virc runs tail {run.name}")
        raise ConfigError(message, f"virc runs show {run.name}")
    run = _run(stem, workspace) if at and stem else None
    return (run, checkpoint(run, step)) if run else None


def _run(name: str, workspace: Path) -> Run | None:
    if is_file(expanded(name) / "run.json"):
        return Run(expanded(name).resolve())
    run = Run(workspace / runs.FOLDER / name)
    return run if Path(name).name == name and is_file(run.folder / "run.json") else None


def _with_base(weights: Weights, workspace: Path) -> Weights:
    """An adapter, whose folder was found, on the weights of its base."""
    adapter = weights.folder
    name = lora_config.read_lora_config(adapter).base
    base = _lookup(name, workspace, weights.system)
    problem = f"the base of the LoRA adapter {weights.name} is"
    if base is None:
        hint = f"write its folder as base_model_name_or_path into {adapter / lora_config.SETTINGS}"
        if re.fullmatch(HUB_ID, name):
            hint = f"virc download {name}"
        raise ConfigError(f"{problem} not on this machine: {name[:200]}", hint)
    if not is_file(base.folder / _MODEL):
        raise ConfigError(f"{problem} an adapter itself: {base.folder}", "merge that one into its own base first")
    return Weights(weights.name, base.folder, base.system, weights.model or base.model, adapter)


def _places(name: str | None, model: Model | None, workspace: Path) -> list[Path]:
    """The folders in which a model of that name may be, in the order in which they count."""
    if name is None:
        return [EMBEDDED_FOLDER]
    places = [expanded(name)]
    hub_id = _hub_id(name, model)
    if "/" not in name or (model and name == model.hub):  # any other path or hub id means itself alone
        places += [Path(model.folder)] if model and model.folder else []
        places.append(workspace / MODELS / Path(name).name)
    if hub_id:
        fetched = folder_of(hub_id, workspace, by_hand=model is not None and model.hub == hub_id)
        return [*places, *([fetched] if fetched else []), *_cached(hub_id)]
    return [*places, PACKAGE / name] if name in embedded() else places


def _hub_id(name: str, model: Model | None) -> str | None:
    """The hub id that a name means: itself if it looks like one, else that of its short name."""
    if "/" not in name:
        return model.hub if model else None
    return name if name.count("/") == 1 and name[0] not in "./~" else None


def _cached(hub_id: str) -> Iterator[Path]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        yield Path(snapshot_download(hub_id, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        return


def _missing(name: str, system: System | None, workspace: Path) -> ConfigError:
    family, model = known(name, system)
    judge = None if model else judges(name, system).get(name)
    if judge:
        return _missing_judge(name, judge)
    if name == EMBEDDED:
        return ConfigError("the embedded model is missing from this installation", REAL_MODELS)
    if is_folder(expanded(name)):
        file = gguf.in_folder(expanded(name))
        no_model = ConfigError(
            f"{name} is no model folder: it holds no config.json", f"«--model {file}»" if file else None
        )
        return _in_shards(name, name) if shards.actor_of(expanded(name)) else no_model
    missing = f"the model {name} is not on this machine"
    if family and model and (model.folder or (name in family.models and not model.hub)):
        hint = f"put it into {MODELS}/{name}, or give it a `hub` or a `folder` in {family.file}"
        if model.folder:
            missing = f"no model is in {model.folder}: it holds no config.json"
            hint = f"mend `folder` of {name} in {family.file}"
        return ConfigError(missing, hint)
    in_models = Path(name).parent == Path(MODELS)
    hub_id = (model and model.hub) if in_models else _hub_id(name, model)
    elsewhere = None if model or in_models else elsewhere_hint(name)
    if hub_id and not elsewhere:
        return ConfigError(missing, download_of(hub_id, family))
    names = {short for each in systems.discover().values() for short in (*each.models, *each.judges)}
    local = (config.parent.name for config in (workspace / MODELS).glob("[!.]*/config.json"))
    names |= {*embedded(), *local, *(run.name for run in runs.discover(workspace))}
    none = f"there is no model {name[:200]!r}", did_you_mean(name, names, NAMES)
    if name in systems.discover():
        none = f"{name} is a system, and no model of that name is here", f"«--system {name}» «--model FOLDER»"
    return ConfigError(*(elsewhere or none))


def _in_shards(what: str, name: str) -> ConfigError:
    return ConfigError(f"{what} is saved in shards, which nothing but its own training loads", f"virc merge {name}")


def _missing_judge(name: str, judge: Model) -> ConfigError:
    if not judge.hub:
        return ConfigError(f"no model is in {judge.folder}: it holds no config.json")
    size = f", {judge.gib:.0f} GiB" if judge.gib else ""
    message = f"{name}, which is {judge.hub}{size}, is not on this machine"
    fetch = f"virc download {name if judges(name) else judge.hub}"
    return ConfigError(message, f"`{fetch}`, then virc serve {name}")


def elsewhere_hint(name: str) -> tuple[str, str] | None:
    """What a name means that is no model of this machine: a sentence and a hint; None where it may be one."""
    for begin, (service, address) in _SERVICES.items():
        if re.match(begin, name, re.IGNORECASE):
            return (
                f"{name} is a model of the service {service}, and no endpoint is set",
                f"«export VIRC_API_KEY=KEY», and «--endpoint {address}» «--model {name}»",
            )
    if _OF_OLLAMA.fullmatch(name) and "\\" not in name:
        sentence = f"there is no model {name!r}; a server such as Ollama has models of such names"
        return sentence, f"«--endpoint http://localhost:11434/v1» «--model {name}»"
    return None


def meaning(name: str, workspace: Path, system: System | None = None, source: str | None = None) -> str | None:
    """What a model of that name is already, as a sentence; None where the name is free.

    Args:
        system: one whose models have their names too, be it that it is only a file.
        source: the checkpoint that a new model is made from, `RUN@STEP`: the newest one of a run may have its name.
    """
    if name in embedded():
        return f"{name} is a model of this package"
    for family, model in (known(name), known(name, system)):
        if family and model and (model.hub or model.folder):  # else its weights are still to be made
            return f"{name} is a model of the system {family.name}"
    if judge := judges(name).get(name):
        return f"{name} is the judge {judge.hub or judge.folder}"
    return _of_workspace(name, workspace, source)


def _of_workspace(name: str, workspace: Path, source: str | None) -> str | None:
    run, in_models = Run(workspace / runs.FOLDER / name), workspace / MODELS / name
    if is_file(run.folder / "run.json"):
        newest = checkpoints(run)[-1:]
        if not newest or source != f"{name}@{newest[0].step}":
            return f"{name} is a run"
    if is_folder(in_models):
        origin = provenance.read_provenance(in_models)
        return f"{MODELS}/{name} is a model already" + (f", merged from {origin.source}" if origin else "")
    model_files = ("config.json", lora_config.SETTINGS)
    return f"./{name} is a model already" if any(is_file(workspace / name / file) for file in model_files) else None
