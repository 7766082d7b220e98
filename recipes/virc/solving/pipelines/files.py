"""Pipelines as files: read and checked."""

from collections.abc import Mapping
from typing import Any

import msgspec

from virc.config import validation
from virc.config import yaml as plain_yaml
from virc.core.errors import ConfigError
from virc.core.files import expanded, is_file
from virc.solving.pipelines.checks import mistakes, place
from virc.solving.pipelines.schema import Pipeline
from virc.systems import registry as systems


def of_system(system: str | None) -> str | None:
    """The system itself where it is a pipeline; None for others, and where no system is named."""
    return system if system is not None and systems.get(system).pipeline else None


def served_by(system: str | None) -> str | None:
    """The system itself where it is a pipeline alone, with no model of its own to train and to serve."""
    return system if of_system(system) and system is not None and not systems.get(system).stages else None


def is_alone(name: str) -> bool:
    """Whether that is a file with a pipeline alone: roles and steps beside no name of a system."""
    if not (systems.is_path(name) and is_file(expanded(name))):
        return False
    content = plain_yaml.parse(plain_yaml.read_text(expanded(name)), name)
    return "steps" in content and "roles" in content and not {"name", "pipeline"} & content.keys()


def load(name: str) -> Pipeline:
    """The pipeline of a system, or of a YAML file: that of a system, or one with a pipeline alone.

    Raises:
        ConfigError: it is not there, no YAML, or as `read`.
    """
    there = systems.is_path(name) and is_file(expanded(name))
    text = plain_yaml.read_text(expanded(name)) if there else ""
    content = plain_yaml.parse(text, name)
    if there and not content:
        raise ConfigError(f"{name} is empty", "it needs roles, steps and answer")
    if content and "pipeline" not in content:
        return read(content, name, plain_yaml.lines(text))
    system = systems.get(name)
    if not system.pipeline:
        raise ConfigError(f"{name} has no pipeline", "--pipeline FILE.yaml")
    lines = plain_yaml.lines(plain_yaml.read_text(system.file))
    below = {path[1:]: line for path, line in lines.items() if path[0] == "pipeline"}
    return read(system.pipeline, str(system.file), below)


def read(content: Mapping[str, Any], where: str, lines: Mapping[tuple[str, ...], int] = {}) -> Pipeline:
    """Read and check the content of `pipeline:`.

    Args:
        where: what errors call it.
        lines: the keys that lead to each value -> its line, which errors then name.

    Raises:
        ConfigError: it does not fit, or a step names a role or a value that it cannot have.
    """
    for fault in validation.faults(content, Pipeline):
        raise ConfigError(f"{_at(where, fault.path, lines)}: {fault.message}", fault.hint)
    try:
        pipeline = msgspec.convert(content, Pipeline, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from error
    for message, hint in mistakes(pipeline):
        raise ConfigError(f"{_at(where, place(message, content), lines)}: {message}", hint)
    return pipeline


def _at(where: str, path: tuple[str, ...], lines: Mapping[tuple[str, ...], int]) -> str:
    """The file, and the line of a key in it where that is known."""
    return f"{where}:{systems.line_of(path, lines)}" if lines else where
