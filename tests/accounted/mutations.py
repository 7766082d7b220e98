"""Reads the inputs of each edge and the rules that change them, from the files in `edges`.

A file has `inputs`, each a world of `trial.py` with `places` (name -> path to a value in it), and `rules` by place:

    meaning, moved, wrong, harmless   (`judge.Sort`) fields to set there, or elements to add to a list
    rename, nest               old name -> new name, or the name of the object that it is put into
    twice                      name -> another value, which comes before the one that is there
    drop                       names of fields that are left out
    said                       field -> words by which a sentence may name it as well
    nulls                      fields that are harmless with null for a value
"""

import json
from collections.abc import Iterator, Mapping, Set
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, get_args

import yaml
from accounted.judge import Sort, words
from accounted.trial import run

from virc.models.registry import EMBEDDED_FOLDER

_FOLDER = Path(__file__).parent / "edges"
_OF_INPUTS = ("before", "like", "load", "places")


class Mutant(NamedTuple):
    """One change of an ordinary input."""

    edge: str
    of: str
    name: str
    sort: Sort
    names: frozenset[str]
    change: tuple[Any, ...]

    @property
    def id(self) -> str:
        return f"{self.edge}/{self.of}/{self.name}"

    @property
    def ways(self) -> Set[str]:
        """What its world has: files, a server, and so on."""
        return _given(self.edge, self.of).keys()

    def world(self) -> dict[str, Any]:
        changed = deepcopy(ordinary(self.edge, self.of))
        apply(changed, *self.change)
        return changed


def edges() -> list[str]:
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))


@cache
def _read(edge: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load((_FOLDER / f"{edge}.yaml").read_bytes(), yaml.CSafeLoader)
    return content


def _given(edge: str, of: str) -> dict[str, Any]:
    """An input as its file has it; one that is `like` another has from that what it leaves out."""
    given = _read(edge)["inputs"][of]
    return {**(_given(edge, given["like"]) if "like" in given else {}), **given}


def ordinary(edge: str, of: str) -> dict[str, Any]:
    """The world of an unchanged input."""
    given = _given(edge, of)
    files = {name: _tiny(content) for name, content in given.get("files", {}).items()}
    if "before" in given:
        files |= _recorded(edge, of)
    return {key: value for key, value in given.items() if key not in _OF_INPUTS} | {"files": files}


@cache
def _recorded(edge: str, of: str) -> dict[str, Any]:
    """The JSON files to `load` that the command `before` writes in the world of an input."""
    world = _read(edge)["inputs"][of]
    with TemporaryDirectory() as folder:
        run({**world, "run": world["before"]}, Path(folder))
        return {name: json.loads((Path(folder) / name).read_bytes()) for name in world["load"]}


def _tiny(content: Any) -> Any:
    """The text `tiny:NAME` is a JSON file of the model in the package."""
    is_named = isinstance(content, str) and content.startswith("tiny:")
    return json.loads((EMBEDDED_FOLDER / content[5:]).read_bytes()) if is_named else content


def mutants(edge: str) -> Iterator[Mutant]:
    """Every change of every input of an edge."""
    rules = _read(edge)["rules"]
    for of in _read(edge)["inputs"]:
        for place, path in _given(edge, of)["places"].items():
            for rule, fields in _rules(rules, place).items():
                for name, sort, names, change in _changes(rule, fields):
                    yield Mutant(edge, of, f"{place}.{name}", sort, frozenset(names), (path, *change))


def _rules(rules: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The rules of a place; `said` goes to each."""
    own = dict(rules[place])
    said = own.pop("said", {})
    own["null"] = dict.fromkeys(own.pop("nulls", ()))
    return {rule: (fields, said) for rule, fields in own.items()}


def _listed(fields: Any) -> list[dict[str, Any]]:
    return fields if isinstance(fields, list) else [{key: value} for key, value in fields.items()]


def _changes(rule: str, given: tuple[Any, Mapping[str, Any]]) -> Iterator[tuple[str, Sort, set[str], tuple[Any, ...]]]:
    fields, said = given
    if rule == "drop":
        for key in fields:
            yield f"{key} dropped", "wrong", {key}, ("drop", key, None)
        return
    for field in _listed(fields):
        key = next(iter(field))
        names = {word for each, value in field.items() for word in words(each, value)} | set(said.get(key, ()))
        if rule in get_args(Sort):
            is_one = sum(key in each for each in _listed(fields)) == 1
            label = key if rule == "meaning" else f"{key} {rule}"
            yield label if is_one else f"{label} {_short(field)}", rule, names, ("set", key, field)  # type: ignore[misc]
        elif rule == "null":
            yield f"{key} null", "harmless", {key}, ("set", key, field)
        else:
            yield f"{key} {rule}", "meaning" if rule == "twice" else "moved", names, (rule, key, field[key])


def _short(field: Mapping[str, Any]) -> str:
    first, *others = field.items()
    return "+".join([f"{first[1]}"[:24], *(f"{key}={value}"[:24] for key, value in others)])


def apply(world: dict[str, Any], path: str, change: str, key: str, value: Any) -> None:
    """Change the value at a path, whose first word is a file of the world, or one of its keys."""
    first, *inner = path.split()
    holder: Any = world["files"] if first in world.get("files", {}) else world
    target = holder.setdefault(first, {})
    for step in inner:
        target = target[int(step)] if isinstance(target, list) else target[step]
    if change == "set" and isinstance(target, list):
        for each in value.values():
            target.extend(each if isinstance(each, list) else [each])
    elif change == "set":
        target.update(deepcopy(value))
    elif change == "drop":
        target.pop(key)
    elif change == "rename":
        target[value] = target.pop(key)
    elif change == "nest":
        target[value] = {key: target.pop(key)}
    elif change == "twice":
        before = dict(target)
        target.clear()
        target.update({f"{key}~first": value, **before})
