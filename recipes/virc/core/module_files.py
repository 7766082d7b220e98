"""The files next to a module of the user's own that it imports or opens, which a copy of the module needs as well.

What its code names is copied with it. An audit hook notes what it opens, so that a trial can tell what is not copied.
"""

import ast
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

from virc.core.errors import ConfigError
from virc.core.files import is_file, is_folder

_PACKAGE = str(Path(__file__).parents[1])
_NOT_OWN = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]), "/usr", "/etc", "/proc", "/dev", "/sys")
_WRITES = os.O_WRONLY | os.O_RDWR
_MAX_NOTED, _MAX_WARNINGS = 1000, 3
_LOADED: dict[str, dict[str, Path]] = {}  # module -> the files that it needs
_OPENED: dict[tuple[str, str], None] = {}  # a module and a path as it was opened, in order


def needed_files(file: Path) -> dict[str, Path]:
    """The files in a module's folder, by their paths from there, that it imports or whose names are strings in it.

    The modules among them are searched as well. A folder may be a string of its own: `HERE / "lists" / "en.txt"`.
    """
    finder = ModuleFinder([str(file.parent)])
    try:
        finder.run_script(str(file))  # it runs nothing
    except (SyntaxError, ValueError):  # it is none of Python; loading it says what is wrong with it
        return {}
    modules = [Path(place) for each in finder.modules.values() if (place := getattr(each, "__file__", None))]
    places = [*modules, *(place for module in modules for place in _named(module, file.parent))]
    return {place.relative_to(file.parent).as_posix(): place for place in places if place != file}


def _named(module: Path, folder: Path) -> Iterator[Path]:
    constants = (each.value for each in ast.walk(ast.parse(module.read_bytes())) if isinstance(each, ast.Constant))
    names = dict.fromkeys(each for each in constants if isinstance(each, str))
    folders = {folder, module.parent}
    folders |= {place / name for place in folders for name in names if name and is_folder(place / name)}
    for path in (os.path.normpath(place / name) for place in folders for name in names):
        if Path(path).is_relative_to(folder) and is_file(path):
            yield Path(path)


def watch(file: Path) -> None:
    """Let a module that is about to be loaded import those next to it, and note what it opens from now on.

    Raises:
        ConfigError: it imports a module that was loaded as a file of another one.
    """
    if not _LOADED:
        sys.addaudithook(_note)  # for good: hooks cannot be removed
    others, own = {place for files in _LOADED.values() for place in files.values()}, needed_files(file)
    for name, place in own.items():
        there = getattr(sys.modules.get(name.removesuffix(".py").replace("/", ".")), "__file__", None)
        if there and Path(there) in others and is_file(there) and Path(there).read_bytes() != place.read_bytes():
            raise ConfigError(f"{place} and {there}, which is loaded, have one name", "give one of them another")
    _LOADED[str(file)] = own
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not isinstance(arguments[0], str | os.PathLike) or arguments[2] & _WRITES:
        return
    frame = (here := inspect.currentframe()) and here.f_back
    while frame and not frame.f_code.co_filename.startswith(_PACKAGE):
        if frame.f_code.co_filename in _LOADED:
            if len(_OPENED) < _MAX_NOTED:
                _OPENED[frame.f_code.co_filename, str(arguments[0])] = None
            return
        frame = frame.f_back


def warn_not_copied(warn: Callable[[str, str], None]) -> None:
    """Warn, with a hint, of the first files that users' modules opened, and that a copy of them will not find."""
    for message, hint in islice(_not_copied(), _MAX_WARNINGS):
        warn(message, hint)
    _OPENED.clear()


def _not_copied() -> Iterator[tuple[str, str]]:
    missing = ": a run's copy comes without that file"
    for module, opened in [*_OPENED]:
        file, place = Path(module), Path(os.path.abspath(opened))  # noqa: PTH100 (links stay as they are)
        if place in (file, *_LOADED[module].values()) and os.path.isabs(opened):  # noqa: PTH117
            continue
        if place.suffix == ".pyc" or not is_file(place) or any(map(place.is_relative_to, _NOT_OWN)):
            continue
        if not os.path.isabs(opened):  # noqa: PTH117
            what, hint = (
                "in the folder where virc was started, and a run may start elsewhere",
                f"Path(__file__).parent / {place.name!r}",
            )
        elif place.is_relative_to(file.parent):
            what, hint = f"by a name that is no string in it{missing}", f"write {place.name!r} in {file.name}"
        else:
            what, hint = (
                f"outside of its folder{missing}",
                f"put it next to {file.name}, or at that path on every machine",
            )
        yield f"{file.name} opens {opened} {what}", hint
