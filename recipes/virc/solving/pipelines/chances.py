"""How likely each of some short answers is, by the first token of a reply."""

import math
from collections.abc import Sequence

from virc.backends.interface import Likeliest


def chances(answers: Sequence[str], likeliest: Likeliest) -> dict[str, float]:
    """The probability of each answer among these, which add up to 1; all are 0 where no token begins one of them.

    A token counts for the one answer that it begins, without regard to case and space before it; ZoomEye's softmax of
    the scores of "Yes" and "No" (github.com/om-ai-lab/ZoomEye, `ZoomEye/zoom_model.py`) is the case of two answers of
    one token each.
    """
    found = dict.fromkeys(answers, 0.0)
    for token, logprob in likeliest:
        text = token.strip().lower()
        begun = [each for each in answers if text and each.lower().startswith(text)]
        if len(begun) == 1:
            found[begun[0]] += math.exp(logprob)
    return {each: share / (sum(found.values()) or 1.0) for each, share in found.items()}
