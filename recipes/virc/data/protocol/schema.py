"""The format of `virc_protocol.json` as a JSON schema: types from the classes, descriptions from their docstrings."""

import inspect
import re
from typing import Any

import msgspec

from virc.reasoning.grammar import CallForm, Grammar
from virc.reasoning.protocol import SCHEMA, CodeSettings, Drawing, Protocol

CLASSES = (Protocol, Grammar, CallForm, CodeSettings, Drawing)
"""What the file is made of."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DESCRIPTION = (
    "The chat protocol of a model, the file virc_protocol.json: the system message and the sentences of the turns that "
    "it was trained with, which tools it is offered, what its boxes mean, and how it writes and is sampled."
)
_ARGS = re.compile(r"^Args:\n(.*?)(?=^\S|\Z)", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"^ {4}(\w+(?:, \w+)*): (.*?)(?=^ {4}\w|\Z)", re.DOTALL | re.MULTILINE)


def schema() -> dict[str, Any]:
    _, parts = msgspec.json.schema_components([Protocol], ref_template="#/$defs/{name}")
    for kind in CLASSES:
        part = parts[kind.__name__]
        part["description"] = " ".join(_doc(kind).partition("\n\n")[0].split())
        for field, text in descriptions(kind).items():
            part["properties"][field]["description"] = text
    head = {"$schema": _DIALECT, "title": SCHEMA, "description": _DESCRIPTION}
    return head | {key: value for key, value in parts.pop(Protocol.__name__).items() if key not in head} | {
        "$defs": parts
    }  # fmt: skip


def descriptions(kind: type) -> dict[str, str]:
    """What the `Args:` of a class's docstring say of its fields, each on one line; none under `python -OO`."""
    args = _ARGS.search(_doc(kind))
    found: dict[str, str] = {}
    for names, text in _FIELD.findall(args[1] if args else ""):
        line = " ".join(text.split()).replace("None:", "null:").removesuffix(".")
        found |= dict.fromkeys(names.split(", "), line)
    return found


def _doc(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "")
