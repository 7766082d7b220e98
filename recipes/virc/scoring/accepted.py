"""How well an answer agrees with several accepted ones, as the scorers of published benchmarks measure it, 0 to 1."""

import re
from collections.abc import Callable, Mapping, Sequence

from virc.core.extras import require
from virc.scoring.score import Key, Metric

_THRESHOLD = 0.5
_ENOUGH_PEOPLE = 3
_MAX_PERIODS = 32
"""Periods that the published scorer removes from an answer: it passes `re.UNICODE`, which is 32, as the count."""


def measured(answer: str, key: Key) -> float | None:
    """An answer by the metric of its row, 0 to 1; None where the row names none."""
    return None if key.metric is None else _METRICS[key.metric](answer, key.answers or (key.answer,))


def anls(answer: str, accepted: Sequence[str]) -> float:
    """ANLS as DocVQA and InfographicVQA score an answer: the similarity to the nearest accepted one, 0 below 0.5.

    The similarity is 1 - edits / length of the longer text; edits are counted without case and with one space where
    there are some, the length is that of the texts as they stand. Needs the extra `eval`.
    Source: Biten et al. (arXiv:1905.13648), section 4; the evaluation script of DocVQA, as lmms-eval has it in
    lmms_eval/api/metrics.py, anls. `likeness.anls`, of one text, is 0 at 0.5 too, as in the paper.
    """
    require("rapidfuzz", "the likeness of texts", "eval")
    from rapidfuzz.distance import Levenshtein

    def distance(reference: str) -> float:
        length = max(len(reference.upper()), len(answer.upper()))
        return Levenshtein.distance(_in_line(reference), _in_line(answer)) / length if length else 0.0

    near = 1 - min(map(distance, accepted))
    return near if near >= _THRESHOLD else 0.0


def vqa_accuracy(answer: str, people: Sequence[str]) -> float:
    """VQA accuracy as TextVQA scores an answer: the mean, over all people but one, of min(n / 3, 1).

    n is how many of the others gave the answer; all texts are compared as `normalized`. Of ten people who gave it 0, 1,
    2, 3 or at least 4 times, it is 0, 0.3, 0.6, 0.9 or 1.
    Source: Antol et al., VQA (arXiv:1505.00468), section 4; lmms-eval, lmms_eval/tasks/textvqa/utils.py,
    textvqa_process_results.

    Args:
        people: what each person answered, in any order; equal answers count as often as they are listed.
    """
    said, given = normalized(answer), [normalized(each) for each in people]
    count = given.count(said)
    shares = [min(1.0, (count - (each == said)) / _ENOUGH_PEOPLE) for each in given]
    return sum(shares) / len(shares)


_PUNCTUATION = ';/[]"{}()=+\\_-><@`!'
_PERIOD = re.compile(r"\.(?!\d)")
_NAMES = "zero one two three four five six seven eight nine ten".split()
_NUMBERS = {"none": "0"} | {name: str(value) for value, name in enumerate(_NAMES)}
_ARTICLES = frozenset({"a", "an", "the"})
_CONTRACTED = (
    "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd "
    "he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've "
    "needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've "
    "somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll "
    "that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've "
    "weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've "
    "why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're "
    "you've"
).split()
_CONTRACTIONS = {
    word[:at] + word[at + 1 :]: word for word in _CONTRACTED for at, character in enumerate(word) if character == "'"
} | {"somebody'd": "somebodyd"}
"""Contractions without one of their apostrophes, and what they are written as."""


def normalized(text: str) -> str:
    """An answer as the evaluation of VQA compares it: no case, articles or punctuation, numbers up to ten as digits.

    Source: lmms-eval, lmms_eval/tasks/_task_utils/vqa_eval_metric.py, EvalAIAnswerProcessor.
    """
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    bare = text
    for sign in _PUNCTUATION:
        bare = bare.replace(sign, "" if f"{sign} " in text or f" {sign}" in text else " ")
    words = [_NUMBERS.get(word, word) for word in _PERIOD.sub("", bare, count=_MAX_PERIODS).split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _in_line(text: str) -> str:
    return " ".join(text.lower().split())


_METRICS: Mapping[Metric, Callable[[str, Sequence[str]], float]] = {"anls": anls, "vqa_accuracy": vqa_accuracy}
