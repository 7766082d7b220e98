"""`virc` that kills itself at a chosen moment, as no signal from outside can be timed.

    killed_child.py MODULE FUNCTION CALL before|after WORD...

It dies at the CALL-th call of the function (or `Class.method`) of that module, before or after it did its work.
"""

import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from virc_cli.main import main


def dying(function: Callable[..., Any], call: int, when: str) -> Callable[..., Any]:
    """The function, until its last moment."""
    calls = 0

    def called(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return called


if __name__ == "__main__":
    os.sync = lambda: None  # a kill, unlike a loss of power, needs none, and it waits for whoever else writes
    module, name, call, when, *words = sys.argv[1:]
    owner: Any = importlib.import_module(module)
    *classes, function = name.split(".")
    for each in classes:
        owner = getattr(owner, each)
    setattr(owner, function, dying(getattr(owner, function), int(call), when))
    sys.exit(main(words))
