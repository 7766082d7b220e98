"""LLaMA-Factory 0.9.5: the keys, files and command of a stage of training on preferences.

What it shares with supervised training is planned there: `engines.llamafactory.plan`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from virc.config.validation import Fault
from virc.core.files import DATA
from virc.core.plan import Change, Plan
from virc.engines import keys as known
from virc.engines.llamafactory import plan as supervised
from virc.engines.llamafactory.preferences.table import OWN, READS, TABLE
from virc.engines.table import place_before
from virc.stages.context import Place
from virc.stages.dpo import Config, contradictions

NAME = supervised.NAME
START = "virc.engines.llamafactory.preferences.start"

_OTHERS = {
    "RLHFArguments": "it is for reward models and PPO",
    "ref_model_quantization_bit": "the reference is the model that the stage starts from, as it is",
    "ld_alpha": "LLaMA-Factory 0.9.5 weighs the model by it and not the reference, so that nothing has a margin of 0",
}
_OF_SUPERVISED = "it is for supervised training"
_UNREAD = (
    "compute_accuracy", "mask_history", "neat_packing", "packing", "train_on_prompt", "use_asft_loss", "use_dft_loss",
    "use_eaft_loss", "asft_alpha", "eaft_alpha",
)  # fmt: skip
"""Keys that LLaMA-Factory reads in supervised training alone."""


class _Keys(known.Keys, frozen=True):
    """The keys of LLaMA-Factory, of which training on preferences reads others than supervised training does."""

    @property
    def refused(self) -> known.Refused:
        """What of it is not taken."""
        usual = super().refused
        needs = {switch: names for switch, names in usual.needs.items() if switch not in _UNREAD}
        needs["ref_model"] = tuple(name for name in needs.get("ref_model", ()) if name not in (*self.ours, *_OTHERS))
        dead = {**usual.dead, **_OTHERS, **dict.fromkeys(_UNREAD, _OF_SUPERVISED)}
        return msgspec.structs.replace(usual, dead=dead, needs={name: each for name, each in needs.items() if each})


KEYS: known.Keys = _Keys(supervised.KEYS.package, NAME, OWN)


def faults(config: Config) -> Iterator[Fault]:
    """Everything that is wrong with the settings together, and with the keys of `engine`."""
    yield from contradictions(config)
    yield from KEYS.faults(config.engine)


def changes(config: Config, published: Mapping[str, Any], origins: Mapping[str, str], name: str) -> tuple[Change, ...]:
    """Where LLaMA-Factory gets other values than the published ones; arguments and errors as of `supervised`."""
    data = Path(DATA) / config.data_name()
    place = msgspec.structs.replace(place_before(config, name, data.parent), dataset=data.name)
    return TABLE.changes(settings(config, place), published, origins, KEYS)


def plan(config: Config, place: Place, published: Mapping[str, Any], origins: Mapping[str, str]) -> Plan:
    """One attempt at a stage; arguments and errors as of `supervised.plan`."""
    planned, keys = supervised.plan(config, place, {}, origins), settings(config, place)
    written = yaml.safe_dump(keys, sort_keys=False, allow_unicode=True)
    argv = tuple(START if word == supervised.START else word for word in planned.step.argv)
    return msgspec.structs.replace(
        planned,
        step=msgspec.structs.replace(planned.step, argv=argv),
        files={**planned.files, str(place.files / supervised.SETTINGS): written},
        changes=TABLE.changes(keys, published, origins, KEYS),
    )


def settings(config: Config, place: Place) -> dict[str, Any]:
    """Every key that LLaMA-Factory gets; errors as of `supervised.settings`."""
    ours = {**TABLE.same(config), "pref_loss": config.loss}
    keys = {
        "stage": "kto" if config.loss == "kto" else "dpo",
        **{name: ours[name] for name in READS[config.loss]},
        **_reference(config, place),
    }
    return {**supervised.settings(config, place), **keys, **config.engine}


def _reference(config: Config, place: Place) -> dict[str, Any]:
    """The model that the loss compares with, where LLaMA-Factory would take another one.

    By itself it takes `model_name_or_path`, which on resuming is the checkpoint; and beside an adapter that training
    goes on with, the model without one.
    """
    if not config.referred or (config.lora and not place.adapter):
        return {}
    return {"ref_model": str(place.base)} | ({"ref_model_adapters": str(place.adapter)} if place.adapter else {})


needs = supervised.needs
