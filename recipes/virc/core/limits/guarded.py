"""Functions of the user's own files, called so that what they do wrong is an ordinary error with the place in the file.

Code that calls `sys.exit` would end a whole batch, or the server, without a word; a function that takes other arguments
than it is called with fails in the file of whoever calls it.
"""

import functools
import inspect
import signal
import traceback
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType
from typing import Any

from virc.core.errors import ConfigError

_OF_TOOLS: Mapping[str, str] = {
    "apply": "call, source",
    "apply_to_all": "call, conversation",
    "check": "arguments, view",
    "ready": "",
}
"""The functions of a tool, and what they are called with."""
_STOPPING = (signal.SIGINT, signal.SIGTERM)


class ExitError(Exception):
    """Code of the user's own called `sys.exit`, or raised SystemExit."""

    def __init__(self, stop: SystemExit) -> None:
        super().__init__(f"it would end the process: sys.exit({stop.code!r})")


def guard(module: ModuleType) -> None:
    for name, arguments in _OF_TOOLS.items():
        function = getattr(module, name, None)
        if isinstance(function, FunctionType):
            setattr(module, name, called_as(function, f"{name}({arguments})"))


def is_of_a_signal(stop: SystemExit) -> bool:
    """Whether the handler of a signal that ends this process raised it, in the midst of other code."""
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in _STOPPING} - {None}
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(stop.__traceback__))


def as_error(raised: Exception | SystemExit) -> Exception:
    """The error of the user's own code; an exit that the handler of a signal asks for is raised."""
    if isinstance(raised, Exception):
        return raised
    if is_of_a_signal(raised):
        raise raised
    return ExitError(raised).with_traceback(raised.__traceback__)


def called_as(function: Callable[..., Any], called: str) -> Callable[..., Any]:
    """A function that ends with an error where it cannot be called as `called`, such as `apply(call, source)`."""
    if not isinstance(function, FunctionType):
        return function

    @functools.wraps(function)
    def guarded(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except SystemExit as stop:
            raise as_error(stop) from None
        except TypeError as error:
            if error.__traceback__ and error.__traceback__.tb_next:  # it was called, and fails inside
                raise
            code = function.__code__
            place = f"line {code.co_firstlineno} of {code.co_filename}"
            taken = f"{function.__name__}{inspect.signature(function)}"
            raise ConfigError(f"{taken} in {place} cannot be called as {called}", f"def {called}:") from None

    return guarded
