"""Which weights and layers of a model belong to which part, by their names, prefixes included."""

import re
from collections.abc import Mapping
from functools import cache

from virc.core.errors import ConfigError
from virc.families import registry as families
from virc.stages.sft import Part

PARTS: tuple[Part, ...] = ("vision", "projector", "language")


def pattern(part: Part, model_type: object) -> str:
    """A regular expression that the whole name of each weight and layer of a part matches.

    Raises:
        ConfigError: the parts of such models are not known.
    """
    return _patterns(str(model_type))[part]


@cache
def _patterns(model_type: str) -> Mapping[Part, str]:
    family = families.by_model_type(model_type)
    if family is None or not family.parts:
        raise ConfigError(f"the parts of models of type {model_type[:60]!r} are not known")
    named = {each: "|".join(map(re.escape, pieces)) for each, pieces in family.parts.items()}
    others = rf"(?!.*(?:{'|'.join(named.values())})).*"
    return {part: rf".*(?:{named[part]}).*" if part in named else others for part in PARTS}


def part_of(name: str, model_type: object) -> Part:
    """The part that a weight or a layer belongs to, by its name. Raises ConfigError: as `pattern`."""
    return next(part for part in PARTS if re.fullmatch(pattern(part, model_type), name))
