"""Which extras of this package are installed; nothing of them is imported."""

import re
from collections.abc import Iterator
from importlib import metadata

import msgspec

_PACKAGE = "virc"
_FOR_DEVELOPERS = {"all", "dev"}


class Extra(msgspec.Struct, frozen=True):
    """An extra: its name, the packages it lacks, and the line that installs it."""

    name: str
    missing: tuple[str, ...]
    install: str


def discover() -> tuple[Extra, ...]:
    """Every extra that users choose from."""
    described = metadata.metadata(_PACKAGE)
    names = [name for name in described.get_all("Provides-Extra") or () if name not in _FOR_DEVELOPERS]
    wanted = described.get_all("Requires-Dist") or []
    return tuple(
        Extra(
            name,
            tuple(package for package in _packages(wanted, name) if not _installed(package)),
            f"pip install '{_PACKAGE}[{name}]'",
        )
        for name in sorted(names)
    )


def _packages(wanted: list[str], extra: str) -> Iterator[str]:
    for line in wanted:
        package, _, marker = line.partition(";")
        if re.search(rf"\bextra\s*==\s*['\"]{re.escape(extra)}['\"]", marker):
            name = re.match(r"[\w.-]+", package.strip())
            yield name[0] if name else package.strip()


def _installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True
