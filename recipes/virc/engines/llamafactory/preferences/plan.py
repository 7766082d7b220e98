"""LLaMA-Factory 0.9.5: the keys, files and command of a stage of training on preferences.

What it shares with supervised training is planned there: `engines.llamafactory.plan`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from virc.core.files import DATA
from virc.core.plan import Change, Plan
from virc.engines import environment as engines
from virc.engines import keys
from virc.engines.llamafactory import plan as supervised
from virc.stages.context import Place
from virc.stages.dpo import Config

NAME = supervised.NAME
KEYS = keys.load("llamafactory", NAME, "dpo")
START = "virc.engines.llamafactory.preferences.start"

READS: Mapping[str, tuple[str, ...]] = {
    "sigmoid": ("pref_loss", "pref_beta", "pref_ftx", "pref_bco_weight", "dpo_label_smoothing"),
    "kto": ("pref_beta", "pref_ftx", "kto_chosen_weight", "kto_rejected_weight"),
    "orpo": ("pref_loss", "pref_beta", "pref_ftx"),
    "simpo": ("pref_loss", "pref_beta", "pref_ftx", "simpo_gamma"),
}
"""Loss -> the keys of preferences that LLaMA-Factory reads for it."""


def changes(config: Config, published: Mapping[str, Any], origins: Mapping[str, str], name: str) -> tuple[Change, ...]:
    """Where LLaMA-Factory gets other values than the published ones; arguments and errors as of `supervised`."""
    data = Path(DATA) / config.data_name()
    place = msgspec.structs.replace(engines.place_before(config, name, data.parent), dataset=data.name)
    return KEYS.changes(settings(config, place), published, origins)


def plan(config: Config, place: Place, published: Mapping[str, Any], origins: Mapping[str, str]) -> Plan:
    """One attempt at a stage; arguments and errors as of `supervised.plan`."""
    planned, given = supervised.plan(config, place, {}, origins), settings(config, place)
    written = yaml.safe_dump(given, sort_keys=False, allow_unicode=True)
    argv = tuple(START if word == supervised.START else word for word in planned.step.argv)
    return msgspec.structs.replace(
        planned,
        step=msgspec.structs.replace(planned.step, argv=argv),
        files={**planned.files, str(place.files / supervised.SETTINGS): written},
        changes=KEYS.changes(given, published, origins),
    )


def settings(config: Config, place: Place) -> dict[str, Any]:
    """Every key that LLaMA-Factory gets; errors as of `supervised.settings`."""
    ours = {**KEYS.same(config), "pref_loss": config.loss}
    of_loss = {
        "stage": "kto" if config.loss == "kto" else "dpo",
        **{name: ours[name] for name in READS[config.loss]},
        **_reference(config, place),
    }
    return {**supervised.settings(config, place), **of_loss, **config.engine}


def _reference(config: Config, place: Place) -> dict[str, Any]:
    """The model that the loss compares with, where LLaMA-Factory would take another one.

    By itself it takes `model_name_or_path`, which on resuming is the checkpoint; and beside an adapter that training
    goes on with, the model without one.
    """
    if not config.referred or (config.lora and not place.adapter):
        return {}
    return {"ref_model": str(place.base)} | ({"ref_model_adapters": str(place.adapter)} if place.adapter else {})


needs = supervised.needs
