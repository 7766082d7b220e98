"""Python of the user's own, rewards and tools: found in folders that the user names, loaded where it is named (D8)."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from virc.core.errors import ConfigError
from virc.core.files import expanded, is_file
from virc.core.text import clause

SEARCH_PATH = "VIRC_PATH"
"""The variable that names folders of systems, rewards and tools, separated as in PATH."""


def folders(beside: Path | None) -> list[Path]:
    """Where to look: the folder of the system's YAML, then those of `VIRC_PATH`."""
    named = [expanded(folder) for folder in os.environ.get(SEARCH_PATH, "").split(os.pathsep) if folder]
    return [*([beside] if beside else []), *named]


def is_path(name: str) -> bool:
    """Whether this names a file, not what lies in a folder."""
    return name.endswith(".py") or "/" in name


def file_of(name: str, places: Sequence[Path]) -> Path | None:
    """`NAME.py` in the first folder that has it; None where none has."""
    files = (folder / f"{name}.py" for folder in places) if name.isidentifier() else iter(())
    return next((file for file in files if is_file(file)), None)


@cache
def loaded(file: Path) -> ModuleType:
    """The module that a file is.

    Raises:
        ConfigError: it is no Python, or raises.
    """
    name = f"virc_own_{sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file} is no Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # it is the user's own code, and may fail in any way
        del sys.modules[name]
        raise ConfigError(f"{file} cannot be loaded: {type(error).__name__}: {clause(error)}") from error
    return module
