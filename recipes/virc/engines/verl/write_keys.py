"""Write down every key that verl's training takes; run by the engine's interpreter, after new pins.

PYTHONPATH=recipes $(virc env path rl) -m virc.engines.verl.write_keys [FILE]
"""

import dataclasses
import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig  # type: ignore[import-not-found]

from virc.config import dotted
from virc.core.files import write_whole
from virc.engines.llamafactory.write_keys import text
from virc.engines.verl import config as verl_config

FILE = Path(__file__).with_name("keys.json")
CHOICES = {
    "actor_rollout_ref.actor.loss_agg_mode": (
        "token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"
    ),
    "actor_rollout_ref.actor.optim.lr_scheduler_type": ("constant", "cosine"),
}  # fmt: skip
"""Values that verl checks by itself."""


def main(arguments: list[str]) -> None:
    """Write the list to the named file, else over the one of this package."""
    write_whole(Path(arguments[0]) if arguments else FILE, text(FILE, accepted(), {"verl": version("verl")}).encode())


def accepted() -> dict[str, dict[str, Any]]:
    """Every key by its dotted name: what `keys.Key` has of the engine."""
    config = verl_config.default()
    found = {name: _described(name, value, hint) for path, value, hint in _all(config, ()) if (name := ".".join(path))}
    found |= {name: {"type": "dict"} for name in verl_config.FREE}
    inside = tuple(f"{name}." for name in verl_config.FREE)
    return {name: key for name, key in sorted(found.items()) if not name.startswith(inside)}


def _all(node: DictConfig, path: dotted.Path) -> Iterator[tuple[dotted.Path, Any, str]]:
    """Path, default and type of every key: of verl's files first, then of classes where the files lack it."""
    known = verl_config.fields(node)
    for key in node:
        if key == "_target_":
            continue
        child = node._get_node(key)
        if isinstance(child, DictConfig) and child:
            yield from _all(child, (*path, str(key)))
        else:
            yield (*path, str(key)), verl_config.value(node, str(key)), _hint(known.get(str(key)))
    for name, field in known.items():
        if name not in verl_config.names(node) and field.init:
            yield (*path, name), _default(field), _hint(field)


def _hint(field: "dataclasses.Field[Any] | None") -> str:
    """The type of a field as its class writes it; empty for none."""
    if field is None:
        return ""
    return field.type if isinstance(field.type, str) else re.sub(r"<class '(\w+)'>|typing\.", r"\1", str(field.type))


def _default(field: "dataclasses.Field[Any]") -> Any:
    value = field.default_factory() if callable(field.default_factory) else field.default
    return value if isinstance(value, bool | int | float | str | list | dict) else None


def _described(name: str, value: Any, hint: str) -> dict[str, Any]:
    none = value is None or "Optional" in hint or "None" in hint
    return {
        "type": " | ".join(_types(value, hint)),
        **({"none": True} if none else {}),
        **({"choices": CHOICES[name]} if name in CHOICES else {}),
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
    main(sys.argv[1:])
