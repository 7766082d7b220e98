"""The layouts of rows that need no system to be named, one YAML each; those of one system are in its folder."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from virc.config import yaml as plain_yaml
from virc.core import plugins
from virc.core.errors import ConfigError
from virc.core.files import is_file
from virc.core.text import clause
from virc.systems.layouts.layout import Layout

_FOLDER = Path(__file__).parent


@cache
def discover() -> Mapping[str, Layout]:
    files = (*_FOLDER.glob("*.yaml"), *plugins.in_system_folders("*.layout.yaml"))
    return {file.name.split(".")[0]: read_layout(file) for file in sorted(files, key=lambda file: file.name)}


def read_layout(file: Path) -> Layout:
    if not is_file(file):
        raise ConfigError(f"there is no file {file}")
    try:
        layout = msgspec.convert(plain_yaml.read_mapping(file), Layout)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: {clause(error)}") from None
    if layout.unsure:
        raise ConfigError(f"{file} is not sure: {layout.unsure[0]}", "correct its lines, then remove those of `unsure`")
    return layout
