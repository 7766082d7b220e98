"""The keys of an engine: types and defaults, which setting of virc each follows from, and which ones a user may set.

`ENGINE/keys.json` has an entry (`Key`) for each key, and for what several keys share: their class, or the beginning of
their dotted names. Keys of nested settings have dotted names. After new pins, `tests/engine_keys.py` writes again what
the engine says of itself. `load` reads the file; `Keys.check` checks the keys that a user gives.
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
    """What is known of a key. The engine says the fields up to `default`, virc those after it.

    Args:
        type: names of Python's types for its value, with ` | ` between them; empty: no plain value is one; None: the
            engine has no such key.
        group: the class that declares it; empty if the key's name has it.
        none: whether null is a value.
        choices: all its values but null, if they are listed.
        default: if it is a plain value; null also stands for others.
        same: the setting of virc whose value it gets.
        follows: the settings that it is computed from; a user changes the first one.
        preset: the setting that it is computed from if the user does not set it.
        fixed: why it cannot be set.
        why: why its value is not the published one.
        instead: the setting of virc that does the same, so that a user may not set the key.
        refused: why a user may not set it.
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
        """The settings of virc that its value follows from."""
        return tuple(filter(None, (self.same, *self.follows, self.preset)))

    @property
    def source(self) -> str:
        """The setting that virc sets it by, or why it cannot be set; empty: virc does not set it."""
        return self.fixed or self.same or next(iter(self.follows), "")


def under(prefix: str, keys: Mapping[str, T]) -> dict[str, T]:
    """The same values with `prefix` and a dot before each name."""
    return {f"{prefix}.{key}": value for key, value in keys.items()}


def load(package: str, name: str, kind: str = "") -> "Keys":
    """The keys of an engine in the folder `package`; those of stages of kind `dpo` differ in fields under `dpo`."""
    read = msgspec.json.decode((_FOLDER / package / "keys.json").read_bytes())
    entries: dict[str, Key] = {}
    for key, fields in read["keys"].items():
        for_dpo = fields.pop("dpo", None)
        of_engine = {field: fields[field] for field in OF_ENGINE if field in fields}
        entries[key] = msgspec.convert(of_engine | for_dpo if kind == "dpo" and for_dpo else fields, Key)
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
        changes = []
        for key in {**published, **keys} if published else {}:
            theirs, ours = published.get(key), keys.get(key, self.default(key))
            if theirs != ours:
                changes.append(Change(key, theirs, ours, self._why_changed(key, origins, key in published)))
        return tuple(changes)

    def _why_changed(self, name: str, origins: Mapping[str, str], is_published: bool) -> str:
        key = self.entries.get(name, Key())
        settings = {setting.split(".")[0] for setting in key.settings}
        of_key = dict.fromkeys(
            origin
            for setting, origin in origins.items()
            if setting.split(".")[0] in settings or f"{setting}.".startswith(f"engine.{name}.")
        )
        by_user = [origin for origin in of_key if origin.startswith(_OPTIONS) or origin.endswith((".yaml", ".yml"))]
        otherwise = next(iter(of_key), "as by default") if is_published else "the published script does not name it"
        return ", ".join(by_user) or key.why or key.fixed or otherwise

    def check(self, given: Mapping[str, Any], origins: Mapping[str, str]) -> dict[str, Any]:
        """Return the keys that a user gives as the engine gets them: by dotted names, numbers given as text converted.

        Raises:
            ConfigError: a key may not be set, or not to this value.
        """
        for fault in self.faults(given):
            name = ".".join(fault.path)
            origin = next((origins[key] for key in origins if f"{key}.".startswith(f"{name}.")), None)
            raise ConfigError(f"{fault.message} ({origin})" if origin else fault.message, fault.hint)
        return {name: _converted(self.accepted[name], value) for name, value in self.leaves(given).items()}

    def faults(self, given: Mapping[str, Any]) -> Iterator[Fault]:
        leaves = self.leaves(given)
        for name, value in leaves.items():
            path = (ENGINE, name)
            shown = ".".join(path)
            inner, gone = _member_in(self.ours, name, value), _member_in(self._gone(), name, value)
            if name not in self.accepted:
                yield self._unknown(name)
            elif name in self.ours:
                yield Fault(path, *_not_yours(shown, self.ours[name]))
            elif inner:
                yield Fault((ENGINE, inner), *_not_yours(f"{ENGINE}.{inner}", self.ours[inner]))
            elif gone:
                yield Fault((ENGINE, gone), self._has_no(gone), self.entries[gone].gone)
            elif verdict := self.verdict(name):
                field, text = verdict
                if field == "instead":
                    yield Fault(path, *_not_yours(shown, text))
                else:
                    refused = "does nothing in a stage" if field == "dead" else "is not taken"
                    yield Fault(path, f"{shown} {refused}: {text}")
            elif switches := self._missing_switches(name, value, leaves):
                on = "true" if self.accepted[switches[0]].type == "bool" else "VALUE"
                without = f"{shown} does nothing without {' or '.join(switches)}"
                yield Fault(path, without, f"--set {ENGINE}.{switches[0]}={on}")
            else:
                yield from _misfits(self.accepted[name], value, path)

    def verdict(self, name: str) -> tuple[str, str] | None:
        """The field of `Key` by which a user may not set an accepted key, and its text; None: a user may set it."""
        for key in filter(None, map(self.entries.get, self._entry_names(name))):
            if key.needs:
                return None
            for field in ("instead", "refused", "dead"):
                if text := getattr(key, field):
                    return field, text
        return None

    def is_default(self, name: str, value: Any) -> bool:
        key = self.accepted.get(name)
        return key is not None and key.default == value and (value is not None or key.none)

    def default(self, name: str) -> Any:
        """The key's default value if it is plain; else None."""
        key = self.accepted.get(name)
        return key.default if key else None

    def leaves(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Nested or dotted keys by the dotted names of accepted keys.

        A key whose value is a free mapping keeps that mapping: `a.b.c` becomes {"a.b": {"c": value}} if `a.b` is one.
        """
        leaves: dict[str, Any] = {}
        for name, value in self._leaves(given, ()):
            owner = next((each for each in _dotted_beginnings(name)[1:] if each in self.accepted), None)
            if owner is None or name in self.accepted or "dict" not in (self.accepted[owner].type or ""):
                leaves[name] = value
            else:
                dotted.put(leaves.setdefault(owner, {}), tuple(name[len(owner) + 1 :].split(".")), value)
        return leaves

    def _leaves(self, given: Mapping[str, Any], path: dotted.Path) -> Iterator[tuple[str, Any]]:
        for key, value in given.items():
            name = ".".join((*path, key))
            if isinstance(value, Mapping) and self._is_section(name):
                yield from self._leaves(value, (*path, key))
            else:
                yield name, value

    def _entry_names(self, name: str) -> tuple[str, ...]:
        """The names of entries that apply to a key: its name, the beginnings of it, its class; the nearest first."""
        return *_dotted_beginnings(name), self.accepted[name].group

    def _unknown(self, name: str) -> Fault:
        known = self.accepted
        message = self._has_no(name)
        if self._is_section(name):
            return Fault((ENGINE, name), message, f"there are keys that begin with {name}.")
        if gone := self._gone().get(name):
            return Fault((ENGINE, name), message, gone)
        likely = [each for each in known if each in self.ours or not self.verdict(each)]
        near = nearest(name, likely) or _with_nearest_ending(name, likely) or nearest(name, known)
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

    def _missing_switches(self, name: str, value: Any, given: Mapping[str, Any]) -> tuple[str, ...]:
        """The keys of which one must be on for this one to have an effect; none if one is on or this one is off."""
        entries = (self.entries.get(each) for each in self._entry_names(name))
        needs = next((key.needs for key in entries if key and key.needs), "")
        if not needs or needs == name or value in _OFF:
            return ()
        switches = tuple(needs.split(" or "))
        return switches if all(given.get(each) in _OFF for each in switches) else ()


def _with_nearest_ending(name: str, known: Iterable[str]) -> str | None:
    """The only key whose last part is nearest to that of a name with a wrong or missing beginning."""
    by_ending: dict[str, list[str]] = {}
    for each in known:
        by_ending.setdefault(each.rsplit(".", 1)[-1], []).append(each)
    candidates = by_ending.get(nearest(name.rsplit(".", 1)[-1], by_ending) or "", [])
    return candidates[0] if len(candidates) == 1 else None


def _dotted_beginnings(name: str) -> tuple[str, ...]:
    """`a.b.c`, `a.b` and `a` for `a.b.c`."""
    parts = name.split(".")
    return tuple(".".join(parts[:length]) for length in range(len(parts), 0, -1))


def _member_in(known: Mapping[str, str], name: str, value: Any) -> str | None:
    """The full name of the first member of a free mapping that is one of the known keys."""
    inside = dotted.leaves(value) if isinstance(value, Mapping) else ()
    return next((full for path, _ in inside if (full := ".".join((name, *path))) in known), None)


def _not_yours(shown: str, source: str) -> tuple[str, str | None]:
    """The message and the hint for a key that virc sets; `source` is the setting for it, or a sentence why."""
    if " " not in source:
        return f"{shown} follows from the setting {source}", f"--set {source}=VALUE"
    return f"{shown} is not to be set: {source}", None


def _misfits(key: Key, value: Any, path: tuple[str, str]) -> Iterator[Fault]:
    faults = list(validation.faults(_as_meant(key, value), key.kind, path))
    yield from faults
    if not faults and key.choices and _converted(key, value) not in (None, *key.choices):
        longer = ", ".join(str(choice) for choice in key.choices if str(choice).startswith(str(value)))
        hint = f"there are {longer}" if longer else did_you_mean(str(value), map(str, key.choices))
        yield Fault(path, f"{'.'.join(path)} cannot be {validation.shown(value)}", hint)


def _converted(key: Key, value: Any) -> Any:
    converted = msgspec.convert(_as_meant(key, value), key.kind, strict=False)
    return list(converted) if isinstance(converted, tuple) else converted


def _as_meant(key: Key, value: Any) -> Any:
    """The value; false, which YAML reads for `no` without quotes, is `no` if that is one of the choices."""
    return "no" if value is False and "no" in key.choices else value
