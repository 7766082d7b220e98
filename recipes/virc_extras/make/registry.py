"""Finds operators: files of this package, of folders of `VIRC_PATH`, and of installed packages: those that their entry
points `virc.operators` name, and `operators/NAME.py` in the folder of a system.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from virc.config import validation, yaml
from virc.core import plugins
from virc.core.entry_points import Group
from virc.core.errors import ConfigError, UsageError
from virc.core.files import is_file
from virc.core.text import did_you_mean
from virc_extras.pipelines.speaking import Role

_PACKAGE = "virc_extras.make.operators"
_GROUP: Group = "virc.operators"
_HINT = "virc data make ls"
_ARGUMENT = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


class Operator(msgspec.Struct, frozen=True):
    """An operator: its name, its title, its options and what it does; `virc_extras.make.operator` says more."""

    name: str
    title: str
    options: type[msgspec.Struct]
    file: Path
    run: Callable[..., Any] | None = None
    measure: Callable[..., Any] | None = None
    plan: Callable[..., Any] | None = None
    roles: Callable[[Any], Mapping[str, Role]] = lambda options: {}
    requests: Callable[[Any], int] | None = None


def names() -> list[str]:
    return sorted({*plugins.module_names(_PACKAGE), *plugins.installed(_GROUP), *plugins.of_systems("operators")})


def get(name: str) -> Operator:
    if name in plugins.module_names(_PACKAGE):
        return _operator(plugins.module_of(_PACKAGE, name), name)
    is_own = name.endswith(".py") and is_file(name)
    found = plugins.file_of(name, plugins.folders(None), _GROUP) or plugins.of_systems("operators").get(name)
    file = Path(name) if is_own else found
    if file is None:
        raise UsageError(f"there is no operator {name!r}", did_you_mean(name, names(), _HINT))
    return _operator(plugins.loaded(file), file.stem if is_own else name)


def _operator(module: ModuleType, name: str) -> Operator:
    file, options = module.__file__ or "", getattr(module, "Options", None)
    works = {each: getattr(module, each, None) for each in ("run", "measure", "plan", "requests")}
    whole = works["measure"] is not None and works["plan"] is not None
    if not (isinstance(options, type) and issubclass(options, msgspec.Struct)) or (works["run"] is None) != whole:
        raise ConfigError(f"{file} is no operator", "it defines Options, and run, or measure and plan")
    title = (module.__doc__ or "").strip().partition("\n")[0]
    fixed: Mapping[str, Role] = getattr(module, "ROLES", {})
    roles = getattr(module, "roles", lambda options: fixed)
    return Operator(name, title, options, Path(file), roles=roles, **works)


def options_of(operator: Operator, values: Mapping[str, Any]) -> msgspec.Struct:
    for fault in validation.faults(dict(values), operator.options, noun="option"):
        hint = fault.hint or f"virc data make ls {operator.name}"
        raise UsageError(f"{operator.name}: {fault.message}", hint)
    try:
        return msgspec.convert(dict(values), operator.options, strict=False)
    except ValueError as error:  # of __post_init__
        raise UsageError(f"{operator.name}: {error}") from None


def parsed(settings: Sequence[str] | Mapping[str, Any], operator: Operator | None = None) -> dict[str, Any]:
    """Return options, those of `KEY=VALUE` texts too; an option that takes text gets it as it is written."""
    found: dict[str, Any] = dict(settings) if isinstance(settings, Mapping) else {}
    for each in settings if not found else ():
        key, is_one, text = each.partition("=")
        if not is_one or not key:
            raise UsageError(f"«--set {each}»: it is KEY=VALUE", "«--set seed=1»")
        try:
            value = yaml.value(text, f"«--set {key}»")
        except ConfigError as error:
            raise UsageError(error.args[0], error.unspelled_hint) from None
        kind = validation.kind_at(operator.options, (key,)) if operator else None
        is_text = kind is not None and validation.takes_text(kind) and isinstance(value, bool | int | float)
        found[key] = text.strip() if is_text else value
    return found


def described(operator: Operator) -> dict[str, tuple[str, Any]]:
    """Option -> what it is, as its docstring says, and its default; `required` if it has none."""
    about = inspect.getdoc(operator.options) or ""
    said = {name: " ".join(text.split()) for name, text in _ARGUMENT.findall(about.partition("Args:")[2])}
    fields = msgspec.structs.fields(operator.options)
    defaults = {each.name: "required" if each.required else each.default for each in fields}
    made = {each.name: each.default_factory() for each in fields if each.default_factory is not msgspec.NODEFAULT}
    return {name: (said.get(name, ""), msgspec.to_builtins(value)) for name, value in (defaults | made).items()}
