"""The layouts of rows that need no system to be named, one YAML each; those of one system are in its folder."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from virc.config import yaml as plain_yaml
from virc.core import plugins
from virc.core.errors import ConfigError, errors_as
from virc.systems.layouts.layout import Layout

_FOLDER = Path(__file__).parent


@cache
def discover() -> Mapping[str, Layout]:
    files = (*_FOLDER.glob("*.yaml"), *plugins.in_system_folders("*.layout.yaml"))
    return {file.name.split(".")[0]: read_layout(file) for file in sorted(files, key=lambda file: file.name)}


def read_layout(file: Path) -> Layout:
    with errors_as(ConfigError, f"{file}", caught=msgspec.ValidationError):
        layout = msgspec.convert(plain_yaml.read_mapping(file), Layout)
    if layout.unsure:
        raise ConfigError(f"{file} is not sure: {layout.unsure[0]}", "correct its lines, then remove those of `unsure`")
    return layout
