"""The keys that an engine accepts, and which of them a user may set as `engine.KEY`.

`ENGINE_keys.json` is made by `accepted.py` and `verl_accepted.py`. `ENGINE_refused.yaml` says which accepted keys are
not taken from a user, and why. Keys of nested settings have dotted names.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import Any

import msgspec

from virc.config import dotted, validation
from virc.config.validation import Fault
from virc.core.errors import ConfigError
from virc.core.text import did_you_mean, nearest, plain
from virc.stages.resolve import ENGINE

_FOLDER = Path(__file__).parent
_TYPES: Mapping[str, Any] = {
    "bool": bool, "int": int, "float": float, "str": str, "list": tuple[str, ...],
    "values": tuple[int | float | str, ...], "dict": dict[str, Any],
}  # fmt: skip
_OFF = (None, False, 0, "no")


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key of the engine.

    Args:
        type: names of Python's types for its value, with ` | ` between them; empty: no plain value is one.
        group: the class that declares it; empty where the key's name has it.
        none: whether null is a value.
        choices: all its values but null, where they are listed.
        default: where it is plain; null also where it is not.
    """

    type: str
    group: str = ""
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
    """Keys, classes of keys, or beginnings of dotted keys, that are not taken from a user.

    Args:
        dead: not read in a stage: name -> what it is for.
        refused: name -> why it is not wanted.
        instead: name -> the setting of ours that does the same.
        needs: keys that turn something on, ` or ` between them -> names that do nothing without.
        gone: keys that earlier versions had -> what to do instead.
    """

    dead: Mapping[str, str]
    refused: Mapping[str, str]
    instead: Mapping[str, str]
    needs: Mapping[str, tuple[str, ...]]
    gone: Mapping[str, str] = {}

    def verdict(self, names: Iterable[str]) -> tuple[str, str] | None:
        """Which of the tables refuses a key, and what it says.

        Args:
            names: what the tables may call the key; the first that one of them knows counts.
        """
        for called in names:
            if any(called in dependent for dependent in self.needs.values()):
                return None
            for table in ("instead", "refused", "dead"):
                if called in getattr(self, table):
                    return table, getattr(self, table)[called]
        return None


@cache
def _accepted(package: str) -> Accepted:
    return msgspec.json.decode((_FOLDER / package / "keys.json").read_bytes(), type=Accepted)


@cache
def _refused(package: str) -> Refused:
    return msgspec.yaml.decode((_FOLDER / package / "refused.yaml").read_bytes(), type=Refused)


@cache
def _sections(package: str) -> frozenset[str]:
    """What dotted keys begin with."""
    parts = (name.split(".") for name in _accepted(package).keys)
    return frozenset(".".join(each[:length]) for each in parts for length in range(1, len(each)))


class Keys(msgspec.Struct, frozen=True):
    """The keys of one engine.

    Args:
        package: its name as a package, which its files here have too.
        name: as people write it.
        ours: key -> the setting of ours that it follows from, or a sentence: why it is not to be set.
    """

    package: str
    name: str
    ours: Mapping[str, str] = {}

    @property
    def accepted(self) -> Accepted:
        """What the pinned version accepts."""
        return _accepted(self.package)

    @property
    def refused(self) -> Refused:
        """What of it is not taken."""
        return _refused(self.package)

    def check(self, given: Mapping[str, Any], origins: Mapping[str, str]) -> dict[str, Any]:
        """Check keys that a user gives for the engine.

        Args:
            given: by the engine's names, dotted or nested.
            origins: `engine.KEY` -> where it comes from.

        Returns:
            The values as the engine gets them, by dotted names: a number that came as text is a number.

        Raises:
            ConfigError: a key or its value is not taken.
        """
        for fault in self.faults(given):
            name = ".".join(fault.path)
            origin = next((of for each, of in origins.items() if f"{each}.".startswith(f"{name}.")), None)
            raise ConfigError(f"{fault.message} ({origin})" if origin else fault.message, fault.hint)
        return {name: _converted(self.accepted.keys[name], value) for name, value in self.leaves(given).items()}

    def faults(self, given: Mapping[str, Any]) -> Iterator[Fault]:
        """Everything that is wrong with such keys; arguments as of `check`."""
        leaves = self.leaves(given)
        for name, value in leaves.items():
            path = (ENGINE, name)
            shown = ".".join(path)
            inner, gone = _inner(name, value, self.ours), _inner(name, value, self.refused.gone)
            if name not in self.accepted.keys:
                yield self._unknown(name)
            elif name in self.ours:
                yield Fault(path, *_not_yours(shown, self.ours[name]))
            elif inner:
                yield Fault((ENGINE, inner), *_not_yours(f"{ENGINE}.{inner}", self.ours[inner]))
            elif gone:
                yield Fault((ENGINE, gone), self._has_no(gone), self.refused.gone[gone])
            elif verdict := self.verdict(name):
                table, text = verdict
                refusal = f"{shown} {'does nothing in a stage' if table == 'dead' else 'is not taken'}: {text}"
                yield Fault(path, *(_not_yours(shown, text) if table == "instead" else (refusal, None)))
            elif off := self._switches_off(name, value, leaves):
                on = "true" if self.accepted.keys[off[0]].type == "bool" else "VALUE"
                without = f"{shown} does nothing without {' or '.join(off)}"
                yield Fault(path, without, f"--set {ENGINE}.{off[0]}={on}")
            else:
                yield from _misfits(self.accepted.keys[name], value, path)

    def verdict(self, name: str) -> tuple[str, str] | None:
        """Whether an accepted key is not taken: which of the tables of `Refused` says so, and what it says."""
        return self.refused.verdict(self._names(name))

    def is_default(self, name: str, value: Any) -> bool:
        """Whether that is the key's default value."""
        key = self.accepted.keys.get(name)
        return key is not None and key.default == value and (value is not None or key.none)

    def default(self, name: str) -> Any:
        """The key's default value where it is plain; else None."""
        key = self.accepted.keys.get(name)
        return key.default if key else None

    def leaves(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Nested or dotted keys by the names of accepted ones; what is in a free mapping stays a mapping."""
        found: dict[str, Any] = {}
        for name, value in self._leaves(given, ()):
            home = next((each for each in _beginnings(name)[1:] if each in self.accepted.keys), None)
            if home is None or name in self.accepted.keys or "dict" not in self.accepted.keys[home].type:
                found[name] = value
            else:
                dotted.put(found.setdefault(home, {}), tuple(name[len(home) + 1 :].split(".")), value)
        return found

    def _leaves(self, given: Mapping[str, Any], path: dotted.Path) -> Iterator[tuple[str, Any]]:
        for key, value in given.items():
            name = ".".join((*path, key))
            if isinstance(value, Mapping) and name in _sections(self.package):
                yield from self._leaves(value, (*path, key))
            else:
                yield name, value

    def _names(self, name: str) -> tuple[str, ...]:
        """What a table may call a key: its name, what it begins with, or its class; the nearest comes first."""
        return *_beginnings(name), self.accepted.keys[name].group

    def _unknown(self, name: str) -> Fault:
        """The fault of an unknown key; the hint names our setting of that name, or the engine's nearest key."""
        known = self.accepted.keys
        message = self._has_no(name)
        if name in _sections(self.package):
            return Fault((ENGINE, name), message, f"there are keys that begin with {name}.")
        if gone := self.refused.gone.get(name):
            return Fault((ENGINE, name), message, gone)
        likely = [each for each in known if each in self.ours or not self.verdict(each)]
        near = nearest(name, likely) or _elsewhere(name, likely) or nearest(name, known)
        source = name if name in self.ours.values() else self.ours.get(near or "")
        if source is None:
            listed = f"{_FOLDER / self.package / 'keys.json'} lists them"
            hint = f"did you mean {near!r}?" if near else listed
        elif _is_setting(source):
            hint = f"it is a setting of its own: --set {source}=VALUE"
        else:
            hint = f"{near} is not to be set: {source}"
        return Fault((ENGINE, name), message, hint)

    def _has_no(self, name: str) -> str:
        return f"{self.name} {self.accepted.versions[self.package]} has no key {plain(name, 100)!r}"

    def _switches_off(self, name: str, value: Any, given: Mapping[str, Any]) -> tuple[str, ...]:
        """The keys of which one must be on for this one to do anything, where none is."""
        for called in self._names(name):
            for switch, dependent in self.refused.needs.items():
                if called in dependent and name != switch:
                    switches = tuple(switch.split(" or "))
                    on = value in _OFF or not all(given.get(each) in _OFF for each in switches)
                    return () if on else switches
        return ()


def _elsewhere(name: str, known: Iterable[str]) -> str | None:
    """The key with the nearest last part, where the beginning is missing or wrong and only one is near."""
    ending: dict[str, list[str]] = {}
    for each in known:
        ending.setdefault(each.rsplit(".", 1)[-1], []).append(each)
    found = ending.get(nearest(name.rsplit(".", 1)[-1], ending) or "", [])
    return found[0] if len(found) == 1 else None


def _beginnings(name: str) -> tuple[str, ...]:
    """A dotted name and what it begins with, the longest first."""
    parts = name.split(".")
    return tuple(".".join(parts[:length]) for length in range(len(parts), 0, -1))


def _inner(name: str, value: Any, known: Mapping[str, str]) -> str | None:
    """The first key in a free mapping that is one of these."""
    inside = dotted.leaves(value) if isinstance(value, Mapping) else ()
    return next((full for path, _ in inside if (full := ".".join((name, *path))) in known), None)


def _is_setting(text: str) -> bool:
    return " " not in text


def _not_yours(shown: str, source: str) -> tuple[str, str | None]:
    """Message and hint for a key that virc sets."""
    if _is_setting(source):
        return f"{shown} follows from the setting {source}", f"--set {source}=VALUE"
    return f"{shown} is not to be set: {source}", None


def _misfits(key: Key, value: Any, path: tuple[str, str]) -> Iterator[Fault]:
    found = list(validation.faults(_as_meant(key, value), key.kind, path))
    yield from found
    if not found and key.choices and _converted(key, value) not in (None, *key.choices):
        longer = ", ".join(str(choice) for choice in key.choices if str(choice).startswith(str(value)))
        hint = f"there are {longer}" if longer else did_you_mean(str(value), map(str, key.choices))
        yield Fault(path, f"{'.'.join(path)} cannot be {validation.shown(value)}", hint)


def _converted(key: Key, value: Any) -> Any:
    converted = msgspec.convert(_as_meant(key, value), key.kind, strict=False)
    return list(converted) if isinstance(converted, tuple) else converted


def _as_meant(key: Key, value: Any) -> Any:
    """The value; `no` without quotes, which YAML takes for false, where it is one of the choices."""
    return "no" if value is False and "no" in key.choices else value
