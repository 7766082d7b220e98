"""Write down every key that LLaMA-Factory's training takes; run by the engine's interpreter, after new pins.

PYTHONPATH=recipes $(virc env path sft) -m virc.engines.llamafactory.write_keys [FILE]
"""

import dataclasses
import importlib
import json
import sys
import types
import typing
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any

from virc.core.files import write_whole
from virc.engines.keys import OF_ENGINE

FILE = Path(__file__).with_name("keys.json")
PACKAGES = ("llamafactory", "transformers")
_PLAIN = (bool, int, float, str, list, dict)


def main(arguments: list[str]) -> None:
    """Write the list to the named file, else over the one of this package."""
    write_whole(
        Path(arguments[0]) if arguments else FILE,
        text(FILE, accepted(), {package: version(package) for package in PACKAGES}).encode(),
    )


def accepted() -> dict[str, dict[str, Any]]:
    """Every key by name, in the order of the parser: what `keys.Key` has of the engine."""
    found: dict[str, dict[str, Any]] = {}
    for part in importlib.import_module("llamafactory.hparams.parser")._TRAIN_ARGS:
        kinds = typing.get_type_hints(part)
        fields = (field for field in dataclasses.fields(part) if field.init)
        found |= {field.name: _described(part, field, _members(kinds[field.name])) for field in fields}
    return found


def _described(part: type, field: "dataclasses.Field[Any]", members: list[Any]) -> dict[str, Any]:
    default = field.default_factory() if callable(field.default_factory) else field.default
    value = default.value if isinstance(default, Enum) else default
    choices = [*_choices(members), *field.metadata.get("choices", ())]
    none = type(None) in members or value is None
    return {
        "type": " | ".join(plain.__name__ for plain in _PLAIN if plain in map(_plain, members)),
        "group": next(each.__name__ for each in part.__mro__ if field.name in vars(each).get("__annotations__", {})),
        **({"none": True} if none else {}),
        **({"choices": choices} if choices else {}),
        **({"default": value} if isinstance(value, _PLAIN) else {}),
    }


def _members(kind: Any) -> list[Any]:
    """The types a value may have."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [each for member in typing.get_args(kind) for each in _members(member)]
    return [kind]


def _plain(kind: Any) -> type | None:
    """The type of a value in YAML for one of that type; None: there is none."""
    if typing.get_origin(kind) is typing.Literal:
        return type(typing.get_args(kind)[0])
    found = typing.get_origin(kind) or kind
    if issubclass(found, (Enum, Path)):
        return str
    return next((plain for plain in _PLAIN if found is plain), None)


def _choices(members: list[Any]) -> list[Any]:
    """The values that there are, where the type lists them."""
    named = [kind for kind in members if isinstance(kind, type) and issubclass(kind, Enum)]
    found = [each.value for kind in named for each in kind]
    if str not in members:  # beside it, a Literal is one text or number of many; an Enum is still all there is
        literal = [kind for kind in members if typing.get_origin(kind) is typing.Literal]
        found += [value for kind in literal for value in typing.get_args(kind)]
    return found


def text(file: Path, keys: dict[str, dict[str, Any]], versions: dict[str, str]) -> str:
    """JSON with a line for each key, in which what is ours of a file stays."""
    known = json.loads(file.read_text(encoding="utf-8"))["keys"]
    ours = {name: {part: known[name][part] for part in known[name] if part not in OF_ENGINE} for name in known}
    entries = {name: {**key, **ours.pop(name, {})} for name, key in keys.items()}
    entries |= {name: key for name, key in ours.items() if key}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(key, ensure_ascii=False)}" for name, key in entries.items())
    return f'{{\n"versions": {json.dumps(versions)},\n"keys": {{\n{lines}\n}}\n}}\n'


if __name__ == "__main__":
    main(sys.argv[1:])
