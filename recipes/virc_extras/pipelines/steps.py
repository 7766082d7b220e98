"""The steps of a run: what was asked, run and cut, in the order of the pipeline's function, with what it cost."""

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal, TypeVar

import msgspec

from virc.core.seeds import derived
from virc.core.work.threads import started
from virc.reasoning.calls import Box, Size
from virc.reasoning.images import OpenedImage
from virc.reasoning.messages import printable
from virc.solving.votes import tally


def vote(texts: Iterable[str], step: str = "vote") -> str:
    """Return the most frequent text, the first of those if several are; texts that scoring finds equal are one.

    Empty if there is no text.
    """
    votes = tally(text.strip() for text in texts).votes
    chosen = next((text for text, _ in votes if text is not None), "")
    branch = here()
    branch.run.add(branch.next(), Ran(name=step, kind="vote", output=(chosen,)))
    return chosen


Kind = Literal["ask", "vote", "boxes", "crop", "code", "tool"]
Place = tuple[int, ...]
"""The place of a step in its run: numbers by which steps are sorted, and from which seeds are derived."""
MAX_STEPS = 1000
"""The most steps of a problem, so that an endless loop ends."""
_T = TypeVar("_T")


class Called(msgspec.Struct, frozen=True):
    function: str
    arguments: str
    output: str = ""
    error: str | None = None
    pictures: tuple[Size, ...] = ()
    seconds: float | None = None


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """A step that ran: its output, and what it cost if the backend counts.

    Args:
        system: the system message of the role that was sent plain messages, if it has one.
        prompt: the prompt of the role, the code that ran, or the arguments of the tool.
        output: its texts.
        error: why its role gave no reply.
        prompt_tokens, completion_tokens: tokens of all its replies; None if the backend did not count them.
        boxes: (left, top, right, bottom) in pixels of the picture's file.
        pictures: (width, height) in pixels of each picture that it made.
        shown: (width, height) in pixels of each picture that its role was sent, before it was scaled for the model.
        replies: number of replies of its role's model.
        seconds: its duration.
        calls: the calls of functions by its code.
    """

    name: str
    kind: Kind
    role: str | None = None
    system: str | None = None
    prompt: str | None = None
    output: tuple[str, ...] = ()
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    boxes: tuple[Box, ...] = ()
    pictures: tuple[Size, ...] = ()
    shown: tuple[Size, ...] = ()
    replies: int = 0
    seconds: float | None = None
    calls: tuple[Called, ...] = ()

    @property
    def texts(self) -> list[str]:
        """Its output, and each picture that it made in words."""
        return [*self.output, *(f"picture of {width} x {height} px" for width, height in self.pictures)]


class Boxed(msgspec.Struct, frozen=True):
    """A box (left, top, right, bottom) in pixels of the file of a picture; as a text `[left, top, right, bottom]`."""

    picture: OpenedImage
    box: Box

    def __str__(self) -> str:
        return str(list(self.box))


class Made(msgspec.Struct, frozen=True):
    """What a step made in addition to texts: pictures, and boxes. A crop has the box that it was cut from."""

    pictures: tuple[OpenedImage, ...] = ()
    boxes: tuple[Boxed, ...] = ()


NOTHING = Made()
OnStep = Callable[[Ran, Made], None]
"""Gets a step that ran, in the thread that ran it, and what it made."""


class Run:
    """The steps of one problem; several threads may add some.

    Args:
        seed: of the problem; each reply has one of its own.
        on_step: gets each step.
        is_dry: whether no model is asked and no code is run: the output of each step is its name in braces.
        check: called before each step; an exception of it ends the run.
        max_steps: one step more than these ends the run with an error.
    """

    def __init__(
        self,
        seed: int | None,
        on_step: OnStep = lambda *_: None,
        is_dry: bool = False,
        max_steps: int = MAX_STEPS,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.seed, self.is_dry, self._check, self._is_over = seed, is_dry, check, False
        self._on_step, self._max_steps = on_step, max_steps
        self._lock = threading.Lock()
        self._done: dict[Place, tuple[Ran, Made]] = {}

    @property
    def done(self) -> list[tuple[Ran, Made]]:
        with self._lock:
            return [self._done[place] for place in sorted(self._done)]

    @property
    def steps(self) -> list[Ran]:
        return [ran for ran, _ in self.done]

    def add(self, place: Place, ran: Ran, made: Made = NOTHING) -> None:
        boxes, sizes = tuple(each.box for each in made.boxes), tuple(each.size for each in made.pictures)
        output = tuple(map(printable, ran.output))
        sent = {name: text and printable(text) for name in ("system", "prompt") if (text := getattr(ran, name))}
        ran = msgspec.structs.replace(ran, boxes=boxes, pictures=sizes, output=output, **sent)
        with self._lock:
            if self._is_over:
                return
            if len(self._done) >= self._max_steps:
                raise TooManyError(f"the pipeline takes over {self._max_steps} steps")
            self._done[place] = ran, made
        self._on_step(ran, made)

    def check(self) -> None:
        """Raise RuntimeError if the function has returned (a thread may begin a step late), or what ends the run."""
        if self._is_over:
            raise RuntimeError("the pipeline has ended")
        self._check()

    def close(self) -> None:
        with self._lock:
            self._is_over = True

    def seed_of(self, *place: object) -> int | None:
        return None if self.seed is None else derived(self.seed, *place)


class TooManyError(RuntimeError):
    """A run has too many steps."""


class Branch:
    """Steps of a run that follow each other; their places begin with `place`."""

    def __init__(self, run: Run, place: Place = ()) -> None:
        self.run, self._place, self._count, self._lock = run, place, 0, threading.Lock()

    def next(self) -> Place:
        self.run.check()
        with self._lock:
            self._count += 1
            return (*self._place, self._count)


_BRANCH: contextvars.ContextVar[Branch] = contextvars.ContextVar("_BRANCH")


def here() -> Branch:
    try:
        return _BRANCH.get()
    except LookupError:
        raise RuntimeError("roles, votes, boxes and code are for the function `solve` of a pipeline") from None


@contextmanager
def running(branch: Branch) -> Iterator[None]:
    token = _BRANCH.set(branch)
    try:
        yield
    finally:
        _BRANCH.reset(token)


def together(*work: Callable[[], _T]) -> list[_T]:
    """Run functions without arguments at the same time, and return what they return, in their order.

    Raises:
        Exception: as the first of them that fails.
    """
    branch = here()
    place = branch.next()
    return drawn([partial(_in_branch, Branch(branch.run, (*place, number)), each) for number, each in enumerate(work)])


def _in_branch(branch: Branch, work: Callable[[], _T]) -> _T:
    with running(branch):
        return work()


def drawn(work: Sequence[Callable[[], _T]]) -> list[_T]:
    """The results of functions that run at the same time, each in a thread; a single one runs in this thread."""
    if len(work) == 1:
        return [work[0]()]
    return [future.result() for future in [started(each) for each in work]]


def total(counts: Iterable[int | None]) -> int | None:
    """The sum of counts; None if one of them is unknown."""
    listed = list(counts)
    return None if None in listed else sum(filter(None, listed))


class MisuseError(ValueError):
    """The function of a pipeline asks for something impossible, whatever the replies are."""
