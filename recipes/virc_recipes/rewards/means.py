"""What terms may use beside the sample."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import msgspec

from virc_recipes.rewards.judging import Judge
from virc_recipes.symbolic import Symbolic
from virc_recipes.systems import Judging

JUDGE_KEY = "VIRC_JUDGE_KEY"
"""The variable with the judge's key; no other key is sent to it."""

NO_JUDGE = "needs a judge"
"""What a term lacks that asks one, where there is none."""


class UnscoredError(Exception):
    """A term cannot be had here; the message says what it lacks, as a clause."""


class Means(msgspec.Struct, frozen=True):
    """What terms may use beside the sample.

    Args:
        judge: a language model that gives scores; None where there is none.
        symbolic: equality by algebra; None where math-verify is not installed.
    """

    judge: Judge | None = None
    symbolic: Symbolic | None = None

    def asked(self) -> Judge:
        """The judge.

        Raises:
            UnscoredError: there is none.
        """
        if self.judge is None:
            raise UnscoredError(NO_JUDGE)
        return self.judge

    def close(self) -> None:
        """End what was started for them."""
        if self.judge:
            self.judge.close()
        if self.symbolic:
            self.symbolic.close()


def means_of(asked: Judging, key: str | None, kept: Path | None, say: Callable[[str], None]) -> Means:
    """The means that a system's `reward` names; algebra where math-verify is installed.

    Args:
        asked: which judge, and how.
        key: of its endpoint.
        kept: folder for its replies.
        say: told when it is away, and when it is back.

    Raises:
        ConfigError: the judge's address or key cannot be used.
    """
    judge = asked.endpoint and Judge(
        asked.endpoint,
        asked.model,
        key,
        at_once=asked.at_once,
        timeout=asked.timeout,
        patience=asked.patience,
        kept=kept,
        say=say,
    )
    return Means(judge or None, Symbolic() if find_spec("math_verify") else None)
