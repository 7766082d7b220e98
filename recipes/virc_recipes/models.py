"""What a model name means: a folder with weights on this machine, and the system it belongs to.

Nothing is downloaded here: a model not on this machine is an error that names the command to fetch it.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec

from virc_recipes import systems
from virc_recipes.errors import ConfigError
from virc_recipes.nearest import did_you_mean
from virc_recipes.paths import contents, expanded, is_file, is_folder
from virc_recipes.systems import Model, System

EMBEDDED = "tiny"
EMBEDDED_FOLDER = Path(__file__).parent / "models" / EMBEDDED
REAL_MODELS = (
    "for a real model: `virc config set endpoint URL`, or `--model FOLDER`, "
    "or `hf download LeonMiao/ViRC-7B --local-dir models/ViRC-7B` and `--model ViRC-7B --protocol default`"
)


class Weights(msgspec.Struct, frozen=True):
    """A model on this machine: the name asked for, its folder, and the system it belongs to, if any."""

    name: str
    folder: Path
    system: System | None = None
    model: Model | None = None


def find(name: str | None, workspace: Path, system: str | None = None) -> Weights:
    """Find the weights a name stands for.

    Args:
        name: folder, short name, name under the workspace's `models/`, or hub id; None: the embedded model.
        workspace: folder whose `models/` is looked into.
        system: the system the model belongs to, where its name does not say so.

    Raises:
        ConfigError: no such model, or it is not on this machine.
    """
    name = name or None
    family, model = known(name or EMBEDDED, system)
    places = _places(name, model, workspace)
    name = name or EMBEDDED
    for place in places:
        if is_file(place / "config.json"):
            return Weights(name, place, family, model)
    for place in places:
        if is_file(place / "adapter_config.json"):
            raise ConfigError(f"{place} holds a LoRA adapter, not a whole model", _adapter_hint(place))
    raise _missing(name, family, model, workspace)


def known(name: str, system: str | None = None) -> tuple[System | None, Model | None]:
    """The system and model that a short name, a hub id or a path ending in a short name stands for.

    Raises:
        ConfigError: there is no system of the given name.
    """
    family = systems.get(system) if system else None
    for candidate in (family,) if family else systems.discover().values():
        for short, model in candidate.models.items():
            if name == model.hub or Path(name).name == short:
                return candidate, model
    return family, None


def _places(name: str | None, model: Model | None, workspace: Path) -> list[Path]:
    """Where the weights of that name may lie, the likeliest first."""
    if name is None:
        return [EMBEDDED_FOLDER]
    places = [expanded(name)]
    if _in_workspace(name, model):
        places.append(workspace / "models" / Path(name).name)
    hub_id = _hub_id(name, model)
    if hub_id:
        return [*places, *_cached(hub_id)]
    return [*places, EMBEDDED_FOLDER] if name == EMBEDDED else places


def _in_workspace(name: str, model: Model | None) -> bool:
    """Whether the name may mean a folder of the workspace; any other path or hub id means itself alone."""
    return "/" not in name or (model is not None and name == model.hub)


def _hub_id(name: str, model: Model | None) -> str | None:
    """The hub id a name stands for: itself if it looks like one, else that of its short name."""
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


def _missing(name: str, family: System | None, model: Model | None, workspace: Path) -> ConfigError:
    if name == EMBEDDED:
        return ConfigError("the embedded model is missing from this installation", REAL_MODELS)
    if is_folder(expanded(name)):
        return ConfigError(f"{name} is no model folder: it holds no config.json")
    hub_id = _hub_id(name, model)
    if hub_id:
        place = f"models/{Path(name).name}"
        fetch = f"`hf download {hub_id} --local-dir {place}`"
        again = name if _in_workspace(name, model) else place
        if family:  # whose released weights come without their wording
            again += " --protocol default"
        return ConfigError(f"the model {name} is not on this machine", f"{fetch}, then --model {again}")
    names = {short for system in systems.discover().values() for short in system.models}
    names |= {config.parent.name for config in (workspace / "models").glob("*/config.json")}
    return ConfigError(f"there is no model {name[:200]!r}", did_you_mean(name, names))


def _adapter_hint(folder: Path) -> str:
    try:
        settings = json.loads(contents(folder / "adapter_config.json", 2**20))
        base = settings["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        base = "its base"
    return f"merge it into {base} first, and name the merged folder"
