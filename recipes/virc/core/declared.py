"""Options that are declared once, as keys of a TypedDict, for functions of Python and for commands.

    class Options(TypedDict, total=False):
        max_turns: Annotated[int, Option("N", "Most turns of one solution.", default=16, min=1)]

    @with_options
    def solve(question: str, **options: Unpack[Options]) -> str: ...

`solve` is always called with all of them; its signature and its docstring, where that has `{options}`, name each.
"""

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
        is_repeated: whether a command takes it several times.
    """

    value: str = ""
    help: str = ""
    more: str = ""
    default: Any = None
    min: float | None = None
    max: float | None = None
    name: str = ""
    is_repeated: bool = False


def declared(options: Any) -> Mapping[str, tuple[Any, Option]]:
    """Type and declaration of each option of a TypedDict."""
    hints = get_type_hints(options, include_extras=True)
    return {name: (hint.__origin__, hint.__metadata__[0]) for name, hint in hints.items()}


def with_options(function: F) -> F:
    """A function with the options of its `**options: Unpack[...]`, each with its default where it is not given."""
    own = signature(function)
    *named, unpacked = own.parameters.values()
    options = declared(get_args(unpacked.annotation)[0])
    defaults = {name: option.default for name, (_, option) in options.items()}
    known = {*defaults, *(each.name for each in named)}
    for name, (kind, option) in options.items():
        texts.declare(option.name or name, name, kind)

    @wraps(function)
    def call(*args: Any, **given: Any) -> Any:
        if unknown := given.keys() - known:
            raise TypeError(f"{function.__name__}() got an unexpected keyword argument {min(unknown)!r}")
        return function(*args, **defaults | given)

    parameters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=option.default, annotation=kind)
        for name, (kind, option) in options.items()
    ]
    whole: Any = call
    whole.__signature__ = own.replace(parameters=[*named, *parameters])
    described = "\n".join(_described(name, option) for name, (_, option) in options.items())
    whole.__doc__ = (function.__doc__ or "").replace("        {options}", described)
    return whole  # type: ignore[no-any-return]


def _described(name: str, option: Option) -> str:
    text = f"{name}: {option.help} {option.more}".replace("; repeatable", "").replace(":  ", ": ")
    return textwrap.fill(text, 120, initial_indent=" " * 8, subsequent_indent=" " * 12)
