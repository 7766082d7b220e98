"""Runs code in the sandbox and says what came of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from virc.sandbox.child import DiedError, Reply
from virc.sandbox.pool import Limits, Machine, Past, Pool, Problem

SMALL = Machine(1536, 16, ("numpy", "pillow"))


class Runs:
    """Runs pieces of code of one problem after the other."""

    def __init__(self, pool: Pool, machine: Machine = SMALL) -> None:
        self.pool, self.machine, self.past = pool, machine, Past(Problem())
        self.pixels: list[bytes] = []

    def reply(self, code: str, seconds: float = 10, keeps: bool = True) -> Reply | None:
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
