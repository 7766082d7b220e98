"""The keys of an engine that virc sets, compares with published ones, or does not take from a user.

`ENGINE/keys.py` has the tables. All other keys are the engine's own: it refuses those that it does not know, and values
of other types, when its process starts.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from virc.config import dotted
from virc.config.validation import Fault
from virc.core.plan import Change
from virc.stages.resolve import ENGINE
from virc.stages.sft import StageConfig

T = TypeVar("T")

_OPTIONS = ("overlay", "--", "option")


class Key(msgspec.Struct, frozen=True):
    """A key of an engine.

    Args:
        same: the setting of virc whose value it gets.
        follows: the settings that it is computed from; a user changes the first one.
        preset: the setting that it is computed from if the user does not set it.
        fixed: why it cannot be set.
        why: why its value is not the published one.
        instead: the setting of virc that does the same, so that a user may not set the key.
        default: the engine's own value, if it is plain and published scripts or virc name the key.
    """

    same: str = ""
    follows: tuple[str, ...] = ()
    preset: str = ""
    fixed: str = ""
    why: str = ""
    instead: str = ""
    default: Any = None

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings of virc that its value follows from."""
        return tuple(filter(None, (self.same, *self.follows, self.preset)))


def under(prefix: str, keys: Mapping[str, T]) -> dict[str, T]:
    """The same values with `prefix` and a dot before each name."""
    return {f"{prefix}.{key}": value for key, value in keys.items()}


class KeyTable(msgspec.Struct, frozen=True):
    """What virc knows of the keys of one engine.

    Args:
        keys: those that virc or a published script sets, by dotted names.
        refused: key, or beginning of dotted keys -> why a user may not set it, or why it would do nothing.
        is_nested: the engine's keys are nested; else a mapping is a value.
    """

    keys: Mapping[str, Key]
    refused: Mapping[str, str]
    is_nested: bool = False

    def same(self, config: StageConfig) -> dict[str, Any]:
        return {name: getattr(config, key.same) for name, key in self.keys.items() if key.same}

    def default(self, name: str) -> Any:
        return self.keys.get(name, Key()).default

    def leaves(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Keys that a user gives, nested or dotted, by their dotted names."""
        return {".".join(path): value for path, value in dotted.leaves(given)} if self.is_nested else dict(given)

    def changes(
        self, keys: Mapping[str, Any], published: Mapping[str, Any], origins: Mapping[str, str]
    ) -> tuple[Change, ...]:
        """Where the engine does not get, or have by default, what was published, and why."""
        changes = []
        for key in {**published, **keys} if published else {}:
            theirs, ours = published.get(key), keys.get(key, self.default(key))
            if theirs != ours:
                changes.append(Change(key, theirs, ours, self._why_changed(key, ours, origins, key in published)))
        return tuple(changes)

    def _why_changed(self, name: str, ours: Any, origins: Mapping[str, str], is_published: bool) -> str:
        key = self.keys.get(name, Key())
        settings = {setting.split(".")[0] for setting in key.settings}
        of_key = dict.fromkeys(
            origin
            for setting, origin in origins.items()
            if setting.split(".")[0] in settings or f"{setting}.".startswith(f"{ENGINE}.{name}.")
        )
        by_user = [origin for origin in of_key if origin.startswith(_OPTIONS) or origin.endswith((".yaml", ".yml"))]
        by_default = "the engine's own default" if ours == key.default and not of_key else ""
        otherwise = next(iter(of_key), "as by default") if is_published else "no published value is listed"
        return ", ".join(by_user) or key.why or key.fixed or by_default or otherwise

    def faults(self, given: Mapping[str, Any], origins: Mapping[str, str] = {}) -> Iterator[Fault]:
        """What a user may not set, and where it was set: keys of virc, and keys that are refused."""
        for name in self.leaves(given):
            if fault := self._fault_of(name):
                origin = next((origins[key] for key in origins if f"{key}.".startswith(f"{ENGINE}.{name}.")), None)
                message = f"{ENGINE}.{name} {fault[0]}" + (f" ({origin})" if origin else "")
                yield Fault((ENGINE, name), message, fault[1])

    def _fault_of(self, name: str) -> tuple[str, str | None] | None:
        if self.is_nested and any(key.startswith(f"{name}.") for key in self.keys):
            return "is not one key", f"there are keys that begin with {name}."
        for each in _beginnings(name) if self.is_nested else (name,):
            key = self.keys.get(each, Key())
            if key.fixed:
                return f"is not to be set: {key.fixed}", None
            if setting := key.same or next(iter(key.follows), "") or key.instead:
                return f"follows from the setting {setting}", f"«--set {setting}=VALUE»"
            if each in self.refused:
                return f"is not taken: {self.refused[each]}", None
        return None


def _beginnings(name: str) -> tuple[str, ...]:
    """`a.b.c`, `a.b` and `a` for `a.b.c`."""
    parts = name.split(".")
    return tuple(".".join(parts[:length]) for length in range(len(parts), 0, -1))
