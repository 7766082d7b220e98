r"""The reward of VLM-R3: the answer, the format, a look where the answer is right, and text between looks.

    right + 0.5 * format + 0.5 * looked, where right is 1, + min(0.1, 0.01 * characters of the shortest piece of text)

All of it is of the whole completion: the format is an answer at its end, and pieces are the texts between the looks;
after a look that ends it, the last piece is empty.
From 0 to 2.1. Source: justgogorunrun/VLM-R3, src/r1-v/src/open_r1/rgrpo.py and trainer/vllm_rgrpo_trainer.py. Where
what is published disagrees:

- The paper (arXiv:2505.16192) speaks of a region-conditioned reward; no term of the program compares a region.
- `format_reward` wants `<answer>` and `</answer>` at the end and looks at nothing else, so that a completion of which
  a box cannot be read is in the format; here a reply that cannot be read has no answer, and no format.
- `repeat_reward` wants boxes that differ, and one is enough: a second one adds nothing.
- Its accuracy is algebra on MMK12, and on TextVQA a match without articles and punctuation, and then a judge; here it
  is on every row as on the others: 1 where it is one of the right answers, which `/` stands between, 0 where both are
  single letters, and else what the judge says. Without a judge, rules and algebra decide.
- Where a reply has no marks of an answer, the last line of it is judged there; here there is no answer.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from virc.rewards.terms.answers import answer as by_rule

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

TERMS = ("answer", "looked", "shortest")
"""The first stands below, in place of the common term of that name."""
JUDGE = "vlm-r3"
"""Whose question is asked, a file of `judges/`."""
_TAGS = re.compile(r"</?think>")
_RIGHT = re.compile(r"1\.0+")


async def answer(sample: "Sample", means: "Means") -> float | None:
    """Whether the answer is right: as a text, else as the judge of VLM-R3 says, 0 to 1; of replies that answer only."""
    if sample.answer is None or means.judge is None:
        return await by_rule(sample, means)
    said, reference = sample.answer.strip(), sample.prompt.record.answer or ""
    for right in map(str.strip, reference.split("/")):
        if right == said:
            return 1.0
        if len(right) == len(said) == 1 and right.casefold() != said.casefold():
            return 0.0
    texts = {"question": sample.prompt.question, "reference": reference, "answer": said}
    found = await means.judge.ask_as_published(JUDGE, texts, verdict)
    sample.why["answer"] = found.why
    return found.value


def verdict(reply: str) -> float:
    """1 or 0, as a judge's reply is; 0 where it is another text."""
    return float(_RIGHT.fullmatch(reply.strip()) is not None)


def shortest(sample: "Sample", means: "Means") -> float:
    """0.01 for each character of the shortest piece of text between looks, 0.1 at most."""
    last = sample.turn.think if sample.turn else sample.text.partition("<answer>")[0]
    behind = [""] if sample.kind == "tool" else []
    pieces = [" ".join(_TAGS.sub("", text).split()) for text in (*sample.prompt.thoughts, last, *behind)]
    counted = [piece for at, piece in enumerate(pieces) if piece or at in (0, len(pieces) - 1)]
    return min(0.1, 0.01 * min(map(len, counted)))


def total(t: Any) -> float:
    """The reward of the completion up to and with this reply."""
    right = t.answer or 0.0
    look = t.looked if right == 1 else 0.0
    return float(right + 0.5 * (t.turn == "answer") + 0.5 * look + t.shortest)


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout: that of its last reply, which all of it counts in."""
    return units[-1]
