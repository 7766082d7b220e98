"""A tool's YAML file as a tool."""

from pathlib import Path

from virc.core.errors import ConfigError


def read(file: Path) -> object:
    """The tool that a file describes; raises ConfigError where it describes none."""
    raise ConfigError(f"{file} is not Python")
