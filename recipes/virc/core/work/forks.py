"""What a forked child must not use of its parent: connections, processes, models, and locks that a thread may hold."""

import os
import threading
from collections.abc import Callable
from weakref import WeakMethod

from virc.core.errors import EngineError

_renewals: "list[WeakMethod[Callable[[], None]]]" = []


def renew_in_child(renew: Callable[[], None]) -> None:
    """Call `renew`, a method of an object, in each child that this process forks as long as the object lives."""
    _renewals[:] = [each for each in _renewals if each()]
    _renewals.append(WeakMethod(renew))


class Lock:
    """A lock for `with` that is free in a forked child, where the thread that held it is not."""

    def __init__(self) -> None:
        self._renew()
        renew_in_child(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class HomeProcess:
    """The process that made an object which cannot be used in another: a model with its threads and its device."""

    def __init__(self) -> None:
        self._id = os.getpid()

    def check(self, model: str) -> None:
        """Raise EngineError in a forked child, where the first reply would not end."""
        if os.getpid() != self._id:
            raise EngineError(
                f"the model {model} was loaded in process {self._id}, and cannot be used in its forked child",
                f'in each child (of a Pool: by initializer=) model = virc.load("{model}"); or virc serve {model}, and '
                'in each virc.load(endpoint="http://127.0.0.1:8000/v1")',
            )


def _renew() -> None:
    for reference in (*_renewals,):
        if renew := reference():
            renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
