"""Visual tools, one file each: NAME, SCHEMA, `check()` and `apply()`. Adding a tool is adding a file.

A tool file defines

    NAME: str                      the name the model writes
    SCHEMA: dict                   Qwen/Hermes function schema; "{unit}" in it becomes the coordinate wording
    WORDING: str                   which turn sentence follows its result: "after_image" or "after_scale"
    check(arguments, view) -> Checked      raises ToolError where no reading of the call makes sense
    apply(call, source) -> PIL.Image.Image

`check` is the one check for inference, reward and data: what it forgives it names as a deviation, and each
caller states which deviations it tolerates (D4).
"""

import importlib
import json
import pkgutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any

from virc_recipes.reasoning.protocol import Coordinates
from virc_recipes.tools.base import Call, Checked, ToolError, View

__all__ = ["Call", "Checked", "ToolError", "View", "discover", "get", "schemas"]

_UNITS: Mapping[Coordinates, str] = {
    "pixel": "pixels of that image as shown",
    "permille": "thousandths of that image's sides, 0 to 999",
}


@cache
def discover() -> Mapping[str, ModuleType]:
    """Every tool in this folder by name."""
    names = (info.name for info in pkgutil.iter_modules(__path__) if info.name != "base")
    modules = (importlib.import_module(f"{__name__}.{name}") for name in names)
    return {module.NAME: module for module in modules}


def get(name: str, offered: Collection[str] | None = None) -> ModuleType:
    """The tool of that name, of those offered (None: of all); raises ToolError naming them."""
    known = [each for each in sorted(discover()) if offered is None or each in offered]
    if name not in known:
        raise ToolError(f"there is no tool {name[:40]!r}; there are: {', '.join(known) or 'none'}")
    return discover()[name]


def schemas(names: Iterable[str], coordinates: Coordinates = "pixel") -> Sequence[Mapping[str, Any]]:
    """The function schemas of the named tools, boxes described in the given coordinates."""
    return [json.loads(json.dumps(get(name).SCHEMA).replace("{unit}", _UNITS[coordinates])) for name in names]
