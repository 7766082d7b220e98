"""Packages whose modules are one of a kind each (tools, formats, terms of rewards): a new file is found by itself."""

import importlib
import pkgutil
from functools import cache
from types import ModuleType

_NOT_ONE = "registry"  # the module that finds the others


@cache
def names(package: str) -> tuple[str, ...]:
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return tuple(sorted(each.name for each in found if each.name != _NOT_ONE))


def module(package: str, name: str) -> ModuleType:
    return importlib.import_module(f"{package}.{name}")
