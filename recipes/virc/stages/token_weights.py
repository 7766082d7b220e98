"""Weights of single tokens in RL, which extras have: the setting `token_weights` of a stage.

An entry of `virc.token_weights` is a module with `Settings`, a Struct, and `IN_VERL`, the module that does it. verl
imports that in each of its processes: it registers a policy loss of the entry's name, and has
`weigh(trainer, batch, settings, metrics)`, which changes the advantages of a batch. The entry may name a subclass of
the agent loop, `LOOP`, whose rollouts are otherwise.
"""

import importlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from types import ModuleType
from typing import Any

import msgspec

from virc.core import entry_points
from virc.core.errors import ConfigError, errors_as
from virc.core.text import did_you_mean

VARIABLE = "VIRC_TOKEN_WEIGHTS"
"""Of verl's processes: what `resolved` returns, as JSON."""


def resolved(given: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """The module in verl's processes of what is named, and all of its settings.

    Raises:
        ConfigError: it is not known or not installed, has no such setting, or there are several.
    """
    found = {}
    for name, settings in given.items():
        entry_points.check_installed("virc.token_weights", name, "token weights")
        known = entry_points.modules("virc.token_weights")
        if name not in known:
            hint = did_you_mean(name, known, f"known are {', '.join(known) or 'none'}")
            raise ConfigError(f"there are no token weights {name}", hint)
        module = importlib.import_module(known[name])
        with errors_as(ConfigError, f"token_weights.{name}", caught=msgspec.ValidationError):
            read = msgspec.convert(settings, module.Settings, strict=False)
        found[module.IN_VERL] = msgspec.to_builtins(read)
    if len(found) > 1:
        raise ConfigError(f"token_weights names {len(found)}, and a loss has one", "leave one of them")
    return found


def loop_of(given: Collection[str]) -> str | None:
    """The agent loop of what is named, as `package.module.Class`; None: the usual one."""
    known = entry_points.modules("virc.token_weights")
    return next((loop for name in given if (loop := getattr(importlib.import_module(known[name]), "LOOP", None))), None)


def active() -> Iterator[tuple[ModuleType, dict[str, Any]]]:
    """The module that this process of verl was told of, and its settings."""
    for module, settings in json.loads(os.environ.get(VARIABLE, "{}")).items():
        yield importlib.import_module(module), settings
