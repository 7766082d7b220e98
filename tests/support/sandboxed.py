"""Runs code in the sandbox and says what came of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256

import pytest

from virc_extras.sandbox.calls import NOTHING, Around
from virc_extras.sandbox.pool import CodeReply, DiedError, Given, Limits, Machine, Past, Pool, Run, SandboxProblem

SMALL = Machine(1536, 16, ("numpy", "pillow"))

_CAME_TO: dict[object, tuple[CodeReply, list[bytes]] | DiedError] = {}


class Runs:
    """Runs pieces of code of one problem after the other."""

    def __init__(self, pool: Pool, machine: Machine = SMALL) -> None:
        self.pool, self.machine, self.past = pool, machine, Past(SandboxProblem())
        self.pixels: list[bytes] = []

    def reply(self, code: str, seconds: float = 10, keeps: bool = True) -> CodeReply | None:
        """What code came to; None where its process ended."""
        limits = Limits(seconds, "saved", 8, 4_000_000, 4_000)
        try:
            reply, self.pixels, self.past = self.pool.run(self.past, code, [], self.machine, limits, keeps)
        except DiedError as error:
            self.past = Past(self.past.problem)
            self.died = str(error)
            return None
        return reply

    def said(self, code: str, seconds: float = 10) -> str:
        """What code printed, its error included, or how its process ended."""
        reply = self.reply(code, seconds)
        return self.died if reply is None else "\n".join((reply.stdout, reply.stderr, *reply.notes)).strip()


@contextmanager
def pool_of(at_once: int) -> Iterator[Pool]:
    """A pool that is closed in the end."""
    pool = Pool(at_once)
    try:
        yield pool
    finally:
        pool.close()


@contextmanager
def each_program_once() -> Iterator[None]:
    """Run the same pieces of code, on the same images and under the same limits, in one process only.

    A session that is gone through again runs its programs again, and each starts a process. What a program comes to
    follows from these alone, as `virc_extras.sandbox.pool` says, and `tests/extras/sandbox` and `tests/tools` hold.
    """
    run = Pool.run

    def remembered(
        self: Pool,
        past: Past,
        code: str,
        images: Sequence[Given],
        machine: Machine,
        limits: Limits,
        keeps: bool,
        around: Around = NOTHING,
    ) -> tuple[CodeReply, list[bytes], Past]:
        assert around == NOTHING  # code that calls functions may get other answers
        before = tuple((each.code, each.images) for each in past.runs)
        given = tuple((each.image, sha256(each.png()).digest()) for each in images)
        key = before, code, given, machine, limits
        if key not in _CAME_TO:
            try:
                _CAME_TO[key] = run(self, past, code, images, machine, limits, keeps)[:2]
            except DiedError as died:
                _CAME_TO[key] = died
        found = _CAME_TO[key]
        if isinstance(found, DiedError):
            raise found
        now = Past(past.problem, (*past.runs, Run(code, len(images)))) if keeps else past
        return *found, now

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Pool, "run", remembered)
        yield
