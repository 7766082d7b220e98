"""Writes what an engine says of its keys into `engines/ENGINE/keys.json`, where what is ours of a key stays.

Run by the engine's interpreter, after new pins:

    PYTHONPATH=recipes $(virc env path sft) tests/engine_keys.py llamafactory [FILE]
    PYTHONPATH=recipes $(virc env path rl) tests/engine_keys.py verl [FILE]
"""

import dataclasses
import importlib
import json
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any

from virc.config import dotted
from virc.engines import keys as known
from virc.engines.keys import OF_ENGINE

FOLDER = Path(known.__file__).parent
PACKAGES = {"llamafactory": ("llamafactory", "transformers"), "verl": ("verl",)}
_PLAIN = (bool, int, float, str, list, dict)
_CHOICES = {
    "actor_rollout_ref.actor.loss_agg_mode": (
        "token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"
    ),
    "actor_rollout_ref.actor.optim.lr_scheduler_type": ("constant", "cosine"),
}  # fmt: skip
"""Values that verl checks by itself."""

Said = dict[str, dict[str, Any]]
"""Key -> the first fields of `virc.engines.keys.Key`."""


def main(engine: str, file: str = "") -> None:
    """Write the list to the named file, else over the one of the package."""
    own = FOLDER / engine / "keys.json"
    said = of_llamafactory() if engine == "llamafactory" else of_verl()
    versions = {package: version(package) for package in PACKAGES[engine]}
    Path(file or own).write_text(text(own, said, versions), encoding="utf-8")


def text(file: Path, said: Said, versions: Mapping[str, str]) -> str:
    """JSON with a line for each key, in which what is ours of a file stays."""
    entries: Said = json.loads(file.read_text(encoding="utf-8"))["keys"]
    ours = {
        name: {part: value for part, value in key.items() if part not in OF_ENGINE} for name, key in entries.items()
    }
    merged = {name: {**key, **ours.pop(name, {})} for name, key in said.items()}
    merged |= {name: key for name, key in ours.items() if key}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(key, ensure_ascii=False)}" for name, key in merged.items())
    return f'{{\n"versions": {json.dumps(versions)},\n"keys": {{\n{lines}\n}}\n}}\n'


def of_llamafactory() -> Said:
    """Every key by name, in the order of the parser."""
    found: Said = {}
    for part in importlib.import_module("llamafactory.hparams.parser")._TRAIN_ARGS:
        kinds = typing.get_type_hints(part)
        fields = (field for field in dataclasses.fields(part) if field.init)
        found |= {field.name: _of_argument(part, field, _members(kinds[field.name])) for field in fields}
    return found


def _of_argument(part: type, field: "dataclasses.Field[Any]", members: list[Any]) -> dict[str, Any]:
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
    named = [kind for kind in members if isinstance(kind, type) and issubclass(kind, Enum)]
    found = [each.value for kind in named for each in kind]
    if str not in members:  # beside it, a Literal is one text or number of many; an Enum is still all there is
        literal = [kind for kind in members if typing.get_origin(kind) is typing.Literal]
        found += [value for kind in literal for value in typing.get_args(kind)]
    return found


def of_verl() -> Said:
    """Every key by its dotted name."""
    from virc.engines.verl import config as verl_config

    read = _all_of_verl(verl_config.default(), ())
    found = {name: _of_verls(name, value, hint) for path, value, hint in read if (name := ".".join(path))}
    found |= {name: {"type": "dict"} for name in verl_config.FREE}
    inside = tuple(f"{name}." for name in verl_config.FREE)
    return {name: key for name, key in sorted(found.items()) if not name.startswith(inside)}


def _all_of_verl(node: Any, path: dotted.Path) -> Iterator[tuple[dotted.Path, Any, str]]:
    """Path, default and type of every key: of verl's files first, then of classes where the files lack it."""
    from omegaconf import DictConfig, OmegaConf  # type: ignore[import-not-found]

    from virc.engines.verl import config as verl_config

    fields = verl_config.fields(node)
    for key in node:
        if key == "_target_":
            continue
        child = node._get_node(key)
        if isinstance(child, DictConfig) and child:
            yield from _all_of_verl(child, (*path, str(key)))
            continue
        value = None if OmegaConf.is_missing(node, key) else node[key]
        plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        yield (*path, str(key)), plain, _hint(fields.get(str(key)))
    for name, field in fields.items():
        if name not in verl_config.names(node) and field.init:
            value = field.default_factory() if callable(field.default_factory) else field.default
            yield (*path, name), value if isinstance(value, _PLAIN) else None, _hint(field)


def _hint(field: "dataclasses.Field[Any] | None") -> str:
    """The type of a field as its class writes it; empty for none."""
    if field is None:
        return ""
    return field.type if isinstance(field.type, str) else re.sub(r"<class '(\w+)'>|typing\.", r"\1", str(field.type))


def _of_verls(name: str, value: Any, hint: str) -> dict[str, Any]:
    none = value is None or "Optional" in hint or "None" in hint
    return {
        "type": " | ".join(_types(value, hint)),
        **({"none": True} if none else {}),
        **({"choices": _CHOICES[name]} if name in _CHOICES else {}),
        **({} if value is None else {"default": value}),
    }


def _types(value: Any, hint: str) -> list[str]:
    """Types of a key: those of its class, else that of its default; any where neither tells."""
    kinds = ("bool", "int", "float", "str", "list", "dict")
    found = [kind for kind in kinds if re.match(rf"(Optional\[)?{kind}\b", hint)]
    if not found:
        found = [*kinds] if value is None or "Any" in hint else [type(value).__name__]
    texts = hint.endswith("list[str]") or (isinstance(value, list) and any(isinstance(each, str) for each in value))
    named = {"int": "float" if isinstance(value, float) else "int", "list": "list" if texts else "values"}
    return [named.get(kind, kind) for kind in found]


if __name__ == "__main__":
    main(*sys.argv[1:])
