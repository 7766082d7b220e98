"""The tree answers where things are: rooms without loose modules, and no folder that is too long to read."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "recipes" / "virc"
ONE_OF_A_KIND = {
    "data/formats",
    "data/synth/families",
    "families",
    "rewards/terms",
    "rewards/totals",
    "systems",
    "tools",
}
"""Folders in which each file is one of a kind, so that they may be long."""


def modules(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*.py") if file.name != "__init__.py"]


def rooms() -> list[Path]:
    return [folder for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file()]


def test_every_module_is_in_a_room() -> None:
    assert modules(PACKAGE) == []
    assert 20 <= len(rooms()) <= 29


def test_every_room_has_its_place_in_the_order_of_imports() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (order,) = (each for each in contracts if each.get("containers") == ["virc"])
    assert order["exhaustive"] is True
    assert sorted(order["layers"]) == sorted(room.name for room in rooms())


def test_no_folder_is_too_long_to_read() -> None:
    for package in (PACKAGE, ROOT / "virc_cli", *(ROOT / "recipes" / name for name in ("virc_extras", "virc_zoo"))):
        for folder in (package, *(init.parent for init in package.rglob("__init__.py"))):
            if folder.relative_to(package).as_posix() not in ONE_OF_A_KIND:
                assert len(modules(folder)) <= 20, folder
