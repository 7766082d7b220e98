"""Options that are declared once, as keys of a TypedDict (`virc.config.options`), for functions and for commands."""

import textwrap
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, signature
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints

from virc.core import options as texts

F = TypeVar("F", bound=Callable[..., Any])


class Option(NamedTuple):
    """What is said of an option besides its name and type.

    Args:
        value: the word for its value in `--help`; "": it is a flag, or its type lists the values.
        help: the line of `--help`, which begins the text of a docstring; "": Python alone has the option.
        more: the rest of the text of a docstring.
        name: as a parameter of commands, where that is another.
        many: whether a command takes it several times.
    """

    value: str = ""
    help: str = ""
    more: str = ""
    default: Any = None
    min: float | None = None
    max: float | None = None
    name: str = ""
    many: bool = False

    def described(self, name: str) -> str:
        """The text of an argument in a docstring."""
        text = f"{name}: {' '.join(filter(None, (self.help, self.more)))}".replace("; repeatable", "")
        return textwrap.fill(text, 120, initial_indent=" " * 8, subsequent_indent=" " * 12)


def declared(options: Any) -> Mapping[str, tuple[Any, Option]]:
    """Type and declaration of each option of a TypedDict."""
    hints = get_type_hints(options, include_extras=True)
    return {name: (hint.__origin__, hint.__metadata__[0]) for name, hint in hints.items()}


def with_options(function: F) -> F:
    """A function that gets all options of its `**options: Unpack[...]`, those that are not given by their defaults.

    Its signature names them, and its docstring, where that has `{options}`.
    """
    *named, unpacked = signature(function).parameters.values()
    options = declared(get_args(unpacked.annotation)[0])
    for name, (kind, option) in options.items():
        named.append(Parameter(name, Parameter.KEYWORD_ONLY, default=option.default, annotation=kind))
        texts.declare(option.name or name, name, kind)

    @wraps(function)
    def call(*args: Any, **given: Any) -> Any:
        bound = whole.__signature__.bind(*args, **given)
        bound.apply_defaults()
        return function(*bound.args, **bound.kwargs)

    whole: Any = call
    whole.__signature__ = signature(function).replace(parameters=named)
    described = "\n".join(option.described(name) for name, (_, option) in options.items())
    whole.__doc__ = (function.__doc__ or "").replace("        {options}", described)
    return whole  # type: ignore[no-any-return]
