"""What terms may use beside the sample."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import msgspec

from virc.backends.tokenizer import tokenizer
from virc.rewards.judging import Judge, questions
from virc.scoring.symbolic import Symbolic
from virc.systems.registry import Judging

JUDGE_KEY = "VIRC_JUDGE_KEY"
"""The variable with the judge's key; no other key is sent to it."""

NO_JUDGE = "needs a judge"
NO_ALGEBRA = "needs math-verify"
NO_TOKENS = "needs the model's tokenizer"
"""What terms lack where there is no such means."""


class UnscoredError(Exception):
    """A term cannot be had here; the message says what it lacks, as a clause."""


class Means(msgspec.Struct, frozen=True):
    """What terms may use beside the sample.

    Args:
        judge: a language model that gives scores; None where there is none.
        symbolic: equality by algebra; None where math-verify is not installed.
        tokens: how many tokens of the model a text has; None where the model is not known.
    """

    judge: Judge | None = None
    symbolic: Symbolic | None = None
    tokens: Callable[[str], int] | None = None

    def asked(self) -> Judge:
        """The judge; raises UnscoredError where there is none."""
        if self.judge is None:
            raise UnscoredError(NO_JUDGE)
        return self.judge

    def close(self) -> None:
        """End what was started for them."""
        if self.judge:
            self.judge.close()
        if self.symbolic:
            self.symbolic.close()


def means_of(
    asked: Judging, key: str | None, kept: Path | None, on_wait: Callable[[str], None], base: Path | None = None
) -> Means:
    """The means that a system's `reward` names; algebra where math-verify is installed.

    Args:
        key: of the judge's endpoint.
        kept: folder for its replies.
        on_wait: gets a sentence when it is away, and when it is back.
        base: folder of the weights, whose tokenizer counts tokens where a term asks for that.
    """
    judge = asked.endpoint and Judge(
        asked.endpoint,
        asked.model,
        key,
        at_once=asked.at_once,
        timeout=asked.timeout,
        patience=asked.patience,
        kept=kept,
        on_wait=on_wait,
        asked=questions(Path(asked.questions)) if asked.questions else None,
    )
    algebra = Symbolic() if find_spec("math_verify") else None
    count = (lambda text: len(tokenizer(base).encode(text, add_special_tokens=False))) if base else None
    return Means(judge or None, algebra, count)
