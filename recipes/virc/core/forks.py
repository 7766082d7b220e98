"""What a forked child must not use of its parent: connections, processes, models, and locks that a thread may hold."""

import os
import threading
from collections.abc import Callable
from weakref import WeakMethod, WeakSet

from virc.core.errors import EngineError

_renewals: "list[WeakMethod[Callable[[], None]]]" = []
_locks: WeakSet[threading.Lock] = WeakSet()


def renew_in_child(renew: Callable[[], None]) -> None:
    """Call `renew`, a method of an object, in each child that this process forks as long as the object lives."""
    _renewals[:] = [each for each in _renewals if each()]
    _renewals.append(WeakMethod(renew))


def lock() -> threading.Lock:
    """Return a lock that is free in a forked child, where the thread that held it is not."""
    made = threading.Lock()
    _locks.add(made)
    return made


class HomeProcess:
    """The process that made an object which cannot be used in another: a model with its threads and its device."""

    def __init__(self) -> None:
        self._id = os.getpid()

    def check(self, model: str) -> None:
        """Raise EngineError in a forked child, where the first reply would not end."""
        if os.getpid() != self._id:
            raise EngineError(
                f"the model {model} was loaded in process {self._id}, and cannot be used in its forked child",
                "load it in each child (such as by the initializer of a Pool), or virc serve and endpoint= in all",
            )


def _renew() -> None:
    for each in (*_locks,):
        each._at_fork_reinit()  # type: ignore[attr-defined]  # as the standard library's own logging does
    for reference in (*_renewals,):
        if renew := reference():
            renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
