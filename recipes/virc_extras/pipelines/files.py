"""Pipelines as files of Python: found and loaded."""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.core import plugins
from virc.core.errors import ConfigError, UsageError
from virc.core.files import expanded, is_file
from virc.core.options import marked
from virc.reasoning.images import OpenedImage
from virc.systems import registry as systems
from virc.systems import texts
from virc_extras.pipelines.asking import Roles
from virc_extras.pipelines.speaking import Role
from virc_extras.pipelines.tools import Tools

SUFFIX = ".py"
INSTEAD: Mapping[str, str] = {
    "samples": "`roles.NAME.sample(N, ...)` and `vote(...)`",
    "strategy": "code that does the same: `sample` with `vote`, or a loop",
    "temperature": "`Role(temperature=...)`",
    "max_tokens": "`Role(max_tokens=...)`",
}
"""Setting of one model -> what a pipeline's file has in its place."""
_EXAMPLE = "virc systems show prism names the file of one"


class Problem(msgspec.Struct, frozen=True):
    """What a pipeline's function is given: the question, its pictures, and the tools of the pipeline."""

    question: str
    images: tuple[OpenedImage, ...]
    tools: Tools


class Pipeline(msgspec.Struct, frozen=True):
    """A loaded pipeline.

    Args:
        name: of its system, or of its file without the suffix.
        roles, tools: `ROLES` and `TOOLS` of its file; {text:NAME} in a system message is a text of its authors.
        writer: `WRITER` of its file, the last role without one: it answers chats without images, and writes as JSON.
        solve: its function.
        digest: of the file's content.
    """

    name: str
    file: Path
    roles: Mapping[str, Role]
    tools: Mapping[str, str]
    writer: str
    solve: Callable[[Problem, Roles], str]
    digest: str


def refuse(given: Mapping[str, object]) -> None:
    if name := next((name for name, is_given in given.items() if is_given), None):
        instead = INSTEAD.get(name)
        hint = f"leave one out, or in the pipeline's file use {instead}" if instead else "leave one out"
        option = marked(name) if name.isidentifier() else name
        raise UsageError(f"{option} does not go with «--pipeline»", hint)


def load(name: str) -> Pipeline:
    """Return the pipeline of a system, or of a file of Python, which is run with the rights of the user."""
    if name.endswith(SUFFIX):
        file = expanded(name)
        if not is_file(file):
            raise ConfigError(f"there is no file {file}", f"«--pipeline FILE{SUFFIX}», or a system: virc systems ls")
        return _loaded(file.absolute(), file.stem)
    system = systems.get(name)
    if not system.pipeline:
        raise ConfigError(f"{name} has no pipeline", f"«--pipeline FILE{SUFFIX}»")
    return _loaded(file_of(system), system.name)


def file_of(system: systems.System) -> Path:
    named = system.pipeline or ""
    if not named.endswith(SUFFIX):
        raise ConfigError(f"{system.file}: pipeline is {named!r}, and no file FILE{SUFFIX}", _EXAMPLE)
    return Path(named)


def _loaded(file: Path, name: str) -> Pipeline:
    if not is_file(file):
        raise ConfigError(f"there is no file {file}", _EXAMPLE)
    texts.check_texts(file.parent)
    module = plugins.fresh(file)  # in a notebook it may have changed
    roles, tools, solve = (getattr(module, each, None) for each in ("ROLES", "TOOLS", "solve"))
    if not (isinstance(roles, dict) and roles and all(isinstance(each, Role) for each in roles.values())):
        raise ConfigError(f"{file} has no ROLES: a dict of names and `Role(...)`", _EXAMPLE)
    if not (callable(solve) and len(inspect.signature(solve).parameters) == 2):
        raise ConfigError(f"{file} has no function `solve(problem, roles)`", _EXAMPLE)
    named = tools or {}
    if not (isinstance(named, dict) and all(isinstance(each, str) for pair in named.items() for each in pair)):
        raise ConfigError(f"{file}: TOOLS is no dict of names and tools", _EXAMPLE)
    writer = getattr(module, "WRITER", [*roles][-1])
    if writer not in [*roles]:
        raise ConfigError(f"{file}: WRITER is {writer!r}, which ROLES has not", f"one of {', '.join(map(str, roles))}")
    words = texts.OWN_WORDS if texts.is_own_wording(file.parent) else ""
    digest = hashlib.sha256(file.read_bytes() + words.encode()).hexdigest()[:16]
    said = {
        role: msgspec.structs.replace(each, system=texts.filled(each.system, file.parent))
        for role, each in _checked(roles, file).items()
    }
    return Pipeline(name, file, said, named, writer, solve, digest)


def _checked(roles: dict[Any, Role], file: Path) -> dict[str, Role]:
    for name, role in roles.items():
        try:
            msgspec.convert(msgspec.to_builtins(role), Role)
        except (msgspec.ValidationError, TypeError) as error:
            raise ConfigError(f"{file}: role {name!r}: {error}") from None
        if role.own_protocol and role.system is not None:
            raise ConfigError(
                f"{file}: role {name!r} has `own_protocol`, which brings its own system message", "no system"
            )
        if not (isinstance(name, str) and name.isidentifier()):
            raise ConfigError(f"{file}: {name!r} cannot name a role", "letters, digits and _")
    return roles
