"""verl 0.9.1's configuration with a run's keys in it; runs in the engine's environment alone."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module  # type: ignore[import-not-found]
from hydra.utils import get_object  # type: ignore[import-not-found]
from omegaconf import DictConfig, OmegaConf, open_dict  # type: ignore[import-not-found]

from virc.config import dotted
from virc.config import yaml as plain_yaml
from virc.core.errors import ConfigError

FREE = ("ray_kwargs.ray_init", "reward.custom_reward_function.reward_kwargs")
"""Mappings that verl hands on whatever they hold, though they are not empty, or not there, in its own files."""


def composed(file: Path) -> DictConfig:
    """verl's configuration as its files have it, with the keys of a YAML over it. Raises ConfigError."""
    changed, config = plain_yaml.read_mapping(file), default()
    plain = OmegaConf.to_container(config, resolve=False)
    for path, value in dotted.leaves(changed):
        if not known(plain, path):
            raise ConfigError(f"verl has no key {'.'.join(path)!r}", str(file))
        with open_dict(config):
            OmegaConf.update(config, ".".join(path), value, force_add=True)
    return config


def default() -> DictConfig:
    with initialize_config_module(config_module="verl.trainer.config", version_base=None):
        return compose(config_name="ppo_trainer")


def known(config: Mapping[str, Any], path: dotted.Path) -> bool:
    """Whether verl reads a key: it is in its files, a class it becomes has it, or it is in a free mapping."""
    node: Any = config
    for number, key in enumerate(path):
        here = ".".join(path[: number + 1])
        if not isinstance(node, dict):
            return False
        if here in FREE or not node:
            return True
        if key not in node:
            field = fields(node).get(key)
            return field is not None and (number + 1 == len(path) or "dict" in str(field.type))
        node = node[key]
    return True


def fields(node: Mapping[str, Any]) -> Mapping[str, "dataclasses.Field[Any]"]:
    """The fields of the class that a mapping becomes; what its files do not name among them."""
    target = node.get("_target_")
    if not target:
        return {}
    kind = get_object(target)
    return {field.name: field for field in dataclasses.fields(kind) if not field.name.startswith("_")}
