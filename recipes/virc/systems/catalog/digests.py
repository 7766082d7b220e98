"""What a stage of a system is made of, as one hash for each part: its YAML, the code behind it, its engine's pins.

Code is followed by the imports that stand in it, and not loaded: a file that is broken changes its hash like any other.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from virc.config import dotted
from virc.config import yaml as plain_yaml
from virc.core import plugins
from virc.systems.kinds import BY_KIND, Kind
from virc.systems.registry import System

ROOT = Path(__file__).parents[2]
"""The folder of the package `virc`."""
FOLDERS = ("engines", "reasoning", "rewards", "scoring", "stages", "tools")
"""Whose files count; each is a part. Totals of published systems, and what stands beside them, are of `rewards`."""
Digests = Mapping[str, str]
"""Part (`yaml`, `envs` or one of `FOLDERS`) -> the first 16 hexadecimal digits of a SHA-256."""

_OF_EVERY_KIND = ROOT / "stages" / "resolve.py"
"""Merges the YAMLs' settings and knows every kind of stage. Engines take a constant from it, and a record is refused
where the settings of its run are not those of the stage, so a further kind of stage changes no record."""
_FOR_READERS = ("about", "assumed", "notes", "pipeline", "reported", "rounds", "stages")
"""Keys that change nothing of what a run is: rounds and pipelines use what runs made."""
_OF_TRAINING = ("datasets", "everywhere", "judges", "models", "overlays", "reward", "rows")
_IMPORT = re.compile(r"^\s*(?:from (virc[\w.]*) import (?:\(([^)]*)\)|(.*))|import (virc[\w.]*))", re.MULTILINE)
_READS = re.compile(r"^TERMS\s*=\s*\(([^)]*)\)", re.MULTILINE)
_ASKS = re.compile(r'^([A-Z_]+) = published\(.*"([\w-]+\.yaml)"', re.MULTILINE)
_DEFINES = re.compile(r"^(?:async )?def (\w+)\(", re.MULTILINE)
_DIGITS = 16
_HASHES = re.compile(rb" \\\n +--hash=\S+")
"""The hashes behind a pinned version, which they do not change."""


def of_run(system: System, stage: str) -> Digests:
    """Of what a run of a stage depends on: its YAML, tools, reward, engine, and the pins of that engine."""
    kind = system.stages[stage].kind
    return {
        "yaml": _written(system.file, stage),
        "envs": _digest(_pins(kind)),
        **_by_folder(tuple(_of_run(system, stage))),
    }


def of_reward(system: System, stage: str) -> Digests:
    """Of what the reward of a stage depends on: its YAML, reward and tools."""
    return {
        "yaml": _written(system.file, stage),
        **_by_folder((*_rewarding(system.file, stage), *_offered(tuple(system.offered)))),
    }


def of_replies(system: System) -> Digests:
    """Of what is done with a model's replies: the YAML without what trains it, the loop of turns, and its tools."""
    return {
        "yaml": _written(system.file),
        **({"pipeline": _hash_of(Path(system.pipeline))} if system.pipeline else {}),
        **_by_folder((ROOT / "reasoning" / "session.py", *_offered(tuple(system.offered)))),
    }


def files(system: System, stage: str) -> list[Path]:
    """The files behind a stage, but for its YAML."""
    return sorted({*_with_imports(tuple(_of_run(system, stage))), *_pins(system.stages[stage].kind)})


def changed(before: Digests, now: Digests) -> list[str]:
    """The parts that differ."""
    return sorted(part for part in before.keys() | now.keys() if before.get(part) != now.get(part))


def forget() -> None:
    """Read every file again."""
    of_files = (_read, _hash_of, _content, _imported, _files_of)
    for known in (*of_files, _with_imports, _by_folder, _written, _rewarding, _offered):
        known.cache_clear()


def _of_run(system: System, stage: str) -> list[Path]:
    kind = system.stages[stage].kind
    reward = _rewarding(system.file, stage) if kind == "rl" else []
    engine = [file for folder in BY_KIND[kind].code for file in _files_of(ROOT / "engines" / folder)]
    return [*engine, ROOT / "stages" / f"{kind}.py", *reward, *_offered(tuple(system.offered))]


@cache
def _written(file: Path, stage: str | None = None) -> str:
    """Of what a system's YAML says of itself and of a stage; notes, comments and format do not count."""
    for_readers: set[tuple[str, ...]] = {(name,) for name in _FOR_READERS}
    passed_over = for_readers if stage else for_readers | {(name,) for name in _OF_TRAINING}
    content = dotted.without(_content(file), passed_over)
    if stage:
        content["stage"] = dotted.without(_content(file)["stages"][stage], for_readers)
    return _hash(json.dumps(content, ensure_ascii=False).encode())


@cache
def _rewarding(file: Path, stage: str) -> Sequence[Path]:
    """The files of a stage's reward: its total, the terms that it reads, and the question to its judge."""
    reward = _reward(file, stage)
    rewards = ROOT / "rewards"
    name = str(reward.get("total"))
    total = plugins.totals().get(name) or rewards / "totals" / f"{name}.py"
    text = _text(total)
    listed = _READS.search(text)
    names = {*re.findall(r"[\w-]+", listed[1] if listed else ""), *reward.get("weights", {}), reward.get("gate") or ""}
    defined, elsewhere = _defining(names), _defining(names - {*_DEFINES.findall(text)})
    questions = [
        file.with_name(asked)
        for file in (total, *_imported(total))
        for question, asked in _ASKS.findall(_text(file))
        if elsewhere.search(_text(file)) or re.search(rf"\b{question}\b", text)
    ]
    terms = [file for file in _files_of(rewards / "terms") if defined.search(_text(file))]
    rules = [rewards / "groups.py"] if reward.get("group") else []
    return [total, *terms, *rules, *questions, rewards / "verl.py", *_files_of(rewards, ".yaml")]


def _defining(names: Iterable[str]) -> re.Pattern[str]:
    """The beginning of a function with one of these names."""
    return re.compile(rf"^(?:async )?def (?:{'|'.join(sorted({*names} - {''})) or 'none'})\(", re.MULTILINE)


def _reward(file: Path, stage: str) -> dict[str, Any]:
    """The fields of a stage's reward, in the system's and in its own settings."""
    found: dict[str, Any] = {}
    content = _content(file)
    own = content["stages"][stage].get("settings", {})
    for settings in (content, content.get("everywhere", {}), own):
        for keys, value in dotted.leaves(settings):
            path = tuple(part for key in keys for part in key.split("."))
            if path[0] == "reward" and len(path) > 1:
                dotted.put(found, path[1:], value)
    return found


@cache
def _offered(tools: tuple[str, ...]) -> Sequence[Path]:
    """The files of the tools that a system offers."""
    names = "|".join(map(re.escape, tools)) or "none"
    named = re.compile(rf'^NAME = "(?:{names})"', re.MULTILINE)
    own = [Path(tool) for tool in tools if plugins.is_path(tool)]
    return [*own, *(file for file in _files_of(ROOT / "tools") if named.search(_text(file)))]


def _pins(kind: Kind) -> list[Path]:
    """What the environment of the engine of a kind of stages is made from."""
    envs, name = ROOT / "envs", BY_KIND[kind].environment
    return sorted([envs / "common.in", envs / f"{name}.yaml", *envs.glob(f"{name}-*")])


@cache
def _by_folder(files: tuple[Path, ...]) -> Digests:
    """The digest of these files, and of all that they import, in each of `FOLDERS`."""
    inside: dict[str, list[Path]] = {name: [] for name in FOLDERS}
    for file in _with_imports(files):
        inside[_folder_of(file)].append(file)
    return {name: _digest(found) for name, found in inside.items() if found}


@cache
def _with_imports(files: tuple[Path, ...]) -> frozenset[Path]:
    """These files, what they import in `FOLDERS`, what that imports, and the data beside each module of these."""
    found, left = set[Path](), [*files]
    while left:
        file = left.pop()
        if file in found or _folder_of(file) not in FOLDERS:
            continue
        found.add(file)
        if file.suffix == ".py":
            left += _imported(file)
    return frozenset(found)


def _folder_of(file: Path) -> str:
    return _name(file).partition("/")[0] if file.is_relative_to(ROOT) else "rewards"


@cache
def _name(file: Path) -> str:
    """The name of a file in this package, or of one of a published system with its folder."""
    return file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else "/".join(file.parts[-2:])


@cache
def _imported(file: Path) -> Sequence[Path]:
    """The files of this package and of published systems that a file's text imports."""
    found = []
    for module, several, names, alone in _IMPORT.findall(_text(file)):
        for name in ["", *re.findall(r"\w+", several or names)]:
            path = ROOT.parent.joinpath(*f"{module or alone}.{name}".strip(".").split("."))
            found += [each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()]
    return [each for each in found if each != _OF_EVERY_KIND]


@cache
def _content(file: Path) -> dict[str, Any]:
    return plain_yaml.read(file)


@cache
def _files_of(folder: Path, *suffixes: str) -> Sequence[Path]:
    """The files directly in a folder, of these endings."""
    wanted = suffixes or (".py", ".yaml", ".json")
    return sorted(file for file in folder.iterdir() if file.suffix in wanted)


def _digest(files: Iterable[Path]) -> str:
    """The hash of files with their names."""
    told = [[_name(file), _hash_of(file)] for file in sorted(set(files))]
    return _hash(json.dumps(told).encode())


@cache
def _hash_of(file: Path) -> str:
    return _hash(_HASHES.sub(b"", _read(file)))


def _text(file: Path) -> str:
    return _read(file).decode(errors="replace")


@cache
def _read(file: Path) -> bytes:
    """The file's bytes with one kind of line ends; none where it cannot be read."""
    try:
        return file.read_bytes().replace(b"\r\n", b"\n")
    except OSError:
        return b""


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGITS]
