"""Writing system files: copies and new ones."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from virc.config import dotted
from virc.config import yaml as plain_yaml
from virc.config.validation import wanted
from virc.core.errors import ConfigError, UsageError
from virc.core.files import expanded, write_whole
from virc.core.text import clause
from virc.systems import registry as systems
from virc.systems import texts
from virc.systems.names import NAME_PATTERN, Name
from virc.systems.registry import System
from virc.systems.samples.find import Sample
from virc.systems.samples.writing import yaml_of

_STARTING = Path(__file__).with_name("starting.txt")


def copied(system: System, target: Path, name: str) -> str:
    """The YAML of a system under another name and for another place: comments are kept, relative paths lead on.

    Texts of its authors are written out.

    Raises:
        ConfigError: the file cannot be read any more, or a text is not on this machine.
    """
    content = plain_yaml.read(system.file)
    here, there = system.file.parent, os.path.realpath(target.absolute().parent)
    values: dict[dotted.Path, str] = {("name",): name}
    for keys, relative in systems.relative_paths(content):
        path = os.path.relpath(os.path.realpath(here / expanded(relative)), there)
        values[keys] = path if path.startswith("..") else f"./{path}"
    copy = written_out(system, values)
    if system.rewriting() and not system.rows_of:
        copy += f"rows_of: {system.name}   # its rows.py rewrites rows\n"
    ours = f"Our own words stand in place of texts of {system.name}'s authors, whatever is said of sources below."
    heading = [ours] if texts.is_own_wording(here) else texts.credited(here)
    return "".join(f"# {each}\n" for each in heading) + copy


def written_out(system: System, values: Mapping[dotted.Path, str] = {}) -> str:
    """The YAML of a system with the texts of its authors, and other values at some keys. Raises as `copied`."""
    text, changed = plain_yaml.read_text(system.file), dict(values)
    for keys, value in dotted.leaves(plain_yaml.parse(text, str(system.file))):
        if isinstance(value, str) and (whole := texts.filled(value, system.file.parent)) != value:
            changed[keys] = whole
    return plain_yaml.replaced(text, changed)


def starting(name: str) -> str:
    return _STARTING.read_text(encoding="utf-8").replace("NAME", name)


def sampled(name: str, sample: Sample) -> str:
    """Raises ConfigError: its YAML would be over the size that is read."""
    text = yaml_of(name, sample)
    try:
        faults = list(systems.misfits(plain_yaml.parse(text, name)))
    except ConfigError as error:
        raise ConfigError("no YAML can be written that holds these replies", "shorter ones") from error
    assert not faults, faults
    return text


def write(target: Path, text: str) -> None:
    """Raises ConfigError: there is a file, or it cannot be written."""
    if os.path.lexists(target):
        raise ConfigError(f"there is a file {target} already", "choose another, or remove it")
    try:
        write_whole(target, text.encode())
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {clause(error)}") from error


def checked_name(name: str | None, target: Path) -> str:
    """Raises UsageError: the file would not be found as a system's; ConfigError: the name is taken or none."""
    if target.suffix not in systems.SUFFIXES:
        raise UsageError(f"{target} does not end in .yaml", f"{target.name}.yaml")
    chosen = name or target.stem
    if not re.match(NAME_PATTERN, chosen):
        raise ConfigError(f"{json.dumps(chosen)} cannot name a system", f"names are {wanted(Name)}")
    if chosen in systems.discover():
        raise ConfigError(
            f"there is a system {chosen} already, in {systems.discover()[chosen].file}", "choose another name"
        )
    return chosen
