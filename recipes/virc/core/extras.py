"""Which extras of this package are installed; nothing of them is imported."""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import SetupError

_PACKAGE = "virc"
_FOR_DEVELOPERS = {"all", "dev"}


class Extra(msgspec.Struct, frozen=True):
    name: str
    missing: tuple[str, ...]
    install: str


def install(*names: str) -> str:
    """The command that installs extras the way this package is installed: from a checkout, a wheel, or an index."""
    from importlib import metadata
    from urllib.parse import unquote, urlsplit

    chosen = ",".join(names)
    try:
        source = json.loads(metadata.distribution(_PACKAGE).read_text("direct_url.json") or "{}")
    except metadata.PackageNotFoundError:  # in an engine's interpreter
        source = {}
    place = Path(unquote(urlsplit(source.get("url", "")).path))
    if "dir_info" not in source:
        wheel = f" @ {source['url']}" if place.suffix == ".whl" and place.exists() else ""
        return f"pip install '{_PACKAGE}[{chosen}]{wheel}'"
    editable = "-e " if source["dir_info"].get("editable") else ""
    return f"pip install {editable}'{'.' if place == Path.cwd() else place}[{chosen}]'"


def require(module: str, purpose: str, extra: str) -> None:
    """Raise SetupError if a module of an extra, which the purpose needs, is not installed."""
    if find_spec(module) is None:
        how = install(extra) if _installed(_PACKAGE) else f"virc env create ENGINE --with {module}"
        raise SetupError(f"{purpose} needs {module}, of the extra {extra}", how)


def discover() -> tuple[Extra, ...]:
    from importlib import metadata

    from packaging.requirements import Requirement

    described = metadata.metadata(_PACKAGE)
    names = [name for name in described.get_all("Provides-Extra") or () if name not in _FOR_DEVELOPERS]
    wanted = [Requirement(line) for line in described.get_all("Requires-Dist") or () if "extra ==" in line]
    return tuple(Extra(name, tuple(_missing(wanted, name)), install(name)) for name in sorted(names))


def _missing(wanted: list[Any], extra: str) -> Iterator[str]:
    for each in wanted:  # some are of one system alone
        if each.marker.evaluate({"extra": extra}) and not _installed(each.name):
            yield each.name


def _installed(package: str) -> bool:
    """Return whether a package is installed: virc itself is not in an engine's interpreter."""
    from importlib import metadata

    try:
        return bool(metadata.distribution(package))
    except metadata.PackageNotFoundError:
        return False
