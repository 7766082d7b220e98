"""How alike texts, sets of labels and vectors are: by letters, words, spans, items, or direction.

Every function takes what was said first and what is right second. Time and memory grow with the product of both
lengths, so callers cut long texts.

Some need the extra `eval`, whose packages they import when they are called: rapidfuzz and jiwer.
"""

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from virc.core.extras import require

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_WORD = re.compile(r"\w+")


def edit_similarity(said: str, right: str) -> float:
    """1 - Levenshtein distance / length of the longer text, 0 to 1; 1 of two empty texts.

    Source: Levenshtein (1966), normalized as in Biten et al. (arXiv:1905.13648), section 4; by rapidfuzz.
    """
    require("rapidfuzz", "the likeness of texts", "eval")
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.normalized_similarity(said, right)


def anls(said: str, right: str, threshold: float = 0.5) -> float:
    """`edit_similarity` where it is over `threshold`, else 0; two equal texts have 1.

    Source: Biten et al., Scene Text Visual Question Answering (arXiv:1905.13648), section 4, of one right answer.
    """
    near = edit_similarity(said, right)
    return near if near > threshold else 0.0


def word_error_rate(said: str, right: str) -> float:
    """Words to be put in, left out or replaced, as a share of the right words; 0 and up, over 1 of a long text.

    Words are what white space parts, with their case. Without any right word the share is of one.
    Source: the word error rate of speech recognition, by jiwer; tulerfeng/Video-R1, src/r1-v/src/open_r1/grpo.py, wer,
    where 1 - it, not under 0, rewards the reading of texts.
    """
    require("jiwer", "the word error rate", "eval")
    import jiwer

    return float(jiwer.wer(" ".join(right.split()), " ".join(said.split())))


def rouge_l(said: str, right: str, max_words: int = 2000) -> float:
    """ROUGE-L: the F1 of precision and recall of the longest common subsequence of words, 0 to 1.

    Words are runs of letters and digits of ASCII, without case and unstemmed; of each text the first `max_words`.
    Source: Lin, ROUGE (2004), section 3.1, of one sentence; the same number as rouge-score 0.1.2 gives; by rapidfuzz.
    """
    require("rapidfuzz", "the likeness of texts", "eval")
    from rapidfuzz.distance import LCSseq

    one, other = (_ASCII_WORD.findall(text.lower())[:max_words] for text in (said, right))
    common = LCSseq.similarity(one, other)
    return 2 * common / (len(one) + len(other)) if common else 0.0


def word_f1(said: str, right: str) -> float:
    """F1 of the words in common, each as often as it is in both, in any order, 0 to 1; 1 where neither has a word.

    Words are runs of letters and digits, without case. Source: Rajpurkar et al., SQuAD (arXiv:1606.05250), section
    6.1, which drops articles too.
    """
    one, other = words(said), words(right)
    common = (Counter(one) & Counter(other)).total()
    return 2 * common / (len(one) + len(other)) if one or other else 1.0


def contains(said: str, right: str) -> bool:
    """Whether the words of the right text stand in what was said, in one span; not of a right text without words.

    Words are those of `word_f1`, so that `cat` is not in `cathedral`.
    """
    span = words(right)
    return bool(span) and f" {' '.join(span)} " in f" {' '.join(words(said))} "


def span_precision(said: str, right: str) -> float:
    """The share of what was said that the right span is: 1 of the span alone, 0 where it is not in it.

    In words; it pays for naming a phrase and not the whole sentence around it.
    """
    return len(words(right)) / len(words(said)) if contains(said, right) else 0.0


def set_overlap(said: Iterable[Hashable], right: Iterable[Hashable]) -> float:
    """Items in both by items in either, each once (the Jaccard index), 0 to 1; 0 where neither has any.

    Source: ding523/Curr_REFT, train_code/grpo/open-r1-multimodal/src/open_r1/Stage3_open_math_resize.py,
    calculate_list_iou_reward.
    """
    one, other = set(said), set(right)
    return len(one & other) / len(one | other) if one or other else 0.0


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of the angle between two vectors of the same length, -1 to 1; 0 where one has no length.

    Raises:
        ValueError: they do not have the same length.
    """
    lengths = math.hypot(*one) * math.hypot(*other)
    product = math.fsum(a * b for a, b in zip(one, other, strict=True))
    return min(1.0, max(-1.0, product / lengths)) if lengths else 0.0


def words(text: str) -> list[str]:
    """The runs of letters and digits in a text, without case."""
    return _WORD.findall(text.casefold())
