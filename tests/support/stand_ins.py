"""Modules of virc that need a library which is not installed, imported beside stand-ins for it."""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

Libraries = Mapping[str, Mapping[str, Any]]
"""Modules by their names, with what is imported of each."""


class Bare:
    """A class of a library: it keeps what it is made of, and is generic."""

    def __init__(self, *_: Any, **given: Any) -> None:
        self.__dict__.update(given)

    def __class_getitem__(cls, _: Any) -> type:
        return cls


def bare(*names: str) -> Mapping[str, Any]:
    """A class of each name."""
    return {name: type(name, (Bare,), {}) for name in names}


def decorator(*_: Any, **__: Any) -> Any:
    """One that is called with settings, and leaves what it decorates as it is."""
    return lambda function: function


def stand_in(patch: pytest.MonkeyPatch, libraries: Libraries) -> None:
    """Put modules in place of libraries, and packages above them; virc's own packages stay."""
    made: dict[str, ModuleType] = {}
    for name, fields in libraries.items():
        for at in range(name.count(".") + 1):
            part = ".".join(name.split(".")[: at + 1])
            if part == name or not part.startswith("virc"):
                patch.setitem(sys.modules, part, made.setdefault(part, ModuleType(part)))
        vars(made[name]).update(fields)


def imported(patch: pytest.MonkeyPatch, name: str, libraries: Libraries) -> Any:
    """The module `name` as it is beside these libraries; others do not get it."""
    stand_in(patch, libraries)
    patch.delitem(sys.modules, name, raising=False)
    module = import_module(name)
    del sys.modules[name]
    return module
