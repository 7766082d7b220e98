"""The keys that LLaMA-Factory accepts, and which of them a user may set as `engine.KEY`.

`llamafactory_keys.json` is made by `accepted.py`. `llamafactory_refused.yaml` says which accepted keys are not taken
from a user, and why.
"""

from collections.abc import Iterator, Mapping
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import Any

import msgspec

from virc_recipes import fitting
from virc_recipes.clauses import plain
from virc_recipes.errors import ConfigError
from virc_recipes.fitting import Fault
from virc_recipes.nearest import did_you_mean, nearest
from virc_recipes.stages import ENGINE

_FOLDER = Path(__file__).parent
_ACCEPTED = _FOLDER / "llamafactory_keys.json"
_REFUSED = _FOLDER / "llamafactory_refused.yaml"
_TYPES: Mapping[str, Any] = {
    "bool": bool, "int": int, "float": float, "str": str, "list": tuple[str, ...], "dict": dict[str, Any],
}  # fmt: skip

OTHER_ROWS = frozenset({"max_samples", "neat_packing", "packing", "streaming", "val_size"})
"""With one of these the engine counts other rows than there are in the file."""


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key of the engine.

    Args:
        type: names of Python's types for its value, with ` | ` between them; empty: no plain value is one.
        group: the class that declares it.
        none: whether null is a value.
        choices: all its values but null, where they are listed.
        default: where it is plain; null also where it is not.
    """

    type: str
    group: str
    none: bool = False
    choices: tuple[Any, ...] = ()
    default: Any = None

    @property
    def kind(self) -> Any:
        """The type of its values."""
        members = [_TYPES[name] for name in self.type.split(" | ")] + ([None] if self.none else [])
        return reduce(or_, members)


class Accepted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every key of the engine, and the versions of the packages they were read from."""

    versions: Mapping[str, str]
    keys: Mapping[str, Key]


class Refused(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keys, or classes of keys, that are not taken from a user.

    Args:
        dead: not read in a stage: name -> what it is for.
        refused: name -> why it is not wanted.
        instead: name -> the setting of ours that does the same.
        needs: keys that turn something on, ` or ` between them -> names that do nothing without.
    """

    dead: Mapping[str, str]
    refused: Mapping[str, str]
    instead: Mapping[str, str]
    needs: Mapping[str, tuple[str, ...]]


@cache
def accepted() -> Accepted:
    """What the pinned version accepts."""
    return msgspec.json.decode(_ACCEPTED.read_bytes(), type=Accepted)


@cache
def refused() -> Refused:
    """What of it is not taken."""
    return msgspec.yaml.decode(_REFUSED.read_bytes(), type=Refused)


def check(given: Mapping[str, Any], ours: Mapping[str, str], origins: Mapping[str, str]) -> dict[str, Any]:
    """Check keys that a user gives for the engine.

    Args:
        given: by the engine's names.
        ours: engine key -> the setting of ours that it follows from, or a sentence: why it is not to be set.
        origins: `engine.KEY` -> where it comes from.

    Returns:
        The values as the engine gets them: a number that came as text is a number.

    Raises:
        ConfigError: a key is unknown, not the user's, without effect or unwanted, or its value is none of its values.
    """
    for fault in faults(given, ours):
        name = ".".join(fault.path)
        origin = next((of for each, of in origins.items() if f"{each}.".startswith(f"{name}.")), None)
        raise ConfigError(f"{fault.message} ({origin})" if origin else fault.message, fault.hint)
    return {name: _converted(accepted().keys[name], value) for name, value in given.items()}


def faults(given: Mapping[str, Any], ours: Mapping[str, str]) -> Iterator[Fault]:
    """Everything that is wrong with such keys; arguments as of `check`."""
    for name, value in given.items():
        path = (ENGINE, name)
        said = ".".join(path)
        if name not in accepted().keys:
            yield _unknown(name, ours)
        elif name in ours:
            yield Fault(path, *_not_yours(said, ours[name]))
        elif verdict(name):
            yield Fault(path, *_not_taken(said, name))
        elif off := _switches_off(name, value, given):
            on = "true" if accepted().keys[off[0]].type == "bool" else "VALUE"
            without = f"{said} does nothing without {' or '.join(off)}"
            yield Fault(path, without, f"--set {ENGINE}.{off[0]}={on}")
        else:
            yield from _misfits(accepted().keys[name], value, path)


def verdict(name: str) -> tuple[str, str] | None:
    """Whether an accepted key is not taken: which of the tables of `Refused` says so, and what it says."""
    if any(name in names for names in refused().needs.values()):
        return None
    for called in _names(name):
        for table in ("instead", "refused", "dead"):
            if called in getattr(refused(), table):
                return table, getattr(refused(), table)[called]
    return None


def _names(name: str) -> tuple[str, str]:
    """What a table may call a key: its name, which comes first, or its class."""
    return name, accepted().keys[name].group


def _is_setting(text: str) -> bool:
    return " " not in text


def _unknown(name: str, ours: Mapping[str, str]) -> Fault:
    """The fault of an unknown key; the hint names the setting of ours of that name, or the engine's nearest key."""
    message = f"LLaMA-Factory {accepted().versions['llamafactory']} has no key {plain(name, 60)!r}"
    near = nearest(name, accepted().keys)
    whose = name if name in ours.values() else ours.get(near or "")
    if whose is None:
        hint = did_you_mean(name, accepted().keys, f"{_ACCEPTED} lists them")
    elif _is_setting(whose):
        hint = f"it is a setting of its own: --set {whose}=VALUE"
    else:
        hint = f"{near} is not to be set: {whose}"
    return Fault((ENGINE, name), message, hint)


def _not_yours(said: str, whose: str) -> tuple[str, str | None]:
    """Message and hint for a key that something of ours stands for."""
    if _is_setting(whose):
        return f"{said} follows from the setting {whose}", f"--set {whose}=VALUE"
    return f"{said} is not to be set: {whose}", None


def _not_taken(said: str, name: str) -> tuple[str, str | None]:
    table, text = verdict(name) or ("", "")
    if table == "instead":
        return _not_yours(said, text)
    return (
        f"{said} does nothing in a stage: {text}" if table == "dead" else f"{said} is not taken: {text}",
        None,
    )


def _switches_off(name: str, value: Any, given: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of which one must be on for this one to do anything, where none is."""
    for called in _names(name):
        for switch, dependent in refused().needs.items():
            if called in dependent and name != switch:
                switches = tuple(switch.split(" or "))
                on = _off(value) or not all(_off(given.get(each)) for each in switches)
                return () if on else switches
    return ()


def _off(value: Any) -> bool:
    return value in (None, False, 0, "no")


def _misfits(key: Key, value: Any, path: tuple[str, str]) -> Iterator[Fault]:
    found = list(fitting.faults(_as_meant(key, value), key.kind, path))
    yield from found
    if not found and key.choices and _converted(key, value) not in (None, *key.choices):
        longer = ", ".join(str(choice) for choice in key.choices if str(choice).startswith(str(value)))
        hint = f"there are {longer}" if longer else did_you_mean(str(value), map(str, key.choices))
        yield Fault(path, f"{'.'.join(path)} cannot be {fitting.shown(value)}", hint)


def _converted(key: Key, value: Any) -> Any:
    converted = msgspec.convert(_as_meant(key, value), key.kind, strict=False)
    return list(converted) if isinstance(converted, tuple) else converted


def _as_meant(key: Key, value: Any) -> Any:
    """The value; `no` without quotes, which YAML takes for false, where it is one of the choices."""
    return "no" if value is False and "no" in key.choices else value
