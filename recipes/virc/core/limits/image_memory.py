"""Memory of pictures at their full size: counted before a picture is decoded, over all threads of this process.

Whoever holds some never waits for more, so nobody waits for themselves: several pictures of one problem are counted in
one step.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

import msgspec

from virc.core.errors import ConfigError, DataError, VircError
from virc.core.timeouts import Deadline, check_stop

SETTING = "VIRC_IMAGE_MEMORY"
"""The variable with the limit in MiB."""
WAIT = 60.0
"""Seconds that a picture of a client waits for others to be done with."""
_DEFAULT = 256  # MiB
_TRIMMED = 64 * 2**20  # bytes; the C library keeps what was freed, for each thread, unless it is told to give it back
_CHECK = 0.1  # seconds between two looks at whether anybody still waits
_ARENA_MAX = -8  # of malloc.h

_holds: ContextVar[bool] = ContextVar("holds", default=False)


class TooLargeError(DataError):
    """A picture, or all of a problem, takes more memory than all pictures may take together."""


class BusyError(VircError):
    """Other pictures hold the memory that this one needs."""


def limit() -> int:
    """Bytes that pictures may take together. Raises ConfigError: the variable holds no number of MiB."""
    text = os.environ.get(SETTING) or str(_DEFAULT)
    if not text.isdecimal() or not 1 <= int(text) <= 2**24:
        raise ConfigError(f"{SETTING} is {text!r}, not a number of MiB from 1 to {2**24}", f"export {SETTING}=1024")
    return int(text) * 2**20


class Terms(msgspec.Struct, frozen=True):
    """On which terms a picture is opened.

    Args:
        outside: it comes from somebody else: it is decoded in a process of its own, and refused where it needs more
            than the limit. A file of the user's own that needs more is opened when nothing else is held, unless the
            user has chosen a limit.
        seconds: longest wait for memory; None: no end.
        check: called while it waits or is decoded; what it raises ends that.
        large: it is refused where it needs more than the limit, as are those from outside.
    """

    outside: bool = False
    seconds: float | None = None
    check: Callable[[], None] = check_stop
    large: bool = False

    @property
    def strict(self) -> bool:
        return self.outside or self.large or SETTING in os.environ


OWN = Terms()


def of_client(check: Callable[[], None] = check_stop) -> Terms:
    """Those of a picture that came over a network; `check` raises where nobody waits for it any more."""
    return Terms(True, WAIT, check)


class Reservation:
    def __init__(self, memory: "ImageMemory", size: int) -> None:
        self.size, self._memory = size, memory

    def shrink(self, size: int) -> None:
        if size < self.size:
            freed, self.size = self.size - size, size
            if freed >= _TRIMMED:
                trim()
            self._memory.free(freed)


class ImageMemory:
    """What pictures take in this process, and who waits for some.

    Attributes:
        held: bytes.
        reclaim: called when somebody has to wait; drops what is only kept for later.
    """

    def __init__(self) -> None:
        self.held = 0
        self.reclaim: Callable[[], None] = lambda: None
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int, what: str, terms: Terms = OWN) -> Iterator[Reservation]:
        """Hold memory inside; waits for it, unless this context holds some already."""
        if terms.strict and size > limit():
            needed = f"take {megabytes(size)} of memory to decode; at most {megabytes(limit())} are used"
            raise TooLargeError(f"{what}, which {needed}", f"make it smaller, or export {SETTING}={-(-size // 2**20)}")
        self._take(size, terms)
        token, held = _holds.set(True), Reservation(self, size)
        try:
            yield held
        finally:
            _holds.reset(token)
            held.shrink(0)

    def keep(self, size: int) -> Reservation:
        """Count what was decoded and is kept for later, until the hold shrinks."""
        with self._changed:
            self.held += size
        return Reservation(self, size)

    def free(self, size: int) -> None:
        with self._changed:
            self.held -= size
            self._changed.notify_all()

    def _take(self, size: int, terms: Terms) -> None:
        deadline, nested, most = Deadline(terms.seconds), _holds.get(), limit()

        def fits() -> bool:
            return not self.held or self.held + size <= most or (nested and not terms.strict)

        with self._changed:
            while not fits():
                self.reclaim()
                if fits():
                    trim()
                    break
                terms.check()
                if nested or deadline.left() == 0:
                    raise BusyError(f"other pictures hold the {megabytes(size)} of memory that this one needs")
                self._changed.wait(_CHECK)
            self.held += size


IMAGE_MEMORY = ImageMemory()


def megabytes(size: int) -> str:
    return f"{-(-size // 2**20):,} MiB"


def trim() -> None:
    """Give freed memory back to the system, where the C library can."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def share_arena() -> None:
    """Have glibc's malloc serve threads that start from now on from one arena: of many, each keeps what it freed."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)
