"""How alike texts are, and how long a reply is or how often it repeats itself."""

from collections.abc import Sequence
from importlib.util import find_spec

from virc.core.errors import DataError
from virc.rewards.context import NO_RAPIDFUZZ, NO_TOKENS, RewardContext, UnscoredError
from virc.rewards.sample import Sample
from virc.rewards.sample import sample as read
from virc.rewards.terms import answer_term, term
from virc.rewards.terms.answers import plain
from virc.scoring import accepted, likeness

_MAX_CHARACTERS = 2000  # of a text that `anls` reads
_MAX_WORDS = 2000
"""Of an answer that `rouge` reads: an answer is short, and time grows with the product of both lengths."""
_MAX_TOKENS = 512
_NGRAM = 6


@answer_term
def anls(answer: str, sample: Sample, context: RewardContext) -> float:
    """Normalized Levenshtein similarity of the answer: 1 - edits / length, and 0 from half on; of answers only.

    Of the row: `answer`, and `answers`, a list of accepted ones, of which the nearest counts.
    Source: Biten et al., Scene Text Visual Question Answering (arXiv:1905.13648), section 4, ANLS with a threshold of
    0.5; letters without case, as in the evaluation of DocVQA.
    """
    _check_installed()
    return max(_similarity(plain(answer), plain(each)) for each in sample.prompt.key.accepted)


def _similarity(answer: str, reference: str) -> float:
    """1 - edits / length of the longer one, 0 where that is under 0.5."""
    longer, shorter = max(len(answer), len(reference)), min(len(answer), len(reference))
    if longer > _MAX_CHARACTERS or 2 * shorter < longer:  # then at least half of it is to be written again
        return float(answer == reference)
    return likeness.anls(answer, reference)


@answer_term
def rouge(answer: str, sample: Sample, context: RewardContext) -> float:
    """ROUGE-L of the answer: the longest sequence of words in common with the nearest right one, as an F1, 0 to 1.

    Words are runs of letters and digits of ASCII, without case and unstemmed, as the package rouge-score has them.
    Of answers only. Source: Lin, ROUGE (2004), section 3.1; the same number as rouge-score 0.1.2 gives.
    """
    _check_installed()
    return max(likeness.rouge_l(answer, each, _MAX_WORDS) for each in sample.prompt.key.accepted)


@answer_term
def vqa_accuracy(answer: str, sample: Sample, context: RewardContext) -> float:
    """How many people gave this answer: 1 where at least 4 of 10 did, 0.9, 0.6, 0.3 of 3, 2, 1; of answers only.

    Of the row: `answers`, a list of what each person answered. Source: see `virc.scoring.accepted.vqa_accuracy`.
    """
    people = sample.prompt.key.answers
    if len(people) < 2:
        raise UnscoredError("the row does not list the answers of several people")
    return accepted.vqa_accuracy(answer, people)


def _check_installed() -> None:
    if find_spec("rapidfuzz") is None:
        raise UnscoredError(NO_RAPIDFUZZ)


@term
def thought(sample: Sample, context: RewardContext) -> float | None:
    """How alike the thought of a tool call and of the row's reference are: ROUGE-L as an F1, 0 to 1; without a judge.

    Words are those of `rouge`. Of tool calls only, where the row has a reference; where that answers, every thought
    before a call scores 0. Source: Lin, ROUGE (2004), section 3.1.
    """
    if sample.kind != "tool" or sample.turn is None or not sample.prompt.reference:
        return None
    _check_installed()
    wanted = read(sample.prompt.reference, sample.prompt).turn
    return likeness.rouge_l(sample.turn.think, wanted.think, _MAX_WORDS) if wanted and wanted.tool else 0.0


@term
def keywords(sample: Sample, context: RewardContext) -> float:
    """The share of the row's keywords that the reply names, case ignored, 0 to 1.

    Of the row: `keywords`, a list of texts. Source: cythu/PeBR-R1, examples/reward_function/pebr_1.py,
    key_word_reward, which has 0 for a row whose list is empty; so has this.
    """
    wanted = sample.prompt.columns.get("keywords")
    if wanted is None:
        raise UnscoredError("the row has no keywords")
    if not isinstance(wanted, list) or not all(isinstance(each, str) for each in wanted):
        raise DataError("the row's keywords are no list of texts")
    reply = sample.text.casefold()
    return sum(each.casefold() in reply for each in wanted) / max(1, len(wanted))


@term
def length(sample: Sample, context: RewardContext) -> float:
    """A price on long replies: 1 up to 512 tokens, then 512 / tokens, 0 to 1; in tokens of the model.

    Systems differ in the 512: a total with another number has its own function, which reads `tokens(sample, context)`.
    Source: cythu/PeBR-R1, examples/reward_function/pebr_1.py, length_penalty, there of a tenth of the reward.
    """
    return min(1.0, _MAX_TOKENS / max(1, tokens(sample, context)))


def tokens(sample: Sample, context: RewardContext) -> int:
    """How many tokens the reply has; raises UnscoredError where the model is not known."""
    return len(token_ids(sample, context))


def token_ids(sample: Sample, context: RewardContext) -> Sequence[int]:
    """The ids of the tokens of the reply, as its text has them; raises UnscoredError where the model is not known."""
    if context.token_ids is None:
        raise UnscoredError(NO_TOKENS)
    return context.token_ids(sample.text)


@term
def ngrams(sample: Sample, context: RewardContext) -> float:
    """A penalty for repeated words: minus the share of the reply's 6-grams that occurred before, -1 to 0.

    Systems differ in the 6: a total with another number has a function of its own that returns
    `penalty(sample.text, n)`.
    Source: om-ai-lab/VLM-R1, grpo_jsonl.py (6); tongxiao2002/Perception-R1, verl/workers/reward/custom.py (20).
    """
    return penalty(sample.text, _NGRAM)


def penalty(text: str, length: int) -> float:
    """-(1 - different / all) of the n-grams of `length` words; 0 of a text with fewer words. Words have no case."""
    words = text.lower().split()
    grams = [*zip(*(words[at:] for at in range(length)), strict=False)]
    return len(set(grams)) / len(grams) - 1 if grams else 0.0
