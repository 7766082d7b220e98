"""What terms may use in addition to the sample."""

import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from virc.backends.tokenizer import tokenizer
from virc.rewards.judging import Judge, questions
from virc.scoring.judge import JUDGE_KEY
from virc.scoring.symbolic import Symbolic
from virc.systems.registry import Judging, Reward

JUDGE = "judge"
"""The judge that is asked where a question names none; others are in `reward.judges`."""

NO_JUDGE = "needs a judge"
NO_ALGEBRA = "needs math-verify"
NO_RAPIDFUZZ = "needs rapidfuzz"
NO_TOKENS = "needs the model's tokenizer"
"""What terms lack where there is no such means."""


def no_judge(name: str) -> str:
    return NO_JUDGE if name == JUDGE else f"{NO_JUDGE}, {name}"


class UnscoredError(Exception):
    """A term cannot be had here; the message says what is missing, as a clause."""


class RewardContext(msgspec.Struct, frozen=True):
    """What terms may use in addition to the sample.

    Args:
        judge: a language model that gives scores; None where there is none.
        symbolic: equality by algebra; None where math-verify is not installed.
        token_ids: the ids of the tokens of the model in a text; None where the model is not known.
        judges: further ones by their names.
        said: what published questions say, as a run keeps it, by `Question.name`; others are read where they stand.
    """

    judge: Judge | None = None
    symbolic: Symbolic | None = None
    token_ids: Callable[[str], Sequence[int]] | None = None
    judges: Mapping[str, Judge] = {}
    said: Mapping[str, tuple[str, str]] = {}

    def asked(self, name: str = JUDGE) -> Judge:
        found = self.judge if name == JUDGE else self.judges.get(name)
        if found is None:
            raise UnscoredError(no_judge(name))
        return found

    def close(self) -> None:
        for judge in (self.judge, *self.judges.values()):
            if judge:
                judge.close()
        if self.symbolic:
            self.symbolic.close()


def context_of(
    reward: Reward, kept: Path | None, on_wait: Callable[[str], None], base: Path | None = None
) -> RewardContext:
    """What a system's `reward` lets terms use; `base` is the folder of weights whose tokenizer splits replies."""
    further = {name: _judge(each, key_of(name), kept, on_wait) for name, each in reward.judges.items()}
    algebra = Symbolic() if find_spec("math_verify") else None
    ids = (lambda text: tokenizer(base).encode(text, add_special_tokens=False).ids) if base else None
    named = {name: judge for name, judge in further.items() if judge}
    return RewardContext(_judge(reward.judge, key_of(), kept, on_wait), algebra, ids, named)


def key_of(name: str = JUDGE) -> str | None:
    return os.environ.get(JUDGE_KEY if name == JUDGE else f"{JUDGE_KEY}_{name.upper().replace('-', '_')}")


def _judge(asked: Judging, key: str | None, kept: Path | None, on_wait: Callable[[str], None]) -> Judge | None:
    if asked.endpoint is None:
        return None
    return Judge(
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
