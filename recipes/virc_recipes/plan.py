"""What a command is going to start: plain values that can be printed before anything runs."""

from collections.abc import Mapping

import msgspec


class Step(msgspec.Struct, frozen=True):
    """One process.

    Args:
        argv: program and arguments, handed over without a shell.
        says: what it does, for people; one clause.
        env: variables it gets beside those of this process; an empty value takes the variable away.
    """

    argv: tuple[str, ...]
    says: str
    env: Mapping[str, str] = {}
