r"""The reward of VLM-R3: the answer, the format, a look where the answer is right, and text between looks.

    right + 0.5 * closed + 0.5 * looked, where right is 1, + min(0.1, 0.01 * characters of the shortest piece of text)

All of it is of the whole completion, as one text in the writing of VLM-R3: the last answer is judged, without one the
last line; it is closed where it ends with an answer; it has looked where every piece of JSON that names a box can be
read, and there is one; pieces are the texts between the boxes, before the answer.
From 0 to 2.1. Source: justgogorunrun/VLM-R3, src/r1-v/src/open_r1/rgrpo.py and trainer/vllm_rgrpo_trainer.py. The paper
(arXiv:2505.16192) has other weights, which the notes of the system say. What differs:

- its accuracy is algebra on MMK12, and on TextVQA a match without articles and punctuation, and then a judge; here it
  is on every row as on the others: 1 where it is one of the right answers, which `/` stands between, 0 where both are
  single letters, and else what the judge says. Without a judge, rules and algebra decide;
- a rollout that ends in a tool call is not judged: it has no answer, and is not right;
- behind a box in a ```json block the program closes the block; those three characters count in no piece here.
"""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from virc.data.rows.record import MARK
from virc.rewards.context import RewardContext
from virc.rewards.question import asks, published
from virc.rewards.sample import Sample
from virc.rewards.terms.answers import answer as by_rule
from virc_zoo.delimiters import between
from virc_zoo.rollouts import before_reply, of_last_reply

TERMS = ("answer", "closed", "looked", "shortest")
"""They stand below, in place of the common terms of the same names."""
whole = of_last_reply
JUDGE = "vlm-r3"
"""What its judge is asked for."""
_ENDS = ("]}", "]\n}", "] }")
"""What ends a reply that calls; the engine of the program cuts it off, and the program puts back the first."""
_BOX = re.compile(r'\{"bbox_2d":\s*\[[^\]]*\]\}')
_TAGS = re.compile(r"</?think>")


def verdict(reply: str, same: bool = False) -> float:
    """The number that a judge's reply is, from 0 to 1; where it only holds one, whether both answers are the same."""
    if "1.0" not in reply and "0.0" not in reply:
        return 0.0
    try:
        return min(1.0, max(0.0, float(reply)))
    except ValueError:
        return float(same)


ASKED = published(Path(__file__).with_name("judge.yaml"), verdict)


@asks(ASKED, needed=False)
async def answer(sample: Sample, context: RewardContext) -> float | None:
    """Whether the answer is right: as a text, else as the judge of VLM-R3 says, 0 to 1; not of replies that call."""
    if context.judge is None:
        return await by_rule(sample, context)
    if sample.text.endswith(_ENDS) and "<answer>" not in sample.text:
        return None
    text, reference = completion(sample), (sample.prompt.record.answer or "").strip()
    found = [*between(text)]
    said = found[-1].strip() if found else text.strip().split("\n")[-1]
    for right in map(str.strip, reference.split("/")):
        if right == said:
            return 1.0
        if len(right) == len(said) == 1 and right.lower() != said.lower():
            return 0.0
    question = msgspec.structs.replace(ASKED, read=partial(verdict, same=said == reference))
    asked = await question.asked(sample, context, JUDGE, answer=said, reference=reference)
    sample.why["answer"] = asked.why
    return asked.value


def closed(sample: Sample, context: RewardContext) -> float:
    """Whether an answer ends the completion: 1 or 0."""
    before, answer, behind = completion(sample).rstrip().rpartition("</answer>")
    return float(answer != "" and behind == "" and "<answer>" in before)


def looked(sample: Sample, context: RewardContext) -> float:
    """Whether there is JSON that names a box, and all of it can be read: 1 or 0."""
    found = [f"{{{each}}}" for each in between(completion(sample), "{", "}") if "bbox" in each]
    try:
        return float(bool([json.loads(each)["bbox_2d"] for each in found]))
    except (ValueError, KeyError, RecursionError):
        return 0.0


def shortest(sample: Sample, context: RewardContext) -> float:
    """0.01 for each character of the shortest piece of text between looks, 0.1 at most."""
    text = " ".join(_TAGS.sub("", completion(sample).partition("<answer>")[0]).split())
    pieces = [piece.strip() for piece in _BOX.split(text)]
    counted = [piece for at, piece in enumerate(pieces) if piece or at in (0, len(pieces) - 1)]
    return min(0.1, 0.01 * min(map(len, counted)))


def completion(sample: Sample) -> str:
    """What the model wrote and was shown behind the question, as the program puts it together."""
    shown = (
        written(each.content) if each.role == "assistant" else each.content.replace(MARK, "").strip()
        for each in before_reply(sample)
    )
    return "".join((*shown, written(sample.text)))


def written(reply: str) -> str:
    """A reply as the program puts it down: an answer is closed, and a box ends with `]}`."""
    text = next((reply.removesuffix(end) for end in (*_ENDS, "</answer>") if reply.endswith(end)), reply)
    if "<answer>" in text and "</answer>" not in text:
        return f"{text}</answer>\n"
    return f"{text}]}}\n" if "bbox_2d" in text and text != reply else text


def total(t: Any) -> float:
    """The reward of the completion up to and with this reply."""
    right = t.answer or 0.0
    look = t.looked if right == 1 else 0.0
    return float(right + 0.5 * t.closed + 0.5 * look + t.shortest)
