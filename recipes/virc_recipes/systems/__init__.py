"""Systems, one YAML each in this folder: the models that belong together and how they are spoken to.

A system is found by being a file here; there is no second list.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from virc_recipes.clauses import clause
from virc_recipes.errors import ConfigError
from virc_recipes.nearest import did_you_mean
from virc_recipes.reasoning.protocol import Coordinates


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model of a system.

    Args:
        hub: its hub id; None when its weights travel in this package.
        coordinates: what its boxes mean where that differs from its system's.
    """

    hub: str | None = None
    coordinates: Coordinates | None = None


class System(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A system's YAML: `models` by short name; `coordinates` and `images` are as in `Protocol`."""

    name: str
    models: Mapping[str, Model] = {}
    coordinates: Coordinates = "pixel"
    images: Literal["smart", "square_1000"] = "smart"


@cache
def discover() -> Mapping[str, System]:
    """Every system in this folder by name."""
    return {system.name: system for system in map(load, sorted(Path(__file__).parent.glob("*.yaml")))}


def get(name: str) -> System:
    """The system of that name.

    Raises:
        ConfigError: there is none; the hint names the nearest.
    """
    if name not in discover():
        raise ConfigError(f"there is no system {name!r}", did_you_mean(name, discover()))
    return discover()[name]


def load(path: Path) -> System:
    """Read one system file.

    Raises:
        ConfigError: it is no YAML, or a key in it is unknown, missing or of the wrong type.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {clause(error)}") from error
    for key, known in _unknown_keys(content):
        raise ConfigError(f"unknown key {key!r} in {path}", did_you_mean(key, known))
    try:
        return msgspec.convert(content, System, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {clause(error)}") from error


def _unknown_keys(content: object) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Keys no struct reads, each with the keys that could have been meant (msgspec names only the key)."""
    if not isinstance(content, Mapping):
        return
    yield from _unknown(content, System)
    models = content.get("models")
    for model in models.values() if isinstance(models, Mapping) else ():
        yield from _unknown(model, Model)


def _unknown(content: object, kind: type[msgspec.Struct]) -> Iterator[tuple[str, tuple[str, ...]]]:
    if isinstance(content, Mapping):
        for key in content:
            if key not in kind.__struct_fields__:
                yield str(key), kind.__struct_fields__
