"""The keys of an engine: its types and defaults, which setting of ours each follows from, which a user may set.

`ENGINE/keys.json` says all of it, a line for each key, for a class of keys, and for what dotted keys begin with. After
new pins `tests/engine_keys.py` writes again what the engine says of itself. Keys of nested settings have dotted names.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from virc.config import dotted, validation
from virc.config.validation import Fault
from virc.core.errors import ConfigError
from virc.core.plan import Change
from virc.core.text import did_you_mean, nearest, plain
from virc.stages.resolve import ENGINE
from virc.stages.sft import StageConfig

T = TypeVar("T")

_FOLDER = Path(__file__).parent
_TYPES: Mapping[str, Any] = {
    "bool": bool, "int": int, "float": float, "str": str, "list": tuple[str, ...],
    "values": tuple[int | float | str, ...], "dict": dict[str, Any],
}  # fmt: skip
_OFF = (None, False, 0, "no")
_OPTIONS = ("overlay", "--", "option")
OF_ENGINE = ("type", "group", "none", "choices", "default")
"""The fields of a key that the engine says itself."""


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a key; the fields after `default` are ours.

    Args:
        type: names of Python's types for its value, with ` | ` between them; empty: no plain value is one; None: the
            engine has no such key.
        group: the class that declares it; empty if the key's name has it.
        none: whether null is a value.
        choices: all its values but null, if they are listed.
        default: if it is a plain value; null also stands for others.
        same: the setting whose value it gets.
        follows: the settings that it is computed from; a user changes the first one.
        preset: the setting that it is computed from if the user does not set it.
        fixed: why it cannot be set.
        why: why its value is not the published one.
        instead: the setting of ours that does the same; so a user may not set it.
        refused: why it is not taken from a user.
        dead: its purpose, if no stage reads it.
        needs: keys, with ` or ` between them, of which one must be on for it to do anything.
        gone: what to do instead of a key that earlier versions had.
    """

    type: str | None = None
    group: str = ""
    none: bool = False
    choices: tuple[Any, ...] = ()
    default: Any = None
    same: str = ""
    follows: tuple[str, ...] = ()
    preset: str = ""
    fixed: str = ""
    why: str = ""
    instead: str = ""
    refused: str = ""
    dead: str = ""
    needs: str = ""
    gone: str = ""

    @property
    def kind(self) -> Any:
        members = [_TYPES[name] for name in (self.type or "").split(" | ")] + ([None] if self.none else [])
        return reduce(or_, members)

    @property
    def settings(self) -> tuple[str, ...]:
        """What its value follows from."""
        return tuple(filter(None, (self.same, *self.follows, self.preset)))

    @property
    def source(self) -> str:
        """The setting that virc sets it by, or why it cannot be set; empty: virc does not set it."""
        return self.fixed or self.same or next(iter(self.follows), "")


def under(prefix: str, keys: Mapping[str, T]) -> dict[str, T]:
    return {f"{prefix}.{key}": value for key, value in keys.items()}


def load(package: str, name: str, kind: str = "") -> "Keys":
    """The keys of an engine in the folder `package`; those of stages of kind `dpo` differ in fields under `dpo`."""
    read = msgspec.json.decode((_FOLDER / package / "keys.json").read_bytes())
    entries: dict[str, Key] = {}
    for key, fields in read["keys"].items():
        of_kind, of_engine = fields.pop("dpo", None), {each: fields[each] for each in OF_ENGINE if each in fields}
        entries[key] = msgspec.convert(of_engine | of_kind if kind == "dpo" and of_kind else fields, Key)
    accepted = {key: entry for key, entry in entries.items() if entry.type is not None}
    ours = {key: entry.source for key, entry in entries.items() if entry.source}
    return Keys(package, name, read["versions"], entries, accepted, ours)


class Keys(msgspec.Struct, frozen=True):
    """The keys of one engine.

    Args:
        versions: of the packages that it was read from.
        entries: everything known, by the name of a key, a class of keys or a beginning of dotted keys.
        ours: key -> the setting of ours that it follows from, or a sentence: why it is not to be set.
    """

    package: str
    name: str
    versions: Mapping[str, str]
    entries: Mapping[str, Key]
    accepted: Mapping[str, Key]
    ours: Mapping[str, str]

    def same(self, config: StageConfig) -> dict[str, Any]:
        return {name: getattr(config, key.same) for name, key in self.entries.items() if key.same}

    def changes(
        self, keys: Mapping[str, Any], published: Mapping[str, Any], origins: Mapping[str, str]
    ) -> tuple[Change, ...]:
        """Where the engine does not get, or have by default, what was published, and why."""
        names = {**published, **keys} if published else {}
        both = {key: (published.get(key), keys.get(key, self.default(key))) for key in names}
        return tuple(
            Change(key, theirs, ours, self._why(key, origins, key in published))
            for key, (theirs, ours) in both.items()
            if theirs != ours
        )

    def _why(self, name: str, origins: Mapping[str, str], is_published: bool) -> str:
        key = self.entries.get(name, Key())
        settings = {setting.split(".")[0] for setting in key.settings}
        found = dict.fromkeys(
            origin
            for setting, origin in origins.items()
            if setting.split(".")[0] in settings or f"{setting}.".startswith(f"engine.{name}.")
        )
        chosen = [origin for origin in found if origin.startswith(_OPTIONS) or origin.endswith((".yaml", ".yml"))]
        otherwise = next(iter(found), "as by default") if is_published else "the published script does not name it"
        return ", ".join(chosen) or key.why or key.fixed or otherwise

    def check(self, given: Mapping[str, Any], origins: Mapping[str, str]) -> dict[str, Any]:
        """Keys that a user gives for the engine as it gets them, by dotted names: a number that came as text is one.

        Raises:
            ConfigError: a key or its value is not taken.
        """
        for fault in self.faults(given):
            name = ".".join(fault.path)
            origin = next((of for each, of in origins.items() if f"{each}.".startswith(f"{name}.")), None)
            raise ConfigError(f"{fault.message} ({origin})" if origin else fault.message, fault.hint)
        return {name: _converted(self.accepted[name], value) for name, value in self.leaves(given).items()}

    def faults(self, given: Mapping[str, Any]) -> Iterator[Fault]:
        leaves = self.leaves(given)
        for name, value in leaves.items():
            path = (ENGINE, name)
            shown = ".".join(path)
            inner, gone = _inner(name, value, self.ours), _inner(name, value, self._gone())
            if name not in self.accepted:
                yield self._unknown(name)
            elif name in self.ours:
                yield Fault(path, *_not_yours(shown, self.ours[name]))
            elif inner:
                yield Fault((ENGINE, inner), *_not_yours(f"{ENGINE}.{inner}", self.ours[inner]))
            elif gone:
                yield Fault((ENGINE, gone), self._has_no(gone), self.entries[gone].gone)
            elif verdict := self.verdict(name):
                table, text = verdict
                refusal = f"{shown} {'does nothing in a stage' if table == 'dead' else 'is not taken'}: {text}"
                yield Fault(path, *(_not_yours(shown, text) if table == "instead" else (refusal, None)))
            elif off := self._switches_off(name, value, leaves):
                on = "true" if self.accepted[off[0]].type == "bool" else "VALUE"
                without = f"{shown} does nothing without {' or '.join(off)}"
                yield Fault(path, without, f"--set {ENGINE}.{off[0]}={on}")
            else:
                yield from _misfits(self.accepted[name], value, path)

    def verdict(self, name: str) -> tuple[str, str] | None:
        """Whether an accepted key is not taken: by which field of `Key`, and what that says."""
        for key in filter(None, map(self.entries.get, self._names(name))):
            if key.needs:
                return None
            for field in ("instead", "refused", "dead"):
                if said := getattr(key, field):
                    return field, said
        return None

    def is_default(self, name: str, value: Any) -> bool:
        key = self.accepted.get(name)
        return key is not None and key.default == value and (value is not None or key.none)

    def default(self, name: str) -> Any:
        """The key's default value if it is plain; else None."""
        key = self.accepted.get(name)
        return key.default if key else None

    def leaves(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Nested or dotted keys by the names of accepted ones; what is in a free mapping stays a mapping."""
        found: dict[str, Any] = {}
        for name, value in self._leaves(given, ()):
            home = next((each for each in _beginnings(name)[1:] if each in self.accepted), None)
            if home is None or name in self.accepted or "dict" not in (self.accepted[home].type or ""):
                found[name] = value
            else:
                dotted.put(found.setdefault(home, {}), tuple(name[len(home) + 1 :].split(".")), value)
        return found

    def _leaves(self, given: Mapping[str, Any], path: dotted.Path) -> Iterator[tuple[str, Any]]:
        for key, value in given.items():
            name = ".".join((*path, key))
            if isinstance(value, Mapping) and self._is_section(name):
                yield from self._leaves(value, (*path, key))
            else:
                yield name, value

    def _names(self, name: str) -> tuple[str, ...]:
        """What a table may call a key: its name, what it begins with, or its class; the nearest comes first."""
        return *_beginnings(name), self.accepted[name].group

    def _unknown(self, name: str) -> Fault:
        known = self.accepted
        message = self._has_no(name)
        if self._is_section(name):
            return Fault((ENGINE, name), message, f"there are keys that begin with {name}.")
        if gone := self._gone().get(name):
            return Fault((ENGINE, name), message, gone)
        likely = [each for each in known if each in self.ours or not self.verdict(each)]
        near = nearest(name, likely) or _elsewhere(name, likely) or nearest(name, known)
        source = name if name in self.ours.values() else self.ours.get(near or "")
        if source is None:
            listed = f"{_FOLDER / self.package / 'keys.json'} lists them"
            hint = f"did you mean {near!r}?" if near else listed
        elif " " not in source:
            hint = f"it is a setting of its own: --set {source}=VALUE"
        else:
            hint = f"{near} is not to be set: {source}"
        return Fault((ENGINE, name), message, hint)

    def _is_section(self, name: str) -> bool:
        return any(key.startswith(f"{name}.") for key in self.accepted)

    def _gone(self) -> dict[str, str]:
        return {name: key.gone for name, key in self.entries.items() if key.gone}

    def _has_no(self, name: str) -> str:
        return f"{self.name} {self.versions[self.package]} has no key {plain(name, 100)!r}"

    def _switches_off(self, name: str, value: Any, given: Mapping[str, Any]) -> tuple[str, ...]:
        """The keys of which one must be on for this one to have an effect, if none is."""
        switch = next((key.needs for each in self._names(name) if (key := self.entries.get(each)) and key.needs), "")
        switches = tuple(switch.split(" or ")) if switch and switch != name else ()
        on = value in _OFF or not all(given.get(each) in _OFF for each in switches)
        return () if on else switches


def _elsewhere(name: str, known: Iterable[str]) -> str | None:
    """The key with the nearest last part, if the beginning is missing or wrong and only one is near."""
    ending: dict[str, list[str]] = {}
    for each in known:
        ending.setdefault(each.rsplit(".", 1)[-1], []).append(each)
    found = ending.get(nearest(name.rsplit(".", 1)[-1], ending) or "", [])
    return found[0] if len(found) == 1 else None


def _beginnings(name: str) -> tuple[str, ...]:
    parts = name.split(".")
    return tuple(".".join(parts[:length]) for length in range(len(parts), 0, -1))


def _inner(name: str, value: Any, known: Mapping[str, str]) -> str | None:
    inside = dotted.leaves(value) if isinstance(value, Mapping) else ()
    return next((full for path, _ in inside if (full := ".".join((name, *path))) in known), None)


def _not_yours(shown: str, source: str) -> tuple[str, str | None]:
    if " " not in source:  # else it is a sentence
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
    """The value; `no` without quotes, which YAML reads as false, if it is one of the choices."""
    return "no" if value is False and "no" in key.choices else value
